//! Times, sizes and places as people write them.

use std::time::Duration;
use tw_types::Timestamp;

/// `500ms`, `10s`, `30m`, `12h`, `7d`, or several: `1h30m`.
///
/// # Errors
/// What is wrong, and what is understood.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time: use a number and ms, s, m, h or d, such as 30m or 7d");
    let mut total_ms = 0u64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let ms: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(ms)).ok_or_else(wrong)?;
        total_ms = total_ms.checked_add(part).ok_or_else(wrong)?;
        rest = tail.trim_start();
    }
    Ok(Duration::from_millis(total_ms))
}

/// `1048576`, `64KiB`, `10GiB`, `1.5GB`.
///
/// # Errors
/// What is wrong, and what is understood.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size: use a number and B, KiB, MiB, GiB or TiB, such as 10GiB");
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let unit: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        "kib" | "k" => 1_024.0,
        "mib" | "m" => 1_024f64.powi(2),
        "gib" | "g" => 1_024f64.powi(3),
        "tib" | "t" => 1_024f64.powi(4),
        _ => return Err(wrong()),
    };
    let bytes = number * unit;
    // Beyond this, a double no longer counts single bytes.
    if (0.0..=9e15).contains(&bytes) { Ok(bytes as u64) } else { Err(wrong()) }
}

/// Where to start in a stream, as the interface understands it: a time ago becomes the time it was.
///
/// # Errors
/// What is wrong, and what is understood.
pub(crate) fn point(text: &str, now_ms: u64) -> Result<String, String> {
    let text = text.trim();
    let understood = matches!(text, "earliest" | "latest")
        || text.parse::<u64>().is_ok()
        || text.starts_with("tw1")
        || text.parse::<Timestamp>().is_ok();
    if understood {
        return Ok(text.to_owned());
    }
    if let Ok(ago) = duration(text) {
        let ago_ms = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        let then = i64::try_from(now_ms.saturating_sub(ago_ms)).unwrap_or(i64::MAX);
        return Ok(Timestamp::from_millis(then).to_string());
    }
    Err(format!(
        "`{text}` is no place in a stream: use earliest, latest, an offset, a token, a time such as 2026-01-31T09:30:00Z, or how long ago, such as 10m"
    ))
}

/// The wall clock, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    tw_env::Env::real().clock.now_ms()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_and_sizes_are_read() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!([bytes("10GiB"), bytes("1.5 GB"), bytes("0")], [Ok(10 << 30), Ok(1_500_000_000), Ok(0)]);
        for text in ["", "5", "5x", "-1s", "99999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        for text in ["", "GiB", "-1", "1XB", "1e30"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_place_is_passed_on_and_a_time_ago_becomes_a_time() {
        for text in ["earliest", "latest", "120", "tw1;7=0:120", "2026-01-31T09:30:00+01:00"] {
            assert_eq!(point(text, 0).as_deref(), Ok(text));
        }
        assert_eq!(point("10m", 1_700_000_600_000).as_deref(), Ok("2023-11-14T22:13:20Z"));
        assert!(point("yesterday", 0).unwrap_err().starts_with("`yesterday` is no place in a stream"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,20}") {
            let _ = (duration(&text), bytes(&text), point(&text, 5));
        }
    }
}
