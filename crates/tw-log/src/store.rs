//! The event store: versions, expected versions, histories and idempotent appends, on any [`Log`].
//!
//! ```text
//!  Write ──submit──▶ check ──▶ versions ──▶ Log::append ──▶ durable: Appended
//!    │                 ▲           │ ledger, in memory
//!    │  head, ids      │           ▼
//!    └──────────── subject index ◀─flush── (in the state store; rebuilt from the log)
//! ```
//!
//! Who appends gives versions: they are stored in the block with the events, so they outlive trim, compaction and the
//! loss of the index. A partition has one lock, which is held only while versions are given and the log is handed the
//! append; nothing waits for the index to be stored. Appends are pipelined: each says at which offset it expects to
//! go, so that after a failure none of its successors lands, and the partition is brought up to the log again before it
//! accepts more.
//!
//! What is promised (the suite in `conformance`, a feature of its own, tests it on any log):
//! - LOG-2: versions of a subject are dense from 1 in the order of their offsets.
//! - LOG-3: an append with an expected version succeeds exactly when it is the subject's current one.
//! - An event with the id of one of the latest 1,024 events of its subject is not stored again.
//! - A write with an idempotency key is stored once, and answered as it was the first time.
//!
//! Two limits of the index: a subject is its 128-bit hash; and versions go on after retention has removed all events of
//! a subject, but if the index is lost then, too, such a subject starts again from 1, because the log knows nothing
//! of it any more.

#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod event;
mod flush;
mod index;
mod keys;
mod learned;
mod options;
mod partition;
mod pending;
mod pool;
mod read;
mod received;
mod repeat;
mod submit;
mod sync;
mod traced;
mod usage;
mod write;

pub use error::Error;
pub use options::Options;
pub use pending::{Appended, AppendedEvent, Pending};
pub use read::{Filter, Page};
pub use received::Mark;
pub use traced::Traced;
pub use write::{KEY_BYTES_MAX, Write};

use crate::{Error as LogError, Log, Signal};
use hashbrown::HashMap;
use index::Index;
use parking_lot::{Mutex, RwLock};
use partition::Partition;
use pool::Builders;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use tw_env::{Env, Live};
use tw_order::{KeyTable, SubjectHash, partition_of};
use tw_types::{Offset, PartitionId, Stored, StreamDef, StreamId, StreamPartition, Timestamp, Version};
use usage::Usage;

/// The result of an operation on the event store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How often an append is tried again because somebody else appended to the same partition: each time, some other append
/// has gone through, and those who append without looking are quicker.
const RETRIES_MAX: u32 = 1_000;

/// The event store of a node. Cheap to clone. See the module's text.
///
/// When the last clone goes, what is durable of the index is stored; a process that ends without that replays more of
/// the log when it starts.
#[derive(Clone)]
pub struct EventStore {
    core: Arc<Core>,
    _thread: Arc<IndexThread>,
}

/// What all clones and the index thread share.
struct Core {
    log: Arc<dyn Log>,
    env: Env,
    options: Live<Options>,
    index: Index,
    partitions: RwLock<HashMap<StreamPartition, Arc<Partition>>>,
    keys: Mutex<Keys>,
    builders: Arc<Builders>,
    usage: Usage,
    /// Held while the index of a stream is stored.
    flushing: Mutex<()>,
    /// Whether nothing of this region is taken for streams that are in other regions, too.
    is_held: AtomicBool,
    /// How many writes wait until they are durable.
    waiting: AtomicUsize,
    /// Rises now and then.
    tick: Signal,
}

/// The idempotency keys in memory.
#[derive(Default)]
struct Keys {
    table: KeyTable,
    /// Rises when keys leave memory.
    generation: u64,
    reported_bytes: usize,
}

/// A write that waits until it is durable.
struct Waiting<'c>(&'c AtomicUsize);

impl<'c> Waiting<'c> {
    fn new(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Stores the index; stops when this is dropped.
struct IndexThread {
    core: Arc<Core>,
    handle: Option<JoinHandle<()>>,
}

impl EventStore {
    /// The event store of `log`, whose index is kept in `state`. Partitions are brought up to the log when they are
    /// used first; see [`EventStore::warm`].
    ///
    /// # Errors
    /// [`Error::InvalidOption`], [`Error::Index`], [`Error::Thread`].
    pub fn open(
        log: Arc<dyn Log>,
        state: Arc<dyn tw_state::Store>,
        env: Env,
        options: Options,
    ) -> Result<Self> {
        options.check()?;
        let core = Arc::new(Core {
            index: Index::open(state, &log.streams())?,
            usage: Usage::new(&options),
            log,
            env,
            options: Live::new(options),
            partitions: RwLock::default(),
            keys: Mutex::default(),
            builders: Arc::default(),
            flushing: Mutex::default(),
            is_held: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            tick: Signal::default(),
        });
        let run = core.clone();
        let thread = std::thread::Builder::new().name("tw-index".into()).spawn(move || run.keep_index());
        let handle = Some(thread.map_err(Error::Thread)?);
        Ok(Self { _thread: Arc::new(IndexThread { core: core.clone(), handle }), core })
    }

    /// Puts other options into effect, for what is written, read and stored from now on.
    ///
    /// # Errors
    /// [`Error::InvalidOption`]; then nothing has changed.
    pub fn reconfigure(&self, options: Options) -> Result<()> {
        options.check()?;
        self.core.usage.reconfigure(&options);
        self.core.options.set(options);
        Ok(())
    }

    /// The log.
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.core.log
    }

    /// From now on nothing of this region is taken, or again, for streams that are in other regions, too: as long as such a region fetches back what
    /// it had accepted before, something new would come before that. What other regions have accepted is taken, and so is what
    /// [`Write::while_held`] marks.
    pub fn hold(&self, on: bool) {
        self.core.is_held.store(on, Ordering::SeqCst);
    }

    /// The partition in which a subject is.
    pub fn partition_of(&self, stream: &StreamDef, subject: &str) -> PartitionId {
        partition_of(subject, stream.partitions)
    }

    /// Brings one partition up to the log, so that nobody has to wait for that later.
    ///
    /// # Errors
    /// [`Error::Log`], [`Error::Index`], [`Error::DamagedIndex`].
    pub async fn catch_up(&self, at: StreamPartition) -> Result<()> {
        self.core.current(&self.core.partition(at)?).await
    }

    /// How many events of a partition somebody else than this process has appended since it looked at the partition first, as far as
    /// it has looked: [`EventStore::catch_up`] does. Events whose outcome did not arrive count as its own.
    pub fn by_others(&self, at: StreamPartition) -> u64 {
        let partition = self.core.partitions.read().get(&at).cloned();
        partition.map_or(0, |partition| partition.lock().by_others)
    }

    /// Starts a write.
    pub fn write(&self) -> Write {
        Write::new(&self.core.options.get(), self.core.builders.clone())
    }

    /// Gives `write` its place: waits for room, not for the disk. What was submitted before to the same partitions
    /// comes before it, or it is not stored either. A writer that pipelines goes back to what was last acknowledged after
    /// an error: what it submitted since has failed with it.
    ///
    /// # Errors
    /// [`Error::Conflict`], [`Error::KeyReused`], [`Error::KeyGone`], [`Error::InvalidWrite`], [`Error::Held`]; nothing is stored then.
    /// [`Error::Log`], [`Error::Index`], [`Error::DamagedIndex`].
    pub async fn submit(&self, write: Write) -> Result<Pending> {
        self.core.submit(&write.prepare(&self.core)?).await
    }

    /// Stores `write` and waits until it is durable. If somebody else has appended to one of its partitions meanwhile,
    /// as the log itself does to `$config`, it is tried again.
    ///
    /// # Errors
    /// Those of [`EventStore::submit`].
    pub async fn append(&self, write: Write) -> Result<Appended> {
        let write = write.prepare(&self.core)?;
        let _until_it_is_durable = Waiting::new(&self.core.waiting);
        let mut tries = 0;
        loop {
            match self.core.submit(&write).await?.await {
                Err(Error::Log(LogError::WrongEnd { at, actual, .. })) if tries < RETRIES_MAX => {
                    tries += 1;
                    self.core.reached(at, actual).await?;
                }
                outcome => return outcome,
            }
        }
    }

    /// The version of a subject: that of its latest durable event; [`Version::NONE`] when it has none.
    ///
    /// # Errors
    /// [`Error::Log`], [`Error::Index`], [`Error::DamagedIndex`].
    pub async fn version(&self, stream: StreamId, subject: &str) -> Result<Version> {
        let partition = self.core.partition_of(stream, subject)?;
        self.core.version(&partition, SubjectHash::of(subject)).await
    }

    /// The durable events of a subject in the order of their versions: from version `from` (or the first that is still
    /// there) on, at most `limit`, and no more than fit in the option `read_bytes_max`, but at least one if there is any.
    ///
    /// # Errors
    /// [`Error::Log`], [`Error::Index`], [`Error::DamagedIndex`].
    pub async fn history(
        &self,
        stream: StreamId,
        subject: &str,
        from: Version,
        limit: usize,
    ) -> Result<Vec<Stored>> {
        let partition = self.core.partition_of(stream, subject)?;
        self.core.history(&partition, subject, from, limit).await
    }

    /// The durable events of a partition from offset `from` on that `filter` shows: at most `limit`, and about
    /// `bytes_max` bytes of them, but at least one if one is found within the option `read_bytes_max`.
    ///
    /// # Errors
    /// [`crate::Error::Trimmed`] and [`crate::Error::BeyondEnd`] in [`Error::Log`]; [`Error::Index`] and
    /// [`Error::DamagedIndex`] for a filter with a subject.
    pub async fn read(
        &self,
        at: StreamPartition,
        from: Offset,
        filter: &Filter,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Page> {
        self.core.read(at, from, filter, limit, bytes_max).await
    }

    /// What is in a partition of each region, durable: the last event of each region and epoch, in their order. This region is not
    /// among them while none of its events is there; after the index was lost, not before the next one either, if the
    /// log does not begin with its first.
    ///
    /// # Errors
    /// [`Error::Log`], [`Error::Index`], [`Error::DamagedIndex`].
    pub async fn received(&self, at: StreamPartition) -> Result<Vec<Mark>> {
        self.core.received(&self.core.partition(at)?).await
    }

    /// Where to read from to see what was accepted at `time` (by HLC) or later; the end, if there is nothing yet.
    ///
    /// # Errors
    /// [`Error::Log`].
    pub async fn offset_at(&self, at: StreamPartition, time: Timestamp) -> Result<Offset> {
        self.core.offset_at(at, time).await
    }

    /// Brings every partition up to the log, so that nobody has to wait for that later.
    ///
    /// # Errors
    /// [`Error::Log`], [`Error::Index`], [`Error::DamagedIndex`].
    pub async fn warm(&self) -> Result<()> {
        let streams = self.core.log.streams();
        for def in streams.iter() {
            for partition in 0..def.partitions {
                let at = StreamPartition::new(def.id, PartitionId(partition));
                self.catch_up(at).await?;
            }
        }
        Ok(())
    }

    /// Stores the index as far as it is durable. Blocks the thread. The store does this on its own; tests and an
    /// orderly end may want it at a certain moment.
    ///
    /// # Errors
    /// [`Error::Index`], [`Error::DamagedIndex`].
    pub fn flush(&self) -> Result<()> {
        self.core.flush_all()
    }

    /// How many writes of [`EventStore::append`] wait until they are durable.
    pub fn waiting(&self) -> usize {
        self.core.waiting.load(Ordering::Relaxed)
    }

    /// About how much memory the part of the index takes that is not stored yet, in bytes.
    pub fn index_bytes(&self) -> usize {
        self.core.usage.bytes()
    }

    /// About how much memory the ids take that new ones are compared with, in bytes.
    pub fn dedup_bytes(&self) -> usize {
        self.core.usage.window_bytes()
    }
}

impl Core {
    fn partition_of(&self, stream: StreamId, subject: &str) -> Result<Arc<Partition>> {
        let partitions = self.log.streams().by_id(stream)?.partitions;
        self.partition(StreamPartition::new(stream, partition_of(subject, partitions)))
    }

    /// Waits until the log has reached `end`, or a moment, so that an append of somebody else has had its time.
    async fn reached(&self, at: StreamPartition, end: Offset) -> Result<()> {
        let signal = self.log.end_signal(at)?;
        let reached = std::pin::pin!(signal.over(end.0.saturating_sub(1)));
        let moment = std::pin::pin!(self.tick.over(self.tick.get() + 1));
        futures_util::future::select(reached, moment).await;
        Ok(())
    }
}

impl Drop for IndexThread {
    fn drop(&mut self) {
        self.core.usage.stop();
        if let Some(Err(_)) = self.handle.take().map(JoinHandle::join) {
            tracing::error!("the thread that stores the subject index has panicked");
        }
    }
}

impl std::fmt::Debug for EventStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStore").field("index_bytes", &self.index_bytes()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Core")
    }
}
