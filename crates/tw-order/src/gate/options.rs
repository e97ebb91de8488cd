//! The bounds of the gate.

use serde::{Deserialize, Serialize};

/// How often and for how long an event is retried, and how much the gate keeps in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Attempts to process an event before it is parked: 1 to 1,000. Default 8.
    pub attempts_max: u32,
    /// The pause after the first attempt, in milliseconds; it doubles with each further one: 1 to 3,600,000. Default 100.
    pub retry_ms_min: u64,
    /// The longest pause between two attempts, in milliseconds: `retry_ms_min` to 86,400,000. Default 60,000.
    pub retry_ms_max: u64,
    /// Subjects that are retried at the same time, per partition: 1 to 1,000,000. When so many are, an event of a further
    /// subject is parked after its first attempt. Default 10,000.
    pub retrying_max: usize,
    /// Blocked subjects that are kept in memory, per partition: 1 to 10,000,000. Further ones are looked up in the state,
    /// which costs a read per event. Default 50,000.
    pub lanes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            attempts_max: 8,
            retry_ms_min: 100,
            retry_ms_max: 60_000,
            retrying_max: 10_000,
            lanes_max: 50_000,
        }
    }
}

/// An option outside its bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("retry option `{option}` is {value}, outside {bounds}")]
pub struct InvalidOption {
    /// The option's name.
    pub option: &'static str,
    /// The refused value.
    pub value: u64,
    /// What is allowed, with the unit.
    pub bounds: &'static str,
}

impl Options {
    /// Checks every bound.
    ///
    /// # Errors
    /// The first option that is outside its bounds.
    pub fn check(&self) -> Result<(), InvalidOption> {
        let checks = [
            ("attempts_max", u64::from(self.attempts_max), 1..=1_000, "1 to 1000"),
            ("retry_ms_min", self.retry_ms_min, 1..=3_600_000, "1 to 3600000 ms"),
            (
                "retry_ms_max",
                self.retry_ms_max,
                self.retry_ms_min..=86_400_000,
                "retry_ms_min to 86400000 ms",
            ),
            ("retrying_max", self.retrying_max as u64, 1..=1_000_000, "1 to 1000000"),
            ("lanes_max", self.lanes_max as u64, 1..=10_000_000, "1 to 10000000"),
        ];
        for (option, value, range, bounds) in checks {
            if !range.contains(&value) {
                return Err(InvalidOption { option, value, bounds });
            }
        }
        Ok(())
    }

    /// The pause after the attempt number `attempts`, in milliseconds.
    pub(super) fn pause_ms(&self, attempts: u32) -> u64 {
        let doublings = attempts.saturating_sub(1).min(40);
        self.retry_ms_min.saturating_mul(1 << doublings).min(self.retry_ms_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit() {
        let options = Options { retry_ms_min: 100, retry_ms_max: 1_000, ..Options::default() };
        let pauses: Vec<_> = (1..=6).map(|attempt| options.pause_ms(attempt)).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(options.pause_ms(u32::MAX), 1_000);
    }

    #[test]
    fn options_out_of_bounds_are_refused_with_the_bound() {
        Options::default().check().unwrap();
        let wrong = Options { retry_ms_max: 5, ..Options::default() };
        assert_eq!(
            wrong.check().unwrap_err().to_string(),
            "retry option `retry_ms_max` is 5, outside retry_ms_min to 86400000 ms"
        );
        assert!(serde_json::from_str::<Options>(r#"{"attempts":1}"#).is_err());
    }
}
