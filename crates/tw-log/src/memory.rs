//! The reference model: a log in memory.
//!
//! It is durable only as long as the process lives. Tests and simulations use it where durability is not the
//! point, and the conformance suite compares the engines with it.

use crate::streams::{check_append, check_trim};
use crate::{
    Ack, Append, Bounds, BoxFuture, CONFIG_PARTITION, ConfigChange, Definition, Error, Foreign, Log,
    NewStream, Permit, Placed, Result, Signal, Streams, fitting_blocks,
};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tw_env::Env;
use tw_types::{
    Epoch, Hlc, HlcClock, Offset, Origin, PartitionId, RegionId, Sequence, StreamDef, StreamName,
    StreamPartition,
};
use tw_wire::{Block, Placement};

/// Whose log it is.
const REGION: RegionId = RegionId(0);

/// A log in memory. See the module's text.
pub struct MemoryLog {
    env: Env,
    state: Mutex<State>,
    commits: Arc<Signal>,
    definitions: Arc<Signal>,
}

struct State {
    streams: Arc<Streams>,
    partitions: HashMap<StreamPartition, Partition>,
    clock: HlcClock,
}

#[derive(Default)]
struct Partition {
    blocks: Vec<Block>,
    start: Offset,
    end: Arc<Signal>,
    sequence: u64,
}

impl Partition {
    fn bounds(&self) -> Bounds {
        Bounds { start: self.start, end: Offset(self.end.get()) }
    }
}

impl MemoryLog {
    /// An empty log.
    pub fn new(env: Env) -> Self {
        let streams = Arc::new(Streams::new());
        let mut state =
            State { streams, partitions: HashMap::new(), clock: HlcClock::new(tw_types::Hlc::ZERO, 60_000) };
        state.partitions.insert(CONFIG_PARTITION, Partition::default());
        Self { env, state: Mutex::new(state), commits: Arc::default(), definitions: Arc::default() }
    }

    /// Writes a change to `$config` and carries it out.
    fn define(&self, wanted: &Definition) -> Result<StreamDef> {
        let mut state = self.state.lock();
        let change = state.streams.change(wanted)?;
        let batch = change.to_batch(&state.streams, self.env.random.next_u64())?;
        let append = Append { at: CONFIG_PARTITION, batch, expected_end: None, foreign: None };
        state.append(self.env.clock.now_ms(), &[append])?;
        let def = change.definition().clone();
        let partitions = (0..def.partitions).map(|p| StreamPartition::new(def.id, PartitionId(p)));
        match &change {
            ConfigChange::Created(_) => {
                state.partitions.extend(partitions.map(|at| (at, Partition::default())));
            }
            ConfigChange::Altered(_) => {}
            ConfigChange::Dropped(_) => state.partitions.retain(|at, _| at.stream != def.id),
        }
        Arc::make_mut(&mut state.streams).apply(change);
        drop(state);
        self.commits.increment();
        self.definitions.increment();
        Ok(def)
    }

    fn read_now(&self, at: StreamPartition, from: Offset, bytes_max: usize) -> Result<Vec<Block>> {
        let state = self.state.lock();
        let partition = state.partition(at)?;
        partition.bounds().check(at, from)?;
        let first = partition.blocks.partition_point(|block| block.header().end_offset() <= from);
        Ok(fitting_blocks(partition.blocks.iter().skip(first), bytes_max))
    }

    fn trim_now(&self, at: StreamPartition, before: Offset) -> Result<()> {
        let mut state = self.state.lock();
        state.partition(at)?;
        check_trim(at)?;
        if let Some(partition) = state.partitions.get_mut(&at) {
            let end = Offset(partition.end.get());
            if before > end {
                return Err(Error::BeyondEnd { at, from: before, end });
            }
            partition.start = partition.start.max(before);
            partition.blocks.retain(|block| block.header().end_offset() > before);
        }
        Ok(())
    }
}

impl State {
    fn partition(&self, at: StreamPartition) -> Result<&Partition> {
        self.streams.of_partition(at)?;
        self.partitions.get(&at).ok_or(Error::NoStreamId(at.stream))
    }

    fn append(&mut self, now_ms: u64, parts: &[Append]) -> Result<Vec<Placed>> {
        let mut ends: HashMap<StreamPartition, Offset> = HashMap::new();
        for part in parts {
            let end = match ends.get(&part.at) {
                Some(end) => *end,
                None => Offset(self.partition(part.at)?.end.get()),
            };
            if let Some(expected) = part.expected_end.filter(|expected| *expected != end) {
                return Err(Error::WrongEnd { at: part.at, expected, actual: end });
            }
            ends.insert(part.at, end.plus(u64::from(part.batch.count())));
        }
        let mut clock = self.clock.clone();
        for (part, foreign) in parts.iter().filter_map(|part| Some((part, part.foreign?))) {
            foreign.observe((REGION, Epoch(1)), part.batch.count(), &mut clock, now_ms)?;
        }
        self.clock = clock;
        let mut placed = Vec::with_capacity(parts.len());
        for part in parts {
            let count = part.batch.count();
            let Some(partition) = self.partitions.get_mut(&part.at) else { continue };
            let base_offset = Offset(partition.end.get());
            let Foreign { origin, first_hlc } = part.foreign.unwrap_or_else(|| {
                let sequence = Sequence(partition.sequence + 1);
                partition.sequence += u64::from(count);
                let origin = Origin { region: REGION, epoch: Epoch(1), sequence };
                Foreign { origin, first_hlc: self.clock.take(now_ms, u64::from(count)) }
            });
            let place = Placement {
                at: part.at,
                base_offset,
                first_hlc,
                region: origin.region,
                epoch: origin.epoch,
                base_sequence: origin.sequence,
            };
            partition.blocks.push(Block::new(&part.batch, &place));
            partition.end.raise(base_offset.0 + u64::from(count));
            placed.push(Placed { at: part.at, base_offset, count, first_hlc });
        }
        Ok(placed)
    }
}

impl Log for MemoryLog {
    fn region(&self) -> RegionId {
        REGION
    }

    fn streams(&self) -> Arc<Streams> {
        self.state.lock().streams.clone()
    }

    fn definitions(&self) -> Arc<Signal> {
        self.definitions.clone()
    }

    fn create_stream(&self, stream: NewStream) -> BoxFuture<'_, Result<Arc<StreamDef>>> {
        Box::pin(async { self.define(&Definition::Create(stream)).map(Arc::new) })
    }

    fn alter_stream(&self, changed: NewStream) -> BoxFuture<'_, Result<Arc<StreamDef>>> {
        Box::pin(async { self.define(&Definition::Alter(changed)).map(Arc::new) })
    }

    fn drop_stream<'a>(&'a self, name: &'a StreamName) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { self.define(&Definition::Drop(name.clone())).map(drop) })
    }

    fn reserve(&self, _bytes: usize) -> BoxFuture<'_, Result<Permit>> {
        Box::pin(async { Ok(Permit::unlimited()) })
    }

    fn try_reserve(&self, _bytes: usize) -> Result<Permit> {
        Ok(Permit::unlimited())
    }

    fn append(&self, _permit: Permit, parts: Vec<Append>) -> Ack {
        let checked = parts.iter().try_for_each(|part| check_append(part.at, &part.batch));
        let outcome = checked.and_then(|()| self.state.lock().append(self.env.clock.now_ms(), &parts));
        self.commits.increment();
        Ack::ready(outcome)
    }

    fn read(&self, at: StreamPartition, from: Offset, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Block>>> {
        Box::pin(async move { self.read_now(at, from, bytes_max) })
    }

    fn settled(&self) -> Hlc {
        self.state.lock().clock.last()
    }

    fn bounds(&self, at: StreamPartition) -> Result<Bounds> {
        let state = self.state.lock();
        Ok(state.partition(at)?.bounds())
    }

    fn end_signal(&self, at: StreamPartition) -> Result<Arc<Signal>> {
        Ok(self.state.lock().partition(at)?.end.clone())
    }

    fn commits(&self) -> Arc<Signal> {
        self.commits.clone()
    }

    fn trim(&self, at: StreamPartition, before: Offset) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { self.trim_now(at, before) })
    }
}
