//! Places on Earth, and the latency that a distance lets expect.
//!
//! Sine and arcsine are computed here with additions, multiplications, divisions and roots only, which are the same on every
//! machine: those of a platform's mathematical library differ in the last bit, and two routers must not.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::f64::consts::{FRAC_PI_2, PI};

/// The mean radius of the Earth, in km (IUGG).
const EARTH_KM: f64 = 6_371.0;

/// How far a packet and its answer come in a millisecond, in km of great circle. Light in fibre goes 200 km a millisecond, and ways are 2.1 times as
/// long as they look (rule of thumb in Bozkurt et al.: Dissecting Latency in the Internet's Fiber Infrastructure, 2018): so 1 ms
/// for 100 km one way, and as much back.
const KM_PER_RTT_MS: f64 = 50.0;

/// A place on Earth, in millionths of a degree (11 cm): latitude −90 to 90 degrees, longitude −180 to 180. As data it is an object with
/// `lat` and `lon` in degrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Degrees", into = "Degrees")]
pub struct Place {
    // Whole numbers: readers of JSON differ in the last bit of others, and then two routers would.
    lat_e6: i32,
    lon_e6: i32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Degrees {
    lat: f64,
    lon: f64,
}

impl Place {
    /// From latitude and longitude, in degrees, rounded to millionths.
    ///
    /// # Errors
    /// [`Error::Place`]: one is outside its range.
    pub fn new(lat: f64, lon: f64) -> Result<Self, Error> {
        // A number that is none is in no range.
        if (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon) {
            let millionths = |degrees: f64| (degrees * 1e6).round() as i32;
            return Ok(Self { lat_e6: millionths(lat), lon_e6: millionths(lon) });
        }
        Err(Error::Place { place: format!("{lat}, {lon}") })
    }

    /// The latitude, in degrees, north positive.
    pub fn lat(&self) -> f64 {
        f64::from(self.lat_e6) / 1e6
    }

    /// The longitude, in degrees, east positive.
    pub fn lon(&self) -> f64 {
        f64::from(self.lon_e6) / 1e6
    }

    /// How far another place is on a great circle, in km: 0 to 20,016.
    pub fn km_to(&self, other: &Self) -> f64 {
        let (a, b) = (self.direction(), other.direction());
        let chord: f64 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
        2.0 * EARTH_KM * asin((chord.sqrt() / 2.0).min(1.0))
    }

    /// The round trip that the distance lets expect, in milliseconds: 0 to 400.
    pub fn rtt_ms_to(&self, other: &Self) -> u32 {
        (self.km_to(other) / KM_PER_RTT_MS).round() as u32
    }

    /// The point on the unit sphere.
    fn direction(&self) -> [f64; 3] {
        let around = cos(self.lat());
        [around * cos(self.lon()), around * sin(self.lon()), sin(self.lat())]
    }
}

impl TryFrom<Degrees> for Place {
    type Error = Error;

    fn try_from(degrees: Degrees) -> Result<Self, Error> {
        Self::new(degrees.lat, degrees.lon)
    }
}

impl From<Place> for Degrees {
    fn from(place: Place) -> Self {
        Self { lat: place.lat(), lon: place.lon() }
    }
}

/// The sine of −180 to 180 degrees, off by less than 10⁻¹⁰.
fn sin(degrees: f64) -> f64 {
    let acute = if degrees > 90.0 {
        180.0 - degrees
    } else if degrees < -90.0 {
        -180.0 - degrees
    } else {
        degrees
    };
    let x = acute * PI / 180.0;
    let (mut term, mut sum) = (x, x);
    for n in 1..9 {
        term *= -x * x / f64::from(2 * n * (2 * n + 1));
        sum += term;
    }
    sum
}

/// The cosine of −180 to 180 degrees.
fn cos(degrees: f64) -> f64 {
    sin(90.0 - degrees.abs())
}

/// The arcsine of 0 to 1, off by less than 10⁻¹⁰.
fn asin(x: f64) -> f64 {
    if x > 0.5 {
        return FRAC_PI_2 - 2.0 * asin(((1.0 - x) / 2.0).sqrt());
    }
    let (mut power, mut sum) = (x, x);
    for n in 1..16 {
        let odd = f64::from(2 * n - 1);
        power *= x * x * odd / f64::from(2 * n);
        sum += power / (odd + 2.0);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sines_are_within_their_error() {
        for tenths in -1_800..=1_800 {
            let degrees = f64::from(tenths) / 10.0;
            assert!((sin(degrees) - degrees.to_radians().sin()).abs() < 1e-10, "sine of {degrees}");
            assert!((cos(degrees) - degrees.to_radians().cos()).abs() < 1e-10, "cosine of {degrees}");
        }
        for thousandths in 0..=1_000 {
            let x = f64::from(thousandths) / 1_000.0;
            assert!((asin(x) - x.asin()).abs() < 1e-10, "arcsine of {x}");
        }
    }

    #[test]
    fn distances_are_those_of_the_globe() {
        let place = |lat, lon| Place::new(lat, lon).unwrap();
        let (frankfurt, new_york) = (place(50.11, 8.68), place(40.71, -74.01));
        assert_eq!(frankfurt.km_to(&frankfurt), 0.0);
        assert!((frankfurt.km_to(&new_york) - 6_203.0).abs() < 10.0, "{}", frankfurt.km_to(&new_york));
        assert_eq!(frankfurt.km_to(&new_york), new_york.km_to(&frankfurt));
        assert!((place(0.0, 0.0).km_to(&place(0.0, 180.0)) - PI * EARTH_KM).abs() < 1e-3);
        // Fiji is next to Samoa, on the other side of the date line.
        assert!(place(-18.1, 178.4).km_to(&place(-13.8, -171.8)) < 1_200.0);
        assert_eq!(place(0.0, 0.0).rtt_ms_to(&place(0.0, 9.0)), 20);
    }

    #[test]
    fn what_is_no_place_is_refused() {
        assert_eq!(
            Place::new(91.0, 8.0).unwrap_err().to_string(),
            "`91, 8` is no place: say latitude -90 to 90 and longitude -180 to 180, in degrees"
        );
        assert!(Place::new(f64::NAN, 0.0).is_err() && Place::new(0.0, f64::INFINITY).is_err());
        assert!(serde_json::from_str::<Place>(r#"{"lat":1.0,"lon":181.0}"#).is_err());
        let place: Place = serde_json::from_str(r#"{"lat":50.11,"lon":8.68}"#).unwrap();
        assert_eq!(serde_json::to_string(&place).unwrap(), r#"{"lat":50.11,"lon":8.68}"#);
    }
}
