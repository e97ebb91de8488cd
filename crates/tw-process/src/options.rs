//! The bounds of the workers.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tw_order::gate;

/// How partitions are processed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Threads that process partitions: 1 to 256. Default: the processors that this process may use.
    pub worker_threads: usize,
    /// Bytes read from the log at once, per partition; as much is read ahead: 64 KiB to 64 MiB. Default 1 MiB.
    pub read_bytes_max: usize,
    /// How long a partition may keep a thread while others wait, in milliseconds: 1 to 1,000. Default 5.
    pub turn_ms_max: u64,
    /// The shortest time between two commits of a partition that has caught up, in milliseconds: 0 to 1,000. Default 2.
    pub commit_ms_min: u64,
    /// The longest time before processed events are committed, in milliseconds: 1 to 60,000. Default 500. While a partition is
    /// behind and its commits take over a twentieth of the time, up to four times as long.
    pub commit_ms_max: u64,
    /// Bytes of uncommitted changes of a partition: 64 KiB to 1 GiB. Default 16 MiB.
    pub pending_bytes_max: usize,
    /// The pause after a failure of the store or the log, in milliseconds; it doubles up to `failure_ms_max`: 1 to 60,000.
    /// Default 100.
    pub failure_ms_min: u64,
    /// The longest pause after a failure, in milliseconds: `failure_ms_min` to 600,000. Default 10,000.
    pub failure_ms_max: u64,
    /// How many events each partition of a rebuilt view may be behind when the running one is held to switch over: 1 to
    /// 10,000,000. Default 10,000.
    pub switch_events_max: u64,
    /// How long a running view may be held for a switch, in milliseconds: 10 to 60,000. Default 2,000.
    pub switch_ms_max: u64,
    /// How long a shutdown may take to finish and commit what is under way, in milliseconds: 0 to 600,000. Default 10,000.
    pub drain_ms_max: u64,
    /// When events that cannot be processed are tried again.
    pub retry: gate::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            worker_threads: std::thread::available_parallelism().map_or(1, Into::into).min(256),
            read_bytes_max: 1 << 20,
            turn_ms_max: 5,
            commit_ms_min: 2,
            commit_ms_max: 500,
            pending_bytes_max: 16 << 20,
            failure_ms_min: 100,
            failure_ms_max: 10_000,
            switch_events_max: 10_000,
            switch_ms_max: 2_000,
            drain_ms_max: 10_000,
            retry: gate::Options::default(),
        }
    }
}

impl Options {
    /// How long to pause after so many failures in a row.
    pub(crate) fn failure_pause(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        Duration::from_millis(self.failure_ms_min.saturating_mul(1 << doublings).min(self.failure_ms_max))
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] names the first option that is outside its bounds.
    pub fn check(&self) -> Result<(), Error> {
        let bytes = |value: usize| value as u64;
        let checks = [
            ("worker_threads", bytes(self.worker_threads), 1..=256, "1 to 256"),
            ("read_bytes_max", bytes(self.read_bytes_max), 1 << 16..=64 << 20, "65536 to 67108864 bytes"),
            ("turn_ms_max", self.turn_ms_max, 1..=1_000, "1 to 1000 ms"),
            ("commit_ms_min", self.commit_ms_min, 0..=1_000, "0 to 1000 ms"),
            ("commit_ms_max", self.commit_ms_max, 1..=60_000, "1 to 60000 ms"),
            (
                "pending_bytes_max",
                bytes(self.pending_bytes_max),
                1 << 16..=1 << 30,
                "65536 to 1073741824 bytes",
            ),
            ("failure_ms_min", self.failure_ms_min, 1..=60_000, "1 to 60000 ms"),
            (
                "failure_ms_max",
                self.failure_ms_max,
                self.failure_ms_min..=600_000,
                "failure_ms_min to 600000 ms",
            ),
            ("switch_events_max", self.switch_events_max, 1..=10_000_000, "1 to 10000000 events"),
            ("switch_ms_max", self.switch_ms_max, 10..=60_000, "10 to 60000 ms"),
            ("drain_ms_max", self.drain_ms_max, 0..=600_000, "0 to 600000 ms"),
        ];
        for (option, value, range, bounds) in checks {
            if !range.contains(&value) {
                return Err(Error::InvalidOption { option, value, bounds });
            }
        }
        Ok(self.retry.check()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_bounds_and_unknown_options_are_errors() {
        Options::default().check().unwrap();
        assert!(serde_json::from_str::<Options>(r#"{"threads":1}"#).is_err());
        let options: Options =
            serde_json::from_str(r#"{"commit_ms_max":0,"retry":{"attempts_max":3}}"#).unwrap();
        assert_eq!(options.retry.attempts_max, 3);
        assert_eq!(
            options.check().unwrap_err().to_string(),
            "processing option `commit_ms_max` is 0, outside 1 to 60000 ms"
        );
    }
}
