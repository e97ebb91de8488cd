//! The bounds of overload protection.

use crate::Error;
use crate::error::check;
use serde::{Deserialize, Serialize};

/// How many requests may be inside, and how that number is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The lowest limit, in requests at once: 1 to 100,000. No more than the node can work on
    /// at the same time. Default 2.
    pub limit_min: u32,
    /// The limit at the start; a higher one comes back to it while there is little to do: `limit_min` to `limit_max`.
    /// Default 32.
    pub limit_start: u32,
    /// The highest limit: `limit_min` to 1,000,000. Default 4,096.
    pub limit_max: u32,
    /// How much longer requests may take than without a queue, on average, before the limit is lowered, in thousandths:
    /// 1,000 to 5,000. Default 1,300.
    pub tolerance_permille: u32,
    /// A queue of up to this long is tolerated whatever part of the latency it is, in microseconds: 0 to 1,000,000. For requests
    /// that are so quick that chance is a large part of how long they take, or that are carried out together. Default 0.
    pub queue_us_max: u32,
    /// So many requests make a sample, if `window_ms_max` is not over before: 10 to 10,000. Default 100.
    pub window_requests: u32,
    /// A sample ends after this time, in milliseconds, if it has five requests by then: 10 to 60,000. Default 1,000.
    pub window_ms_max: u32,
    /// How long the latency without a queue counts, in milliseconds, before it is measured again with half of the limit:
    /// 1,000 to 3,600,000. Default 30,000.
    pub baseline_ms: u32,
    /// The shortest time after which a refused client is told to come back, in milliseconds: 1 to 600,000. Default 1,000.
    pub retry_ms_min: u32,
    /// The longest: `retry_ms_min` to 3,600,000. Default 30,000.
    pub retry_ms_max: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limit_min: 2,
            limit_start: 32,
            limit_max: 4_096,
            tolerance_permille: 1_300,
            queue_us_max: 0,
            window_requests: 100,
            window_ms_max: 1_000,
            baseline_ms: 30_000,
            retry_ms_min: 1_000,
            retry_ms_max: 30_000,
        }
    }
}

impl Options {
    /// Checks every bound.
    ///
    /// # Errors
    /// [`Error::Option`]: the first option that is outside its bounds.
    pub fn check(&self) -> Result<(), Error> {
        let (min, max) = (u64::from(self.limit_min), u64::from(self.limit_max));
        let retry_min = u64::from(self.retry_ms_min);
        check([
            ("limit_min", min, 1..=100_000, "1 to 100000 requests"),
            ("limit_max", max, min..=1_000_000, "limit_min to 1000000 requests"),
            ("limit_start", self.limit_start.into(), min..=max, "limit_min to limit_max"),
            ("tolerance_permille", self.tolerance_permille.into(), 1_000..=5_000, "1000 to 5000 thousandths"),
            ("queue_us_max", self.queue_us_max.into(), 0..=1_000_000, "0 to 1000000 us"),
            ("window_requests", self.window_requests.into(), 10..=10_000, "10 to 10000 requests"),
            ("window_ms_max", self.window_ms_max.into(), 10..=60_000, "10 to 60000 ms"),
            ("baseline_ms", self.baseline_ms.into(), 1_000..=3_600_000, "1000 to 3600000 ms"),
            ("retry_ms_min", retry_min, 1..=600_000, "1 to 600000 ms"),
            ("retry_ms_max", self.retry_ms_max.into(), retry_min..=3_600_000, "retry_ms_min to 3600000 ms"),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_bounds_are_refused_with_the_bound() {
        Options::default().check().unwrap();
        let wrong = Options { limit_start: 5_000, ..Options::default() };
        assert_eq!(
            wrong.check().unwrap_err().to_string(),
            "option `limit_start` is 5000, outside limit_min to limit_max"
        );
        assert!(serde_json::from_str::<Options>(r#"{"limit":1}"#).is_err());
    }
}
