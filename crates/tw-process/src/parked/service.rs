//! The thread between the pipelines and `$parked`: it folds what is written there into the index, and writes what the
//! pipelines have to say.
//!
//! Pipelines put what they say into their outbox, in the same commit as what it is about; this thread writes it and then
//! empties the outbox. If it is cut off in between, what was said is in the index when it comes back, and is left out.

use crate::keys::{self, Kind};
use crate::parked::event::{Fact, How, ViewRemoved, What};
use crate::parked::index::{Index, Said, ViewKey};
use crate::parked::{PARKED_STREAM, ParkedWriter};
use crate::pipeline::{Letter, Outboxes};
use crate::record::{Cursor, Told};
use crate::{Error, Options};
use bytes::Bytes;
use futures_util::future::{Either, select};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tw_env::{Env, Live};
use tw_log::{Log, NewStream, Signal};
use tw_state::{Batch, Keyspace, Range, Store};
use tw_types::chain;
use tw_types::{Event, Offset, PartitionId, StreamName, StreamPartition};

/// Events written, or entries looked at, at once.
const CHUNK: usize = 256;
/// How often it looks what others have written while it cannot write itself.
const LOOK: Duration = Duration::from_millis(50);
/// Bytes of `$parked` that are read at once.
const READ_BYTES: usize = 1 << 20;

/// A generation of a view that is no longer used: what it said is to be ended.
#[derive(Debug, Clone)]
pub(crate) struct Retired {
    pub(crate) view: String,
    pub(crate) stream: StreamName,
    pub(crate) at: Vec<StreamPartition>,
    pub(crate) keyspace: Keyspace,
    pub(crate) number: u64,
    /// What [`Desk::life`] said when its view was added.
    pub(crate) life: Option<u32>,
    /// Whether it was the one that is read.
    pub(crate) was_read: bool,
    /// The generation that took over; None when the view was removed.
    pub(crate) heir: Option<Keyspace>,
}

/// What the thread shares with others.
pub(crate) struct Desk {
    log: Arc<dyn Log>,
    store: Arc<dyn Store>,
    env: Env,
    pub(crate) index: Arc<Index>,
    outboxes: Arc<Outboxes>,
    pub(crate) writer: Arc<dyn ParkedWriter>,
    pub(crate) at: StreamPartition,
    options: Arc<Live<Options>>,
    retired: Mutex<VecDeque<Retired>>,
    /// The numbers of retired generations that are done with.
    done: Mutex<Vec<u64>>,
    failure: Mutex<Option<String>>,
    stopped: AtomicBool,
    ended: Signal,
}

impl Desk {
    /// Opens the index and folds what `$parked` says so far; the stream is created if need be.
    pub(crate) fn open(
        log: Arc<dyn Log>,
        store: Arc<dyn Store>,
        env: Env,
        writer: Arc<dyn ParkedWriter>,
        options: Arc<Live<Options>>,
    ) -> Result<Self, Error> {
        let at = stream(log.as_ref())?;
        let index = Arc::new(Index::open(store.clone())?);
        let desk = Self {
            log,
            store,
            env,
            index,
            outboxes: Arc::default(),
            writer,
            at,
            options,
            retired: Mutex::default(),
            done: Mutex::default(),
            failure: Mutex::default(),
            stopped: AtomicBool::new(false),
            ended: Signal::default(),
        };
        desk.fold()?;
        Ok(desk)
    }

    pub(crate) fn outboxes(&self) -> Arc<Outboxes> {
        self.outboxes.clone()
    }

    /// Hands over a generation that is no longer used, after all that were handed over before.
    pub(crate) fn retire(&self, retired: Retired) {
        if retired.heir.is_none() {
            self.index.ends(ViewKey::new(&retired.view));
        }
        self.retired.lock().push_back(retired);
        self.outboxes.raised().increment();
    }

    /// Where the episodes of a view of this name start that is added now; None while an earlier one is being ended.
    pub(crate) fn life(&self, view: &str) -> Result<Option<u32>, Error> {
        let view = ViewKey::new(view);
        Ok(if self.index.is_ending(view) { None } else { Some(self.index.base(view)?) })
    }

    /// Whether everything that a generation had to say is said, `$parked` is known to its end, and all that it says about another
    /// one, which is to take over, is carried out there.
    pub(crate) fn is_agreed(
        &self,
        old: Keyspace,
        view: &str,
        new: impl Iterator<Item = (StreamPartition, Cursor)>,
    ) -> Result<bool, Error> {
        if self.index.folded() < self.log.bounds(self.at)?.end {
            return Ok(false);
        }
        let (view, snapshot) = (ViewKey::new(view), self.store.snapshot());
        for (at, cursor) in new {
            let outbox = Range::prefix(&keys::prefix(Kind::Outbox, at.partition));
            let is_silent = snapshot.range(old, outbox).next().transpose()?.is_none();
            if !is_silent || self.index.inbox(view, at).get() > cursor.decided {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The numbers of the generations that were done with since the last call.
    pub(crate) fn take_done(&self) -> Vec<u64> {
        std::mem::take(&mut self.done.lock())
    }

    /// Why nothing can be written to `$parked`, if so.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    /// Starts the thread.
    pub(crate) fn start(self: &Arc<Self>) -> std::io::Result<JoinHandle<()>> {
        let desk = self.clone();
        std::thread::Builder::new().name("tw-parked".to_owned()).spawn(move || {
            desk.run();
            desk.ended.increment();
        })
    }

    /// Whether the thread has ended, after at most `timeout`.
    pub(crate) fn has_ended(&self, timeout: Duration) -> bool {
        self.ended.wait_over(0, timeout) > 0
    }

    /// Lets the thread end.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.outboxes.raised().increment();
    }

    fn run(&self) {
        let mut failures = 0;
        while !self.stopped.load(Ordering::Acquire) {
            let seen = self.outboxes.raised().get();
            match self.fold().and_then(|()| self.work()) {
                Ok(()) => {
                    failures = 0;
                    self.failure.lock().take();
                    self.wait(seen);
                }
                Err(error) => {
                    tracing::warn!(%error, "`$parked` cannot be kept up to date");
                    *self.failure.lock() = Some(chain(&error));
                    failures += 1;
                    self.pause(seen, self.options.get().failure_pause(failures));
                }
            }
        }
    }

    /// Waits until there is something to write, or something was written.
    fn wait(&self, seen: u64) {
        let raised = self.outboxes.raised();
        let Ok(end) = self.log.end_signal(self.at) else { return };
        let folded = self.index.folded().0;
        let either = async {
            match select(pin!(raised.over(seen)), pin!(end.over(folded))).await {
                Either::Left(_) | Either::Right(_) => {}
            }
        };
        pollster::block_on(either);
    }

    /// Writes nothing for a while. What others write is followed all the same.
    fn pause(&self, seen: u64, pause: Duration) {
        let deadline = self.env.clock.monotonic() + pause;
        loop {
            let _tried_again = self.index.refresh();
            let followed = self.fold();
            let left = deadline.saturating_sub(self.env.clock.monotonic()).min(LOOK);
            // Woken early it tries early, which does no harm.
            let is_woken = self.outboxes.raised().wait_over(seen, left) > seen;
            if left.is_zero() || is_woken || self.stopped.load(Ordering::Acquire) {
                if let Err(error) = followed {
                    tracing::warn!(%error, "what others have said in `$parked` cannot be followed");
                }
                return;
            }
        }
    }

    fn work(&self) -> Result<(), Error> {
        let waiting = self.outboxes.take();
        for (keyspace, at) in &waiting {
            let emptied = self.empty(*keyspace, at.partition, self.outboxes.is_built(*keyspace));
            if let Err(error) = ignore_dropped(emptied) {
                self.outboxes.give_back(waiting);
                return Err(error);
            }
        }
        loop {
            let Some(retired) = self.retired.lock().front().cloned() else { return Ok(()) };
            self.end(&retired)?;
            self.outboxes.abandon(retired.keyspace);
            self.retired.lock().pop_front();
            if retired.heir.is_none() {
                self.index.has_ended(ViewKey::new(&retired.view));
            }
            self.done.lock().push(retired.number);
        }
    }

    /// Folds everything that `$parked` says.
    fn fold(&self) -> Result<(), Error> {
        loop {
            let from = self.index.folded();
            let blocks = match pollster::block_on(self.log.read(self.at, from, READ_BYTES)) {
                Err(tw_log::Error::Trimmed { start, .. }) => {
                    tracing::warn!(%start, "the beginning of `$parked` was removed: decisions in it are forgotten");
                    pollster::block_on(self.log.read(self.at, start, READ_BYTES))
                }
                read => read,
            }?;
            if blocks.is_empty() {
                return Ok(());
            }
            for block in blocks {
                let records = block.records()?;
                let mut events = Vec::new();
                for event in records.iter()? {
                    let event = event?;
                    if event.offset >= self.index.folded() {
                        events.push(event);
                    }
                }
                self.index.fold(&events)?;
            }
        }
    }

    /// Writes what is in an outbox, and empties it. Of a generation that is being built, what is true once it is read stays.
    fn empty(&self, keyspace: Keyspace, partition: PartitionId, is_built: bool) -> Result<(), Error> {
        let all = Range::prefix(&keys::prefix(Kind::Outbox, partition));
        let mut last: Option<Bytes> = None;
        loop {
            let range = all.clone();
            let range = if let Some(last) = &last { range.after(last) } else { range };
            let snapshot = self.store.snapshot();
            let mut events = Vec::new();
            let mut emptied = Batch::new();
            let mut seen = 0;
            for entry in snapshot.range(keyspace, range).take(CHUNK) {
                let (key, value) = entry?;
                (seen, last) = (seen + 1, Some(key.clone()));
                match serde_json::from_slice::<Letter>(&value) {
                    Ok(letter) if is_built && letter.is_of_what_is_read() => continue,
                    Ok(letter) if !self.is_said(&letter)? => {
                        events.push(letter.fact.to_event(letter.what, self.env.clock.now_ms()));
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::error!(%error, "an entry of an outbox does not read, and is left out");
                    }
                }
                emptied.remove(keyspace, key);
            }
            self.write(events)?;
            if !emptied.is_empty() {
                self.store.commit(emptied)?;
            }
            if seen < CHUNK {
                return Ok(());
            }
        }
    }

    fn write(&self, events: Vec<Event>) -> Result<(), Error> {
        if !events.is_empty() {
            pollster::block_on(self.writer.append(events))?;
            self.fold()?;
        }
        Ok(())
    }

    /// Whether `$parked` says so already, or has gone on since. That an event was not dropped after all is said in any case.
    fn is_said(&self, letter: &Letter) -> Result<bool, Error> {
        let Letter { what, fact } = letter;
        let view = ViewKey::new(&fact.view);
        if letter.is_of_what_is_read() && self.index.dropped_at(view, fact.at(), fact.offset)?.is_some() {
            return Ok(false);
        }
        let said = self.index.said(view, fact.at(), fact.offset)?;
        Ok(said.is_some_and(|said| {
            said.episode > fact.episode
                || (said.episode == fact.episode && (*what == What::Parked || said.what == What::Released))
        }))
    }

    /// Ends what a generation said that is no longer used.
    fn end(&self, retired: &Retired) -> Result<(), Error> {
        let view = ViewKey::new(&retired.view);
        let Some(heir) = retired.heir else {
            let removal = self.index.base(view)?;
            // Another node may have ended it, and what is known now may be of a later view of its name.
            let is_ended = retired.life.is_some_and(|life| removal > life);
            if !is_ended && self.index.knows(view)? {
                let removed = ViewRemoved { view: retired.view.clone(), removal, how: How::Removed };
                self.write(vec![removed.to_event(self.env.clock.now_ms())])?;
            }
            return Ok(());
        };
        for at in &retired.at {
            ignore_dropped(self.empty(retired.keyspace, at.partition, !retired.was_read))?;
            ignore_dropped(self.end_partition(retired, *at, heir))?;
        }
        Ok(())
    }

    fn end_partition(&self, retired: &Retired, at: StreamPartition, heir: Keyspace) -> Result<(), Error> {
        let view = ViewKey::new(&retired.view);
        let mut from = 0;
        loop {
            let snapshot = self.store.snapshot();
            let range = keys::numbers_from(Kind::Told, at.partition, from);
            let mut events = Vec::new();
            let mut seen = 0;
            for entry in snapshot.range(retired.keyspace, range).take(CHUNK) {
                let (key, value) = entry?;
                seen += 1;
                let Some((offset, told)) = keys::last_number(&key).zip(Told::decode(&value)) else {
                    continue;
                };
                from = offset.saturating_add(1);
                let inherited = ignore_dropped(snapshot.get(heir, &key).map_err(Error::from))?.flatten();
                let said = self.index.said(view, at, Offset(offset))?;
                let open = matches!(said, Some(Said { what: What::Parked | What::Retried, .. }));
                if open && inherited.is_none() {
                    let episode = said.map_or(told.episode, |said| said.episode);
                    let how = Some(How::Rebuilt);
                    let fact = Fact::new(&retired.view, &retired.stream, at, Offset(offset), episode);
                    let fact = Fact { how, ..fact };
                    events.push(fact.to_event(What::Released, self.env.clock.now_ms()));
                }
            }
            self.write(events)?;
            if seen < CHUNK {
                return Ok(());
            }
        }
    }
}

/// What belongs to a generation that has been dropped meanwhile is of no interest any more.
fn ignore_dropped<T>(outcome: Result<T, Error>) -> Result<Option<T>, Error> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(Error::State(error)) if matches!(*error, tw_state::Error::NoKeyspace) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The one partition of `$parked`.
fn stream(log: &dyn Log) -> Result<StreamPartition, Error> {
    let known = log.streams().get(PARKED_STREAM).cloned();
    let def = match (known, StreamName::new(PARKED_STREAM)) {
        (Ok(def), _) => def,
        (Err(tw_log::Error::NoStream(_)), Ok(name)) => {
            match pollster::block_on(log.create_stream(NewStream::plain(name, 1))) {
                // Another node was quicker.
                Err(tw_log::Error::StreamExists(_)) => log.streams().get(PARKED_STREAM).cloned()?,
                created => created?,
            }
        }
        (Err(error), _) => return Err(error.into()),
    };
    if def.partitions != 1 {
        return Err(Error::ParkedStream { name: def.name.to_string(), partitions: def.partitions });
    }
    Ok(StreamPartition::new(def.id, PartitionId(0)))
}
