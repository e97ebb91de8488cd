//! Checking a closed log from end to end: every checksum, every record, every offset, every index.
//!
//! It only reads. Where opening a log stops at the first damage, this goes on and tells all of it. It holds the lock of
//! the folder meanwhile, so it refuses a log that a running process has open: that would change under its eyes.

use super::folder::{self, Files};
use super::index::{Index, StoredIndex};
use super::inspect::read_index;
use super::layout::SegmentId;
use super::record::{Checkpoint, Record, SegmentEntry};
use super::recovery::{self, LastSegment};
use super::scan::{Frame, FrameReader, Next};
use super::shared::{io_error, read_error};
use crate::{CONFIG_PARTITION, Error, Result, Streams};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use tw_env::{Env, File, OpenMode};
use tw_types::{Hlc, Offset, RegionId, StreamPartition};
use tw_wire::Block;

/// What was found in a log's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The folder.
    pub folder: PathBuf,
    /// The identity of the log: 32 hexadecimal digits; None when nothing was ever committed, or it cannot be told.
    pub log: Option<String>,
    /// The segments of the log, oldest first.
    pub segments: Vec<VerifiedSegment>,
    /// The partitions of the streams that exist.
    pub partitions: Vec<VerifiedPartition>,
    /// What is wrong; empty for a sound log.
    pub problems: Vec<Problem>,
}

/// A segment that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedSegment {
    /// The file.
    pub file: PathBuf,
    /// The position after its last whole frame.
    pub end: u64,
    /// Its whole frames.
    pub frames: u64,
    /// Their blocks.
    pub blocks: u64,
    /// Their events.
    pub events: u64,
    /// How its index is.
    pub index: IndexState,
}

/// How the index of a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexState {
    /// It says what the segment holds.
    Sound,
    /// There is none: it is made again when the log is opened.
    Missing,
    /// It is damaged or says something else than the segment: see the problems.
    Wrong,
    /// The segment is still written to, or is damaged itself: there is nothing to compare with.
    None,
}

/// A partition of a stream that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedPartition {
    /// The name of the stream; None when its definition could not be read.
    pub stream: Option<String>,
    /// The number of the stream.
    pub stream_id: u32,
    /// The number of the partition.
    pub partition: u32,
    /// The first offset.
    pub start: u64,
    /// The offset after the last event.
    pub end: u64,
    /// How many events are there; fewer than `end - start` after compaction.
    pub events: u64,
}

/// Something that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The byte from which on it is wrong; 0 for the file as a whole.
    pub position: u64,
    /// What is wrong, and what to do.
    pub cause: String,
}

impl Problem {
    pub(super) fn new(file: &Path, position: u64, cause: impl Into<String>) -> Self {
        Self { file: file.to_owned(), position, cause: cause.into() }
    }
}

impl Verification {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Checks the log in `folder`: reads every segment whole, checks every checksum, decodes every event, follows the offsets
/// of every partition, and compares every index with its segment. A torn frame at the very end, as a crash leaves it, is
/// sound. Changes nothing.
///
/// # Errors
/// [`Error::Locked`] when a process has the log open; [`Error::Io`] when the folder or a file cannot be read. Damage is
/// no error, but told in [`Verification::problems`].
pub fn verify(folder: &Path, env: &Env) -> Result<Verification> {
    let _lock = lock(folder, env)?;
    let files = Files::list(folder, env)?;
    let mut verifier = Verifier::new(folder, env);
    match recovery::find_last(&files, env) {
        Ok(None) => {}
        Ok(Some(last)) => verifier.whole(&files, &last)?,
        Err(Error::Damaged { file, position, cause }) => {
            verifier.found.problems.push(Problem { file, position, cause });
            verifier.rest(&files)?;
        }
        Err(other) => return Err(other),
    }
    Ok(verifier.found)
}

/// Keeps every process from opening the log meanwhile. A folder without a lock file is open nowhere, and neither is one
/// that cannot be written.
fn lock(folder: &Path, env: &Env) -> Result<Option<Box<dyn std::any::Any + Send + Sync>>> {
    let paths = env.disk.list(folder).map_err(|error| io_error("list", folder, error))?;
    if !paths.iter().any(|path| path.file_name().is_some_and(|name| name == "LOCK")) {
        return Ok(None);
    }
    match folder::lock(folder, env) {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(None),
        other => other.map(Some),
    }
}

/// What is known of a partition so far.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// The offset after the last block.
    next: Offset,
    events: u64,
}

struct Verifier<'a> {
    env: &'a Env,
    found: Verification,
    streams: Streams,
    starts: BTreeMap<StreamPartition, Offset>,
    seen: BTreeMap<StreamPartition, Seen>,
    /// The last timestamp of each region in a partition: only those of one region rise with offsets.
    times: BTreeMap<(StreamPartition, RegionId), Hlc>,
    /// The number after the segment before, if that was filled by appends and is whole.
    follows: Option<u64>,
}

/// A segment that is being read.
struct Reading<'a> {
    path: &'a Path,
    id: SegmentId,
    report: VerifiedSegment,
    index: Index,
    /// Whether offsets must follow each other without gaps from here on.
    strict: bool,
    damaged: bool,
}

impl<'a> Verifier<'a> {
    fn new(folder: &Path, env: &'a Env) -> Self {
        let found = Verification {
            folder: folder.to_owned(),
            log: None,
            segments: Vec::new(),
            partitions: Vec::new(),
            problems: Vec::new(),
        };
        let streams = Streams::new();
        Self {
            env,
            found,
            streams,
            starts: BTreeMap::new(),
            seen: BTreeMap::new(),
            times: BTreeMap::new(),
            follows: None,
        }
    }

    fn problem(&mut self, path: &Path, position: u64, cause: impl Into<String>) {
        self.found.problems.push(Problem::new(path, position, cause));
    }

    /// Checks the log that ends with the segment `last`.
    fn whole(&mut self, files: &Files, last: &LastSegment) -> Result<()> {
        self.found.log = Some(format!("{:032x}", last.checkpoint.log));
        self.starts = last.heads.iter().map(|(at, head)| (*at, head.start)).collect();
        for entry in last.live.values() {
            match files.path(entry.id) {
                Some(path) => self.segment(path, entry.id, Some(entry))?,
                None => {
                    let path = files.path_of(entry.id);
                    self.problem(
                        &path,
                        0,
                        "the file is missing, and the events in it with it: restore it from a copy",
                    );
                    self.follows = None;
                }
            }
        }
        self.segment(&last.path, last.header.id, None)?;
        for (at, head) in &last.heads {
            let Ok(def) = self.streams.of_partition(*at) else { continue };
            self.found.partitions.push(VerifiedPartition {
                stream: Some(def.name.as_str().to_owned()),
                stream_id: at.stream.0,
                partition: at.partition.0,
                start: head.start.0,
                end: head.end.0,
                events: self.seen.get(at).map_or(0, |seen| seen.events),
            });
        }
        Ok(())
    }

    /// Checks every segment that is there, where the end of the log cannot be told.
    fn rest(&mut self, files: &Files) -> Result<()> {
        for id in files.ids() {
            if let Some(path) = files.path(id) {
                self.segment(path, id, None)?;
            }
        }
        for (at, seen) in &self.seen {
            self.found.partitions.push(VerifiedPartition {
                stream: self.streams.of_partition(*at).ok().map(|def| def.name.as_str().to_owned()),
                stream_id: at.stream.0,
                partition: at.partition.0,
                start: 0,
                end: seen.next.0,
                events: seen.events,
            });
        }
        Ok(())
    }

    /// Checks one segment; up to the end that `entry` tells, or to the first frame that is not whole.
    fn segment(&mut self, path: &Path, id: SegmentId, entry: Option<&SegmentEntry>) -> Result<()> {
        let file = self.env.disk.open(path, OpenMode::Read).map_err(|error| io_error("open", path, error))?;
        let header = match folder::read_header(&*file, path) {
            Ok(header) => header,
            Err(Error::Damaged { file, position, cause }) => {
                self.follows = None;
                // The end of the log has told of it already, if it is why that cannot be found.
                let problem = Problem { file, position, cause };
                if !self.found.problems.contains(&problem) {
                    self.found.problems.push(problem);
                }
                return Ok(());
            }
            Err(other) => return Err(other),
        };
        if header.id != id || entry.is_some_and(|entry| entry.salt != header.salt) {
            self.problem(path, 0, "this is another segment than the log wrote: restore the right one");
            self.follows = None;
            return Ok(());
        }
        let len = file.len().map_err(|error| io_error("read", path, error))?;
        let end = entry.map_or(header.len, |entry| entry.end);
        let report = VerifiedSegment {
            file: path.to_owned(),
            end: 0,
            frames: 0,
            blocks: 0,
            events: 0,
            index: IndexState::None,
        };
        let strict = id.generation == 0;
        let mut reading = Reading { path, id, report, index: Index::default(), strict, damaged: false };
        if len < end {
            self.problem(
                path,
                len,
                format!("the file ends here, but should reach byte {end}: restore it from a copy"),
            );
            reading.damaged = true;
        }
        self.frames(&*file, header.salt, end.min(len), entry.is_some() || id.generation > 0, &mut reading)?;
        if let Some(entry) = entry.filter(|_| !reading.damaged) {
            reading.report.index = self.index(path, entry, &reading.index)?;
        }
        self.follows = (strict && !reading.damaged).then_some(id.last + 1);
        self.found.segments.push(reading.report);
        Ok(())
    }

    fn frames(
        &mut self,
        file: &dyn File,
        salt: u64,
        end: u64,
        sealed: bool,
        reading: &mut Reading<'_>,
    ) -> Result<()> {
        let path = reading.path;
        let failed = |error| read_error(path, 0, error);
        let mut reader = FrameReader::new(file, salt, end);
        loop {
            match reader.next().map_err(failed)? {
                Next::Frame(frame) => {
                    self.frame(&frame, reading);
                    reading.report.end = reader.position();
                }
                Next::End => return Ok(()),
                Next::Broken(broken) => {
                    let later = reader.skip_broken().map_err(failed)?;
                    if sealed || later.is_some() || broken.foreign {
                        let problem = Problem::new(
                            path,
                            broken.position,
                            format!("{}: restore the file from a copy", broken.cause),
                        );
                        if !self
                            .found
                            .problems
                            .iter()
                            .any(|known| (&known.file, known.position) == (&problem.file, problem.position))
                        {
                            self.found.problems.push(problem);
                        }
                        (reading.damaged, reading.strict) = (true, false);
                    }
                    if later.is_none() {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn frame(&mut self, frame: &Frame, reading: &mut Reading<'_>) {
        reading.report.frames += 1;
        for record in &frame.records {
            if let Record::Checkpoint(checkpoint) = record {
                self.checkpoint(checkpoint, frame.position, reading);
            }
        }
        for (position, block) in &frame.blocks {
            reading.report.blocks += 1;
            reading.index.add(block.header(), *position);
            self.block(*position, block, reading);
        }
    }

    /// A checkpoint tells where every partition ended when the segment was started.
    fn checkpoint(&mut self, checkpoint: &Checkpoint, position: u64, reading: &Reading<'_>) {
        let follows = self.follows == Some(reading.id.first);
        for entry in &checkpoint.partitions {
            let seen = self.seen.entry(entry.at).or_default();
            let before = seen.next;
            // Events between may have been removed, unless this segment follows the one before directly.
            if before > entry.end || (follows && before < entry.end) {
                let cause =
                    format!("partition {} should end at {} here, but ends at {before}", entry.at, entry.end);
                self.found.problems.push(Problem::new(reading.path, position, cause));
            }
            seen.next = entry.end.max(before);
        }
    }

    fn block(&mut self, position: u64, block: &Block, reading: &mut Reading<'_>) {
        let header = block.header();
        let at = header.at;
        let start = self.starts.get(&at).copied().unwrap_or_default();
        let seen = self.seen.entry(at).or_default();
        let base = header.base_offset;
        let gap = reading.strict && base > seen.next;
        if base < seen.next || gap {
            let cause =
                format!("a block of partition {at} starts at offset {base}, but {} is next", seen.next);
            self.found.problems.push(Problem::new(reading.path, position, cause));
        }
        let time = self.times.entry((at, header.region)).or_default();
        if header.first_hlc <= *time && *time > Hlc::ZERO {
            let region = header.region;
            let cause =
                format!("the time of region {region} in partition {at} runs backwards at offset {base}");
            self.found.problems.push(Problem::new(reading.path, position, cause));
        }
        *time = header.last_hlc.max(*time);
        seen.next = header.end_offset().max(seen.next);
        let counted = count(block, start);
        match counted {
            Ok((events, kept)) => {
                reading.report.events += events;
                seen.events += kept;
            }
            Err(error) => {
                self.found.problems.push(Problem::new(reading.path, position, error.to_string()));
            }
        }
        if at == CONFIG_PARTITION
            && let Err(error) = self.streams.fold(block, Offset::ZERO)
        {
            self.found.problems.push(Problem::new(reading.path, position, error.to_string()));
        }
    }

    /// Compares a stored index with the segment that was read.
    fn index(&mut self, segment: &Path, entry: &SegmentEntry, right: &Index) -> Result<IndexState> {
        let path = segment.with_extension("idx");
        let file = match self.env.disk.open(&path, OpenMode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(IndexState::Missing),
            other => other.map_err(|error| io_error("open", &path, error))?,
        };
        let same = match read_index(&*file, &path) {
            Err(Error::Damaged { file, position, cause }) => {
                self.found.problems.push(Problem { file, position, cause });
                return Ok(IndexState::Wrong);
            }
            other => agrees(&*file, &other?, entry, right).map_err(|error| io_error("read", &path, error))?,
        };
        if !same {
            self.problem(
                &path,
                0,
                "the index does not say what its segment holds: remove it, it is made again",
            );
            return Ok(IndexState::Wrong);
        }
        Ok(IndexState::Sound)
    }
}

/// Whether a stored index says what `right` does, which was made by reading the segment.
fn agrees(file: &dyn File, stored: &StoredIndex, entry: &SegmentEntry, right: &Index) -> io::Result<bool> {
    if (stored.id, stored.salt, stored.end) != (entry.id, entry.salt, entry.end)
        || stored.summaries.len() != right.summaries().count()
    {
        return Ok(false);
    }
    for (stored, mut summary) in stored.summaries.iter().zip(right.summaries()) {
        // What a compaction has been over cannot be told from the segment.
        summary.compacted = stored.summary.compacted;
        if stored.summary != summary || stored.position + u64::from(stored.len) > file.len()? {
            return Ok(false);
        }
        let mut bytes = vec![0; stored.len as usize];
        file.read_exact_at(&mut bytes, stored.position)?;
        if stored.runs(&bytes).as_deref() != Some(right.runs(summary.at)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Decodes every event of a block: how many there are, and how many from `start` on.
fn count(block: &Block, start: Offset) -> Result<(u64, u64)> {
    let (mut events, mut kept) = (0, 0);
    for record in block.records()?.iter()? {
        events += 1;
        kept += u64::from(record?.offset >= start);
    }
    Ok((events, kept))
}
