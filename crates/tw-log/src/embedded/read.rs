//! Reading blocks from segment files.
//!
//! A read takes the runs of its partition from the index, reads neighbouring ones in one go, checks every block, and
//! asks the disk to go on reading while the caller works.

use super::index::Run;
use super::layout::{FRAME_ALIGN, FrameHeader};
use super::partition::Partition;
use super::recovery::scan_index;
use super::segment::{Runs, Segment, count, select};
use super::shared::{Shared, damaged, read_error};
use crate::{Error, Result};
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use tw_env::{File, OpenMode};
use tw_types::{Offset, StreamPartition};
use tw_wire::{Block, BlockHeader};

/// Runs that are no further apart than this are read in one go, what lies between them included.
const GAP_BYTES: u64 = 32 * 1024;
/// Buffers from this size on are used again and again.
const POOLED_BYTES_MIN: usize = 128 * 1024;
/// How many buffers are kept.
const POOLED_MAX: usize = 8;

/// Buffers for reading, kept because fresh memory costs as much as copying into it.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

struct Buffer {
    bytes: Vec<u8>,
    pool: Arc<Buffers>,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut pool = self.pool.0.lock();
        if self.bytes.len() >= POOLED_BYTES_MIN && pool.len() < POOLED_MAX {
            pool.push(std::mem::take(&mut self.bytes));
        }
    }
}

impl Buffers {
    /// `len` bytes of the file from `position` on.
    fn read(self: &Arc<Self>, file: &dyn File, position: u64, len: usize) -> std::io::Result<Bytes> {
        let kept = if len >= POOLED_BYTES_MIN { self.0.lock().pop() } else { None };
        let mut bytes = kept.filter(|kept| kept.len() / 4 <= len).unwrap_or_default();
        if bytes.len() < len {
            bytes = vec![0; len];
        }
        file.read_exact_at(bytes.get_mut(..len).unwrap_or_default(), position)?;
        Ok(Bytes::from_owner(Buffer { bytes, pool: self.clone() }).slice(..len))
    }
}

/// What a read is after.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) at: StreamPartition,
    pub(crate) from: Offset,
    pub(crate) bytes_max: u64,
}

impl Shared {
    /// The blocks of a partition from the one that holds `from` on; see [`crate::Log::read`]. Reads the disk if need
    /// be, so it is not for tasks.
    pub(crate) fn read_blocking(
        &self,
        at: StreamPartition,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Vec<Block>> {
        let partition = self.partition(at)?;
        self.read_memory(&partition, from, bytes_max)?
            .map_or_else(|| self.read_disk(&partition, from, bytes_max), Ok)
    }

    /// What can be read without touching the disk; None when that must be touched.
    pub(crate) fn read_memory(
        &self,
        partition: &Partition,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Option<Vec<Block>>> {
        if !partition.bounds().check(partition.at, from)? {
            return Ok(Some(Vec::new()));
        }
        Ok(partition.read_tail(from, bytes_max))
    }

    /// As [`Shared::read_blocking`], from the disk in any case.
    pub(crate) fn read_disk(
        &self,
        partition: &Partition,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Vec<Block>> {
        let bytes_max = (bytes_max as u64).min(self.options.read_bytes_max);
        let wanted = Wanted { at: partition.at, from, bytes_max };
        let places = partition.places_of(from);
        self.prefetch(&places, wanted);
        for segment in &places {
            let blocks = self.read_segment(segment, wanted)?;
            if !blocks.is_empty() {
                return Ok(blocks);
            }
        }
        // Retention or a drop may have taken the segments away since the bounds were looked at.
        let start = partition.start();
        if from < start {
            return Err(Error::Trimmed { at: partition.at, start });
        }
        self.partition(partition.at)?;
        let path = places.first().map_or(&self.folder, |segment| &segment.path);
        Err(damaged(path, 0, format!("it should hold offset {from} of {}, but does not", partition.at)))
    }

    /// The wanted blocks of one segment; none when it has no more of them.
    pub(crate) fn read_segment(&self, segment: &Arc<Segment>, wanted: Wanted) -> Result<Vec<Block>> {
        let runs = self.runs_of(segment, wanted)?;
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        let file = self.file(segment)?;
        let mut rest = runs.as_slice();
        let mut blocks = Vec::new();
        let mut left = wanted.bytes_max;
        while !rest.is_empty() && (blocks.is_empty() || left > 0) {
            let (stretch, others) = next_stretch(rest, wanted.bytes_max);
            rest = others;
            let (Some(first), Some(end)) = (stretch.first(), stretch.last().map(run_end)) else { break };
            let bytes = self
                .buffers
                .read(&*file, first.position, (end - first.position) as usize)
                .map_err(|error| read_error(&segment.path, first.position, error))?;
            for run in stretch {
                let start = (run.position - first.position) as usize;
                let bytes = bytes.slice(start..start + run.len as usize);
                let mut parser = RunParser { segment, run, bytes, at: 0, wanted };
                match parser.blocks(&mut blocks, &mut left) {
                    // What comes before the damage is served; the damage itself is told to whoever reads on.
                    Err(_) if !blocks.is_empty() => return Ok(blocks),
                    other => other?,
                }
            }
        }
        Ok(blocks)
    }

    /// The runs that a read needs.
    fn runs_of(&self, segment: &Arc<Segment>, wanted: Wanted) -> Result<Vec<Run>> {
        let Wanted { at, from, bytes_max } = wanted;
        match segment.runs(at, from, bytes_max) {
            Runs::Here(runs) => Ok(runs),
            Runs::None => Ok(Vec::new()),
            Runs::Stored(stored) => {
                let key = (segment.id, at);
                if let Some(runs) = self.runs.get(&key) {
                    return Ok(select(&runs, from, bytes_max));
                }
                let Some(runs) = self.load_runs(segment, &stored) else {
                    tracing::warn!(segment = %segment.id, "the index of a segment is damaged: it is rebuilt");
                    let index = scan_index(&*self.file(segment)?, &segment.path, &segment.entry())?;
                    segment.set_rebuilt(index);
                    self.untidy.increment();
                    return self.runs_of(segment, wanted);
                };
                let runs: Arc<[Run]> = runs.into();
                self.runs.insert(key, runs.clone());
                Ok(select(&runs, from, bytes_max))
            }
        }
    }

    fn load_runs(&self, segment: &Segment, stored: &super::index::StoredSummary) -> Option<Vec<Run>> {
        let file = self.env.disk.open(&segment.path.with_extension("idx"), OpenMode::Read).ok()?;
        if stored.position + u64::from(stored.len) > file.len().ok()? {
            return None;
        }
        let mut bytes = vec![0; stored.len as usize];
        file.read_exact_at(&mut bytes, stored.position).ok()?;
        stored.runs(&bytes)
    }

    /// Lets the disk read what the next read will want, also from the next segments, while this one is worked on. What cannot
    /// be looked up here is left to the read that needs it.
    fn prefetch(&self, places: &[Arc<Segment>], wanted: Wanted) {
        let (mut bytes, bytes_max) = (0, wanted.bytes_max);
        for segment in places {
            let more = Wanted { bytes_max: 2 * bytes_max - bytes, ..wanted };
            let Ok(runs) = self.runs_of(segment, more) else { return };
            let (_, next) = runs.split_at(count(&runs, bytes_max.saturating_sub(bytes)));
            if !next.is_empty() {
                let Ok(file) = self.file(segment) else { return };
                prefetch(&*file, next, bytes_max);
            }
            bytes += runs.iter().map(|run| u64::from(run.len)).sum::<u64>();
            if bytes >= 2 * bytes_max {
                return;
            }
        }
    }
}

/// Lets the disk read these runs while others are worked on.
fn prefetch(file: &dyn File, mut runs: &[Run], bytes_max: u64) {
    while !runs.is_empty() {
        let (stretch, others) = next_stretch(runs, bytes_max);
        if let (Some(first), Some(end)) = (stretch.first(), stretch.last().map(run_end)) {
            file.prefetch(first.position, end - first.position);
        }
        runs = others;
    }
}

fn run_end(run: &Run) -> u64 {
    run.position + u64::from(run.len)
}

/// The runs at the front that are read in one go, and the others.
fn next_stretch(runs: &[Run], bytes_max: u64) -> (&[Run], &[Run]) {
    let start = runs.first().map_or(0, |run| run.position);
    let mut end = start;
    let count = runs
        .iter()
        .take_while(|run| {
            let near = end == start || (run.position <= end + GAP_BYTES && run_end(run) <= start + bytes_max);
            end = run_end(run);
            near
        })
        .count();
    runs.split_at(count)
}

/// Takes the blocks out of the bytes of a run.
struct RunParser<'a> {
    segment: &'a Segment,
    run: &'a Run,
    bytes: Bytes,
    at: usize,
    wanted: Wanted,
}

impl RunParser<'_> {
    /// Adds the wanted blocks of the run to `blocks` while there are bytes left.
    fn blocks(&mut self, blocks: &mut Vec<Block>, left: &mut u64) -> Result<()> {
        while self.at < self.bytes.len() {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let header = match BlockHeader::read(rest) {
                Ok(header) => header,
                Err(error) => {
                    if !self.skip_frame_header() {
                        self.skip_damage(&error)?;
                    }
                    continue;
                }
            };
            let length = u64::from(header.length);
            if header.end_offset() > self.wanted.from {
                if !blocks.is_empty() && length > *left {
                    *left = 0;
                    return Ok(());
                }
                if header.at != self.wanted.at {
                    return Err(self.damaged(&"the block is of another partition than the index says"));
                }
                let block =
                    Block::read(&self.bytes.slice(self.at..)).map_err(|error| self.damaged(&error))?;
                *left = left.saturating_sub(length);
                blocks.push(block);
            }
            self.at += header.length as usize;
        }
        Ok(())
    }

    fn position(&self) -> u64 {
        self.run.position + self.at as u64
    }

    fn damaged(&self, cause: &dyn ToString) -> Error {
        damaged(&self.segment.path, self.position(), cause.to_string())
    }

    /// Skips the header of the frame that starts here, and its records.
    fn skip_frame_header(&mut self) -> bool {
        let aligned = super::codec::round_up(self.position(), FRAME_ALIGN);
        let at = (aligned - self.run.position) as usize;
        let rest = self.bytes.get(at..).unwrap_or_default();
        let Some(header) = FrameHeader::decode(rest, self.segment.salt, aligned) else { return false };
        self.at = at + super::layout::FRAME_HEADER + header.records_len as usize;
        true
    }

    /// Goes on at the next whole block of the partition, if the wanted offset is there or later.
    fn skip_damage(&mut self, error: &tw_wire::Error) -> Result<()> {
        for at in self.at + 1..self.bytes.len() {
            let rest = self.bytes.get(at..).unwrap_or_default();
            if let Ok(header) = BlockHeader::read(rest)
                && header.at == self.wanted.at
                && header.base_offset > self.run.base
            {
                if header.base_offset > self.wanted.from {
                    break;
                }
                self.at = at;
                return Ok(());
            }
        }
        Err(self.damaged(error))
    }
}
