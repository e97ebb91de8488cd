//! What the threads of a log share.

use crate::partition::{Partition, Plan};
use crate::plan::Tip;
use crate::queue::Queue;
use crate::reader::{Job, Readers};
use crate::{Options, topics};
use parking_lot::{Mutex, RwLock};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::oneshot;
use tw_env::Env;
use tw_log::{CONFIG_PARTITION, CONFIG_STREAM, Error, Permits, Result, Signal, Streams, spawn_guarded};
use tw_types::{Hlc, HlcClock, Offset, PartitionId, StreamDef, StreamPartition};
use tw_wire::Block;

/// See the module's text.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) env: Env,
    pub(crate) queue: Queue,
    pub(crate) permits: Permits,
    pub(crate) readers: Readers,
    pub(crate) commits: Arc<Signal>,
    pub(crate) definitions: Arc<Signal>,
    pub(crate) clock: Mutex<HlcClock>,
    streams: RwLock<Arc<Streams>>,
    partitions: RwLock<HashMap<StreamPartition, Arc<Partition>>>,
    tail: Mutex<Tail>,
}

/// The blocks in memory, oldest first. Those that a partition has forgotten by itself, because others wrote to it, count
/// until it is their turn.
#[derive(Debug, Default)]
struct Tail {
    blocks: VecDeque<Kept>,
    bytes: u64,
}

/// A block in memory.
#[derive(Debug)]
struct Kept {
    partition: Arc<Partition>,
    base: Offset,
    bytes: u64,
}

impl Shared {
    pub(crate) fn new(options: Options, env: Env) -> Self {
        let streams = Streams::new();
        let mut partitions = HashMap::new();
        if let Ok(def) = streams.by_id(CONFIG_STREAM) {
            let topic: Arc<str> = topics::of_stream(&options, def).into();
            partitions.insert(CONFIG_PARTITION, Arc::new(Partition::new(CONFIG_PARTITION, topic, false)));
        }
        let permits = Permits::new(options.in_flight_bytes_max, options.append_bytes_max);
        Self {
            options,
            env,
            queue: Queue::default(),
            permits,
            readers: Readers::default(),
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
        let mut tail = self.tail.lock();
        tail.blocks.retain(|kept| streams.of_partition(kept.partition.at).is_ok());
        tail.bytes = tail.blocks.iter().map(|kept| kept.bytes).sum();
        drop(tail);
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

    /// See [`tw_log::Log::read`].
    pub(crate) async fn read(
        &self,
        at: StreamPartition,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Vec<Block>> {
        let bytes_max = bytes_max.min(self.options.read_bytes_max as usize);
        let partition = self.partition(at)?;
        match partition.plan_read(from, bytes_max)? {
            Plan::Done(blocks) => Ok(blocks),
            Plan::Ask { end, record } => self.ask(&partition, from, end, record, bytes_max).await,
        }
    }

    /// Asks Kafka for the blocks of a partition; see [`Job`].
    pub(crate) async fn ask(
        &self,
        partition: &Arc<Partition>,
        from: Offset,
        end: Offset,
        record: u64,
        bytes_max: usize,
    ) -> Result<Vec<Block>> {
        let (reply, outcome) = oneshot::channel();
        self.readers.send(Job { partition: partition.clone(), from, end, record, bytes_max, reply });
        outcome.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// The record of an event before the end, or of the first one after it.
    pub(crate) async fn locate(&self, partition: &Arc<Partition>, offset: Offset) -> Result<u64> {
        if let Some(record) = partition.record_of(offset.0) {
            return Ok(record);
        }
        let (end, record) = partition.whereabouts(offset);
        let blocks = self.ask(partition, offset, end, record, 1).await?;
        let found = blocks.first().map_or(offset, |block| block.header().base_offset);
        partition.record_of(found.0).ok_or(Error::Trimmed { at: partition.at, start: found })
    }

    /// Why a partition is not there.
    pub(crate) fn missing(&self, at: StreamPartition) -> Error {
        self.streams().of_partition(at).err().unwrap_or(Error::NoStreamId(at.stream))
    }

    /// All partitions.
    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        self.partitions.read().values().cloned().collect()
    }

    /// Takes note of what this process has written to a partition; see [`Partition::wrote`].
    pub(crate) fn wrote(&self, partition: &Arc<Partition>, tip: Tip, blocks: &[Block], events: u64) {
        if partition.wrote(tip, blocks, events, self.options.places_max as usize) {
            self.keep(partition, blocks);
        }
    }

    /// Takes note of blocks that a partition has in memory now, and drops the oldest ones of all.
    fn keep(&self, partition: &Arc<Partition>, blocks: &[Block]) {
        let mut tail = self.tail.lock();
        for block in blocks {
            let (base, bytes) = (block.header().base_offset, u64::from(block.header().length));
            tail.blocks.push_back(Kept { partition: partition.clone(), base, bytes });
            tail.bytes += bytes;
        }
        while tail.bytes > self.options.tail_bytes
            && let Some(oldest) = tail.blocks.pop_front()
        {
            tail.bytes -= oldest.bytes;
            oldest.partition.forget(oldest.base);
        }
    }

    /// The clock goes on after everything that the log has.
    pub(crate) fn observe(&self) {
        let all = self.all();
        let own = all.iter().filter(|partition| !partition.is_foreign);
        let last = own.filter_map(|partition| partition.last()).map(|place| place.hlc).max();
        if let Some(last) = last {
            // However far it is ahead.
            let _never_refused = self.clock.lock().observe(last, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::tests::ends_with;
    use crate::queue::Request;
    use tw_log::{Ack, Permit};
    use tw_types::{Compression, Epoch, EventRef, RegionId, Sequence, StreamId};
    use tw_wire::{BatchBuilder, Placement};

    /// A block of one event.
    fn block(at: StreamPartition, offset: u64) -> Block {
        let mut builder = BatchBuilder::new();
        builder.push(&EventRef { id: "i", source: "s", ty: "t", ..EventRef::default() });
        let place = Placement {
            at,
            base_offset: Offset(offset),
            first_hlc: Hlc::ZERO,
            region: RegionId(0),
            epoch: Epoch(1),
            base_sequence: Sequence(offset + 1),
        };
        Block::new(&builder.finish(Compression::None).unwrap(), &place)
    }

    /// A partition, and a log that keeps two blocks in memory.
    fn with_room_for_two() -> (Shared, Arc<Partition>) {
        let at = StreamPartition::new(StreamId(1), PartitionId(0));
        let tail_bytes = 2 * u64::from(block(at, 0).header().length);
        let shared = Shared::new(Options { tail_bytes, ..Options::default() }, Env::real());
        (shared, Arc::new(Partition::new(at, "t".into(), false)))
    }

    /// The process has written one event, in a transaction of its own.
    fn write(shared: &Shared, partition: &Arc<Partition>, offset: u64) {
        let blocks = [block(partition.at, offset)];
        shared.wrote(partition, Tip { end: offset, sequence: offset, record: 2 * offset }, &blocks, 1);
    }

    fn is_in_memory(partition: &Partition, offset: u64) -> bool {
        matches!(partition.plan_read(Offset(offset), 1 << 20).unwrap(), Plan::Done(blocks) if !blocks.is_empty())
    }

    #[test]
    fn the_oldest_block_makes_room_for_the_newest() {
        let (shared, partition) = with_room_for_two();
        (0..3).for_each(|offset| write(&shared, &partition, offset));
        assert_eq!([0, 1, 2].map(|offset| is_in_memory(&partition, offset)), [false, true, true]);
    }

    #[test]
    fn a_block_that_is_not_kept_because_others_have_written_since_pushes_none_out() {
        let (shared, partition) = with_room_for_two();
        partition.learn(&ends_with(5, 10));
        write(&shared, &partition, 0);
        [6, 7].into_iter().for_each(|offset| write(&shared, &partition, offset));
        assert_eq!([6, 7].map(|offset| is_in_memory(&partition, offset)), [true, true]);
    }

    #[test]
    fn a_block_that_was_forgotten_because_others_have_written_pushes_none_out() {
        let (shared, partition) = with_room_for_two();
        write(&shared, &partition, 0);
        partition.learn(&ends_with(5, 10));
        assert!(!is_in_memory(&partition, 0));
        [6, 7].into_iter().for_each(|offset| write(&shared, &partition, offset));
        assert_eq!([6, 7].map(|offset| is_in_memory(&partition, offset)), [true, true]);
    }

    #[test]
    fn blocks_of_a_stream_that_is_dropped_leave_memory() {
        let (shared, partition) = with_room_for_two();
        write(&shared, &partition, 0);
        shared.set_streams(Arc::new(Streams::new()));
        assert_eq!(Arc::strong_count(&partition), 1);
        assert_eq!(shared.tail.lock().bytes, 0);
    }

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
