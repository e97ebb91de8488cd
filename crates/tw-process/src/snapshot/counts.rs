//! What is counted about snapshots.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a node has done with snapshots since it started, and how they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Counts {
    /// Snapshots stored.
    pub stored: u64,
    /// Bytes of them in the depot.
    pub stored_bytes: u64,
    /// Snapshots that could not be stored, old ones that could not be removed, and depots that could not be asked.
    pub failures: u64,
    /// Partitions that began with a snapshot.
    pub restored: u64,
    /// Snapshots that were found and not taken: damaged, incomplete, or of another log.
    pub refused: u64,
    /// Of the partitions of which this node stores snapshots: the most events after the newest snapshot, which a node without
    /// state would have to process.
    pub lag_events: u64,
}

/// The same, as it is counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) stored: AtomicU64,
    pub(crate) stored_bytes: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) restored: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) lag_events: AtomicU64,
}

impl Counters {
    pub(crate) fn get(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            stored: get(&self.stored),
            stored_bytes: get(&self.stored_bytes),
            failures: get(&self.failures),
            restored: get(&self.restored),
            refused: get(&self.refused),
            lag_events: get(&self.lag_events),
        }
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
