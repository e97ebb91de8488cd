//! What really happened: events, and exactly which ones each of them knew of.

use crate::{Seen, Span};
use std::collections::BTreeMap;
use tw_types::{Epoch, PartitionId, RegionId, StreamId, StreamPartition};

pub(super) fn partition(number: u32) -> StreamPartition {
    StreamPartition::new(StreamId(1), PartitionId(number))
}

/// A set of events: of each region's epoch and partition all up to a sequence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct History(pub(super) BTreeMap<(RegionId, Epoch, u32), u64>);

impl History {
    /// What this lacks of another one.
    pub(super) fn lacks(&self, other: &Self) -> Option<((RegionId, Epoch, u32), u64)> {
        let here = |key| self.0.get(key).copied().unwrap_or(0);
        other.0.iter().find(|(key, until)| here(key) < **until).map(|(key, until)| (*key, *until))
    }

    pub(super) fn join(&mut self, other: &Self) {
        for (key, until) in &other.0 {
            self.add(*key, *until);
        }
    }

    pub(super) fn add(&mut self, key: (RegionId, Epoch, u32), until: u64) {
        let known = self.0.entry(key).or_default();
        *known = until.max(*known);
    }
}

impl FromIterator<((RegionId, Epoch, u32), u64)> for History {
    fn from_iter<I: IntoIterator<Item = ((RegionId, Epoch, u32), u64)>>(events: I) -> Self {
        let mut history = Self::default();
        events.into_iter().for_each(|(key, until)| history.add(key, until));
        history
    }
}

/// A block in a region's log.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) span: Span,
    /// What its writer told of what it had seen.
    pub(super) seen: Seen,
    /// What its writer really knew of, and what these knew of in turn.
    pub(super) knew: History,
}
