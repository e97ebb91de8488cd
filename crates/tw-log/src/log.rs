//! The trait that every engine implements, and the values that cross it.

use crate::{BoxFuture, Error, NewStream, Permit, Result, Signal, Streams};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use tw_types::{
    Epoch, Hlc, HlcClock, Offset, Origin, RegionId, Sequence, StreamDef, StreamName, StreamPartition,
};
use tw_wire::{Batch, Block, Run};

/// The log of a node: streams of partitions of events.
///
/// Promises (the conformance suite tests them by these names):
/// - LOG-1: once an [`Ack`] resolves to `Ok`, its events are on stable storage and are never lost, reordered or altered.
/// - LOG-2: offsets of a partition strictly increase.
/// - LOG-4: [`Log::read`] gives a prefix of the durable events: nothing skipped, nothing not yet durable.
/// - LOG-5: a damaged block is an error that names it; it is never served.
///
/// Versions of subjects (the other half of LOG-2) and expected versions (LOG-3) are the event store's, which works on
/// any engine.
pub trait Log: Send + Sync + 'static {
    /// The region whose log this is: what is accepted here is of this origin.
    fn region(&self) -> RegionId;

    /// That region's epoch, under which events are accepted here.
    fn epoch(&self) -> Epoch {
        Epoch(1)
    }

    /// How many events of a partition were accepted here under this epoch, durable; None where an engine does not count them. It
    /// is known however much of them was removed since.
    ///
    /// # Errors
    /// [`Error::NoStreamId`], [`Error::NoPartition`].
    fn accepted(&self, at: StreamPartition) -> Result<Option<u64>> {
        self.bounds(at).map(|_| None)
    }

    /// What a partition takes on stable storage; None where an engine does not know it without asking others. It does not wait.
    ///
    /// # Errors
    /// [`Error::NoStreamId`], [`Error::NoPartition`].
    fn held(&self, at: StreamPartition) -> Result<Option<Held>> {
        self.bounds(at).map(|_| None)
    }

    /// The streams as they are defined now.
    fn streams(&self) -> Arc<Streams>;

    /// Rises with every change of a definition.
    fn definitions(&self) -> Arc<Signal>;

    /// Defines a stream; durable when the future resolves.
    ///
    /// # Errors
    /// [`Error::StreamExists`], [`Error::InvalidStream`], or whatever stops an append.
    fn create_stream(&self, stream: NewStream) -> BoxFuture<'_, Result<Arc<StreamDef>>>;

    /// Replaces the schema and the options of the stream called `changed.name`; number, kind and partitions stay.
    ///
    /// # Errors
    /// [`Error::NoStream`], [`Error::InvalidStream`], or whatever stops an append.
    fn alter_stream(&self, changed: NewStream) -> BoxFuture<'_, Result<Arc<StreamDef>>>;

    /// Removes a stream and its events. Its number is never used again.
    ///
    /// # Errors
    /// [`Error::NoStream`], [`Error::InvalidStream`] for the platform's own streams, or whatever stops an append.
    fn drop_stream<'a>(&'a self, name: &'a StreamName) -> BoxFuture<'a, Result<()>>;

    /// Waits until `bytes` more may be under way, so that memory stays bounded. Take the permit before any lock.
    ///
    /// # Errors
    /// [`Error::TooLarge`] when that can never be; why the log has stopped, if it has.
    fn reserve(&self, bytes: usize) -> BoxFuture<'_, Result<Permit>>;

    /// Takes a permit if that is possible at once.
    ///
    /// # Errors
    /// [`Error::Busy`] when it is not, otherwise as [`Log::reserve`].
    fn try_reserve(&self, bytes: usize) -> Result<Permit>;

    /// Appends all of `parts` or none: they become durable and visible together. Appends to one partition are
    /// stored in the order of the calls. The call itself does not wait: the [`Ack`] resolves when all is durable.
    fn append(&self, permit: Permit, parts: Vec<Append>) -> Ack;

    /// Why appends are refused now, if they are: the log has stopped, or the last append found no room and none has come
    /// since. None where the engine does not know of a reason.
    fn refusal(&self) -> Option<Error> {
        None
    }

    /// The blocks of a partition from the one that holds `from` (or the first after it) on: at least one if `from`
    /// is before the end, and as many more as fit in `bytes_max`. At the end: none. The first block may start before
    /// `from`.
    ///
    /// # Errors
    /// [`Error::Trimmed`], [`Error::BeyondEnd`], [`Error::Damaged`], [`Error::NoPartition`], [`Error::Io`].
    fn read(&self, at: StreamPartition, from: Offset, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Block>>>;

    /// A time before which nothing more comes: whatever this region accepted up to it can be read, and what it accepts from now on is
    /// later, also after a restart. [`Hlc::ZERO`], which promises nothing, where an engine does not know.
    fn settled(&self) -> Hlc {
        Hlc::ZERO
    }

    /// Whether an append is becoming visible at this moment, partition by partition. Whoever has read something of it, and then finds this false, can
    /// read all of it, and all before it. It is true for microseconds.
    fn is_publishing(&self) -> bool {
        false
    }

    /// The range of offsets that can be read now.
    ///
    /// # Errors
    /// [`Error::NoStreamId`], [`Error::NoPartition`].
    fn bounds(&self, at: StreamPartition) -> Result<Bounds>;

    /// A signal whose value is the end offset of the partition (exclusive, durable).
    ///
    /// # Errors
    /// [`Error::NoStreamId`], [`Error::NoPartition`].
    fn end_signal(&self, at: StreamPartition) -> Result<Arc<Signal>>;

    /// A signal that rises with every commit of any partition.
    fn commits(&self) -> Arc<Signal>;

    /// Removes the events before `before` for good; they may go on taking room for a while.
    ///
    /// # Errors
    /// [`Error::BeyondEnd`], [`Error::NoPartition`], or whatever stops an append.
    fn trim(&self, at: StreamPartition, before: Offset) -> BoxFuture<'_, Result<()>>;

    /// Learns what other processes have written to these partitions: when it resolves, [`Log::bounds`],
    /// [`Log::end_signal`] and [`Log::read`] show at least everything that was committed before the call. There is
    /// nothing to learn where one process has the log to itself, which is what an engine says that does not implement
    /// it.
    ///
    /// # Errors
    /// [`Error::NoStreamId`], [`Error::NoPartition`], or why the log's servers cannot be asked.
    fn refresh<'a>(&'a self, at: &'a [StreamPartition]) -> BoxFuture<'a, Result<()>> {
        let _nobody_else_writes = at;
        Box::pin(std::future::ready(Ok(())))
    }

    /// Shuts out the process that writes as `writer`, for ever: when it resolves, nothing that `writer` has not been
    /// told is written will ever be, and its appends are refused. A process that is started anew under this name may
    /// write again. Where one process has the log to itself, as in an engine that does not implement it, there is
    /// nobody to shut out.
    ///
    /// # Errors
    /// Why the log's servers cannot do it now: `writer` may or may not have been shut out, so call it again.
    fn fence<'a>(&'a self, writer: &'a str) -> BoxFuture<'a, Result<()>> {
        let _nobody_else_writes = writer;
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What a partition takes on stable storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// Bytes of its blocks, after compression, those included that were removed and still take room.
    pub bytes: u64,
    /// Bytes of the blocks that were written since the log was opened, after compression. It only rises.
    pub written_bytes: u64,
    /// When its last event was accepted; None without events.
    pub last_hlc: Option<Hlc>,
}

/// One partition's share of an append.
#[derive(Debug, Clone)]
pub struct Append {
    /// The partition.
    pub at: StreamPartition,
    /// The events.
    pub batch: Batch,
    /// The append happens only if the partition ends here: how a writer that pipelines appends notices that an
    /// earlier one failed, or that it is not alone.
    pub expected_end: Option<Offset>,
    /// Where the events come from, if another region has accepted them: then they keep the origin and the time that it gave them.
    /// None for events that are accepted here.
    pub foreign: Option<Foreign>,
}

/// Where and when another region accepted the events of an append. Those of the following events advance by one each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign {
    /// The origin of the first event: another region than the log's own, or an earlier epoch of that, of which others have what a copy of the
    /// log has lost.
    pub origin: Origin,
    /// The timestamp of the first event. Whatever is accepted after it is later.
    pub first_hlc: Hlc,
}

impl From<&Run> for Foreign {
    fn from(run: &Run) -> Self {
        Self { origin: run.origin, first_hlc: run.first_hlc }
    }
}

impl Foreign {
    /// The timestamp of the last one of `count` events.
    pub fn last_hlc(&self, count: u32) -> Hlc {
        self.first_hlc.plus(u64::from(count.max(1)) - 1)
    }

    /// Refuses what cannot come from elsewhere than `here` (the region and epoch under which events are accepted), and lets `clock` observe the last timestamp. Origin and time may be
    /// anything: they come from elsewhere.
    ///
    /// # Errors
    /// [`Error::NotForeign`], [`Error::Skewed`].
    pub fn observe(
        &self,
        here: (RegionId, Epoch),
        count: u32,
        clock: &mut HlcClock,
        now_ms: u64,
    ) -> Result<()> {
        let region = self.origin.region;
        let refused = |reason| Err(Error::NotForeign { origin: self.origin, reason });
        if region == here.0 && self.origin.epoch >= here.1 {
            return refused(
                "it is the region of this log, in no earlier epoch: append what is accepted here without an origin",
            );
        }
        if self.origin.epoch == Epoch(0) {
            return refused("epochs begin with 1: name the one under which that region accepted them");
        }
        if self.origin.sequence == Sequence(0) {
            return refused("sequences begin with 1: number them as that region has");
        }
        if self.origin.sequence.0.checked_add(u64::from(count)).is_none() {
            return refused("their sequences go beyond 64 bits: number them as that region has");
        }
        clock.observe(self.last_hlc(count), now_ms).map_err(|source| Error::Skewed { region, source })
    }
}

/// Where a batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The partition.
    pub at: StreamPartition,
    /// The offset of the first event; the others follow without gaps.
    pub base_offset: Offset,
    /// How many events there are.
    pub count: u32,
    /// The timestamp of the first event; the n-th further one is `first_hlc.plus(n)`.
    pub first_hlc: Hlc,
}

impl Placed {
    /// The offset after the last event.
    pub fn end(&self) -> Offset {
        self.base_offset.plus(u64::from(self.count))
    }
}

/// The offsets that a partition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The first offset that can be read, if it is before `end`.
    pub start: Offset,
    /// The offset after the last durable event.
    pub end: Offset,
}

impl Bounds {
    /// Whether there is anything to read of partition `at` from `from` on; at the end there is not.
    ///
    /// # Errors
    /// [`Error::Trimmed`], [`Error::BeyondEnd`].
    pub fn check(&self, at: StreamPartition, from: Offset) -> Result<bool> {
        let Self { start, end } = *self;
        if from < start {
            return Err(Error::Trimmed { at, start });
        }
        if from > end {
            return Err(Error::BeyondEnd { at, from, end });
        }
        Ok(from < end)
    }
}

/// What a read gives of the blocks that it finds: the first one, and as many more as fit in `bytes_max` with it.
pub fn fitting_blocks<'a>(blocks: impl Iterator<Item = &'a Block>, bytes_max: usize) -> Vec<Block> {
    let mut bytes = 0;
    let fitting = blocks.take_while(|block| {
        let length = block.header().length as usize;
        let fits = bytes == 0 || bytes + length <= bytes_max;
        bytes += length;
        fits
    });
    fitting.cloned().collect()
}

/// The outcome of an append, in the order of its parts. A future for tasks; [`Ack::wait`] for threads. It always
/// resolves: to [`Error::Unknown`] if the engine ends without telling.
#[derive(Debug)]
#[must_use = "an append is only durable once its acknowledgement resolves"]
pub struct Ack(oneshot::Receiver<Result<Vec<Placed>>>);

/// The engine's end of an [`Ack`].
#[derive(Debug)]
pub struct AckSender(oneshot::Sender<Result<Vec<Placed>>>);

impl Ack {
    /// An acknowledgement and the end that resolves it.
    pub fn channel() -> (AckSender, Self) {
        let (sender, receiver) = oneshot::channel();
        (AckSender(sender), Self(receiver))
    }

    /// An acknowledgement that is resolved already.
    pub fn ready(outcome: Result<Vec<Placed>>) -> Self {
        let (sender, ack) = Self::channel();
        sender.resolve(outcome);
        ack
    }

    /// Blocks the thread until the outcome is known. Not for use in a task.
    ///
    /// # Errors
    /// Whatever made the append fail.
    pub fn wait(self) -> Result<Vec<Placed>> {
        self.0.blocking_recv().unwrap_or_else(|_| Err(engine_gone()))
    }
}

impl AckSender {
    /// Tells the outcome; nobody may be listening any more.
    pub fn resolve(self, outcome: Result<Vec<Placed>>) {
        let _nobody_listens = self.0.send(outcome);
    }
}

impl Future for Ack {
    type Output = Result<Vec<Placed>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|outcome| outcome.unwrap_or_else(|_| Err(engine_gone())))
    }
}

/// What is known when the engine went away without telling the outcome.
fn engine_gone() -> Error {
    Error::Unknown(Arc::new(std::io::Error::other("the log's writer has ended")))
}
