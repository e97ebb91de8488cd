//! What the log has done so far, in numbers.

use super::shared::Shared;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a log has done since it was opened, and what it has now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Commits: each is one write and one sync.
    pub commits: u64,
    /// Appends that were acknowledged.
    pub appends: u64,
    /// Events that were acknowledged.
    pub events: u64,
    /// Bytes of the blocks that were written, after compression.
    pub bytes: u64,
    /// Segments that were made out of files of older ones.
    pub segments_recycled: u64,
    /// Segments that were made anew.
    pub segments_new: u64,
    /// Segments that the log consists of now.
    pub segments: u64,
    /// Segments that were rewritten because little of them lived, or by compaction.
    pub segments_rewritten: u64,
}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) commits: AtomicU64,
    pub(crate) appends: AtomicU64,
    pub(crate) events: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) rewritten: AtomicU64,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl Shared {
    pub(crate) fn stats(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.counts;
        let (segments_recycled, segments_new) = self.spares.made();
        Stats {
            commits: get(&counts.commits),
            appends: get(&counts.appends),
            events: get(&counts.events),
            bytes: get(&counts.bytes),
            segments_recycled,
            segments_new,
            segments: self.segments.read().len() as u64,
            segments_rewritten: get(&counts.rewritten),
        }
    }
}
