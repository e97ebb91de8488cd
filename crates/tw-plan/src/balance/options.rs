//! The bounds of balancing.

use crate::Error;
use crate::error::check;
use serde::{Deserialize, Serialize};

/// How a node is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// One after another, in proportion to their capacities.
    RoundRobin,
    /// The one with the fewest requests of this sender in flight for its capacity.
    LeastLoaded,
    /// The less loaded one of two that are drawn in proportion to their capacities.
    #[default]
    TwoChoices,
    /// Of a few that are drawn, the one with the lowest product of requests in flight and latency that is not full, by what
    /// nodes report of themselves; without reports, by what this sender knows.
    Adaptive,
    /// The node that the subject prefers by hash, or the next one while that has more than its part of the requests.
    /// Requests without a subject are sent by [`Policy::TwoChoices`].
    Sticky,
}

/// How nodes are chosen for requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The policy. Default `two_choices`.
    pub policy: Policy,
    /// Whether the capacities of nodes count; otherwise all are taken for equal. Default true.
    pub capacity_aware: bool,
    /// How many nodes [`Policy::Adaptive`] draws: 2 to 4. Default 3.
    pub adaptive_choices: u32,
    /// The part of the nodes, in thousandths, that [`Policy::Adaptive`] takes for not full, the ones with fewer requests
    /// first: 100 to 1,000. Default 750.
    pub adaptive_cold_permille: u32,
    /// How long a report counts, in milliseconds: 10 to 60,000. Default 1,000.
    pub report_ms_max: u32,
    /// How often a node is probed, in milliseconds: 1 to `report_ms_max`. Default 50.
    pub probe_ms: u32,
    /// How far [`Policy::Sticky`] lets a node be over its part of the requests in flight, in thousandths: 10 to 10,000.
    /// Default 250.
    pub sticky_epsilon_permille: u32,
    /// So many requests in flight are always within a node's part: 1 to 10,000. Default 4.
    pub sticky_in_flight_min: u32,
    /// The latency that a failed request counts as, in milliseconds, unless it took longer: 1 to 600,000. So a node that
    /// fails quickly does not look fast. Default 5,000.
    pub failure_ms: u32,
    /// After so many failures in a row a node is left alone for a while: 1 to 1,000. Default 3.
    pub failures_max: u32,
    /// For how long, in milliseconds: 1 to 600,000. It doubles with each further failure, up to 64 times. Default 500.
    pub avoid_ms: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            policy: Policy::TwoChoices,
            capacity_aware: true,
            adaptive_choices: 3,
            adaptive_cold_permille: 750,
            report_ms_max: 1_000,
            probe_ms: 50,
            sticky_epsilon_permille: 250,
            sticky_in_flight_min: 4,
            failure_ms: 5_000,
            failures_max: 3,
            avoid_ms: 500,
        }
    }
}

impl Options {
    /// Checks every bound.
    ///
    /// # Errors
    /// [`Error::Option`]: the first option that is outside its bounds.
    pub fn check(&self) -> Result<(), Error> {
        let age = u64::from(self.report_ms_max);
        check([
            ("adaptive_choices", self.adaptive_choices.into(), 2..=4, "2 to 4"),
            (
                "adaptive_cold_permille",
                self.adaptive_cold_permille.into(),
                100..=1_000,
                "100 to 1000 thousandths",
            ),
            ("report_ms_max", age, 10..=60_000, "10 to 60000 ms"),
            ("probe_ms", self.probe_ms.into(), 1..=age, "1 ms to report_ms_max"),
            (
                "sticky_epsilon_permille",
                self.sticky_epsilon_permille.into(),
                10..=10_000,
                "10 to 10000 thousandths",
            ),
            ("sticky_in_flight_min", self.sticky_in_flight_min.into(), 1..=10_000, "1 to 10000"),
            ("failure_ms", self.failure_ms.into(), 1..=600_000, "1 to 600000 ms"),
            ("failures_max", self.failures_max.into(), 1..=1_000, "1 to 1000"),
            ("avoid_ms", self.avoid_ms.into(), 1..=600_000, "1 to 600000 ms"),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_bounds_are_refused_with_the_bound() {
        Options::default().check().unwrap();
        let wrong = Options { probe_ms: 0, ..Options::default() };
        assert_eq!(
            wrong.check().unwrap_err().to_string(),
            "option `probe_ms` is 0, outside 1 ms to report_ms_max"
        );
        assert!(serde_json::from_str::<Options>(r#"{"policy":"best"}"#).is_err());
        let options: Options = serde_json::from_str(r#"{"policy":"least_loaded"}"#).unwrap();
        assert_eq!(options.policy, Policy::LeastLoaded);
    }
}
