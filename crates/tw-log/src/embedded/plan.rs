//! Planning a commit: which of the waiting requests succeed, and what is written for them.
//!
//! Pure: from what is known and what is asked for follows what is to be written and what is known then. Nothing has
//! happened until the writer has made it durable; a plan that could not be written is thrown away.

use super::queue::Request;
use super::record::{PartitionEntry, Record};
use crate::streams::check_trim;
use crate::{Append, CONFIG_PARTITION, ConfigChange, Definition, Error, Foreign, Placed, Result, Streams};
use hashbrown::HashMap;
use std::sync::Arc;
use tw_types::{
    Compression, Epoch, Hlc, HlcClock, Offset, Origin, RegionId, Sequence, StreamDef, StreamPartition,
};
use tw_wire::{Batch, BatchBuilder, Block, Placement};

/// What the writer knows of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Head {
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    /// The sequence of the last event that was accepted here under the current epoch.
    pub(crate) sequence: Sequence,
}

impl Head {
    /// Whatever is accepted from now on is counted anew.
    pub(crate) fn begin_epoch(&mut self) {
        self.sequence = Sequence(0);
    }

    /// As a checkpoint says it.
    pub(crate) fn entry(&self, at: StreamPartition) -> PartitionEntry {
        PartitionEntry { at, start: self.start, end: self.end, sequence: self.sequence }
    }
}

/// What the writer knows.
#[derive(Debug, Clone)]
pub(crate) struct Knowledge {
    pub(crate) streams: Arc<Streams>,
    pub(crate) heads: HashMap<StreamPartition, Head>,
    pub(crate) clock: HlcClock,
    pub(crate) region: RegionId,
    pub(crate) epoch: Epoch,
}

impl Knowledge {
    /// How a partition stands.
    fn head(&self, at: StreamPartition) -> Head {
        self.heads.get(&at).copied().unwrap_or_default()
    }
}

/// What planning needs besides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances {
    pub(crate) now_ms: u64,
    /// A random number: the id of the first definition's event; the following ones count on.
    pub(crate) id: u64,
    /// Up to which size small batches become one block.
    pub(crate) merge_bytes_max: u64,
    /// How large the event may be that defines a stream.
    pub(crate) append_bytes_max: u64,
}

/// What becomes of a request once the plan is durable.
#[derive(Debug)]
pub(crate) enum Verdict {
    Placed(Vec<Placed>),
    Defined(Arc<StreamDef>),
    Done,
    Refused(Error),
}

/// What is to be written, and what is known once it is.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) requests: Vec<(Request, Verdict)>,
    pub(crate) records: Vec<Record>,
    pub(crate) blocks: Vec<Block>,
    /// The partitions that change, as they are then.
    pub(crate) heads: Vec<(StreamPartition, Head)>,
    /// The definitions as they are then, if they change, and the changes.
    pub(crate) streams: Option<Arc<Streams>>,
    pub(crate) changes: Vec<ConfigChange>,
    pub(crate) clock: HlcClock,
}

/// A batch that has its offset, and waits for its block.
struct Piece {
    /// The request, and which of its parts; None for the log's own events.
    of: Option<(usize, usize)>,
    batch: Batch,
    base: Offset,
    from: From,
}

/// Who has accepted a batch.
#[derive(Debug, Clone, Copy)]
enum From {
    /// This region; the sequence of the first event.
    Here(Sequence),
    Elsewhere(Foreign),
}

/// A partition that requests are about: how it stands, and the pieces that it gets.
struct Lane {
    at: StreamPartition,
    compression: Compression,
    head: Head,
    pieces: Vec<Piece>,
    /// Whether what is accepted here gets its time before everything else does: events that come with those of other regions, and
    /// tell that these are here.
    leads: bool,
}

struct Planner<'a> {
    known: &'a Knowledge,
    around: Circumstances,
    streams: Arc<Streams>,
    lanes: Vec<Lane>,
    lane_of: HashMap<StreamPartition, usize>,
    records: Vec<Record>,
    changes: Vec<ConfigChange>,
    /// It has observed every event of another region that is appended.
    clock: HlcClock,
}

/// Plans the commit of `requests`, in their order.
pub(crate) fn plan(
    known: &Knowledge,
    requests: Vec<Request>,
    around: Circumstances,
    builder: &mut BatchBuilder,
) -> Plan {
    let mut planner = Planner {
        known,
        around,
        streams: known.streams.clone(),
        lanes: Vec::new(),
        lane_of: HashMap::new(),
        records: Vec::new(),
        changes: Vec::new(),
        clock: known.clock.clone(),
    };
    let mut verdicts: Vec<Verdict> = requests
        .iter()
        .enumerate()
        .map(|(index, request)| planner.accept(index, request).unwrap_or_else(Verdict::Refused))
        .collect();
    let Planner { streams, mut lanes, records, changes, mut clock, .. } = planner;
    lanes.sort_by_key(|lane| !lane.leads);
    let mut blocks = Vec::with_capacity(lanes.len());
    for lane in &lanes {
        let mut place = Placer { known, lane, clock: &mut clock, now_ms: around.now_ms, blocks: &mut blocks };
        for pieces in mergeable(&lane.pieces, around.merge_bytes_max) {
            place.put(pieces, builder, &mut verdicts);
        }
    }
    let heads = lanes
        .iter()
        .filter(|lane| lane.head != known.head(lane.at))
        .map(|lane| (lane.at, lane.head))
        .collect();
    let streams = (!changes.is_empty()).then_some(streams);
    let requests = requests.into_iter().zip(verdicts).collect();
    Plan { requests, records, blocks, heads, streams, changes, clock }
}

impl Planner<'_> {
    fn accept(&mut self, index: usize, request: &Request) -> Result<Verdict> {
        match request {
            Request::Append { parts, .. } => self.append(index, parts).map(Verdict::Placed),
            Request::Define { change, .. } => self.define(change).map(Verdict::Defined),
            Request::Trim { at, before, .. } => self.trim(*at, *before).map(|()| Verdict::Done),
            Request::Record { record, .. } => {
                self.records.push(record.clone());
                Ok(Verdict::Done)
            }
        }
    }

    /// The lane of a partition that exists.
    fn lane(&mut self, at: StreamPartition) -> Result<usize> {
        if let Some(lane) = self.lane_of.get(&at) {
            return Ok(*lane);
        }
        let compression = self.streams.of_partition(at)?.options.compression;
        let head = self.known.head(at);
        self.lanes.push(Lane { at, compression, head, pieces: Vec::new(), leads: false });
        self.lane_of.insert(at, self.lanes.len() - 1);
        Ok(self.lanes.len() - 1)
    }

    /// Gives all parts their offsets, or none.
    fn append(&mut self, index: usize, parts: &[Append]) -> Result<Vec<Placed>> {
        let mut lanes = Vec::with_capacity(parts.len());
        let mut placed: Vec<Placed> = Vec::with_capacity(parts.len());
        for part in parts {
            let at = part.at;
            let lane = self.lane(at)?;
            lanes.push(lane);
            let earlier = placed.iter().rev().find(|placed| placed.at == at).map(Placed::end);
            let end = earlier.or_else(|| self.lanes.get(lane).map(|lane| lane.head.end)).unwrap_or_default();
            if let Some(expected) = part.expected_end.filter(|expected| *expected != end) {
                return Err(Error::WrongEnd { at, expected, actual: end });
            }
            // The timestamp comes with the block.
            placed.push(Placed { at, base_offset: end, count: part.batch.count(), first_hlc: Hlc::ZERO });
        }
        let has_foreign = self.observe(parts)?;
        for (part_index, (part, lane)) in parts.iter().zip(lanes).enumerate() {
            if let Some(lane) = self.lanes.get_mut(lane) {
                lane.push(&part.batch, Some((index, part_index)), part.foreign);
                lane.leads |= has_foreign && part.foreign.is_none();
            }
        }
        Ok(placed)
    }

    /// Lets the clock observe what other regions have accepted, if all of it may be taken. Says whether there is any.
    fn observe(&mut self, parts: &[Append]) -> Result<bool> {
        let (here, mut clock) = ((self.known.region, self.known.epoch), self.clock.clone());
        let mut has_foreign = false;
        for (part, foreign) in parts.iter().filter_map(|part| Some((part, part.foreign?))) {
            foreign.observe(here, part.batch.count(), &mut clock, self.around.now_ms)?;
            has_foreign = true;
        }
        self.clock = clock;
        Ok(has_foreign)
    }

    fn define(&mut self, wanted: &Definition) -> Result<Arc<StreamDef>> {
        let change = self.streams.change(wanted)?;
        let id = self.around.id.wrapping_add(self.changes.len() as u64);
        let batch = change.to_batch(&self.streams, id)?;
        let (bytes, bytes_max) = (batch.bytes() as u64, self.around.append_bytes_max);
        if bytes > bytes_max && !matches!(change, ConfigChange::Dropped(_)) {
            let reason = format!(
                "its definition takes {bytes} bytes, over the limit of {bytes_max} bytes: declare fewer columns"
            );
            return Err(Error::InvalidStream { name: change.definition().name.clone(), reason });
        }
        let lane = self.lane(CONFIG_PARTITION)?;
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.push(&batch, None, None);
        }
        let def = Arc::new(change.definition().clone());
        if matches!(change, ConfigChange::Dropped(_)) {
            self.lane_of.retain(|at, _| at.stream != def.id);
        }
        Arc::make_mut(&mut self.streams).apply(change.clone());
        self.changes.push(change);
        Ok(def)
    }

    fn trim(&mut self, at: StreamPartition, before: Offset) -> Result<()> {
        let lane = self.lane(at)?;
        check_trim(at)?;
        let Some(Lane { head, .. }) = self.lanes.get_mut(lane) else { return Ok(()) };
        if before > head.end {
            return Err(Error::BeyondEnd { at, from: before, end: head.end });
        }
        if before > head.start {
            head.start = before;
            self.records.push(Record::Trimmed { at, start: before });
        }
        Ok(())
    }
}

impl Lane {
    /// Gives a batch its offset.
    fn push(&mut self, batch: &Batch, of: Option<(usize, usize)>, foreign: Option<Foreign>) {
        let from = foreign.map_or(From::Here(Sequence(self.head.sequence.0 + 1)), From::Elsewhere);
        self.pieces.push(Piece { of, batch: batch.clone(), base: self.head.end, from });
        self.head.end = self.head.end.plus(u64::from(batch.count()));
        if foreign.is_none() {
            self.head.sequence.0 += u64::from(batch.count());
        }
    }
}

/// Cuts pieces into groups that become one block each.
fn mergeable(pieces: &[Piece], bytes_max: u64) -> impl Iterator<Item = &[Piece]> {
    let mut bytes = 0;
    pieces.chunk_by(move |a, b| {
        bytes = bytes.max(a.batch.bytes() as u64) + b.batch.bytes() as u64;
        let merge = matches!((a.from, b.from), (From::Here(_), From::Here(_)))
            && a.batch.is_mergeable()
            && b.batch.is_mergeable()
            && a.batch.is_versioned() == b.batch.is_versioned()
            && bytes <= bytes_max;
        if !merge {
            bytes = 0;
        }
        merge
    })
}

/// Puts pieces into blocks.
struct Placer<'a> {
    known: &'a Knowledge,
    lane: &'a Lane,
    clock: &'a mut HlcClock,
    now_ms: u64,
    blocks: &'a mut Vec<Block>,
}

impl Placer<'_> {
    fn put(&mut self, pieces: &[Piece], builder: &mut BatchBuilder, verdicts: &mut [Verdict]) {
        let merged = if pieces.len() > 1 { merge(pieces, builder, self.lane.compression) } else { None };
        if let (Some(batch), Some(first)) = (merged, pieces.first()) {
            let first_hlc = self.block(&batch, first);
            for piece in pieces {
                tell(verdicts, piece, first_hlc.plus(piece.base.0 - first.base.0));
            }
        } else {
            for piece in pieces {
                let first_hlc = self.block(&piece.batch, piece);
                tell(verdicts, piece, first_hlc);
            }
        }
    }

    fn block(&mut self, batch: &Batch, first: &Piece) -> Hlc {
        let (origin, first_hlc) = match first.from {
            From::Here(sequence) => (
                Origin { region: self.known.region, epoch: self.known.epoch, sequence },
                self.clock.take(self.now_ms, u64::from(batch.count())),
            ),
            From::Elsewhere(foreign) => (foreign.origin, foreign.first_hlc),
        };
        let place = Placement {
            at: self.lane.at,
            base_offset: first.base,
            first_hlc,
            region: origin.region,
            epoch: origin.epoch,
            base_sequence: origin.sequence,
        };
        self.blocks.push(Block::new(batch, &place));
        first_hlc
    }
}

/// One batch of all pieces; None if that cannot be, and then each becomes a block of its own.
fn merge(pieces: &[Piece], builder: &mut BatchBuilder, compression: Compression) -> Option<Batch> {
    let merged = pieces.iter().try_for_each(|piece| builder.push_batch(&piece.batch));
    let batch = builder.finish(compression);
    match (merged, batch) {
        (Ok(()), Ok(batch)) => Some(batch),
        _ => {
            *builder = BatchBuilder::new();
            None
        }
    }
}

/// Fills in the timestamp of a part.
fn tell(verdicts: &mut [Verdict], piece: &Piece, first_hlc: Hlc) {
    if let Some((request, part)) = piece.of
        && let Some(Verdict::Placed(placed)) = verdicts.get_mut(request)
        && let Some(placed) = placed.get_mut(part)
    {
        placed.first_hlc = first_hlc;
    }
}
