//! A segment of the log, as readers and the cleaner know it.

use super::index::{Index, Run, StoredIndex, StoredSummary, Summary};
use super::layout::SegmentId;
use super::record::SegmentEntry;
use parking_lot::RwLock;
use std::path::PathBuf;
use std::sync::Arc;
use tw_types::{Offset, StreamPartition};
use tw_wire::BlockHeader;

/// A segment file and its index. Whoever holds an `Arc` of it may read the file: it is not recycled before the last
/// one is gone.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    pub(crate) salt: u64,
    pub(crate) path: PathBuf,
    contents: RwLock<Contents>,
}

#[derive(Debug)]
enum Contents {
    /// Frames are still added.
    Growing(Index),
    /// It ends at `end`; the index is in memory until it is stored.
    Sealed { end: u64, index: Arc<Index> },
    /// The runs are in the index file.
    Stored(StoredIndex),
}

/// Where the runs of a partition are.
#[derive(Debug)]
pub(crate) enum Runs {
    /// Here: those from the wanted offset on, as many as were wanted.
    Here(Vec<Run>),
    /// In the index file.
    Stored(StoredSummary),
    /// The segment has none.
    None,
}

impl Segment {
    /// A segment that starts with what `index` knows already.
    pub(crate) fn growing(id: SegmentId, salt: u64, path: PathBuf, index: Index) -> Self {
        Self { id, salt, path, contents: RwLock::new(Contents::Growing(index)) }
    }

    /// A segment whose index is stored.
    pub(crate) fn stored(path: PathBuf, index: StoredIndex) -> Self {
        Self { id: index.id, salt: index.salt, path, contents: RwLock::new(Contents::Stored(index)) }
    }

    /// Notes blocks and where they lie.
    pub(crate) fn add<'a>(&self, blocks: impl Iterator<Item = (u64, &'a BlockHeader)>) {
        if let Contents::Growing(index) = &mut *self.contents.write() {
            for (position, header) in blocks {
                index.add(header, position);
            }
        }
    }

    /// Ends the segment at `end`.
    pub(crate) fn seal(&self, end: u64) {
        let mut contents = self.contents.write();
        if let Contents::Growing(index) = &mut *contents {
            let index = Arc::new(std::mem::take(index));
            *contents = Contents::Sealed { end, index };
        }
    }

    /// The index that is still to be stored, and the end of the segment.
    pub(crate) fn unstored(&self) -> Option<(Arc<Index>, u64)> {
        match &*self.contents.read() {
            Contents::Sealed { end, index } => Some((index.clone(), *end)),
            Contents::Growing(_) | Contents::Stored(_) => None,
        }
    }

    /// Says that the index is stored.
    pub(crate) fn set_stored(&self, index: StoredIndex) {
        *self.contents.write() = Contents::Stored(index);
    }

    /// Takes an index back into memory, because the stored one is damaged.
    pub(crate) fn set_rebuilt(&self, index: Index) {
        let end = self.end();
        *self.contents.write() = Contents::Sealed { end, index: Arc::new(index) };
    }

    /// The position after the last frame; 0 while it grows.
    pub(crate) fn end(&self) -> u64 {
        match &*self.contents.read() {
            Contents::Growing(_) => 0,
            Contents::Sealed { end, .. } => *end,
            Contents::Stored(index) => index.end,
        }
    }

    /// Whether nothing is added any more.
    pub(crate) fn is_sealed(&self) -> bool {
        !matches!(&*self.contents.read(), Contents::Growing(_))
    }

    /// What the log's records say of it.
    pub(crate) fn entry(&self) -> SegmentEntry {
        SegmentEntry { id: self.id, salt: self.salt, end: self.end() }
    }

    /// What it holds of a partition.
    pub(crate) fn summary(&self, at: StreamPartition) -> Option<Summary> {
        match &*self.contents.read() {
            Contents::Growing(index) => index.summary(at),
            Contents::Sealed { index, .. } => index.summary(at),
            Contents::Stored(index) => index.get(at).map(|stored| stored.summary),
        }
    }

    /// What it holds of each partition.
    pub(crate) fn summaries(&self) -> Vec<Summary> {
        match &*self.contents.read() {
            Contents::Growing(index) => index.summaries().collect(),
            Contents::Sealed { index, .. } => index.summaries().collect(),
            Contents::Stored(index) => index.summaries.iter().map(|stored| stored.summary).collect(),
        }
    }

    /// Where the blocks of a partition from `from` on are; runs of about `bytes_max` bytes.
    pub(crate) fn runs(&self, at: StreamPartition, from: Offset, bytes_max: u64) -> Runs {
        match &*self.contents.read() {
            Contents::Growing(index) => here(index.runs(at), from, bytes_max),
            Contents::Sealed { index, .. } => here(index.runs(at), from, bytes_max),
            Contents::Stored(index) => index.get(at).map_or(Runs::None, |stored| Runs::Stored(*stored)),
        }
    }
}

fn here(runs: &[Run], from: Offset, bytes_max: u64) -> Runs {
    if runs.is_empty() { Runs::None } else { Runs::Here(select(runs, from, bytes_max)) }
}

/// The runs from the one that may hold `from` on, until they have `bytes_max` bytes.
pub(crate) fn select(runs: &[Run], from: Offset, bytes_max: u64) -> Vec<Run> {
    let first = runs.partition_point(|run| run.base <= from).saturating_sub(1);
    let runs = runs.get(first..).unwrap_or_default();
    runs.iter().take(count(runs, bytes_max)).copied().collect()
}

/// How many runs at the front have `bytes_max` bytes.
pub(crate) fn count(runs: &[Run], bytes_max: u64) -> usize {
    let mut bytes = 0;
    let enough = |run: &Run| {
        let enough = bytes >= bytes_max;
        bytes += u64::from(run.len);
        enough
    };
    runs.iter().position(enough).unwrap_or(runs.len())
}
