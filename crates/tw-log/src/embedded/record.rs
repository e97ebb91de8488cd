//! System records: what the log writes about itself, between the blocks of its frames.
//!
//! Every segment that appends fill starts with a [`Checkpoint`]: all that must be known before it, so that recovery
//! reads one segment only. Later records change that knowledge, and are part of the next checkpoint. Stored form of a
//! record: kind (1 byte), length of the content (4 bytes), content; numbers are little-endian. Version 1; a record of
//! an unknown kind is refused, because what it says must not be ignored.

use super::codec::{Put, Take, set_u32};
use super::layout::SegmentId;
use tw_types::{Epoch, Hlc, Offset, PartitionId, RegionId, Sequence, StreamId, StreamPartition};

/// What the log says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// All knowledge at the start of a segment.
    Checkpoint(Checkpoint),
    /// The log was opened: what an earlier, torn frame left at this place can never be read again.
    Opened {
        /// Wall-clock milliseconds.
        at_ms: u64,
    },
    /// The events of a partition before `start` are removed.
    Trimmed { at: StreamPartition, start: Offset },
    /// These segments are not part of the log any more.
    Freed(Vec<SegmentId>),
    /// `new` stands in place of `old`.
    Replaced { old: Vec<SegmentId>, new: SegmentEntry },
    /// This segment was written by the cleaner, from these.
    Rewritten { from: Vec<SegmentId> },
    /// Nothing: overwrites what a failed write may have left.
    Void,
    /// From here on this region accepts under this epoch, with sequences from 1 in every partition: the folder is a copy that was
    /// put back in the place of a newer one.
    Raised {
        epoch: Epoch,
        /// Wall-clock milliseconds.
        at_ms: u64,
    },
}

/// A segment that is part of the log and is not written to any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentEntry {
    pub(crate) id: SegmentId,
    pub(crate) salt: u64,
    /// The position after its last frame.
    pub(crate) end: u64,
}

/// What is known of a partition that has, or had, events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionEntry {
    pub(crate) at: StreamPartition,
    /// The first offset that is not removed.
    pub(crate) start: Offset,
    /// The offset of the next event.
    pub(crate) end: Offset,
    /// The sequence of the last event that was accepted here under the current epoch; 0 before the first.
    pub(crate) sequence: Sequence,
}

/// All knowledge at one point of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// The identity of the log.
    pub(crate) log: u128,
    pub(crate) region: RegionId,
    pub(crate) epoch: Epoch,
    /// The highest timestamp that was given out.
    pub(crate) hlc: Hlc,
    /// In the order of their numbers.
    pub(crate) segments: Vec<SegmentEntry>,
    /// In the order of their streams and numbers.
    pub(crate) partitions: Vec<PartitionEntry>,
}

const ID_BYTES: usize = 20;
const SEGMENT_BYTES: usize = ID_BYTES + 16;
const PARTITION_BYTES: usize = 32;

const CHECKPOINT: u8 = 1;
const OPENED: u8 = 2;
const TRIMMED: u8 = 3;
const FREED: u8 = 4;
const REPLACED: u8 = 5;
const REWRITTEN: u8 = 6;
const VOID: u8 = 7;
const RAISED: u8 = 8;

impl Record {
    /// Appends the stored form.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_u8(match self {
            Self::Checkpoint(_) => CHECKPOINT,
            Self::Opened { .. } => OPENED,
            Self::Trimmed { .. } => TRIMMED,
            Self::Freed(_) => FREED,
            Self::Replaced { .. } => REPLACED,
            Self::Rewritten { .. } => REWRITTEN,
            Self::Void => VOID,
            Self::Raised { .. } => RAISED,
        });
        out.put_u32(0);
        match self {
            Self::Checkpoint(checkpoint) => checkpoint.encode(out),
            Self::Opened { at_ms } => out.put_u64(*at_ms),
            Self::Trimmed { at, start } => {
                put_partition(out, *at);
                out.put_u64(start.0);
            }
            Self::Freed(ids) => put_ids(out, ids),
            Self::Replaced { old, new } => {
                put_ids(out, old);
                put_segment(out, new);
            }
            Self::Rewritten { from } => put_ids(out, from),
            Self::Void => {}
            Self::Raised { epoch, at_ms } => {
                out.put_u32(epoch.0);
                out.put_u64(*at_ms);
            }
        }
        let len = out.len() - start - 5;
        set_u32(out, start + 1, len as u32);
    }

    /// The stored form of several records.
    pub(crate) fn encode_all(records: &[Self]) -> Vec<u8> {
        let mut out = Vec::new();
        for record in records {
            record.encode(&mut out);
        }
        out
    }

    /// Reads the records that make up `bytes`; None when they are not records of this version.
    pub(crate) fn decode_all(bytes: &[u8]) -> Option<Vec<Self>> {
        let mut take = Take(bytes);
        let mut records = Vec::new();
        while !take.is_empty() {
            let kind = take.u8()?;
            let len = take.u32()? as usize;
            let mut content = Take(take.bytes(len)?);
            records.push(decode(kind, &mut content)?);
            if !content.is_empty() {
                return None;
            }
        }
        Some(records)
    }
}

fn decode(kind: u8, take: &mut Take<'_>) -> Option<Record> {
    Some(match kind {
        CHECKPOINT => Record::Checkpoint(Checkpoint::decode(take)?),
        OPENED => Record::Opened { at_ms: take.u64()? },
        TRIMMED => Record::Trimmed { at: take_partition(take)?, start: Offset(take.u64()?) },
        FREED => Record::Freed(take_ids(take)?),
        REPLACED => Record::Replaced { old: take_ids(take)?, new: take_segment(take)? },
        REWRITTEN => Record::Rewritten { from: take_ids(take)? },
        VOID => Record::Void,
        RAISED => Record::Raised { epoch: Epoch(take.u32()?), at_ms: take.u64()? },
        _ => return None,
    })
}

impl Checkpoint {
    /// How many bytes its record takes.
    pub(crate) fn bytes(segments: usize, partitions: usize) -> usize {
        5 + 16 + 2 + 4 + 8 + 8 + segments * SEGMENT_BYTES + partitions * PARTITION_BYTES
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.log.to_le_bytes());
        out.put_u16(self.region.0);
        out.put_u32(self.epoch.0);
        out.put_u64(self.hlc.as_u64());
        out.put_u32(self.segments.len() as u32);
        for segment in &self.segments {
            put_segment(out, segment);
        }
        out.put_u32(self.partitions.len() as u32);
        for PartitionEntry { at, start, end, sequence } in &self.partitions {
            put_partition(out, *at);
            out.put_u64(start.0);
            out.put_u64(end.0);
            out.put_u64(sequence.0);
        }
    }

    fn decode(take: &mut Take<'_>) -> Option<Self> {
        let log = u128::from_le_bytes(take.bytes(16)?.try_into().ok()?);
        let (region, epoch, hlc) = (RegionId(take.u16()?), Epoch(take.u32()?), Hlc::from_u64(take.u64()?));
        let count = take.count(SEGMENT_BYTES)?;
        let segments = (0..count).map(|_| take_segment(take)).collect::<Option<Vec<_>>>()?;
        let count = take.count(PARTITION_BYTES)?;
        let partitions = (0..count)
            .map(|_| {
                let at = take_partition(take)?;
                let (start, end) = (Offset(take.u64()?), Offset(take.u64()?));
                let sequence = Sequence(take.u64()?);
                (start <= end).then_some(PartitionEntry { at, start, end, sequence })
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Self { log, region, epoch, hlc, segments, partitions })
    }
}

fn put_partition(out: &mut Vec<u8>, at: StreamPartition) {
    out.put_u32(at.stream.0);
    out.put_u32(at.partition.0);
}

fn take_partition(take: &mut Take<'_>) -> Option<StreamPartition> {
    Some(StreamPartition::new(StreamId(take.u32()?), PartitionId(take.u32()?)))
}

fn put_id(out: &mut Vec<u8>, id: SegmentId) {
    out.put_u64(id.first);
    out.put_u64(id.last);
    out.put_u32(id.generation);
}

fn take_id(take: &mut Take<'_>) -> Option<SegmentId> {
    let id = SegmentId { first: take.u64()?, last: take.u64()?, generation: take.u32()? };
    (id.first <= id.last).then_some(id)
}

fn put_ids(out: &mut Vec<u8>, ids: &[SegmentId]) {
    out.put_u32(ids.len() as u32);
    for id in ids {
        put_id(out, *id);
    }
}

fn take_ids(take: &mut Take<'_>) -> Option<Vec<SegmentId>> {
    let count = take.count(ID_BYTES)?;
    (0..count).map(|_| take_id(take)).collect()
}

fn put_segment(out: &mut Vec<u8>, segment: &SegmentEntry) {
    put_id(out, segment.id);
    out.put_u64(segment.salt);
    out.put_u64(segment.end);
}

fn take_segment(take: &mut Take<'_>) -> Option<SegmentEntry> {
    Some(SegmentEntry { id: take_id(take)?, salt: take.u64()?, end: take.u64()? })
}
