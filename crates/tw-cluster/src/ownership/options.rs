//! The options of a node's part in the cluster.

use crate::{Error, LeaseOptions, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tw_plan::{detection, placement};

/// How a node takes part in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OwnersOptions {
    /// The lease on which its registration rests. A node that is silent for so long is taken for dead.
    pub lease: LeaseOptions,
    /// How units are placed, where this node leads.
    pub placement: placement::Options,
    /// How soon a node that does not answer is taken for dead, before its lease has ended.
    pub detection: detection::Options,
    /// How long the leader waits after a node has joined before it plans, so that nodes that start together are planned for
    /// together, in milliseconds: 0 to 60,000. Nobody waits after a node has left.
    pub settle_ms: u64,
    /// How often the leader looks whether the plan could be better, in milliseconds: 100 to 3,600,000.
    pub review_ms: u64,
    /// How often a node looks whether a unit that it is to take over is warm, in milliseconds: 1 to 10,000.
    pub warm_poll_ms: u64,
    /// How long a node that ends may take to give up what it has, in milliseconds: 100 to 600,000.
    pub leave_ms_max: u64,
    /// How many claims are stored at a time: 1 to 1,024.
    pub acts_max: u32,
}

impl Default for OwnersOptions {
    fn default() -> Self {
        Self {
            lease: LeaseOptions { ttl_ms: 3_000, ..LeaseOptions::default() },
            placement: placement::Options::default(),
            detection: detection::Options::default(),
            settle_ms: 200,
            review_ms: 5_000,
            warm_poll_ms: 20,
            leave_ms_max: 10_000,
            acts_max: 64,
        }
    }
}

impl OwnersOptions {
    /// Checks every bound.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn check(&self) -> Result<()> {
        self.lease.check()?;
        self.placement.check()?;
        self.detection.check()?;
        for (option, value, min, max, rule) in [
            ("settle_ms", self.settle_ms, 0, 60_000, "0 to 60,000"),
            ("review_ms", self.review_ms, 100, 3_600_000, "100 to 3,600,000"),
            ("warm_poll_ms", self.warm_poll_ms, 1, 10_000, "1 to 10,000"),
            ("leave_ms_max", self.leave_ms_max, 100, 600_000, "100 to 600,000"),
            ("acts_max", self.acts_max.into(), 1, 1_024, "1 to 1,024"),
        ] {
            if !(min..=max).contains(&value) {
                return Err(Error::InvalidOption { option, value: value.to_string(), rule });
            }
        }
        Ok(())
    }

    pub(super) fn leave_max(&self) -> Duration {
        Duration::from_millis(self.leave_ms_max)
    }
}
