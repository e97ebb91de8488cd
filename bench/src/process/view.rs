//! Views that do next to nothing.

use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use tw_process::{ApplyError, Processor, View};
use tw_state::{Batch, Keyspace, Store};
use tw_types::{Data, PartitionId, StoredRef, StreamId};

/// What is done with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing.
    Look,
    /// It is counted under its subject.
    Count,
    /// Its data is gone through so many times, byte by byte, before it is counted.
    Work(u32),
}

impl Kind {
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Look => "every event decoded, nothing done with it",
            Self::Count => "every event counted under its subject",
            Self::Work(_) => "the data of every event gone through, and the event counted",
        }
    }
}

/// Adds one under `subject`.
pub(crate) fn count(counts: &mut HashMap<Box<str>, u64>, subject: &str) {
    match counts.get_mut(subject) {
        Some(count) => *count += 1,
        None => drop(counts.insert(subject.into(), 1)),
    }
}

pub(crate) struct Trivial {
    pub(crate) kind: Kind,
    pub(crate) stream: StreamId,
}

impl View for Trivial {
    fn name(&self) -> &str {
        "trivial"
    }

    fn stream(&self) -> StreamId {
        self.stream
    }

    fn open(
        &self,
        partition: PartitionId,
        keyspace: Keyspace,
        store: &Arc<dyn Store>,
    ) -> Result<Box<dyn Processor>, tw_state::Error> {
        Ok(match self.kind {
            Kind::Look => Box::new(Looker),
            Kind::Count | Kind::Work(_) => {
                let passes = if let Kind::Work(passes) = self.kind { passes } else { 0 };
                let (store, counts, changed) = (store.clone(), HashMap::new(), Vec::new());
                Box::new(Counter { partition, keyspace, passes, store, counts, changed })
            }
        })
    }
}

struct Looker;

impl Processor for Looker {
    fn apply(&mut self, _events: &[StoredRef<'_>]) -> Result<(), ApplyError> {
        Ok(())
    }

    fn flush(&mut self, _batch: &mut Batch) -> Result<(), tw_state::Error> {
        Ok(())
    }

    fn pending_bytes(&self) -> usize {
        0
    }
}

/// Work whose only cost is the processor's: each step needs the result of the one before.
fn go_through(data: Data<&[u8]>, passes: u32) {
    let (Data::Json(bytes) | Data::Text(bytes) | Data::Binary(bytes)) = data else { return };
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = (0..passes).fold(0, |hash, _| bytes.iter().fold(hash, step));
    std::hint::black_box(hash);
}

/// All counts of the partition, read from the store when they are wanted first.
struct Counter {
    partition: PartitionId,
    keyspace: Keyspace,
    passes: u32,
    store: Arc<dyn Store>,
    counts: HashMap<Box<str>, Count>,
    /// Subjects whose count is not stored yet.
    changed: Vec<Box<str>>,
}

struct Count {
    number: u64,
    changed: bool,
}

impl Counter {
    fn key(&self, subject: &str) -> Bytes {
        [&[1][..], &self.partition.0.to_be_bytes(), subject.as_bytes()].concat().into()
    }
}

impl Processor for Counter {
    fn apply(&mut self, events: &[StoredRef<'_>]) -> Result<(), ApplyError> {
        for event in events {
            go_through(event.event.data, self.passes);
            let subject = event.event.subject.unwrap_or_default();
            if let Some(count) = self.counts.get_mut(subject) {
                count.number += 1;
                if !std::mem::replace(&mut count.changed, true) {
                    self.changed.push(subject.into());
                }
                continue;
            }
            let stored = self.store.get(self.keyspace, &self.key(subject))?;
            let stored =
                stored.and_then(|bytes| bytes.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes);
            self.counts.insert(subject.into(), Count { number: stored + 1, changed: true });
            self.changed.push(subject.into());
        }
        Ok(())
    }

    fn flush(&mut self, batch: &mut Batch) -> Result<(), tw_state::Error> {
        for subject in std::mem::take(&mut self.changed) {
            let key = self.key(&subject);
            if let Some(count) = self.counts.get_mut(&subject) {
                count.changed = false;
                batch.put(self.keyspace, key, count.number.to_be_bytes().to_vec());
            }
        }
        Ok(())
    }

    fn pending_bytes(&self) -> usize {
        self.changed.len() * 64
    }
}
