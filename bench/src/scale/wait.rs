//! A view whose processing waits for something, as a call of a service would.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tw_process::{ApplyError, Processor, View};
use tw_state::{Batch, Keyspace, Store};
use tw_types::{PartitionId, StoredRef, StreamId};

/// How long each event takes.
const TIME: Duration = Duration::from_millis(2);

/// See the module's text.
pub(super) struct Waiting {
    stream: StreamId,
    seen: Arc<Seen>,
}

/// What was processed.
#[derive(Default)]
struct Seen {
    /// The next offset of each partition.
    next: Mutex<BTreeMap<PartitionId, u64>>,
    /// Whether an event came out of its order.
    wrong: AtomicBool,
}

impl Waiting {
    pub(super) fn new(stream: StreamId) -> Self {
        Self { stream, seen: Arc::default() }
    }

    /// Whether so many events came, each once and in the order of its partition, and so of its subject.
    pub(super) fn is_right(&self, events: u64) -> bool {
        !self.seen.wrong.load(Ordering::Acquire) && self.seen.next.lock().values().sum::<u64>() == events
    }
}

impl View for Waiting {
    fn name(&self) -> &str {
        "waiting"
    }

    fn stream(&self) -> StreamId {
        self.stream
    }

    fn open(
        &self,
        partition: PartitionId,
        _: Keyspace,
        _: &Arc<dyn Store>,
    ) -> Result<Box<dyn Processor>, tw_state::Error> {
        Ok(Box::new(Waiter { partition, seen: self.seen.clone() }))
    }
}

struct Waiter {
    partition: PartitionId,
    seen: Arc<Seen>,
}

impl Processor for Waiter {
    fn apply(&mut self, events: &[StoredRef<'_>]) -> Result<(), ApplyError> {
        for event in events {
            std::thread::sleep(TIME);
            let mut next = self.seen.next.lock();
            let next = next.entry(self.partition).or_default();
            if *next != event.offset.0 {
                self.seen.wrong.store(true, Ordering::Release);
            }
            *next = event.offset.0 + 1;
        }
        Ok(())
    }

    fn flush(&mut self, _batch: &mut Batch) -> Result<(), tw_state::Error> {
        Ok(())
    }

    fn pending_bytes(&self) -> usize {
        0
    }
}
