//! The index of a segment: which partitions it holds, and where.
//!
//! For each partition a *summary*, and its *runs*. A run is a stretch of the file in which all blocks are of that
//! partition; it ends where a block of another partition comes, or when it is 64 KiB long. So the index is sparse
//! where a partition is alone, and exact where partitions alternate: reading one of them never scans the others.
//!
//! ```text
//! byte  bytes  index file, version 1 (little-endian)
//!    0      8  magic "TWIDX001"
//!    8      4  CRC32C of bytes 12 to 64 + 80 × partitions
//!   12      4  number of partitions
//!   16     20  segment: first number, last number, generation
//!   36      4  zero
//!   40      8  salt of the segment
//!   48      8  position after the segment's last frame
//!   56      8  zero
//!   64         one summary of 80 bytes per partition, ordered by stream and partition:
//!    0      8  stream, partition
//!    8     16  first offset, offset after the last
//!   24     16  first HLC, last HLC
//!   40      8  bytes of its blocks
//!   48      4  number of its blocks
//!   52      4  flags: 1 compacted: the segment holds no event that an event of an earlier compaction's range replaced
//!   56     16  its runs in this file: position (8), length (4), CRC32C (4)
//!   72      8  number of runs (4), zero (4)
//!    …         runs of each partition: (offset, position, length) each as LEB128, the first two as differences to
//!              those of the run before
//! ```

use super::codec::{Put, Take, part, set_u32};
use super::layout::SegmentId;
use std::collections::BTreeMap;
use tw_types::{Hlc, Offset, PartitionId, StreamId, StreamPartition, varint};
use tw_wire::BlockHeader;

/// The length from which on a run is not continued, in bytes.
const RUN_BYTES: u64 = 64 * 1024;
const MAGIC: [u8; 8] = *b"TWIDX001";
/// What the header of an index file takes.
pub(crate) const INDEX_HEADER: usize = 64;
/// What a summary takes.
pub(crate) const SUMMARY_BYTES: usize = 80;
const COMPACTED: u32 = 1;

/// A stretch of a segment with blocks of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// The base offset of its first block.
    pub(crate) base: Offset,
    /// Where it starts in the file.
    pub(crate) position: u64,
    /// Up to the end of its last block. Headers of frames may lie in between.
    pub(crate) len: u32,
}

/// What a segment holds of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) at: StreamPartition,
    /// The base offset of the first block.
    pub(crate) first: Offset,
    /// The offset after the last event.
    pub(crate) end: Offset,
    /// The earliest and the latest time of an event: those of other regions do not rise with offsets.
    pub(crate) first_hlc: Hlc,
    pub(crate) last_hlc: Hlc,
    /// The length of its blocks.
    pub(crate) bytes: u64,
    pub(crate) blocks: u32,
    /// Whether a compaction has been over it.
    pub(crate) compacted: bool,
}

/// The index of a segment in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Index {
    partitions: BTreeMap<StreamPartition, (Summary, Vec<Run>)>,
    /// The partition of the last block in the file.
    last: Option<StreamPartition>,
}

impl Index {
    /// Notes a block that lies at `position`; blocks come in the order of the file.
    pub(crate) fn add(&mut self, header: &BlockHeader, position: u64) {
        let length = u64::from(header.length);
        let alone = self.last == Some(header.at);
        self.last = Some(header.at);
        let (summary, runs) = self.partitions.entry(header.at).or_insert_with(|| {
            let (first, first_hlc) = (header.base_offset, header.first_hlc);
            let (at, end, last_hlc) = (header.at, first, first_hlc);
            (
                Summary { at, first, end, first_hlc, last_hlc, bytes: 0, blocks: 0, compacted: false },
                Vec::new(),
            )
        });
        summary.end = header.end_offset();
        summary.first_hlc = summary.first_hlc.min(header.first_hlc);
        summary.last_hlc = summary.last_hlc.max(header.last_hlc);
        summary.bytes += length;
        summary.blocks += 1;
        match runs.last_mut() {
            Some(run) if alone && u64::from(run.len) < RUN_BYTES => {
                run.len = (position + length - run.position) as u32;
            }
            _ => runs.push(Run { base: header.base_offset, position, len: header.length }),
        }
    }

    /// Marks a partition as compacted.
    pub(crate) fn set_compacted(&mut self, at: StreamPartition) {
        if let Some((summary, _)) = self.partitions.get_mut(&at) {
            summary.compacted = true;
        }
    }

    pub(crate) fn summary(&self, at: StreamPartition) -> Option<Summary> {
        self.partitions.get(&at).map(|(summary, _)| *summary)
    }

    pub(crate) fn summaries(&self) -> impl Iterator<Item = Summary> + '_ {
        self.partitions.values().map(|(summary, _)| *summary)
    }

    pub(crate) fn runs(&self, at: StreamPartition) -> &[Run] {
        self.partitions.get(&at).map_or(&[], |(_, runs)| runs)
    }

    /// The stored form.
    pub(crate) fn encode(&self, id: SegmentId, salt: u64, end: u64) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC);
        out.put_u32(0);
        out.put_u32(self.partitions.len() as u32);
        out.put_u64(id.first);
        out.put_u64(id.last);
        out.put_u32(id.generation);
        out.put_u32(0);
        out.put_u64(salt);
        out.put_u64(end);
        out.put_u64(0);
        let mut tail = Vec::new();
        let tail_at = INDEX_HEADER + self.partitions.len() * SUMMARY_BYTES;
        for (summary, runs) in self.partitions.values() {
            let start = tail.len();
            put_runs(&mut tail, runs);
            let encoded = part(&tail, start..tail.len());
            put_summary(&mut out, summary);
            out.put_u64((tail_at + start) as u64);
            out.put_u32(encoded.len() as u32);
            out.put_u32(crc32c::crc32c(encoded));
            out.put_u32(runs.len() as u32);
            out.put_u32(0);
        }
        let crc = crc32c::crc32c(part(&out, 12..out.len()));
        set_u32(&mut out, 8, crc);
        out.extend_from_slice(&tail);
        out
    }
}

fn put_summary(out: &mut Vec<u8>, summary: &Summary) {
    out.put_u32(summary.at.stream.0);
    out.put_u32(summary.at.partition.0);
    for value in [summary.first.0, summary.end.0, summary.first_hlc.as_u64(), summary.last_hlc.as_u64()] {
        out.put_u64(value);
    }
    out.put_u64(summary.bytes);
    out.put_u32(summary.blocks);
    out.put_u32(if summary.compacted { COMPACTED } else { 0 });
}

fn put_runs(out: &mut Vec<u8>, runs: &[Run]) {
    let mut before = (0, 0);
    for run in runs {
        varint::put(out, run.base.0 - before.0);
        varint::put(out, run.position - before.1);
        varint::put(out, u64::from(run.len));
        before = (run.base.0, run.position);
    }
}

/// A summary, and where the runs are in the index file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredSummary {
    pub(crate) summary: Summary,
    pub(crate) position: u64,
    pub(crate) len: u32,
    crc: u32,
    count: u32,
}

impl StoredSummary {
    /// Reads the runs from the bytes at their place in the file; None when they are damaged.
    pub(crate) fn runs(&self, bytes: &[u8]) -> Option<Vec<Run>> {
        // A run takes at least three bytes, so a count beyond the bytes is a lie that must not allocate.
        if bytes.len() != self.len as usize || crc32c::crc32c(bytes) != self.crc || self.count > self.len {
            return None;
        }
        let mut take = Take(bytes);
        let mut runs = Vec::with_capacity(self.count as usize);
        let (mut base, mut position) = (0u64, 0u64);
        for _ in 0..self.count {
            base = base.checked_add(take.varint()?)?;
            position = position.checked_add(take.varint()?)?;
            runs.push(Run { base: Offset(base), position, len: u32::try_from(take.varint()?).ok()? });
        }
        take.is_empty().then_some(runs)
    }
}

/// What the front of an index file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredIndex {
    pub(crate) id: SegmentId,
    pub(crate) salt: u64,
    pub(crate) end: u64,
    /// Ordered by partition.
    pub(crate) summaries: Vec<StoredSummary>,
}

impl StoredIndex {
    /// How many bytes [`StoredIndex::decode`] needs, as the first [`INDEX_HEADER`] bytes say; None when they are no
    /// index's.
    pub(crate) fn front_bytes(header: &[u8]) -> Option<usize> {
        let mut take = Take(header.strip_prefix(&MAGIC)?);
        take.u32()?;
        (take.u32()? as usize).checked_mul(SUMMARY_BYTES)?.checked_add(INDEX_HEADER)
    }

    /// Reads header and summaries; None when they are damaged.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let len = Self::front_bytes(bytes)?;
        let bytes = bytes.get(..len)?;
        let mut take = Take(bytes.get(8..)?);
        if take.u32()? != crc32c::crc32c(bytes.get(12..)?) {
            return None;
        }
        let count = take.u32()? as usize;
        let id = SegmentId { first: take.u64()?, last: take.u64()?, generation: take.u32()? };
        take.u32()?;
        let (salt, end) = (take.u64()?, take.u64()?);
        take.u64()?;
        let summaries = (0..count).map(|_| take_summary(&mut take)).collect::<Option<Vec<_>>>()?;
        let ordered = summaries.windows(2).all(|pair| match pair {
            [a, b] => a.summary.at < b.summary.at,
            _ => true,
        });
        ordered.then_some(Self { id, salt, end, summaries })
    }

    /// What is stored of a partition.
    pub(crate) fn get(&self, at: StreamPartition) -> Option<&StoredSummary> {
        let found = self.summaries.binary_search_by_key(&at, |stored| stored.summary.at).ok()?;
        self.summaries.get(found)
    }
}

fn take_summary(take: &mut Take<'_>) -> Option<StoredSummary> {
    let at = StreamPartition::new(StreamId(take.u32()?), PartitionId(take.u32()?));
    let (first, end) = (Offset(take.u64()?), Offset(take.u64()?));
    let (first_hlc, last_hlc) = (Hlc::from_u64(take.u64()?), Hlc::from_u64(take.u64()?));
    let (bytes, blocks, flags) = (take.u64()?, take.u32()?, take.u32()?);
    let summary =
        Summary { at, first, end, first_hlc, last_hlc, bytes, blocks, compacted: flags & COMPACTED != 0 };
    let (position, len, crc) = (take.u64()?, take.u32()?, take.u32()?);
    let count = take.u32()?;
    take.u32()?;
    (first <= end && flags & !COMPACTED == 0).then_some(StoredSummary { summary, position, len, crc, count })
}
