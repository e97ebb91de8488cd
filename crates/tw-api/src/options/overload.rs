//! The bounds of overload protection.

use super::InvalidOption;
use crate::door::Class;
use serde::{Deserialize, Serialize};

/// How many requests are worked on at once, for each class of requests that is as quick as its like. The limits find
/// themselves, within these bounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OverloadOptions {
    /// Whether requests are refused when there are more than are worked on in time; if not, only `requests_max` bounds them.
    /// Default true.
    pub enabled: bool,
    /// The lowest limit on appends at once. 1 to 100,000, default 4.
    pub appends_min: u32,
    /// The limit on appends at the start; a higher one comes back to it while there is little to do. `appends_min` to
    /// `appends_max`, default 1,024.
    pub appends_start: u32,
    /// The highest limit on appends at once. `appends_min` to 100,000, default 4,096.
    pub appends_max: u32,
    /// The lowest limit on reads of events and histories at once. 1 to 100,000, default 4.
    pub reads_min: u32,
    /// The limit on reads at the start. `reads_min` to `reads_max`, default 256.
    pub reads_start: u32,
    /// The highest limit on reads at once. `reads_min` to 100,000, default 4,096.
    pub reads_max: u32,
    /// The lowest limit on SQL statements at once. 1 to 100,000, default 2.
    pub queries_min: u32,
    /// The limit on SQL statements at the start. `queries_min` to `queries_max`, default 128.
    pub queries_start: u32,
    /// The highest limit on SQL statements at once. `queries_min` to 100,000, default 1,024.
    pub queries_max: u32,
    /// How much longer requests may take on average than without a queue before their limit is lowered, in thousandths.
    /// 1,000 to 5,000, default 1,300.
    pub tolerance_permille: u32,
    /// A queue of up to this long is tolerated whatever part of the latency it is, in microseconds. 0 to 1 s, default 5 ms.
    pub queue_us_max: u32,
    /// So many requests make a sample of the latency, if `window_ms_max` is not over before. 10 to 10,000, default 100.
    pub window_requests: u32,
    /// A sample ends after this time if it has five requests by then, in milliseconds. 10 ms to 1 min, default 1 s.
    pub window_ms_max: u32,
    /// How long the latency without a queue counts before it is measured again with half of the limit, if requests are
    /// refused, in milliseconds. 1 s to 1 h, default 30 s.
    pub baseline_ms: u32,
    /// The shortest time after which who was refused is told to come back, in milliseconds. 1 ms to 10 min, default 1 s.
    pub retry_ms_min: u32,
    /// The longest, when many more come than can be let in. `retry_ms_min` to 1 h, default 30 s.
    pub retry_ms_max: u32,
}

impl Default for OverloadOptions {
    fn default() -> Self {
        Self {
            enabled: true,
            appends_min: 4,
            appends_start: 1_024,
            appends_max: 4_096,
            reads_min: 4,
            reads_start: 256,
            reads_max: 4_096,
            queries_min: 2,
            queries_start: 128,
            queries_max: 1_024,
            tolerance_permille: 1_300,
            queue_us_max: 5_000,
            window_requests: 100,
            window_ms_max: 1_000,
            baseline_ms: 30_000,
            retry_ms_min: 1_000,
            retry_ms_max: 30_000,
        }
    }
}

impl OverloadOptions {
    pub(super) fn check(&self) -> Result<(), InvalidOption> {
        const MINUTE_MS: u32 = 60_000;
        const MAX: u32 = 100_000;
        let checks = [
            ("overload.appends_min", self.appends_min, 1..=MAX),
            ("overload.appends_max", self.appends_max, self.appends_min..=MAX),
            ("overload.appends_start", self.appends_start, self.appends_min..=self.appends_max),
            ("overload.reads_min", self.reads_min, 1..=MAX),
            ("overload.reads_max", self.reads_max, self.reads_min..=MAX),
            ("overload.reads_start", self.reads_start, self.reads_min..=self.reads_max),
            ("overload.queries_min", self.queries_min, 1..=MAX),
            ("overload.queries_max", self.queries_max, self.queries_min..=MAX),
            ("overload.queries_start", self.queries_start, self.queries_min..=self.queries_max),
            ("overload.tolerance_permille", self.tolerance_permille, 1_000..=5_000),
            ("overload.queue_us_max", self.queue_us_max, 0..=1_000_000),
            ("overload.window_requests", self.window_requests, 10..=10_000),
            ("overload.window_ms_max", self.window_ms_max, 10..=MINUTE_MS),
            ("overload.baseline_ms", self.baseline_ms, 1_000..=60 * MINUTE_MS),
            ("overload.retry_ms_min", self.retry_ms_min, 1..=10 * MINUTE_MS),
            ("overload.retry_ms_max", self.retry_ms_max, self.retry_ms_min..=60 * MINUTE_MS),
        ];
        super::within(checks)
    }

    /// What the limiter of a class works by.
    pub(crate) fn of(&self, class: Class) -> tw_plan::overload::Options {
        let (limit_min, limit_start, limit_max) = match class {
            Class::Appends => (self.appends_min, self.appends_start, self.appends_max),
            Class::Reads => (self.reads_min, self.reads_start, self.reads_max),
            Class::Queries => (self.queries_min, self.queries_start, self.queries_max),
        };
        tw_plan::overload::Options {
            limit_min,
            limit_start,
            limit_max,
            tolerance_permille: self.tolerance_permille,
            queue_us_max: self.queue_us_max,
            window_requests: self.window_requests,
            window_ms_max: self.window_ms_max,
            baseline_ms: self.baseline_ms,
            retry_ms_min: self.retry_ms_min,
            retry_ms_max: self.retry_ms_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(options: &OverloadOptions) -> String {
        options.check().unwrap_err().to_string()
    }

    #[test]
    fn bounds_are_said_with_the_name_of_the_option() {
        let options = OverloadOptions { reads_start: 2, ..OverloadOptions::default() };
        assert_eq!(refused(&options), "option `overload.reads_start` is 2, outside 4 to 4096");
        let options = OverloadOptions { retry_ms_max: 999, ..OverloadOptions::default() };
        assert_eq!(refused(&options), "option `overload.retry_ms_max` is 999, outside 1000 to 3600000");
        assert!(serde_json::from_str::<OverloadOptions>(r#"{"writes_max":1}"#).is_err());
    }

    proptest! {
        #[test]
        fn what_is_accepted_here_every_limiter_accepts(
            limits in prop::array::uniform9(prop_oneof![0u32..10, 0u32..200_000]),
            rest in prop::array::uniform4(prop_oneof![0u32..12_000, 0u32..4_000_000]),
        ) {
            let [appends_min, appends_start, appends_max, reads_min, reads_start, reads_max, ..] = limits;
            let [.., queries_min, queries_start, queries_max] = limits;
            let [tolerance_permille, queue_us_max, window_requests, retry_ms_min] = rest;
            let options = OverloadOptions {
                appends_min, appends_start, appends_max, reads_min, reads_start, reads_max, queries_min, queries_start,
                queries_max, tolerance_permille, queue_us_max, window_requests, retry_ms_min,
                ..OverloadOptions::default()
            };
            if options.check().is_ok() {
                for class in Class::ALL {
                    prop_assert!(options.of(class).check().is_ok(), "{:?}", options);
                }
            }
        }
    }
}
