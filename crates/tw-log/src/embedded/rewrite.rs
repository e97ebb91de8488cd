//! Writing what lives in some segments into a new one.
//!
//! The new segment is sorted by partition, so that reading one of them is one long run. Its file gets its name, and
//! all of it is durable, before a record in the log puts it in the place of the others.

use super::cleaner::store_index;
use super::compact::Compaction;
use super::index::{Index, StoredIndex};
use super::layout::{FRAME_HEADER, FrameHeader, PAGE, SegmentHeader, SegmentId};
use super::partition::Partition;
use super::read::Wanted;
use super::record::Record;
use super::segment::Segment;
use super::shared::{Shared, io_error};
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tw_env::{File, OpenMode};
use tw_types::{Compression, Offset, StoredRef, StreamPartition};
use tw_wire::Block;

/// How much is read at once, and the size of a frame, about.
const FRAME_BYTES: u64 = 1 << 20;

/// Writes a new segment.
pub(crate) struct Rewriter<'a> {
    shared: &'a Shared,
    old: &'a [Arc<Segment>],
    compaction: &'a Compaction,
    id: SegmentId,
    salt: u64,
    /// The name while it is being made.
    new: PathBuf,
    path: PathBuf,
    file: Arc<dyn File>,
    position: u64,
    number: u32,
    index: Index,
    blocks: Vec<Block>,
    blocks_len: u64,
    /// Whether anything of the old segments was left out.
    shrunk: bool,
}

/// What came of rewriting.
pub(crate) enum Rewritten {
    /// This segment can take the place of the others.
    New(Arc<Segment>),
    /// Nothing of them lives.
    Nothing,
    /// All of it lives, and there is nothing to gain.
    Unchanged,
}

impl<'a> Rewriter<'a> {
    /// Starts the segment that is to stand in the place of `old`, which are neighbours.
    pub(crate) fn new(
        shared: &'a Shared,
        old: &'a [Arc<Segment>],
        compaction: &'a Compaction,
    ) -> Result<Self> {
        let ids = || old.iter().map(|segment| segment.id);
        let id = SegmentId {
            first: ids().map(|id| id.first).min().unwrap_or_default(),
            last: ids().map(|id| id.last).max().unwrap_or_default(),
            generation: ids().map(|id| id.generation).max().unwrap_or_default() + 1,
        };
        let (new, path) = (shared.folder.join(format!("{id}.new")), shared.folder.join(format!("{id}.seg")));
        // An earlier try may have left it.
        let _was_not_there = shared.env.disk.remove(&new);
        let file = shared.env.disk.open(&new, OpenMode::CreateNew).map_err(|e| as_error(shared, &new, e))?;
        Ok(Self {
            shared,
            old,
            compaction,
            id,
            salt: shared.env.random.next_u64(),
            new,
            path,
            file,
            position: PAGE,
            number: 0,
            index: Index::default(),
            blocks: Vec::new(),
            blocks_len: 0,
            shrunk: false,
        })
    }

    /// Writes the segment and makes it durable. Unless it is of use, nothing is left of it.
    pub(crate) fn run(mut self) -> Result<Rewritten> {
        let done = self.write();
        if !matches!(done, Ok(Rewritten::New(_))) {
            remove(self.shared, &self.new, &self.path);
        }
        done
    }

    fn write(&mut self) -> Result<Rewritten> {
        let from = Record::Rewritten { from: self.old.iter().map(|segment| segment.id).collect() };
        self.write_frame(&Record::encode_all(&[from]))?;
        let all: BTreeSet<StreamPartition> =
            self.old.iter().flat_map(|segment| segment.summaries()).map(|share| share.at).collect();
        let mut news = self.old.len() > 1;
        for at in all {
            // A partition that is not there any more was dropped.
            let (Ok(partition), Ok(compression)) = (self.shared.partition(at), self.compression(at)) else {
                self.shrunk = true;
                continue;
            };
            for segment in self.old {
                self.copy(&partition, segment, compression)?;
            }
            let shares = || self.old.iter().filter_map(|old| Some((old, old.summary(at)?)));
            if shares().all(|(old, share)| share.compacted || self.compaction.completes(at, old)) {
                self.flush()?;
                self.index.set_compacted(at);
                news |= shares().any(|(_, share)| !share.compacted);
            }
        }
        self.flush()?;
        if self.index.summaries().next().is_none() {
            return Ok(Rewritten::Nothing);
        }
        if !self.shrunk && !news {
            return Ok(Rewritten::Unchanged);
        }
        self.finish().map_err(|error| as_error(self.shared, &self.path, error))?;
        Ok(Rewritten::New(Arc::new(self.segment())))
    }

    fn compression(&self, at: StreamPartition) -> Result<Compression> {
        Ok(self.shared.streams.read().of_partition(at)?.options.compression)
    }

    fn segment(&self) -> Segment {
        let bytes = self.index.encode(self.id, self.salt, self.position);
        match StoredIndex::decode(&bytes) {
            Some(index) => Segment::stored(self.path.clone(), index),
            None => {
                let segment = Segment::growing(self.id, self.salt, self.path.clone(), self.index.clone());
                segment.seal(self.position);
                segment
            }
        }
    }

    /// Copies what lives of a partition in a segment.
    fn copy(
        &mut self,
        partition: &Partition,
        segment: &Arc<Segment>,
        compression: Compression,
    ) -> Result<()> {
        let at = partition.at;
        let start = partition.start();
        let Some(share) = segment.summary(at) else { return Ok(()) };
        self.shrunk |= share.first < start;
        let mut from = start;
        loop {
            let wanted = Wanted { at, from, bytes_max: FRAME_BYTES };
            let blocks = self.shared.read_segment(segment, wanted)?;
            let Some(last) = blocks.last() else { return Ok(()) };
            from = last.header().end_offset();
            for block in blocks {
                let Some(block) = self.living(block, start, compression)? else { continue };
                self.blocks_len += u64::from(block.header().length);
                self.blocks.push(block);
                if self.blocks_len >= FRAME_BYTES {
                    self.flush()?;
                }
            }
        }
    }

    /// The block without what is removed or superseded.
    fn living(&mut self, block: Block, start: Offset, compression: Compression) -> Result<Option<Block>> {
        let (at, base) = (block.header().at, block.header().base_offset);
        if base >= start && !self.compaction.concerns(at) {
            return Ok(Some(block));
        }
        let lives = |record: &StoredRef<'_>| record.offset >= start && self.compaction.keeps(at, record);
        for record in block.records()?.iter()? {
            if !lives(&record?) {
                let living = block.retain(compression, lives)?;
                self.shrunk = true;
                return Ok(living);
            }
        }
        Ok(Some(block))
    }

    fn flush(&mut self) -> Result<()> {
        if self.blocks.is_empty() { Ok(()) } else { self.write_frame(&[]) }
    }

    /// Writes a frame of the records and the blocks that have come together.
    fn write_frame(&mut self, records: &[u8]) -> Result<()> {
        let blocks = std::mem::take(&mut self.blocks);
        self.blocks_len = 0;
        let mut content_crc = crc32c::crc32c(records);
        let mut at = self.position + (FRAME_HEADER + records.len()) as u64;
        for block in &blocks {
            let [head, ..] = block.pieces();
            content_crc = crc32c::crc32c_append(content_crc, head);
            self.index.add(block.header(), at);
            at += u64::from(block.header().length);
        }
        let header = FrameHeader {
            body_len: (at - self.position) as u32 - FRAME_HEADER as u32,
            records_len: records.len() as u32,
            blocks: blocks.len() as u32,
            content_crc,
            opening: self.shared.opening,
            number: self.number + 1,
        };
        let head = header.encode(self.salt, self.position);
        let next = header.next_position(self.position);
        let padding = vec![0; (next - at) as usize];
        let pieces = blocks.iter().flat_map(Block::pieces).map(AsRef::as_ref);
        let mut slices: Vec<IoSlice<'_>> = [head.as_slice(), records]
            .into_iter()
            .chain(pieces)
            .chain([padding.as_slice()])
            .filter(|piece| !piece.is_empty())
            .map(IoSlice::new)
            .collect();
        self.file
            .write_all_at(&mut slices, self.position)
            .map_err(|error| as_error(self.shared, &self.new, error))?;
        (self.number, self.position) = (header.number, next);
        Ok(())
    }

    /// Writes the header, makes the file durable, and gives it its name.
    fn finish(&self) -> io::Result<()> {
        let header = SegmentHeader { id: self.id, salt: self.salt, len: self.position, log: self.shared.log };
        let mut page = header.encode();
        page.resize(PAGE as usize, 0);
        self.file.write_all_at(&mut [IoSlice::new(&page)], 0)?;
        self.file.sync()?;
        let disk = &*self.shared.env.disk;
        store_index(disk, &self.path, &self.index.encode(self.id, self.salt, self.position))?;
        disk.rename(&self.new, &self.path)?;
        disk.sync_dir(&self.shared.folder)
    }
}

/// Removes a segment that did not come into use.
pub(crate) fn remove(shared: &Shared, new: &Path, path: &Path) {
    for path in [new, path, &path.with_extension("idx")] {
        let _was_not_there = shared.env.disk.remove(path);
    }
}

fn as_error(shared: &Shared, path: &Path, error: io::Error) -> Error {
    if super::writer::is_full(&error) {
        Error::DiskFull { folder: shared.folder.clone() }
    } else {
        io_error("write", path, error)
    }
}
