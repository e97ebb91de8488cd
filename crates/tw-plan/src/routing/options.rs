//! The bounds of routing.

use crate::Error;
use crate::error::check;
use serde::{Deserialize, Serialize};

/// When a user changes the region, what is believed, and how full regions get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// By how much another region's round trip must be shorter before a user leaves its region for it, in milliseconds: 0 to
    /// 1,000. Default 20.
    pub stick_ms: u32,
    /// How long a measured latency counts, in milliseconds: 1,000 to 604,800,000 (a week). After that the distance does.
    /// Default 3,600,000 (an hour).
    pub measured_ms_max: u64,
    /// After how long without news the state of a region is said to be held, not observed, in milliseconds: 100 to 3,600,000.
    /// Default 10,000.
    pub health_ms_max: u64,
    /// How full a region gets before users go on to their next one, in thousandths of its capacity: 100 to 1,000. Default
    /// 900. When all regions are that full, up to the whole capacity.
    pub full_permille: u32,
    /// How full a change of the plan may make a region, in thousandths of its capacity: 100 to `full_permille`. Default 800.
    pub headroom_permille: u32,
    /// By how much less than possible a region that spills may admit, in thousandths of its users, before it takes users back:
    /// 0 to 500. Default 50.
    pub hold_permille: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            stick_ms: 20,
            measured_ms_max: 3_600_000,
            health_ms_max: 10_000,
            full_permille: 900,
            headroom_permille: 800,
            hold_permille: 50,
        }
    }
}

impl Options {
    /// Checks every bound.
    ///
    /// # Errors
    /// [`Error::Option`]: the first option that is outside its bounds.
    pub fn check(&self) -> Result<(), Error> {
        let full = u64::from(self.full_permille);
        check([
            ("stick_ms", self.stick_ms.into(), 0..=1_000, "0 to 1000 ms"),
            ("measured_ms_max", self.measured_ms_max, 1_000..=604_800_000, "1000 to 604800000 ms"),
            ("health_ms_max", self.health_ms_max, 100..=3_600_000, "100 to 3600000 ms"),
            ("full_permille", full, 100..=1_000, "100 to 1000 thousandths"),
            (
                "headroom_permille",
                self.headroom_permille.into(),
                100..=full,
                "100 thousandths to full_permille",
            ),
            ("hold_permille", self.hold_permille.into(), 0..=500, "0 to 500 thousandths"),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_bounds_are_refused_with_the_bound() {
        Options::default().check().unwrap();
        let wrong = Options { headroom_permille: 901, ..Options::default() };
        assert_eq!(
            wrong.check().unwrap_err().to_string(),
            "option `headroom_permille` is 901, outside 100 thousandths to full_permille"
        );
        assert!(serde_json::from_str::<Options>(r#"{"stick":1}"#).is_err());
        let options: Options = serde_json::from_str(r#"{"stick_ms":5}"#).unwrap();
        assert_eq!(options, Options { stick_ms: 5, ..Options::default() });
    }
}
