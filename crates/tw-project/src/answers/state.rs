//! What an answer was made of, so that it can be told from what would be read now.

use crate::engine::Committed;
use std::sync::Arc;
use tw_log::Log;
use tw_types::{Offset, PartitionId, StreamDef, StreamPartition};
use xxhash_rust::xxh3::xxh3_64;

/// A table of a statement, as it is defined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The state of a view: its name, the number of its definition, how many partitions it has.
    View { table: String, view: String, definition: u64, partitions: u32 },
    /// The events of a stream: as events, or as rows.
    Events { table: String, stream: Arc<StreamDef>, as_events: bool },
}

/// What was read at one moment: equal states have equal rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// Of each node that has something of it, the number of that ([`Fingerprint`]); sorted.
    pub(crate) nodes: Vec<u64>,
    /// Where the partitions of histories start, and end.
    pub(crate) histories: Vec<(Offset, Offset)>,
}

impl State {
    /// Whether the events of these streams are still there that have been read as rows.
    pub(crate) fn is_there(&self, log: &dyn Log, streams: &[Arc<StreamDef>]) -> bool {
        let partitions = streams.iter().flat_map(|stream| {
            (0..stream.partitions).map(|partition| StreamPartition::new(stream.id, PartitionId(partition)))
        });
        let mut all = partitions.zip(&self.histories);
        all.all(|(at, (start, _))| log.bounds(at).is_ok_and(|bounds| bounds.start == *start))
    }
}

/// The number of the parts of views that a process has at one moment. Equal numbers mean equal states, up to a collision of 64 bits of
/// XXH3 with the one answer that it is compared with.
pub(crate) struct Fingerprint {
    bytes: Vec<u8>,
    is_known: bool,
}

impl Fingerprint {
    /// Of nothing yet; no other process has the number `process`.
    pub(super) fn new(process: u64) -> Self {
        Self { bytes: process.to_le_bytes().to_vec(), is_known: true }
    }

    /// Adds a partition. The spans of time for which partitions have been at work tell views, generations and partitions apart.
    pub(crate) fn add(&mut self, Committed { end, span }: Committed) {
        self.is_known &= span.is_some();
        self.bytes.extend(span.unwrap_or_default().to_le_bytes());
        self.bytes.extend(end.0.to_le_bytes());
    }

    /// None when the state of one partition can change while its end stays.
    pub(crate) fn finish(self) -> Option<u64> {
        self.is_known.then(|| xxh3_64(&self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(process: u64, parts: &[(Option<u64>, u64)]) -> Option<u64> {
        let mut fingerprint = Fingerprint::new(process);
        parts.iter().for_each(|&(span, end)| fingerprint.add(Committed { end: Offset(end), span }));
        fingerprint.finish()
    }

    #[test]
    fn only_the_same_state_of_the_same_process_has_the_same_number() {
        let parts = [(Some(1), 10), (Some(2), 20)];
        let known = number(7, &parts).unwrap();
        assert_eq!(number(7, &parts), Some(known));
        let others = [vec![], vec![parts[0]], vec![parts[1], parts[0]], vec![(Some(1), 10), (Some(2), 21)]];
        for other in others.iter().chain([&vec![(Some(1), 10), (Some(3), 20)]]) {
            assert_ne!(number(7, other), Some(known), "{other:?}");
        }
        assert_ne!(number(8, &parts), Some(known));
        assert_eq!(number(7, &[parts[0], (None, 20)]), None);
    }
}
