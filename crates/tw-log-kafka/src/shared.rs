//! What the threads of a log share.

use crate::partition::Partition;
use crate::queue::Queue;
use crate::{Options, topics};
use parking_lot::{Mutex, RwLock};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tw_env::Env;
use tw_log::{CONFIG_STREAM, Error, Result, Signal, Streams};
use tw_types::{Hlc, HlcClock, PartitionId, StreamDef, StreamPartition};
use tw_wire::Block;

/// The partition that holds all definitions.
pub(crate) const CONFIG: StreamPartition = StreamPartition::new(CONFIG_STREAM, PartitionId(0));

/// See the module's text.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) env: Env,
    pub(crate) queue: Queue,
    pub(crate) permits: Arc<Semaphore>,
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
        let permits = usize::try_from(options.in_flight_bytes_max).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            options,
            env,
            queue: Queue::default(),
            permits: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            commits: Arc::default(),
            definitions: Arc::default(),
            clock: Mutex::new(HlcClock::new(Hlc::ZERO, u64::MAX)),
            streams: RwLock::new(Arc::new(streams)),
            partitions: RwLock::new(partitions),
            tail: Mutex::default(),
        }
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
