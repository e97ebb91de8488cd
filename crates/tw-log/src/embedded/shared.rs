//! What the writer, the readers and the cleaner have in common.

use super::layout::{SegmentHeader, SegmentId};
use super::options::Options;
use super::partition::Partition;
use super::queue::{Queue, Request};
use super::segment::Segment;
use super::spares::{Maker, Spares};
use super::stats::Counts;
use super::{index::Run, read::Buffers};
use crate::streams::check_append;
use crate::{Ack, Append, Error, Permit, Permits, Result, Signal, Streams};
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use quick_cache::{Weighter, sync::Cache};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tw_env::{Env, File, OpenMode};
use tw_types::StreamPartition;

/// The runs of a partition in a segment, as the cache keeps them.
pub(crate) type RunsKey = (SegmentId, StreamPartition);

/// The log without its threads.
pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) folder: PathBuf,
    pub(crate) options: Options,
    pub(crate) log: u128,
    pub(crate) streams: RwLock<Arc<Streams>>,
    pub(crate) definitions: Arc<Signal>,
    pub(crate) commits: Arc<Signal>,
    pub(crate) partitions: RwLock<HashMap<StreamPartition, Arc<Partition>>>,
    /// Every segment of the log, the one that is written included.
    pub(crate) segments: RwLock<BTreeMap<SegmentId, Arc<Segment>>>,
    /// Segments that are not part of the log any more, but may still be read by somebody.
    pub(crate) retired: Mutex<Vec<Arc<Segment>>>,
    pub(crate) queue: Queue,
    pub(crate) spares: Spares,
    /// The number of the segment that is written, once its first frame is durable: segments before it may get their
    /// index file, which proves to the next recovery that there is a later segment.
    pub(crate) started: AtomicU64,
    /// How often the log was opened, this time included.
    pub(crate) opening: u32,
    /// Rises when the cleaner should look for work.
    pub(crate) untidy: Signal,
    pub(crate) files: Cache<SegmentId, Arc<dyn File>>,
    pub(crate) runs: Cache<RunsKey, Arc<[Run]>, RunsWeight>,
    pub(crate) buffers: Arc<Buffers>,
    pub(crate) counts: Counts,
    /// Closed when nothing is accepted any more.
    pub(crate) permits: Permits,
    /// The last timestamp of what is published, as an integer.
    pub(crate) settled: AtomicU64,
    /// Whether blocks are becoming visible, one partition after another.
    pub(crate) publishing: AtomicBool,
    /// Whether the last append found no room.
    full: AtomicBool,
    /// Held as long as the log is open.
    _lock: Box<dyn std::any::Any + Send + Sync>,
}

/// What recovery hands over.
pub(crate) struct Recovered {
    pub(crate) log: u128,
    pub(crate) streams: Arc<Streams>,
    pub(crate) partitions: HashMap<StreamPartition, Arc<Partition>>,
    pub(crate) segments: BTreeMap<SegmentId, Arc<Segment>>,
    pub(crate) spares: Spares,
    pub(crate) opening: u32,
    pub(crate) lock: Box<dyn std::any::Any + Send + Sync>,
}

/// Weighs runs by their bytes in memory.
#[derive(Debug, Clone)]
pub(crate) struct RunsWeight;

impl Weighter<RunsKey, Arc<[Run]>> for RunsWeight {
    fn weight(&self, _key: &RunsKey, runs: &Arc<[Run]>) -> u64 {
        (size_of::<RunsKey>() + size_of_val::<[Run]>(runs)) as u64 + 64
    }
}

impl Shared {
    pub(crate) fn new(env: Env, folder: PathBuf, options: Options, recovered: Recovered) -> Self {
        let permits = Permits::new(options.in_flight_bytes_max, options.append_bytes_max);
        let runs = Cache::with_weighter(1024, options.index_cache_bytes, RunsWeight);
        Self {
            files: Cache::new(options.open_files_max as usize),
            runs,
            permits,
            env,
            folder,
            options,
            log: recovered.log,
            streams: RwLock::new(recovered.streams),
            definitions: Arc::default(),
            commits: Arc::default(),
            partitions: RwLock::new(recovered.partitions),
            segments: RwLock::new(recovered.segments),
            retired: Mutex::default(),
            queue: Queue::default(),
            spares: recovered.spares,
            started: AtomicU64::new(0),
            opening: recovered.opening,
            untidy: Signal::default(),
            buffers: Arc::default(),
            counts: Counts::default(),
            settled: AtomicU64::new(0),
            publishing: AtomicBool::new(false),
            full: AtomicBool::new(false),
            _lock: recovered.lock,
        }
    }

    /// How spares are made.
    pub(crate) fn maker(&self) -> Maker {
        Maker {
            env: self.env.clone(),
            folder: self.folder.clone(),
            log: self.log,
            segment_len: self.options.segment_len(),
            wanted: self.options.spare_segments as usize,
        }
    }

    /// A partition that exists.
    pub(crate) fn partition(&self, at: StreamPartition) -> Result<Arc<Partition>> {
        self.streams.read().of_partition(at)?;
        self.partitions.read().get(&at).cloned().ok_or(Error::NoStreamId(at.stream))
    }

    /// Accepts nothing more; `error` says why. The first reason counts.
    pub(crate) fn stop(&self, error: Error) {
        self.permits.close(error.clone());
        self.queue.close(error);
        self.spares.close();
        self.untidy.increment();
    }

    /// Why nothing is accepted any more, if that is so.
    pub(crate) fn stopped(&self) -> Option<Error> {
        self.permits.closed()
    }

    /// Takes note of whether an append found room.
    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    /// Why appends are refused, if they are. A spare segment is room again, whatever the last append found.
    pub(crate) fn refusal(&self) -> Option<Error> {
        self.stopped().or_else(|| {
            let full = self.full.load(Ordering::Relaxed) && self.spares.is_empty();
            full.then(|| Error::DiskFull { folder: self.folder.clone() })
        })
    }

    fn check_open(&self) -> Result<()> {
        self.stopped().map_or(Ok(()), Err)
    }

    /// Hands an append to the writer.
    pub(crate) fn append(&self, permit: Permit, parts: Vec<Append>) -> Ack {
        let bytes: usize = parts.iter().map(|part| part.batch.bytes()).sum();
        if let Err(error) = self.check_append(&parts, bytes) {
            return Ack::ready(Err(error));
        }
        if parts.is_empty() {
            return Ack::ready(Ok(Vec::new()));
        }
        let (ack, outcome) = Ack::channel();
        self.queue.push(Request::Append { parts, bytes: bytes as u64, permit, ack });
        outcome
    }

    fn check_append(&self, parts: &[Append], bytes: usize) -> Result<()> {
        self.check_open()?;
        self.permits.check(bytes)?;
        let streams = self.streams.read();
        for part in parts {
            streams.of_partition(part.at)?;
            check_append(part.at, &part.batch)?;
        }
        Ok(())
    }

    /// The file of a segment, opened for reading.
    pub(crate) fn file(&self, segment: &Segment) -> Result<Arc<dyn File>> {
        if let Some(file) = self.files.get(&segment.id) {
            return Ok(file);
        }
        let file = self
            .env
            .disk
            .open(&segment.path, OpenMode::Read)
            .map_err(|error| io_error("open", &segment.path, error))?;
        check_header(&*file, segment)?;
        self.files.insert(segment.id, file.clone());
        Ok(file)
    }

    /// Gives the files of retired segments that nobody reads any more back, for new segments or to the disk.
    pub(crate) fn reclaim(&self) {
        let idle: Vec<Arc<Segment>> = {
            let mut retired = self.retired.lock();
            let (idle, busy) = std::mem::take(&mut *retired)
                .into_iter()
                .partition(|segment| Arc::strong_count(segment) == 1);
            *retired = busy;
            idle
        };
        for segment in idle {
            self.files.remove(&segment.id);
            let _was_never_stored = self.env.disk.remove(&segment.path.with_extension("idx"));
            let fits =
                segment.id.generation == 0 && self.len_of(&segment) == Some(self.options.segment_len());
            let wanted = self.options.spare_segments as usize;
            if !(fits && self.spares.recycle(segment.path.clone(), wanted))
                && let Err(error) = self.env.disk.remove(&segment.path)
            {
                tracing::warn!(segment = %segment.id, %error, "cannot remove a segment that is not needed any more");
            }
        }
    }

    fn len_of(&self, segment: &Segment) -> Option<u64> {
        self.env.disk.open(&segment.path, OpenMode::Read).and_then(|file| file.len()).ok()
    }
}

/// Checks that a file is the segment that it should be.
fn check_header(file: &dyn File, segment: &Segment) -> Result<()> {
    let mut bytes = [0; 128];
    file.read_exact_at(&mut bytes, 0).map_err(|error| read_error(&segment.path, 0, error))?;
    let damaged = |cause: &str| damaged(&segment.path, 0, cause);
    let header = SegmentHeader::decode(&bytes).map_err(damaged)?;
    if (header.id, header.salt) != (segment.id, segment.salt) {
        return Err(damaged("this is another segment than the log wrote: restore the right one"));
    }
    Ok(())
}

/// An error of the system, as the log tells it.
pub(crate) fn io_error(action: &'static str, path: &Path, error: io::Error) -> Error {
    Error::Io { action, path: path.to_owned(), source: Arc::new(error) }
}

/// An error of a read: a file that ends too early is damaged.
pub(crate) fn read_error(path: &Path, position: u64, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        damaged(path, position, "the file ends before what should be here: restore it from a copy")
    } else {
        io_error("read", path, error)
    }
}

/// Damage, as the log tells it.
pub(crate) fn damaged(path: &Path, position: u64, cause: impl ToString) -> Error {
    Error::Damaged { file: path.to_owned(), position, cause: cause.to_string() }
}
