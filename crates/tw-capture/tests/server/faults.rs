//! A log that fails when it is told to: what a crash at that moment would leave behind is durable, the rest is not.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tw_log::{
    Ack, AckSender, Append, Bounds, BoxFuture, Error, Log, NewStream, Permit, Result, Signal, Streams,
};
use tw_types::{Offset, StreamDef, StreamName, StreamPartition};
use tw_wire::Block;

/// The embedded log, with faults.
pub(crate) struct FaultyLog {
    log: Arc<dyn Log>,
    refuses_alter: AtomicBool,
    /// What was appended while appends are held back.
    held: Mutex<Option<Vec<Held>>>,
}

struct Held {
    permit: Permit,
    parts: Vec<Append>,
    sender: AckSender,
}

impl FaultyLog {
    pub(crate) fn new(log: Arc<dyn Log>) -> Self {
        Self { log, refuses_alter: AtomicBool::new(false), held: Mutex::new(None) }
    }

    /// The next change of a stream's definition fails.
    pub(crate) fn refuse_alter(&self) {
        self.refuses_alter.store(true, Ordering::Relaxed);
    }

    /// Whether the change that was to fail has come.
    pub(crate) fn has_refused(&self) -> bool {
        !self.refuses_alter.load(Ordering::Relaxed)
    }

    /// From now on appends do not reach the log.
    pub(crate) fn hold(&self) {
        *self.held.lock() = Some(Vec::new());
    }

    /// How many appends are held back.
    pub(crate) fn held(&self) -> usize {
        self.held.lock().as_ref().map_or(0, Vec::len)
    }

    /// Ends the holding back: the first `count` appends reach the log, those after them fail.
    pub(crate) fn let_go(&self, count: usize) {
        for (index, held) in self.held.lock().take().unwrap_or_default().into_iter().enumerate() {
            let outcome = if index < count {
                self.log.append(held.permit, held.parts).wait()
            } else {
                Err(Error::Busy)
            };
            held.sender.resolve(outcome);
        }
    }
}

impl Log for FaultyLog {
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
        if self.refuses_alter.swap(false, Ordering::Relaxed) {
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
        match &mut *self.held.lock() {
            None => self.log.append(permit, parts),
            Some(held) => {
                let (sender, ack) = Ack::channel();
                held.push(Held { permit, parts, sender });
                ack
            }
        }
    }

    fn read(&self, at: StreamPartition, from: Offset, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Block>>> {
        self.log.read(at, from, bytes_max)
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
}
