//! What is in a file of the log, for people: every frame, record and block of a segment, or the summaries of an index.
//!
//! It only reads, and needs no lock: a segment that a running process writes is shown as far as it is written.

use super::folder;
use super::index::{INDEX_HEADER, StoredIndex};
use super::layout::SegmentHeader;
use super::record::Record;
use super::scan::{Frame, FrameReader, Next};
use super::shared::{damaged, io_error, read_error};
use super::verify::Problem;
use crate::Result;
use serde::Serialize;
use std::path::{Path, PathBuf};
use tw_env::{Env, File, OpenMode};
use tw_wire::BlockHeader;

/// What a file of the log holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Inspection {
    /// A file `*.seg`.
    Segment(SegmentInfo),
    /// A file `*.idx`.
    Index(IndexInfo),
}

/// A segment, frame by frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SegmentInfo {
    /// The file.
    pub file: PathBuf,
    /// Its name in the log: a number, or a range of numbers and a generation.
    pub segment: String,
    /// The identity of the log: 32 hexadecimal digits.
    pub log: String,
    /// What its frames' checksums depend on: 16 hexadecimal digits.
    pub salt: String,
    /// The length of the file, in bytes, as its header says.
    pub bytes: u64,
    /// The position after the last whole frame.
    pub end: u64,
    /// Its whole frames, in order.
    pub frames: Vec<FrameInfo>,
    /// What is broken, and has whole frames behind it. A torn frame at the end of the last segment is not told here.
    pub problems: Vec<Problem>,
}

/// A frame: what one commit wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FrameInfo {
    /// Where it starts in the file.
    pub position: u64,
    /// Its length with its header, in bytes.
    pub bytes: u64,
    /// Its number in the segment, from 1.
    pub number: u32,
    /// How often the log had been opened when it was written.
    pub opening: u32,
    /// What the log says about itself there, one text each.
    pub records: Vec<String>,
    /// The blocks, in order.
    pub blocks: Vec<BlockInfo>,
}

/// A block: events of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BlockInfo {
    /// Where it starts in the file.
    pub position: u64,
    /// Its length with its header, in bytes.
    pub bytes: u32,
    /// The number of its stream.
    pub stream: u32,
    /// The number of its partition.
    pub partition: u32,
    /// The offset of the first event; of a sparse block, the one from which they count.
    pub first_offset: u64,
    /// The offset of the last event, inclusive.
    pub last_offset: u64,
    /// How many events there are.
    pub events: u32,
    /// `none` or `lz4`.
    pub encoding: &'static str,
    /// The timestamp of the first offset, as milliseconds and counter.
    pub first_hlc: String,
    /// The timestamp of the last event.
    pub last_hlc: String,
    /// The region of origin.
    pub region: u16,
    /// The region's epoch.
    pub epoch: u32,
    /// Whether its events have versions.
    pub versioned: bool,
    /// Whether events were compacted away or trimmed from it.
    pub sparse: bool,
}

/// An index file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IndexInfo {
    /// The file.
    pub file: PathBuf,
    /// The name of its segment.
    pub segment: String,
    /// The salt of its segment: 16 hexadecimal digits.
    pub salt: String,
    /// The position after the last frame of its segment.
    pub end: u64,
    /// What the segment holds of each partition.
    pub partitions: Vec<IndexedPartition>,
}

/// What a segment holds of a partition, as its index says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IndexedPartition {
    /// The number of the stream.
    pub stream: u32,
    /// The number of the partition.
    pub partition: u32,
    /// The first offset.
    pub first_offset: u64,
    /// The offset after the last event.
    pub end_offset: u64,
    /// The number of its blocks.
    pub blocks: u32,
    /// Their bytes.
    pub bytes: u64,
    /// Whether a compaction has been over it.
    pub compacted: bool,
}

/// Shows what a segment file (`*.seg`) or an index file (`*.idx`) holds. Changes nothing.
///
/// # Errors
/// [`crate::Error::Damaged`] when not even the header can be read, or an index is damaged; [`crate::Error::Io`].
pub fn inspect(path: &Path, env: &Env) -> Result<Inspection> {
    let file = env.disk.open(path, OpenMode::Read).map_err(|error| io_error("open", path, error))?;
    if path.extension().is_some_and(|extension| extension == "idx") {
        return index(&*file, path).map(Inspection::Index);
    }
    let header = folder::read_header(&*file, path)?;
    segment(&*file, path, &header).map(Inspection::Segment)
}

fn segment(file: &dyn File, path: &Path, header: &SegmentHeader) -> Result<SegmentInfo> {
    let failed = |error| read_error(path, 0, error);
    let len = file.len().map_err(failed)?.min(header.len);
    let mut reader = FrameReader::new(file, header.salt, len);
    let mut info = SegmentInfo {
        file: path.to_owned(),
        segment: header.id.to_string(),
        log: format!("{:032x}", header.log),
        salt: format!("{:016x}", header.salt),
        bytes: header.len,
        end: reader.position(),
        frames: Vec::new(),
        problems: Vec::new(),
    };
    loop {
        match reader.next().map_err(failed)? {
            Next::Frame(frame) => {
                info.frames.push(frame_info(&frame));
                info.end = reader.position();
            }
            Next::End => return Ok(info),
            Next::Broken(broken) => {
                if reader.skip_broken().map_err(failed)?.is_none() {
                    return Ok(info);
                }
                info.problems.push(Problem::new(path, broken.position, broken.cause));
            }
        }
    }
}

fn frame_info(frame: &Frame) -> FrameInfo {
    FrameInfo {
        position: frame.position,
        bytes: frame.header.frame_len(),
        number: frame.header.number,
        opening: frame.header.opening,
        records: frame.records.iter().map(describe).collect(),
        blocks: frame.blocks.iter().map(|(position, block)| block_info(*position, block.header())).collect(),
    }
}

fn block_info(position: u64, header: &BlockHeader) -> BlockInfo {
    BlockInfo {
        position,
        bytes: header.length,
        stream: header.at.stream.0,
        partition: header.at.partition.0,
        first_offset: header.base_offset.0,
        last_offset: header.last_offset().0,
        events: header.count,
        encoding: header.encoding(),
        first_hlc: header.first_hlc.to_string(),
        last_hlc: header.last_hlc.to_string(),
        region: header.region.0,
        epoch: header.epoch.0,
        versioned: header.is_versioned(),
        sparse: header.is_sparse(),
    }
}

/// What a record says.
fn describe(record: &Record) -> String {
    let names =
        |ids: &[super::layout::SegmentId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match record {
        Record::Checkpoint(checkpoint) => format!(
            "checkpoint: region {}, epoch {}, {} older segments, {} partitions",
            checkpoint.region.0,
            checkpoint.epoch.0,
            checkpoint.segments.len(),
            checkpoint.partitions.len()
        ),
        Record::Opened { at_ms } => format!("opened at {at_ms} ms"),
        Record::Trimmed { at, start } => format!("partition {at} starts at {start}"),
        Record::Freed(ids) => format!("freed: {}", names(ids)),
        Record::Replaced { old, new } => format!("{} stands in place of {}", new.id, names(old)),
        Record::Rewritten { from } => format!("rewritten from {}", names(from)),
        Record::Void => "void: a write that found no room".to_owned(),
        Record::Raised { epoch, at_ms } => format!("epoch {} begins, at {at_ms} ms", epoch.0),
    }
}

fn index(file: &dyn File, path: &Path) -> Result<IndexInfo> {
    let index = read_index(file, path)?;
    Ok(IndexInfo {
        file: path.to_owned(),
        segment: index.id.to_string(),
        salt: format!("{:016x}", index.salt),
        end: index.end,
        partitions: index
            .summaries
            .iter()
            .map(|stored| IndexedPartition {
                stream: stored.summary.at.stream.0,
                partition: stored.summary.at.partition.0,
                first_offset: stored.summary.first.0,
                end_offset: stored.summary.end.0,
                blocks: stored.summary.blocks,
                bytes: stored.summary.bytes,
                compacted: stored.summary.compacted,
            })
            .collect(),
    })
}

/// The front of an index file.
pub(super) fn read_index(file: &dyn File, path: &Path) -> Result<StoredIndex> {
    let failed = |error| read_error(path, 0, error);
    let mut bytes = vec![0; INDEX_HEADER];
    file.read_exact_at(&mut bytes, 0).map_err(failed)?;
    let not_ours = || damaged(path, 0, "this is no index: its first bytes are not `TWIDX001`");
    let len = StoredIndex::front_bytes(&bytes).ok_or_else(not_ours)?;
    if len as u64 > file.len().map_err(failed)? {
        return Err(damaged(path, 0, "the index ends too early: remove it, it is made again"));
    }
    bytes.resize(len, 0);
    file.read_exact_at(&mut bytes, 0).map_err(failed)?;
    let broken = || damaged(path, 0, "the checksum of the index does not match: remove it, it is made again");
    StoredIndex::decode(&bytes).ok_or_else(broken)
}
