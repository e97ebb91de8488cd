//! A log that fails when it is told to: what was let through is durable, the rest is not, as after a crash.

use crate::{
    Ack, AckSender, Append, Bounds, BoxFuture, Error, Log, NewStream, Permit, Result, Signal, Streams,
};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tw_types::{Offset, RegionId, StreamDef, StreamName, StreamPartition};
use tw_wire::Block;

/// What becomes of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It goes through.
    None,
    /// It is not stored, and the writer is told.
    Refused,
    /// It is stored, and the writer is told that this is unknown.
    StoredUnknown,
    /// It is not stored, and the writer is told that this is unknown.
    LostUnknown,
}

/// An append that has not been let go.
type Held = (Permit, Vec<Append>, AckSender);

/// A log that holds appends back until they are let go one by one, with or without a fault.
pub struct FaultyLog {
    log: Arc<dyn Log>,
    holds: AtomicBool,
    held: Mutex<VecDeque<Held>>,
    reads: AtomicUsize,
    refuses_alter: AtomicBool,
    refuses_reads: AtomicBool,
    /// After how many reads something is removed, and what.
    trims: Mutex<Option<(usize, StreamPartition, Offset)>>,
}

impl FaultyLog {
    /// Stands before `log`, and lets everything through for now.
    pub fn new(log: Arc<dyn Log>) -> Self {
        let [holds, refuses_alter, refuses_reads] = std::array::from_fn(|_| AtomicBool::new(false));
        let (held, trims, reads) = (Mutex::default(), Mutex::default(), AtomicUsize::new(0));
        Self { log, holds, held, reads, refuses_alter, refuses_reads, trims }
    }

    /// Whether appends are held back from now on.
    pub fn hold(&self, hold: bool) {
        self.holds.store(hold, Ordering::SeqCst);
    }

    /// How many appends are held back.
    pub fn held(&self) -> usize {
        self.held.lock().len()
    }

    /// Lets the next change of a stream's definition fail.
    pub fn refuse_alter(&self) {
        self.refuses_alter.store(true, Ordering::SeqCst);
    }

    /// Whether the change that was to fail has come.
    pub fn has_refused_alter(&self) -> bool {
        !self.refuses_alter.load(Ordering::SeqCst)
    }

    /// Whether reads fail from now on, as while the servers of a log are away.
    pub fn refuse_reads(&self, refuse: bool) {
        self.refuses_reads.store(refuse, Ordering::SeqCst);
    }

    /// Removes events of a partition before an offset when it is read for the `after`-th time from now on, as retention may do at any time.
    pub fn trim_at_read(&self, after: usize, at: StreamPartition, before: Offset) {
        *self.trims.lock() = Some((self.reads() + after, at, before));
    }

    /// How often it was read from.
    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    /// Lets the oldest append that is held back go. False if there is none.
    pub async fn release(&self, fault: Fault) -> bool {
        let Some((permit, parts, ack)) = self.held.lock().pop_front() else { return false };
        let unknown = || Error::Unknown(Arc::new(std::io::Error::other("injected")));
        match fault {
            Fault::None => ack.resolve(self.log.append(permit, parts).await),
            Fault::Refused => ack.resolve(Err(Error::Busy)),
            Fault::StoredUnknown => {
                let outcome = self.log.append(permit, parts).await;
                ack.resolve(outcome.and_then(|_| Err(unknown())));
            }
            Fault::LostUnknown => ack.resolve(Err(unknown())),
        }
        true
    }
}

impl Log for FaultyLog {
    fn region(&self) -> RegionId {
        self.log.region()
    }

    fn epoch(&self) -> tw_types::Epoch {
        self.log.epoch()
    }

    fn accepted(&self, at: StreamPartition) -> Result<Option<u64>> {
        self.log.accepted(at)
    }

    fn streams(&self) -> Arc<Streams> {
        self.log.streams()
    }

    fn definitions(&self) -> Arc<Signal> {
        self.log.definitions()
    }

    fn create_stream(&self, stream: NewStream) -> BoxFuture<'_, Result<Arc<StreamDef>>> {
        self.log.create_stream(stream)
    }

    fn alter_stream(&self, changed: NewStream) -> BoxFuture<'_, Result<Arc<StreamDef>>> {
        if self.refuses_alter.swap(false, Ordering::SeqCst) {
            return Box::pin(async { Err(Error::Busy) });
        }
        self.log.alter_stream(changed)
    }

    fn drop_stream<'a>(&'a self, name: &'a StreamName) -> BoxFuture<'a, Result<()>> {
        self.log.drop_stream(name)
    }

    fn reserve(&self, bytes: usize) -> BoxFuture<'_, Result<Permit>> {
        self.log.reserve(bytes)
    }

    fn try_reserve(&self, bytes: usize) -> Result<Permit> {
        self.log.try_reserve(bytes)
    }

    fn append(&self, permit: Permit, parts: Vec<Append>) -> Ack {
        let mut held = self.held.lock();
        if !self.holds.load(Ordering::SeqCst) && held.is_empty() {
            return self.log.append(permit, parts);
        }
        let (sender, ack) = Ack::channel();
        held.push_back((permit, parts, sender));
        ack
    }

    fn refusal(&self) -> Option<Error> {
        self.log.refusal()
    }

    fn read(&self, at: StreamPartition, from: Offset, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Block>>> {
        let reads = 1 + self.reads.fetch_add(1, Ordering::SeqCst);
        let due = self.trims.lock().take_if(|(due, ..)| *due <= reads);
        if let Some((_, trimmed, before)) = due {
            return Box::pin(async move {
                self.log.trim(trimmed, before).await?;
                self.log.read(at, from, bytes_max).await
            });
        }
        if self.refuses_reads.load(Ordering::SeqCst) {
            let (action, servers) = ("give events", "127.0.0.1:1".to_owned());
            let source = Arc::new(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
            return Box::pin(async move { Err(Error::Unavailable { action, servers, source }) });
        }
        self.log.read(at, from, bytes_max)
    }

    fn settled(&self) -> tw_types::Hlc {
        self.log.settled()
    }

    fn bounds(&self, at: StreamPartition) -> Result<Bounds> {
        self.log.bounds(at)
    }

    fn end_signal(&self, at: StreamPartition) -> Result<Arc<Signal>> {
        self.log.end_signal(at)
    }

    fn commits(&self) -> Arc<Signal> {
        self.log.commits()
    }

    fn trim(&self, at: StreamPartition, before: Offset) -> BoxFuture<'_, Result<()>> {
        self.log.trim(at, before)
    }

    fn refresh<'a>(&'a self, at: &'a [StreamPartition]) -> BoxFuture<'a, Result<()>> {
        self.log.refresh(at)
    }

    fn fence<'a>(&'a self, writer: &'a str) -> BoxFuture<'a, Result<()>> {
        self.log.fence(writer)
    }
}
