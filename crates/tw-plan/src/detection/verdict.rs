//! Verdicts: who is evicted, when, and how many at most.

use super::{Options, Suspects};
use std::collections::{BTreeMap, VecDeque};
use tw_types::NodeId;

/// How long the one who decides waits before it evicts again who is registered still, in milliseconds.
const AGAIN_MS: u64 = 1_000;

/// What was decided lately.
#[derive(Debug, Clone, Default)]
pub(super) struct Verdicts {
    /// Since when a node is condemned, in that incarnation.
    condemned: BTreeMap<(NodeId, u64), u64>,
    /// When which node was evicted, within the window.
    evicted: VecDeque<(u64, NodeId, u64)>,
    /// How many nodes there were, within the window.
    counts: VecDeque<(u64, usize)>,
}

impl Verdicts {
    /// So many nodes are registered now.
    pub(super) fn members(&mut self, count: usize, now_ms: u64, options: &Options) {
        self.forget(now_ms, options);
        if self.counts.back().is_none_or(|(_, last)| *last != count) {
            self.counts.push_back((now_ms, count));
        }
    }

    /// Somebody else decides.
    pub(super) fn rest(&mut self) {
        self.condemned.clear();
    }

    /// Who is to be evicted now.
    pub(super) fn due(&mut self, condemned: Suspects, now_ms: u64, options: &Options) -> Suspects {
        self.forget(now_ms, options);
        self.condemned.retain(|(node, incarnation), _| condemned.get(node) == Some(incarnation));
        for (node, incarnation) in condemned {
            self.condemned.entry((node, incarnation)).or_insert(now_ms);
        }
        let is_new = |(node, incarnation): &&(NodeId, u64)| {
            !self.evicted.iter().any(|(_, other, of)| (other, of) == (node, incarnation))
        };
        // A network that is down is not many dead nodes: then none is evicted, and leases end where they must.
        if self.evicted_nodes() + self.condemned.keys().filter(is_new).count() > self.most() {
            return Suspects::new();
        }
        let is_due = |one: &(NodeId, u64), since_ms: u64| {
            let last = self.evicted.iter().filter(|(_, node, of)| (node, of) == (&one.0, &one.1));
            let last_ms = last.map(|(at_ms, _, _)| *at_ms).max();
            now_ms >= since_ms + options.settle_ms
                && last_ms.is_none_or(|last_ms| now_ms >= last_ms + AGAIN_MS)
        };
        let due: Suspects = self
            .condemned
            .iter()
            .filter(|(one, since_ms)| is_due(one, **since_ms))
            .map(|(one, _)| one.clone())
            .collect();
        self.evicted.extend(due.iter().map(|(node, incarnation)| (now_ms, node.clone(), *incarnation)));
        due
    }

    /// When somebody is to be evicted who is not yet.
    pub(super) fn wake_at_ms(&self, options: &Options) -> Option<u64> {
        self.condemned.values().map(|since_ms| since_ms + options.settle_ms).min()
    }

    /// How many may be evicted within the window: a minority of all that there were, but one in any case.
    fn most(&self) -> usize {
        let count = self.counts.iter().map(|(_, count)| *count).max().unwrap_or_default();
        (count.saturating_sub(1) / 2).max(1)
    }

    /// How many registrations were ended within the window.
    fn evicted_nodes(&self) -> usize {
        let mut evicted: Vec<_> =
            self.evicted.iter().map(|(_, node, incarnation)| (node, incarnation)).collect();
        evicted.sort_unstable();
        evicted.dedup();
        evicted.len()
    }

    fn forget(&mut self, now_ms: u64, options: &Options) {
        let is_old = |at_ms: u64| at_ms + options.window_ms < now_ms;
        self.evicted.retain(|(at_ms, _, _)| !is_old(*at_ms));
        // The last count holds until there is another one.
        while self.counts.len() > 1 && self.counts.get(1).is_some_and(|(at_ms, _)| is_old(*at_ms)) {
            self.counts.pop_front();
        }
    }
}
