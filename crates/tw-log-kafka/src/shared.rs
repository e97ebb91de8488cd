//! What the threads of a log share.

use crate::partition::Partition;
use crate::queue::Queue;
use crate::{Options, topics};
use parking_lot::{Mutex, RwLock};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;
use tw_env::Env;
use tw_log::{CONFIG_STREAM, Error, Permits, Result, Signal, Streams, spawn_guarded};
use tw_types::{Hlc, HlcClock, PartitionId, StreamDef, StreamPartition};
use tw_wire::Block;

/// The partition that holds all definitions.
pub(crate) const CONFIG: StreamPartition = StreamPartition::new(CONFIG_STREAM, PartitionId(0));

/// See the module's text.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) env: Env,
    pub(crate) queue: Queue,
    pub(crate) permits: Permits,
    pub(crate) commits: Arc<Signal>,
    pub(crate) definitions: Arc<Signal>,
    pub(crate) clock: Mutex<HlcClock>,
    streams: RwLock<Arc<Streams>>,
    partitions: RwLock<HashMap<StreamPartition, Arc<Partition>>>,
    tail: Mutex<Tail>,
}

/// The blocks in memory, oldest first.
#[derive(Debug, Default)]
struct Tail {
    blocks: VecDeque<(Arc<Partition>, u64)>,
    bytes: u64,
}

impl Shared {
    pub(crate) fn new(options: Options, env: Env) -> Self {
        let streams = Streams::new();
        let mut partitions = HashMap::new();
        if let Ok(def) = streams.by_id(CONFIG_STREAM) {
            let topic: Arc<str> = topics::of_stream(&options, def).into();
            partitions.insert(CONFIG, Arc::new(Partition::new(CONFIG, topic, false)));
        }
        let permits = Permits::new(options.in_flight_bytes_max, options.append_bytes_max);
        Self {
            options,
            env,
            queue: Queue::default(),
            permits,
            commits: Arc::default(),
            definitions: Arc::default(),
            clock: Mutex::new(HlcClock::new(Hlc::ZERO, u64::MAX)),
            streams: RwLock::new(Arc::new(streams)),
            partitions: RwLock::new(partitions),
            tail: Mutex::default(),
        }
    }

    /// Accepts nothing more; `error` says why. The first reason counts. What waits already is still served.
    pub(crate) fn stop(&self, error: Error) {
        self.queue.close(error.clone());
        self.permits.close(error);
    }

    /// Why somebody who should answer does not.
    pub(crate) fn gone(&self) -> Error {
        self.queue.closed().unwrap_or(Error::Closed)
    }

    /// Starts a thread of the log, which stops when the thread panics.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        name: &str,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<JoinHandle<()>> {
        let guarded = self.clone();
        let stop = move |error: Error| {
            guarded.stop(error.clone());
            guarded.queue.fail_all(&error);
        };
        spawn_guarded(name, run, stop)
    }

    pub(crate) fn streams(&self) -> Arc<Streams> {
        self.streams.read().clone()
    }

    /// Makes these definitions the ones that count.
    pub(crate) fn set_streams(&self, streams: Arc<Streams>) {
        let mut partitions = self.partitions.write();
        partitions.retain(|at, _| streams.of_partition(*at).is_ok());
        for def in streams.iter() {
            self.add_partitions(&mut partitions, def);
        }
        *self.streams.write() = streams;
        drop(partitions);
        self.definitions.increment();
    }

    fn add_partitions(&self, partitions: &mut HashMap<StreamPartition, Arc<Partition>>, def: &StreamDef) {
        let mut topic: Option<Arc<str>> = None;
        for number in 0..def.partitions {
            let at = StreamPartition::new(def.id, PartitionId(number));
            partitions.entry(at).or_insert_with(|| {
                let topic = topic.get_or_insert_with(|| topics::of_stream(&self.options, def).into());
                Arc::new(Partition::new(at, topic.clone(), def.options.topic.is_some()))
            });
        }
    }

    /// A partition that exists.
    ///
    /// # Errors
    /// [`Error::NoStreamId`], [`Error::NoPartition`].
    pub(crate) fn partition(&self, at: StreamPartition) -> Result<Arc<Partition>> {
        if let Some(partition) = self.partitions.read().get(&at) {
            return Ok(partition.clone());
        }
        Err(self.missing(at))
    }

    /// Why a partition is not there.
    pub(crate) fn missing(&self, at: StreamPartition) -> Error {
        self.streams().of_partition(at).err().unwrap_or(Error::NoStreamId(at.stream))
    }

    /// All partitions.
    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        self.partitions.read().values().cloned().collect()
    }

    /// Takes note of blocks that a partition has in memory now, and drops the oldest ones of all.
    pub(crate) fn keep(&self, partition: &Arc<Partition>, blocks: &[Block]) {
        let mut tail = self.tail.lock();
        for block in blocks {
            let bytes = u64::from(block.header().length);
            tail.blocks.push_back((partition.clone(), bytes));
            tail.bytes += bytes;
        }
        while tail.bytes > self.options.tail_bytes
            && let Some((partition, bytes)) = tail.blocks.pop_front()
        {
            tail.bytes -= bytes;
            partition.forget_oldest();
        }
    }

    /// The clock goes on after everything that the log has.
    pub(crate) fn observe(&self) {
        let all = self.all();
        let own = all.iter().filter(|partition| !partition.is_foreign);
        let last = own.filter_map(|partition| partition.last()).map(|place| place.hlc).max();
        if let Some(last) = last {
            let mut clock = self.clock.lock();
            if last > clock.last() {
                *clock = HlcClock::new(last, u64::MAX);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Request;
    use tw_log::{Ack, Permit};

    #[test]
    fn a_thread_that_panics_leaves_nobody_waiting() {
        let shared = Arc::new(Shared::new(Options::default(), Env::real()));
        let push = || {
            let (sender, ack) = Ack::channel();
            let permit = Permit::unlimited();
            shared.queue.push(Request::Append { parts: Vec::new(), bytes: 0, permit, ack: sender });
            ack
        };
        let before = push();
        shared.spawn("sick", || panic!("as the test wants it")).unwrap().join().unwrap();
        assert!(matches!(before.wait(), Err(Error::Stopped(_))));
        assert!(matches!(push().wait(), Err(Error::Stopped(_))));
        assert!(matches!(shared.permits.try_reserve(1), Err(Error::Stopped(_))));
    }
}
