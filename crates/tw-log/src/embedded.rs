//! The embedded engine: one physical log of segment files for all partitions.
//!
//! ```text
//! append ─▶ queue ─▶ writer ─▶ one frame, one write, one sync ─▶ tail in memory, ends, acknowledgements
//!                      │ segments, recycled                            │
//! read  ◀──────────────┴── reader threads ◀── indexes ◀── cleaner ◀────┘
//! ```
//!
//! - `plan` decides which requests succeed and what is written for them; `writer` makes it durable; `publish` shows it.
//! - `layout`, `record`, `index`, `scan` are what the files consist of; docs/adr/0002-log-layout.md says why.
//! - `verify` and `inspect` look at the files of a log that is closed, and change nothing.
//! - `recovery` opens a folder, `spares` has segments ready, `cleaner` removes and rewrites what is not needed.
//!
//! Everything below this file works without threads, so that a simulation can take one step at a time.

mod cleaner;
mod codec;
mod compact;
mod folder;
mod index;
mod inspect;
mod layout;
mod options;
mod partition;
mod plan;
mod publish;
mod queue;
mod read;
mod record;
mod recovery;
mod rewrite;
mod scan;
mod segment;
mod shared;
mod spares;
mod stats;
#[cfg(test)]
mod tests;
mod threads;
mod verify;
mod writer;

pub use inspect::{BlockInfo, FrameInfo, IndexInfo, IndexedPartition, Inspection, SegmentInfo, inspect};
pub use options::Options;
pub use stats::Stats;
pub use verify::{IndexState, Problem, Verification, VerifiedPartition, VerifiedSegment, verify};

use crate::{
    Ack, Append, Bounds, BoxFuture, Definition, Error, Held, Log, NewStream, Permit, Result, Signal, Streams,
};
use queue::{Reply, Request};
use shared::Shared;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use threads::Threads;
use tw_env::Env;
use tw_types::{Epoch, Hlc, Offset, RegionId, StreamDef, StreamName, StreamPartition};
use tw_wire::Block;

/// A log in a folder of this machine. See the module's text.
///
/// Dropping it closes it: what was accepted is committed, its threads end, and the folder can be opened again.
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    epoch: Epoch,
    threads: Threads,
}

impl EmbeddedLog {
    /// The number that was drawn when the log was made. A copy of its folder has the same one.
    pub fn id(&self) -> u128 {
        self.shared.log
    }

    /// Opens the log in `folder`, or makes a new one there. What was acknowledged before a crash is there; what was
    /// not is there whole or not at all, per append.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::InvalidOption`], [`Error::OtherRegion`], [`Error::Damaged`] where the log is damaged
    /// other than by a crash (with the file and the byte), [`Error::DiskFull`], [`Error::Io`].
    pub fn open(folder: impl AsRef<Path>, options: Options, env: Env) -> Result<Self> {
        let writer = recovery::open(folder.as_ref(), &options, &env)?;
        let (shared, epoch) = (writer.shared.clone(), writer.known.epoch);
        let threads = Threads::start(writer)?;
        Ok(Self { shared, epoch, threads })
    }

    /// Begins the next epoch of the log in `folder`, which nobody has open, and returns it; its region is the log's own, whatever the options say: for a copy that is put back in the place of a
    /// newer one, which goes on as a region of which others have more. Its sequences begin at 1 in each partition; offsets and versions
    /// go on. Either it has happened when the process ends, or not; to do so twice uses up a number, and nothing else.
    ///
    /// # Errors
    /// [`Error::NoLog`], [`Error::Epochs`], and those of [`EmbeddedLog::open`].
    pub fn raise_epoch(folder: impl AsRef<Path>, options: &Options, env: &Env) -> Result<Epoch> {
        recovery::raise_epoch(folder.as_ref(), options, env)
    }

    /// Accepts nothing more, commits what was accepted, and ends the threads. Reads that need the disk fail from then on;
    /// the folder is free for others once the log is dropped.
    pub fn close(&self) {
        self.shared.stop(Error::Closed);
        self.threads.join();
    }

    /// What it has done so far.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    async fn define(&self, change: Definition) -> Result<Arc<StreamDef>> {
        let (reply, outcome) = Reply::channel();
        self.shared.queue.push(Request::Define { change, reply });
        outcome.get().await
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for EmbeddedLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedLog").field("folder", &self.shared.folder).finish()
    }
}

impl Log for EmbeddedLog {
    fn region(&self) -> RegionId {
        self.shared.options.region
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn accepted(&self, at: StreamPartition) -> Result<Option<u64>> {
        Ok(Some(self.shared.partition(at)?.sequence().0))
    }

    fn held(&self, at: StreamPartition) -> Result<Option<Held>> {
        Ok(Some(self.shared.partition(at)?.held()))
    }

    fn streams(&self) -> Arc<Streams> {
        self.shared.streams.read().clone()
    }

    fn definitions(&self) -> Arc<Signal> {
        self.shared.definitions.clone()
    }

    fn create_stream(&self, stream: NewStream) -> BoxFuture<'_, Result<Arc<StreamDef>>> {
        Box::pin(self.define(Definition::Create(stream)))
    }

    fn alter_stream(&self, changed: NewStream) -> BoxFuture<'_, Result<Arc<StreamDef>>> {
        Box::pin(self.define(Definition::Alter(changed)))
    }

    fn drop_stream<'a>(&'a self, name: &'a StreamName) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { self.define(Definition::Drop(name.clone())).await.map(drop) })
    }

    fn reserve(&self, bytes: usize) -> BoxFuture<'_, Result<Permit>> {
        Box::pin(self.shared.permits.reserve(bytes))
    }

    fn try_reserve(&self, bytes: usize) -> Result<Permit> {
        self.shared.permits.try_reserve(bytes)
    }

    fn append(&self, permit: Permit, parts: Vec<Append>) -> Ack {
        self.shared.append(permit, parts)
    }

    fn refusal(&self) -> Option<Error> {
        self.shared.refusal()
    }

    fn read(&self, at: StreamPartition, from: Offset, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Block>>> {
        Box::pin(async move {
            let partition = self.shared.partition(at)?;
            match self.shared.read_memory(&partition, from, bytes_max)? {
                Some(blocks) => Ok(blocks),
                None => {
                    let shared = self.shared.clone();
                    self.threads.read(move || shared.read_disk(&partition, from, bytes_max)).await
                }
            }
        })
    }

    fn settled(&self) -> Hlc {
        Hlc::from_u64(self.shared.settled.load(Ordering::Acquire))
    }

    fn is_publishing(&self) -> bool {
        self.shared.publishing.load(Ordering::Acquire)
    }

    fn bounds(&self, at: StreamPartition) -> Result<Bounds> {
        Ok(self.shared.partition(at)?.bounds())
    }

    fn end_signal(&self, at: StreamPartition) -> Result<Arc<Signal>> {
        Ok(self.shared.partition(at)?.end.clone())
    }

    fn commits(&self) -> Arc<Signal> {
        self.shared.commits.clone()
    }

    fn trim(&self, at: StreamPartition, before: Offset) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let (reply, outcome) = Reply::channel();
            self.shared.queue.push(Request::Trim { at, before, reply });
            outcome.get().await
        })
    }
}
