//! Opening a log: what is on the disk becomes what is known.
//!
//! 1. The last segment is the one with the highest number that starts with a whole frame. (Higher ones are spares that
//!    were never written, or torn in their first frame.) Its first frame is a checkpoint.
//! 2. Its frames are read to the first that is broken. If a whole frame follows, that is damage, and the log is not
//!    opened; otherwise it is the torn tail, whose events were never acknowledged.
//! 3. The segments that the checkpoint and later records name must be there; their indexes are read, or rebuilt.
//! 4. The last frame is written once more, in place: after a failed sync it may be only in the page cache. Only now may
//!    the files go that it, or a frame before it, says are of no use. Then a frame that says "opened" is written over
//!    the torn tail. Only now does anybody see anything, so what was torn cannot come back later.

use super::codec::round_up;
use super::folder::{self, Files};
use super::index::{INDEX_HEADER, Index, StoredIndex};
use super::layout::{FRAME_HEADER, PAGE, SegmentHeader, SegmentId};
use super::options::Options;
use super::partition::Partition;
use super::plan::{Head, Knowledge};
use super::publish::partitions_of;
use super::record::{Checkpoint, Record, SegmentEntry};
use super::scan::{Frame, FrameReader, Next};
use super::segment::Segment;
use super::shared::{Recovered, Shared, damaged, io_error, read_error};
use super::spares::{Maker, Spares};
use super::writer::{Active, Failure, Writer};
use crate::{CONFIG_PARTITION, Error, Result, Streams};
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tw_env::{Env, File, OpenMode};
use tw_types::{Epoch, Hlc, HlcClock, Offset, Sequence, StreamPartition};
use tw_wire::BlockHeader;

/// How far ahead something of another region may be at most, in milliseconds, however links are configured: they judge first.
const SKEW_MS_MAX: u64 = 60_000;
/// The last epoch: regions tell no more of them apart (`EPOCHS_MAX` of `tw-merge`).
const EPOCH_MAX: u32 = 64;

/// What the last segment tells.
pub(crate) struct LastSegment {
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
    /// Where the next frame goes.
    pub(crate) position: u64,
    /// Where the last whole frame starts.
    pub(crate) last_frame: u64,
    /// Number and opening of the last frame.
    pub(crate) number: u32,
    pub(crate) opening: u32,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) heads: BTreeMap<StreamPartition, Head>,
    pub(crate) live: BTreeMap<SegmentId, SegmentEntry>,
    pub(crate) hlc: Hlc,
    /// Under which this region accepts now.
    pub(crate) epoch: Epoch,
    pub(crate) index: Index,
}

/// Opens the log in `folder`, or makes a new one there.
pub(crate) fn open(folder: &Path, options: &Options, env: &Env) -> Result<Writer> {
    options.check()?;
    let lock = folder::prepare(folder, env)?;
    let files = Files::list(folder, env)?;
    let Some(last) = find_last(&files, env)? else {
        return create(folder, options, env, files, lock);
    };
    let (Checkpoint { log, region, .. }, epoch) = (&last.checkpoint, last.epoch);
    let (log, region) = (*log, *region);
    if region != options.region {
        return Err(Error::OtherRegion { folder: folder.to_owned(), region, wanted: options.region });
    }
    let mut segments = open_segments(&last, &files, env)?;
    let file =
        env.disk.open(&last.path, OpenMode::Write).map_err(|error| io_error("open", &last.path, error))?;
    rewrite(&*file, last.last_frame, last.position).map_err(|error| io_error("write", &last.path, error))?;
    // Not before: the last frame may be what says that a segment is of no use any more.
    let kept: BTreeSet<SegmentId> = segments.keys().copied().chain([last.header.id]).collect();
    let free = files.clean_up(&kept, options.segment_len(), 2 * options.spare_segments as usize, env)?;
    let segment = Arc::new(Segment::growing(last.header.id, last.header.salt, last.path.clone(), last.index));
    segments.insert(segment.id, segment.clone());
    let active = Active { segment, file, len: last.header.len, position: last.position, number: last.number };
    let spares = Spares::new(last.header.id.last + 1, free);
    let partitions =
        HashMap::from([(CONFIG_PARTITION, Arc::new(place(CONFIG_PARTITION, &last.heads, &segments)))]);
    let recovered = Recovered {
        log,
        streams: Arc::new(Streams::new()),
        partitions,
        segments,
        spares,
        opening: last.opening + 1,
        lock,
    };
    let shared = Arc::new(Shared::new(env.clone(), folder.to_owned(), options.clone(), recovered));
    let streams = fold_config(&shared)?;
    place_all(&shared, &streams, &last.heads);
    let heads =
        last.heads.into_iter().filter(|(at, _)| streams.of_partition(*at).is_ok()).collect::<HashMap<_, _>>();
    let clock = HlcClock::new(last.hlc, SKEW_MS_MAX);
    let known = Knowledge { streams, heads, clock, region, epoch };
    start(shared, known, active, last.live)
}

/// Writes the frame that opens the log.
fn start(
    shared: Arc<Shared>,
    known: Knowledge,
    active: Active,
    live: BTreeMap<SegmentId, SegmentEntry>,
) -> Result<Writer> {
    let mut writer = Writer::new(shared, known, active, live);
    insist(&mut writer, Writer::write_opening)?;
    Ok(writer)
}

/// Begins the next epoch of the log in `folder`.
pub(crate) fn raise_epoch(folder: &Path, options: &Options, env: &Env) -> Result<Epoch> {
    let last = {
        let _not_open = folder::lock(folder, env)?;
        find_last(&Files::list(folder, env)?, env)?
    };
    let Some(last) = last else { return Err(Error::NoLog(folder.to_owned())) };
    // Whose log it is is not asked: it is the copy's.
    let options = Options { region: last.checkpoint.region, ..options.clone() };
    let mut writer = open(folder, &options, env)?;
    if writer.known.epoch.0 >= EPOCH_MAX {
        return Err(Error::Epochs { folder: folder.to_owned(), max: EPOCH_MAX });
    }
    insist(&mut writer, Writer::raise_epoch)?;
    Ok(writer.known.epoch)
}

/// Writes something as nothing else can be done yet; makes room for it if there is none ready.
fn insist(writer: &mut Writer, write: fn(&mut Writer) -> Result<(), Failure>) -> Result<()> {
    let mut written = write(writer);
    let shared = writer.shared.clone();
    if matches!(written, Err(Failure::NoRoom(_))) && shared.spares.make(&shared.maker()) {
        written = write(writer);
    }
    match written {
        Ok(()) => Ok(()),
        Err(Failure::NoRoom(error)) => Err(error),
        Err(Failure::Lost(source)) => {
            Err(Error::Io { action: "write", path: writer.active.segment.path.clone(), source })
        }
    }
}

/// Makes a new log. What an earlier try left is removed.
fn create(
    folder: &Path,
    options: &Options,
    env: &Env,
    files: Files,
    lock: Box<dyn std::any::Any + Send + Sync>,
) -> Result<Writer> {
    files.clean_up(&BTreeSet::new(), 0, 0, env)?;
    let log = u128::from(env.random.next_u64()) << 64 | u128::from(env.random.next_u64());
    let segment_len = options.segment_len();
    let maker = Maker { env: env.clone(), folder: folder.to_owned(), log, segment_len, wanted: 1 };
    let spare = maker.make(1, None).map_err(|error| {
        if super::writer::is_full(&error) {
            Error::DiskFull { folder: folder.to_owned() }
        } else {
            io_error("make a segment in", folder, error)
        }
    })?;
    let id = SegmentId::appended(1);
    let segment = Arc::new(Segment::growing(id, spare.salt, spare.path, Index::default()));
    let active =
        Active { segment: segment.clone(), file: spare.file, len: spare.len, position: PAGE, number: 0 };
    let streams = Arc::new(Streams::new());
    let partitions = HashMap::from([(
        CONFIG_PARTITION,
        Arc::new(Partition::new(CONFIG_PARTITION, Offset::ZERO, Offset::ZERO, Sequence(0))),
    )]);
    let recovered = Recovered {
        log,
        streams: streams.clone(),
        partitions,
        segments: BTreeMap::from([(id, segment)]),
        spares: Spares::new(2, Vec::new()),
        opening: 1,
        lock,
    };
    let shared = Arc::new(Shared::new(env.clone(), folder.to_owned(), options.clone(), recovered));
    let clock = HlcClock::new(Hlc::ZERO, SKEW_MS_MAX);
    let known = Knowledge { streams, heads: HashMap::new(), clock, region: options.region, epoch: Epoch(1) };
    start(shared, known, active, BTreeMap::new())
}

/// The last segment, read to its end; None in a folder where nothing was ever committed.
pub(crate) fn find_last(files: &Files, env: &Env) -> Result<Option<LastSegment>> {
    for (id, path) in files.appended().rev() {
        let file = env.disk.open(path, OpenMode::Read).map_err(|error| io_error("open", path, error))?;
        let header = folder::read_header(&*file, path)?;
        if header.id != id {
            return Err(damaged(
                path,
                0,
                format!("the file is segment {}: give it its name back", header.id),
            ));
        }
        if let Some(last) = read_last(&*file, path, header)? {
            if files.has_index(id, header.salt, env) {
                // An index is written when the next segment has its first frame, never before.
                let missing = path.with_file_name(format!("{}.seg", SegmentId::appended(id.last + 1)));
                return Err(missing_file(&missing));
            }
            return Ok(Some(last));
        }
    }
    match files.rewritten() {
        Some(path) => Err(damaged(path, 0, "the segments that follow it are missing: restore them")),
        None => Ok(None),
    }
}

pub(crate) fn missing_file(path: &Path) -> Error {
    damaged(
        path,
        0,
        "the file is missing, and the events in it with it: restore it from a copy of the folder",
    )
}

/// Reads a segment from its checkpoint to its tail; None when it has not even a first frame.
fn read_last(file: &dyn File, path: &Path, header: SegmentHeader) -> Result<Option<LastSegment>> {
    let failed = |error| io_error("read", path, error);
    let len = file.len().map_err(failed)?;
    if len < header.len {
        let cause =
            format!("the file ends here, but it was {} bytes long: restore it from a copy", header.len);
        return Err(damaged(path, len, cause));
    }
    let mut reader = FrameReader::new(file, header.salt, header.len);
    let mut last: Option<LastSegment> = None;
    loop {
        match reader.next().map_err(failed)? {
            Next::Frame(frame) => match &mut last {
                None => last = Some(LastSegment::new(path, header, frame)?),
                Some(last) => last.replay(frame)?,
            },
            Next::End => break,
            Next::Broken(broken) => {
                if broken.foreign {
                    return Err(damaged(path, broken.position, broken.cause));
                }
                let expected = reader.number() + 1;
                if let Some((later, _)) = reader.find_later(reader.position(), expected).map_err(failed)? {
                    let cause = format!(
                        "{}, but a frame that was written later follows at byte {later}: restore the file from a copy",
                        broken.cause
                    );
                    return Err(damaged(path, broken.position, cause));
                }
                break;
            }
        }
    }
    Ok(last.map(|last| LastSegment { position: reader.position(), ..last }))
}

impl LastSegment {
    fn new(path: &Path, header: SegmentHeader, frame: Frame) -> Result<Self> {
        let Some(Record::Checkpoint(checkpoint)) = frame.records.first().cloned() else {
            return Err(damaged(path, frame.position, "the segment does not start with a checkpoint"));
        };
        if checkpoint.log != header.log {
            return Err(damaged(path, frame.position, "the segment belongs to another log"));
        }
        let heads = checkpoint
            .partitions
            .iter()
            .map(|entry| (entry.at, Head { start: entry.start, end: entry.end, sequence: entry.sequence }))
            .collect();
        let live = checkpoint.segments.iter().map(|entry| (entry.id, *entry)).collect();
        let mut last = Self {
            path: path.to_owned(),
            header,
            position: 0,
            last_frame: 0,
            number: 0,
            opening: 0,
            hlc: checkpoint.hlc,
            epoch: checkpoint.epoch,
            checkpoint,
            heads,
            live,
            index: Index::default(),
        };
        last.replay(frame)?;
        Ok(last)
    }

    /// Learns what a frame tells: first its blocks, then its records.
    fn replay(&mut self, frame: Frame) -> Result<()> {
        self.last_frame = frame.position;
        (self.number, self.opening) = (frame.header.number, frame.header.opening);
        for (position, block) in &frame.blocks {
            self.replay_block(*position, block.header())?;
        }
        for record in frame.records {
            match record {
                Record::Trimmed { at, start } => {
                    let head = self.heads.entry(at).or_default();
                    head.start = head.start.max(start);
                }
                Record::Freed(ids) => self.live.retain(|id, _| !ids.contains(id)),
                Record::Replaced { old, new } => {
                    self.live.retain(|id, _| !old.contains(id));
                    self.live.insert(new.id, new);
                }
                Record::Raised { epoch, .. } => {
                    self.epoch = epoch;
                    self.heads.values_mut().for_each(Head::begin_epoch);
                }
                Record::Checkpoint(_) | Record::Opened { .. } | Record::Rewritten { .. } | Record::Void => {}
            }
        }
        Ok(())
    }

    fn replay_block(&mut self, position: u64, header: &BlockHeader) -> Result<()> {
        let head = self.heads.entry(header.at).or_default();
        // What it accepted under an earlier epoch and has fetched back is counted no more.
        let is_own = (header.region, header.epoch) == (self.checkpoint.region, self.epoch);
        if header.base_offset != head.end || is_own && header.base_sequence.0 != head.sequence.0 + 1 {
            let cause =
                format!("the block starts at offset {}, but {} is next", header.base_offset, head.end);
            return Err(damaged(&self.path, position, cause));
        }
        head.end = header.end_offset();
        if is_own {
            head.sequence = Sequence(header.base_sequence.0 + u64::from(header.last_delta));
        }
        self.hlc = self.hlc.max(header.last_hlc);
        self.index.add(header, position);
        Ok(())
    }
}

/// Writes the last frame once more, so that the next sync covers it.
fn rewrite(file: &dyn File, from: u64, to: u64) -> std::io::Result<()> {
    let from = from / PAGE * PAGE;
    let to = round_up(to.max(from + FRAME_HEADER as u64), PAGE).min(file.len()?);
    let mut bytes = vec![0; to.saturating_sub(from) as usize];
    file.read_exact_at(&mut bytes, from)?;
    file.write_all_at(&mut [IoSlice::new(&bytes)], from)?;
    file.sync()
}

/// The sealed segments of the log, each with its index.
fn open_segments(last: &LastSegment, files: &Files, env: &Env) -> Result<BTreeMap<SegmentId, Arc<Segment>>> {
    let mut segments = BTreeMap::new();
    for entry in last.live.values() {
        let path = files.path(entry.id).ok_or_else(|| missing_file(&files.path_of(entry.id)))?;
        let segment = match read_index(&path.with_extension("idx"), entry, env) {
            Some(index) => Segment::stored(path.clone(), index),
            None => rebuild(path, entry, env)?,
        };
        segments.insert(entry.id, Arc::new(segment));
    }
    Ok(segments)
}

/// The stored index of a segment, if it is there, whole, and of this very segment.
pub(crate) fn read_index(path: &Path, entry: &SegmentEntry, env: &Env) -> Option<StoredIndex> {
    let file = env.disk.open(path, OpenMode::Read).ok()?;
    let mut bytes = vec![0; INDEX_HEADER];
    file.read_exact_at(&mut bytes, 0).ok()?;
    let len = StoredIndex::front_bytes(&bytes)?;
    if len as u64 > file.len().ok()? {
        return None;
    }
    bytes.resize(len, 0);
    file.read_exact_at(&mut bytes, 0).ok()?;
    let index = StoredIndex::decode(&bytes)?;
    ((index.id, index.salt, index.end) == (entry.id, entry.salt, entry.end)).then_some(index)
}

/// A sealed segment whose index is missing: it is read whole.
fn rebuild(path: &Path, entry: &SegmentEntry, env: &Env) -> Result<Segment> {
    tracing::warn!(segment = %entry.id, "the index of a segment is missing or damaged: it is rebuilt");
    let file = env.disk.open(path, OpenMode::Read).map_err(|error| io_error("open", path, error))?;
    let index = scan_index(&*file, path, entry)?;
    let segment = Segment::growing(entry.id, entry.salt, path.to_owned(), index);
    segment.seal(entry.end);
    Ok(segment)
}

/// Makes the index of a sealed segment by reading it.
pub(crate) fn scan_index(file: &dyn File, path: &Path, entry: &SegmentEntry) -> Result<Index> {
    let header = folder::read_header(file, path)?;
    if (header.id, header.salt) != (entry.id, entry.salt) {
        return Err(damaged(path, 0, "this is another segment than the log wrote: restore the right one"));
    }
    let mut index = Index::default();
    let mut reader = FrameReader::new(file, entry.salt, entry.end);
    loop {
        match reader.next().map_err(|error| read_error(path, reader.position(), error))? {
            Next::Frame(frame) => {
                for (position, block) in &frame.blocks {
                    index.add(block.header(), *position);
                }
            }
            Next::Broken(broken) => return Err(damaged(path, broken.position, broken.cause)),
            Next::End => return Ok(index),
        }
    }
}

/// A partition and the segments that hold it.
fn place(
    at: StreamPartition,
    heads: &BTreeMap<StreamPartition, Head>,
    segments: &BTreeMap<SegmentId, Arc<Segment>>,
) -> Partition {
    let head = heads.get(&at).copied().unwrap_or_default();
    let partition = Partition::new(at, head.start, head.end, head.sequence);
    for segment in segments.values() {
        if let Some(summary) = segment.summary(at) {
            partition.add_place(summary.first, segment);
        }
    }
    partition
}

/// Places all partitions that are defined.
fn place_all(shared: &Shared, streams: &Arc<Streams>, heads: &BTreeMap<StreamPartition, Head>) {
    let mut partitions = shared.partitions.write();
    for at in streams.iter().flat_map(|def| partitions_of(def)).filter(|at| *at != CONFIG_PARTITION) {
        let head = heads.get(&at).copied().unwrap_or_default();
        partitions.insert(at, Arc::new(Partition::new(at, head.start, head.end, head.sequence)));
    }
    for segment in shared.segments.read().values() {
        for summary in segment.summaries() {
            if let Some(partition) = partitions.get(&summary.at) {
                partition.add_place(summary.first, segment);
            }
        }
    }
    *shared.streams.write() = streams.clone();
}

/// The definitions, as `$config` tells them.
fn fold_config(shared: &Shared) -> Result<Arc<Streams>> {
    let mut streams = Streams::new();
    let mut from = Offset::ZERO;
    loop {
        let blocks = shared.read_blocking(CONFIG_PARTITION, from, 1 << 20)?;
        let Some(last) = blocks.last() else { return Ok(Arc::new(streams)) };
        from = last.header().end_offset();
        for block in &blocks {
            streams.fold(block, Offset::ZERO)?;
        }
    }
}
