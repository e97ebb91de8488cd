//! A view that keeps a ledger of what was applied, and notices whatever must not happen.
//!
//! Its state holds, per partition, `1 partition offset` for every applied event, `2 partition subject` with the last
//! offset of the subject, and `3 partition` with the last event that cleared all. They are read back before they are
//! written, so an event that is applied twice or out of its subject's order is noticed at once, also across restarts.

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tw_process::{ApplyError, Processor, View, WORKER_KEY};
use tw_state::{Batch, Keyspace, Range, Store};
use tw_types::{Offset, PartitionId, StoredRef, StreamId};

/// The type of an event that clears all.
pub const CLEAR: &str = "clear";

/// What the ledgers of a test share.
#[derive(Default)]
pub struct Health {
    /// Events that cannot be processed.
    pub sick: Mutex<BTreeSet<(PartitionId, Offset)>>,
    /// Whether the order of a subject's events does not matter.
    pub unordered: AtomicBool,
    /// Promises that were broken.
    pub broken: Mutex<Vec<String>>,
    /// Events applied, rolled back ones included.
    pub applied: AtomicU64,
    /// Events at which processing panics.
    pub panics: Mutex<BTreeSet<(PartitionId, Offset)>>,
    /// How often each partition was opened.
    pub opened: Mutex<BTreeMap<PartitionId, u64>>,
    /// The processors that there are, by store, keyspace and partition: never two at once.
    alive: Mutex<BTreeSet<(usize, Keyspace, PartitionId)>>,
    /// Partitions that cannot flush what they have applied.
    held: Mutex<BTreeSet<PartitionId>>,
    /// Those of them that stand still.
    pub stuck: Mutex<BTreeSet<PartitionId>>,
    released: Condvar,
}

impl Health {
    pub fn check(&self) {
        assert!(self.broken.lock().is_empty(), "{:?}", self.broken.lock());
    }

    /// Lets a partition stand still, with its thread, as soon as it is to flush.
    pub fn hold(&self, partition: PartitionId) {
        self.held.lock().insert(partition);
    }

    /// Lets all go on.
    pub fn release(&self) {
        self.held.lock().clear();
        self.released.notify_all();
    }
}

/// The view.
pub struct Ledger {
    pub name: String,
    pub stream: StreamId,
    pub definition: u64,
    pub health: Arc<Health>,
}

impl Ledger {
    pub fn new(name: &str, stream: StreamId, health: &Arc<Health>) -> Self {
        Self { name: name.to_owned(), stream, definition: 0, health: health.clone() }
    }
}

impl View for Ledger {
    fn name(&self) -> &str {
        &self.name
    }

    fn stream(&self) -> StreamId {
        self.stream
    }

    fn definition(&self) -> u64 {
        self.definition
    }

    fn open(
        &self,
        partition: PartitionId,
        keyspace: Keyspace,
        store: &Arc<dyn Store>,
    ) -> Result<Box<dyn Processor>, tw_state::Error> {
        let (store, health) = (store.clone(), self.health.clone());
        *health.opened.lock().entry(partition).or_default() += 1;
        let place = (Arc::as_ptr(&store).cast::<()>() as usize, keyspace, partition);
        if !health.alive.lock().insert(place) {
            health.broken.lock().push(format!("{partition}: two processors at once"));
        }
        Ok(Box::new(Page { partition, keyspace, store, health, place, changes: BTreeMap::new() }))
    }
}

struct Page {
    partition: PartitionId,
    keyspace: Keyspace,
    store: Arc<dyn Store>,
    health: Arc<Health>,
    place: (usize, Keyspace, PartitionId),
    changes: BTreeMap<Bytes, u64>,
}

impl Drop for Page {
    fn drop(&mut self) {
        self.health.alive.lock().remove(&self.place);
    }
}

/// The key of an entry.
pub fn key(kind: u8, partition: PartitionId, rest: &[u8]) -> Bytes {
    [&[kind][..], &partition.0.to_be_bytes(), rest].concat().into()
}

impl Page {
    fn get(&self, key: &Bytes) -> Result<Option<u64>, tw_state::Error> {
        if let Some(value) = self.changes.get(key) {
            return Ok(Some(*value));
        }
        let value = self.store.get(self.keyspace, key)?;
        Ok(value.map(|value| u64::from_be_bytes(value[..].try_into().unwrap())))
    }
}

impl Processor for Page {
    fn apply(&mut self, events: &[StoredRef<'_>]) -> Result<(), ApplyError> {
        let sick = self.health.sick.lock();
        if let Some(event) = events.iter().find(|event| sick.contains(&(self.partition, event.offset))) {
            return Err(ApplyError::Rejected(format!("event {} is sick", event.offset)));
        }
        drop(sick);
        for event in events {
            let panics = self.health.panics.lock().contains(&(self.partition, event.offset));
            assert!(!panics, "event {} is terrible", event.offset);
            let place = key(1, self.partition, &event.offset.0.to_be_bytes());
            if self.get(&place)?.is_some() {
                self.health
                    .broken
                    .lock()
                    .push(format!("{}: {} was applied twice", self.partition, event.offset));
            }
            self.changes.insert(place, 1);
            let wall = key(3, self.partition, &[]);
            if self.get(&wall)?.is_some_and(|wall| wall > event.offset.0) {
                let text = format!("{}: {} was applied after all was cleared", self.partition, event.offset);
                self.health.broken.lock().push(text);
            }
            if event.event.ty == CLEAR {
                self.changes.insert(wall, event.offset.0);
            }
            if let Some(subject) = event.event.subject.filter(|_| self.keeps_order()) {
                let place = key(2, self.partition, subject.as_bytes());
                if let Some(last) = self.get(&place)?.filter(|last| *last >= event.offset.0) {
                    let text = format!("{}: {} was applied after {last}", self.partition, event.offset);
                    self.health.broken.lock().push(text);
                }
                self.changes.insert(place, event.offset.0);
            }
        }
        self.health.applied.fetch_add(events.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn clears_all(&self, event: &StoredRef<'_>) -> bool {
        event.event.ty == CLEAR
    }

    fn keeps_order(&self) -> bool {
        !self.health.unordered.load(Ordering::Relaxed)
    }

    fn flush(&mut self, batch: &mut Batch) -> Result<(), tw_state::Error> {
        let mut held = self.health.held.lock();
        self.health.released.wait_while(&mut held, |held| {
            let holds = held.contains(&self.partition);
            if holds {
                self.health.stuck.lock().insert(self.partition);
            }
            holds
        });
        drop(held);
        for (key, value) in std::mem::take(&mut self.changes) {
            batch.put(self.keyspace, key, value.to_be_bytes().to_vec());
        }
        Ok(())
    }

    fn pending_bytes(&self) -> usize {
        self.changes.len() * 100
    }
}

/// The offsets that the stored ledger of a partition holds.
pub fn applied(store: &dyn Store, keyspace: Keyspace, partition: PartitionId) -> BTreeSet<u64> {
    let snapshot = store.snapshot();
    let entries = snapshot.range(keyspace, Range::prefix(&key(1, partition, &[])));
    entries.map(|entry| u64::from_be_bytes(*entry.unwrap().0.last_chunk().unwrap())).collect()
}

/// Whether nothing waits any more to be said in `$parked`: the worker's keys of kind 7, its outbox, are gone.
pub fn is_silent(store: &dyn Store, keyspace: Keyspace) -> bool {
    store.snapshot().range(keyspace, Range::prefix(&[WORKER_KEY, 7])).next().is_none()
}
