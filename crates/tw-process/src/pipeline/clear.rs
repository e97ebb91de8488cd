//! Removing everything that is stored of a partition, little by little.
//!
//! It is marked in one commit; from then on nothing of it counts, also after a crash half-way. The mark goes last.

use crate::keys;
use std::collections::VecDeque;
use std::sync::Arc;
use tw_state::{Batch, Keyspace, Range, Result, Store};
use tw_types::PartitionId;

/// Entries removed in one commit.
const CHUNK: usize = 1_000;

/// The removal of what is stored of one partition.
pub(crate) struct Clearing {
    store: Arc<dyn Store>,
    keyspace: Keyspace,
    partition: PartitionId,
    /// What was not looked at yet; None before the start.
    left: Option<VecDeque<Range>>,
}

impl Clearing {
    pub(crate) fn new(store: Arc<dyn Store>, keyspace: Keyspace, partition: PartitionId) -> Self {
        Self { store, keyspace, partition, left: None }
    }

    /// Whether there is anything to remove.
    pub(crate) fn is_due(&self) -> Result<bool> {
        Ok(self.left.is_some() || self.store.get(self.keyspace, &keys::void(self.partition))?.is_some())
    }

    /// Removes a part; says whether it is done.
    pub(crate) fn step(&mut self) -> Result<bool> {
        let snapshot = self.store.snapshot();
        let mut left = match self.left.take() {
            Some(left) => left,
            None => keys::all(snapshot.as_ref(), self.keyspace, self.partition)?.into(),
        };
        let mut batch = Batch::new();
        while let Some(range) = left.pop_front() {
            let room = CHUNK - batch.changes.len();
            let mut last = None;
            for entry in snapshot.range(self.keyspace, range.clone()).take(room) {
                let (key, _) = entry?;
                batch.remove(self.keyspace, key.clone());
                last = Some(key);
            }
            if let Some(last) = last.filter(|_| batch.changes.len() == CHUNK) {
                left.push_front(range.after(&last));
                break;
            }
        }
        let done = left.is_empty();
        if done {
            batch.remove(self.keyspace, keys::void(self.partition));
        }
        self.store.commit(batch)?;
        self.left = Some(left).filter(|_| !done);
        Ok(done)
    }
}
