//! The bounds of failure detection.

use crate::Error;
use crate::error::check;
use serde::{Deserialize, Serialize};

/// How soon a node is suspected, and how many are believed to be dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// How often each node probes each other one, in milliseconds: 10 to 10,000. Default 200.
    pub probe_ms: u64,
    /// How long a probe waits for its answer, in milliseconds: `probe_ms` to 10,000. Default 400.
    pub probe_ms_max: u64,
    /// How long a node may be silent before it is suspected, in milliseconds: 2 · `probe_ms` + `probe_ms_max` to 600,000. A node
    /// that stands still for this time less twice `probe_ms` is not suspected. Default 1,600.
    pub silent_ms_max: u64,
    /// After how many refused probes in a row a node is suspected: 2 to 100. Its machine says that nobody listens, so this is
    /// sooner. Default 3.
    pub refused_max: u32,
    /// How long this node may have stood still itself, in milliseconds, before what it has not heard meanwhile is not held
    /// against the others: 2 · `probe_ms` to 60,000. Default 500.
    pub away_ms_max: u64,
    /// How long a majority has to suspect a node before it is evicted, in milliseconds: 0 to 60,000. If it is the network, the
    /// other suspicions come in meanwhile. Default 200.
    pub settle_ms: u64,
    /// The time in which no more than a minority of the nodes is evicted, in milliseconds: 1,000 to 86,400,000. Default 30,000.
    pub window_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            probe_ms: 200,
            probe_ms_max: 400,
            silent_ms_max: 1_600,
            refused_max: 3,
            away_ms_max: 500,
            settle_ms: 200,
            window_ms: 30_000,
        }
    }
}

impl Options {
    /// Checks every bound.
    ///
    /// # Errors
    /// [`Error::Option`]: the first option that is outside its bounds.
    pub fn check(&self) -> Result<(), Error> {
        check([
            ("probe_ms", self.probe_ms, 10..=10_000, "10 to 10000 ms"),
            ("probe_ms_max", self.probe_ms_max, self.probe_ms..=10_000, "probe_ms to 10000 ms"),
            (
                "silent_ms_max",
                self.silent_ms_max,
                2 * self.probe_ms + self.probe_ms_max..=600_000,
                "2 * probe_ms + probe_ms_max to 600000 ms",
            ),
            ("refused_max", self.refused_max.into(), 2..=100, "2 to 100 probes"),
            ("away_ms_max", self.away_ms_max, 2 * self.probe_ms..=60_000, "2 * probe_ms to 60000 ms"),
            ("settle_ms", self.settle_ms, 0..=60_000, "0 to 60000 ms"),
            ("window_ms", self.window_ms, 1_000..=86_400_000, "1000 to 86400000 ms"),
        ])
    }
}
