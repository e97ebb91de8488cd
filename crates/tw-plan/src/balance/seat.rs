//! What a sender knows of one node.

use super::Options;
use crate::hash::hash_of;
use serde::{Deserialize, Serialize};
use tw_types::NodeId;

/// A node that requests may be sent to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Its name.
    pub node: NodeId,
    /// What it can do next to others, in any unit that is the same for all; 0 counts as 1.
    pub capacity: u32,
}

/// What a node says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// How many requests it is working on, of all senders.
    pub in_flight: u32,
    /// How long requests took lately, in microseconds.
    pub latency_us: u64,
}

/// How a request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The node answered. An answer that says that the request was wrong is one, too.
    Answered,
    /// There was no answer, or one that says that the node is broken.
    Failed,
    /// The node refused it because it has too much to do.
    Refused {
        /// For how long it is to be left alone, in milliseconds.
        retry_after_ms: u32,
    },
    /// Nobody waits for the answer any more, which says nothing about the node.
    Dropped,
}

/// An average moves by this part towards each new latency.
const SMOOTHING: u64 = 8;
/// A node is left alone for at most so many doublings of `avoid_ms`.
const DOUBLINGS_MAX: u32 = 6;

#[derive(Debug, Clone)]
pub(super) struct Seat {
    pub(super) node: NodeId,
    pub(super) hash: u64,
    pub(super) capacity: u64,
    /// Requests of this sender.
    pub(super) in_flight: u32,
    /// The average latency that this sender saw; 0 before the first answer.
    pub(super) latency_us: u64,
    pub(super) avoid_until_us: u64,
    pub(super) probed_us: Option<u64>,
    /// What smooth weighted round robin has given it so far.
    pub(super) credit: i64,
    reported: Option<(Report, u64)>,
    /// Sent less done since the report.
    since_report: i64,
    failures: u32,
}

impl Seat {
    pub(super) fn new(node: &NodeId) -> Self {
        Self {
            node: node.clone(),
            hash: hash_of(node.as_str()),
            capacity: 1,
            in_flight: 0,
            latency_us: 0,
            avoid_until_us: 0,
            probed_us: None,
            credit: 0,
            reported: None,
            since_report: 0,
            failures: 0,
        }
    }

    pub(super) fn sent(&mut self) {
        self.in_flight += 1;
        self.since_report += 1;
    }

    pub(super) fn done(&mut self, options: &Options, latency_us: u64, outcome: Outcome, now_us: u64) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.since_report -= 1;
        let avoid_us = u64::from(options.avoid_ms) * 1_000;
        match outcome {
            Outcome::Answered => {
                self.failures = 0;
                self.learn(latency_us);
            }
            Outcome::Failed => {
                self.failures = self.failures.saturating_add(1);
                self.learn(latency_us.max(u64::from(options.failure_ms) * 1_000));
                if let Some(more) = self.failures.checked_sub(options.failures_max) {
                    let until_us = now_us.saturating_add(avoid_us << more.min(DOUBLINGS_MAX));
                    self.avoid_until_us = self.avoid_until_us.max(until_us);
                }
            }
            // It says nothing about how fast the node works.
            Outcome::Refused { retry_after_ms } => {
                let until_us = now_us.saturating_add(u64::from(retry_after_ms) * 1_000);
                self.avoid_until_us = self.avoid_until_us.max(until_us);
            }
            Outcome::Dropped => {}
        }
    }

    fn learn(&mut self, latency_us: u64) {
        let (old, new) = (u128::from(self.latency_us), u128::from(latency_us.max(1)));
        let part = u128::from(SMOOTHING);
        self.latency_us = if old == 0 { new } else { (old * (part - 1) + new).div_ceil(part) } as u64;
    }

    pub(super) fn report(&mut self, report: Report, now_us: u64) {
        self.reported = Some((report, now_us));
        self.probed_us = Some(now_us);
        self.since_report = 0;
    }

    /// The last report, if it still counts, with what this sender changed since.
    pub(super) fn fresh_report(&self, options: &Options, now_us: u64) -> Option<Report> {
        let (report, at_us) = self.reported?;
        let age_us = now_us.saturating_sub(at_us);
        let in_flight =
            (i64::from(report.in_flight) + self.since_report).clamp(0, i64::from(u32::MAX)) as u32;
        (age_us <= u64::from(options.report_ms_max) * 1_000).then_some(Report { in_flight, ..report })
    }
}
