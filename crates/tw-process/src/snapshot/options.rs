//! The bounds of snapshots.

use crate::Error;
use serde::{Deserialize, Serialize};

/// When snapshots of state are stored and taken. Both ends of a bound are allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// So many events after the last snapshot of a partition the next one is stored: 1,000 to 1,000,000,000,000. Default
    /// 1,000,000.
    pub events_max: u64,
    /// So long after the last snapshot of a partition the next one is stored, if there were events, in milliseconds: 1,000 to
    /// 604,800,000 (a week). Default 600,000.
    pub interval_ms_max: u64,
    /// How many snapshots of a partition are kept; older ones are removed: 1 to 100. Default 2. A node that restores for longer
    /// than it takes to make as many finds that what it reads is gone, and begins anew with a newer one.
    pub kept: u64,
    /// A node that has state of its own takes a snapshot instead if that is further by more than so many events: 1 to
    /// 1,000,000,000,000. Default 1,000,000. One that has none takes any.
    pub replay_events_max: u64,
    /// The pause after a failure of the depot, in milliseconds; it doubles up to `failure_ms_max`: 1 to 60,000. Default 1,000.
    pub failure_ms_min: u64,
    /// The longest pause after a failure, in milliseconds: `failure_ms_min` to 3,600,000. Default 300,000.
    pub failure_ms_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            events_max: 1_000_000,
            interval_ms_max: 600_000,
            kept: 2,
            replay_events_max: 1_000_000,
            failure_ms_min: 1_000,
            failure_ms_max: 300_000,
        }
    }
}

/// The most events that a bound may name.
const EVENTS_MAX: u64 = 1_000_000_000_000;

impl Options {
    /// Checks every bound.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] names the first option that is outside its bounds.
    pub fn check(&self) -> Result<(), Error> {
        let checks = [
            ("events_max", self.events_max, 1_000..=EVENTS_MAX, "1000 to 1000000000000 events"),
            ("interval_ms_max", self.interval_ms_max, 1_000..=604_800_000, "1000 to 604800000 ms"),
            ("kept", self.kept, 1..=100, "1 to 100 snapshots"),
            ("replay_events_max", self.replay_events_max, 1..=EVENTS_MAX, "1 to 1000000000000 events"),
            ("failure_ms_min", self.failure_ms_min, 1..=60_000, "1 to 60000 ms"),
            (
                "failure_ms_max",
                self.failure_ms_max,
                self.failure_ms_min..=3_600_000,
                "failure_ms_min to 3600000 ms",
            ),
        ];
        for (option, value, range, bounds) in checks {
            if !range.contains(&value) {
                return Err(Error::InvalidOption { option, value, bounds });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_bounds_and_unknown_options_are_errors() {
        Options::default().check().unwrap();
        assert!(serde_json::from_str::<Options>(r#"{"count":1}"#).is_err());
        let options: Options = serde_json::from_str(r#"{"kept":0}"#).unwrap();
        assert_eq!(
            options.check().unwrap_err().to_string(),
            "processing option `kept` is 0, outside 1 to 100 snapshots"
        );
    }
}
