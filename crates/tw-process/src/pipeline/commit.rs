//! What a pipeline has decided and not yet stored, and how it is stored: all in one step (PRO-2).

use super::decide::Sweep;
use super::{Deps, Fault, Letter, Open};
use crate::Processor;
use crate::keys::{self, Kind};
use crate::parked::{Fact, How, Said, ViewKey, What};
use crate::progress::Progress;
use crate::record::{Cursor, Note, Told, decode_lane, encode_lane};
use futures_util::future::BoxFuture;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;
use tw_log::Signal;
use tw_order::gate::{Action, Gate, Input, Lane, LaneKey, Phase};
use tw_state::{Batch, Keyspace};
use tw_types::{Offset, StoredRef, StreamName, StreamPartition};

/// About how much memory a change takes in a batch, beside its text.
const CHANGE_BYTES: usize = 128;

/// How many times as long as the last commit took the next one is put off: commits take at most this part of the time.
const COMMIT_PAUSE: u32 = 20;
/// How many times `commit_ms_max` the next commit is put off at most for that.
const COMMIT_PAUSE_MAX: u32 = 4;

/// Everything about a partition but its processor.
pub(super) struct Work {
    pub(super) deps: Arc<Deps>,
    pub(super) progress: Arc<Progress>,
    pub(super) view: String,
    pub(super) view_key: ViewKey,
    pub(super) stream: StreamName,
    pub(super) at: StreamPartition,
    pub(super) keyspace: Keyspace,
    pub(super) gate: Gate,
    pub(super) cursor: Cursor,
    /// The first event at or after the position that a person has dropped, as far as decisions are carried out.
    pub(super) next_drop: Option<Offset>,
    pub(super) inbox: Arc<Signal>,
    pub(super) inbox_wait: Option<BoxFuture<'static, u64>>,
    /// Changes of the worker's own keys since the last commit.
    pub(super) batch: Batch,
    pub(super) batch_bytes: usize,
    /// A buffer for what the gate says, kept for its room.
    pub(super) actions: Vec<Action>,
    /// Queued events that were taken out of their queues since the last commit.
    pub(super) unqueued: BTreeSet<(LaneKey, Offset)>,
    /// Where the removal of void entries goes on.
    pub(super) sweep: Sweep,
    has_letters: bool,
    /// When the first change since the last commit was made; None when nothing changed.
    pub(super) dirty_since: Option<Duration>,
    pub(super) last_commit: Duration,
    /// How long the last commit took.
    commit_took: Duration,
    pub(super) commits: u64,
    /// Events processed since the last commit.
    pub(super) events: u64,
}

impl Work {
    #[expect(clippy::too_many_arguments, reason = "every part is named where it is called")]
    pub(super) fn new(
        deps: Arc<Deps>,
        progress: Arc<Progress>,
        view: String,
        stream: StreamName,
        at: StreamPartition,
        keyspace: Keyspace,
        gate: Gate,
        cursor: Cursor,
    ) -> Self {
        let view_key = ViewKey::new(&view);
        let inbox = deps.index.inbox(view_key, at);
        Self {
            deps,
            progress,
            view,
            view_key,
            stream,
            at,
            keyspace,
            gate,
            cursor,
            next_drop: None,
            inbox,
            inbox_wait: None,
            batch: Batch::new(),
            batch_bytes: 0,
            actions: Vec::new(),
            unqueued: BTreeSet::new(),
            sweep: Sweep::default(),
            has_letters: false,
            dirty_since: None,
            last_commit: Duration::ZERO,
            commit_took: Duration::ZERO,
            commits: 0,
            events: 0,
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.deps.env.clock.now_ms()
    }

    /// Looks for the next event that a person has dropped. Drops that are still to be carried out do not count: so it can be
    /// told of each, when it is its turn, whether it came in time.
    pub(super) fn find_next_drop(&mut self, from: Offset) -> Result<(), Fault> {
        self.next_drop = self.deps.index.next_drop(self.view_key, self.at, from, self.cursor.decided)?;
        Ok(())
    }

    /// Whether decisions of people are still to be carried out.
    pub(super) fn is_undecided(&self) -> bool {
        self.inbox.get() > self.cursor.decided
    }

    /// The monotonic time at which the wall clock will show `due_ms`.
    pub(super) fn monotonic_at(&self, due_ms: u64) -> Duration {
        let pause_ms = due_ms.saturating_sub(self.now_ms());
        self.deps.env.clock.monotonic() + Duration::from_millis(pause_ms)
    }

    /// Notes that something is to be committed.
    pub(super) fn touch(&mut self) {
        if self.dirty_since.is_none() {
            self.dirty_since = Some(self.deps.env.clock.monotonic());
        }
    }

    /// Notes that there is nothing left to process before an offset.
    pub(super) fn pass(&mut self, until: Offset) {
        if self.cursor.position < until {
            self.touch();
            self.cursor.position = until;
        }
    }

    /// Lets decisions wake the pipeline, if there is room for them: otherwise it wakes for the lanes that take it.
    pub(super) fn listen(&mut self, cx: &mut Context<'_>) {
        if self.gate.room() == 0 || self.progress.is_stale() {
            return;
        }
        let (inbox, seen) = (self.inbox.clone(), self.cursor.decided);
        let wait = self.inbox_wait.get_or_insert_with(|| Box::pin(async move { inbox.over(seen).await }));
        if wait.as_mut().poll(cx).is_ready() {
            self.inbox_wait = None;
            cx.waker().wake_by_ref();
        }
    }

    /// Gives the gate an input and carries out what it says, but for letting events through and trying lanes: those
    /// actions are returned in `actions`. `note` says why, when the input is a failure.
    pub(super) fn step(
        &mut self,
        input: Input,
        note: Option<&Note>,
        actions: &mut Vec<Action>,
    ) -> Result<(), Fault> {
        self.touch();
        let first = actions.len();
        self.gate.step(self.deps.env.clock.now_ms(), input, actions);
        let mut kept = first;
        for index in first..actions.len() {
            let Some(&action) = actions.get(index) else { break };
            if matches!(action, Action::Apply { .. } | Action::Try { .. }) {
                actions.swap(kept, index);
                kept += 1;
            } else {
                self.carry_out(action, note)?;
            }
        }
        actions.truncate(kept);
        if let (Some(note), Input::Rejected { key, .. } | Input::Failed { key, .. }) = (note, input) {
            self.put(keys::lane(Kind::Note, self.at.partition, key), note.encode());
        }
        Ok(())
    }

    fn carry_out(&mut self, action: Action, note: Option<&Note>) -> Result<(), Fault> {
        let partition = self.at.partition;
        match action {
            Action::Apply { .. } | Action::Try { .. } => {}
            Action::Queue { key, offset } => self.enqueue(key, offset),
            Action::Unqueue { key, offset } => {
                self.remove(keys::queue(partition, key, offset));
                self.unqueued.insert((key, offset));
            }
            Action::Parked { key, offset, attempts } => self.tell_parked(key, offset, attempts, note)?,
            Action::Released { offset, .. } => self.tell_released(offset, How::Applied)?,
            Action::Dropped { offset, .. } => {
                self.remove(keys::number(Kind::Told, partition, offset.0));
            }
            Action::Sweep { .. } => {
                // One under way starts again: what it has passed may have become void.
                (self.cursor.sweeping, self.sweep) = (true, Sweep::default());
            }
            Action::Save { key, lane } => {
                let (kind, other) = match lane.phase {
                    Phase::Parked => (Kind::Parked, Kind::Retrying),
                    Phase::Retrying { .. } => (Kind::Retrying, Kind::Parked),
                };
                self.put(keys::lane(kind, partition, key), encode_lane(&lane));
                self.remove(keys::lane(other, partition, key));
            }
            Action::Remove { key } => {
                for kind in [Kind::Retrying, Kind::Parked, Kind::Note] {
                    self.remove(keys::lane(kind, partition, key));
                }
            }
        }
        Ok(())
    }

    /// Puts an event into its lane's queue.
    pub(super) fn enqueue(&mut self, key: LaneKey, offset: Offset) {
        self.put(keys::queue(self.at.partition, key, offset), bytes::Bytes::new());
    }

    fn fact(&self, offset: Offset, episode: u32) -> Fact {
        Fact::new(&self.view, &self.stream, self.at, offset, episode)
    }

    fn tell_parked(
        &mut self,
        key: LaneKey,
        offset: Offset,
        attempts: u32,
        note: Option<&Note>,
    ) -> Result<(), Fault> {
        let place = keys::number(Kind::Told, self.at.partition, offset.0);
        let said = self.deps.index.said(self.view_key, self.at, offset)?;
        if let Some(Said { what: What::Dropped, episode }) = said {
            // A person has decided already, on what another pipeline has told: that is about to be carried out.
            self.put(place, Told { key, episode }.encode());
            return Ok(());
        }
        let episode = self.deps.index.episode(self.view_key, said)?;
        let mut fact = Fact { attempts: Some(attempts), ..self.fact(offset, episode) };
        if let Some(note) = note {
            fact.why = Some(note.why.clone());
            fact.event_type = Some(note.ty.clone()).filter(|ty| !ty.is_empty());
            fact.event_subject = note.subject.clone();
            fact.event_id = Some(note.id.clone()).filter(|id| !id.is_empty());
        }
        self.put(place, Told { key, episode }.encode());
        self.post(Letter { what: What::Parked, fact });
        Ok(())
    }

    /// Ends the episode of an event that was parked.
    pub(super) fn tell_released(&mut self, offset: Offset, how: How) -> Result<(), Fault> {
        let place = keys::number(Kind::Told, self.at.partition, offset.0);
        let told = self.deps.store.get(self.keyspace, &place)?;
        if let Some(told) = told.and_then(|bytes| Told::decode(&bytes)) {
            let fact = Fact { how: Some(how), ..self.fact(offset, told.episode) };
            self.post(Letter { what: What::Released, fact });
        }
        self.remove(place);
        Ok(())
    }

    /// An event was dropped: leaves a sign for the decision, if that is still to have its turn.
    pub(super) fn note_dropped(&mut self, key: LaneKey, offset: Offset) -> Result<(), Fault> {
        let dropped = self.deps.index.dropped_at(self.view_key, self.at, offset)?;
        if dropped.is_some_and(|position| position >= self.cursor.decided) {
            let said = self.deps.index.said(self.view_key, self.at, offset)?;
            let told = Told { key, episode: said.map_or(0, |said| said.episode) };
            self.put(keys::number(Kind::Told, self.at.partition, offset.0), told.encode());
        }
        Ok(())
    }

    /// A person has dropped an event, at this offset of `$parked`, that is processed already and was not waiting: it was
    /// parked by another pipeline of the view, where it failed. Where the view is read it counts, so that a replay makes the same
    /// of it; what is built only is built anew without it.
    pub(super) fn tell_too_late(&mut self, offset: Offset, position: u64) -> Result<(), Fault> {
        let place = keys::number(Kind::Told, self.at.partition, offset.0);
        if self.deps.store.get(self.keyspace, &place)?.is_some() {
            // It was dropped before the decision had its turn.
            self.remove(place);
            return Ok(());
        }
        let index = &self.deps.index;
        let is_this_drop = index.dropped_at(self.view_key, self.at, offset)? == Some(position);
        if !is_this_drop || offset < self.gate.cleared() {
            return Ok(());
        }
        if self.is_built() {
            self.progress.set_stale();
            return Ok(());
        }
        let said = index.said(self.view_key, self.at, offset)?;
        let episode = said.map_or(0, |said| said.episode);
        let fact = Fact { how: Some(How::Applied), ..self.fact(offset, episode) };
        self.post(Letter { what: What::Released, fact });
        Ok(())
    }

    /// Whether this generation is built, and not read yet.
    pub(super) fn is_built(&self) -> bool {
        self.deps.outboxes.is_built(self.keyspace)
    }

    fn post(&mut self, letter: Letter) {
        // Texts and numbers always have a JSON form.
        let text = serde_json::to_vec(&letter).unwrap_or_default();
        self.put(keys::number(Kind::Outbox, self.at.partition, self.cursor.outbox), text.into());
        self.cursor.outbox += 1;
        self.has_letters = true;
    }

    pub(super) fn put(&mut self, key: bytes::Bytes, value: bytes::Bytes) {
        self.batch_bytes += key.len() + value.len() + CHANGE_BYTES;
        self.batch.put(self.keyspace, key, value);
    }

    pub(super) fn remove(&mut self, key: bytes::Bytes) {
        self.batch_bytes += key.len() + CHANGE_BYTES;
        self.batch.remove(self.keyspace, key);
    }

    /// What the store says of a lane that the gate does not know.
    pub(super) fn found(&self, key: LaneKey) -> Result<Option<Lane>, Fault> {
        if self.gate.knows(key) {
            return Ok(None);
        }
        let place = keys::lane(Kind::Parked, self.at.partition, key);
        match self.deps.store.get(self.keyspace, &place)? {
            Some(bytes) => decode_lane(&bytes).map(Some).ok_or(Fault::LaterVersion),
            None => Ok(None),
        }
    }

    /// An event could not be processed at its first attempt.
    pub(super) fn reject(&mut self, key: LaneKey, event: &StoredRef<'_>, why: &str) -> Result<(), Fault> {
        let note = Note::new(event, why);
        self.progress.note_rejected(event.offset, &note.why);
        self.step(Input::Rejected { key, offset: event.offset }, Some(&note), &mut Vec::new())
    }

    /// How long changes may wait for their commit while more events come.
    fn age_max(&self) -> Duration {
        age_max(Duration::from_millis(self.deps.options.get().commit_ms_max), self.commit_took)
    }

    /// Commits everything since the last commit in one step.
    pub(super) fn commit(&mut self, processor: &mut dyn Processor) -> Result<(), Fault> {
        if self.dirty_since.is_none() {
            return Ok(());
        }
        let start = self.deps.env.clock.monotonic();
        self.step(Input::Commit, None, &mut Vec::new())?;
        self.cursor.counts = self.gate.counts();
        self.cursor.cleared = self.gate.cleared();
        let mut batch = std::mem::take(&mut self.batch);
        processor.flush(&mut batch)?;
        batch.put(self.keyspace, keys::cursor(self.at.partition), self.cursor.encode());
        self.deps.store.commit(batch)?;
        self.gate.step(self.now_ms(), Input::Committed, &mut Vec::new());
        self.batch_bytes = 0;
        self.unqueued.clear();
        self.dirty_since = None;
        self.last_commit = self.deps.env.clock.monotonic();
        self.commit_took = self.last_commit.saturating_sub(start);
        self.commits += 1;
        let events = std::mem::take(&mut self.events);
        self.progress.committed(&self.cursor, self.gate.is_walled(), events, self.last_commit);
        if std::mem::take(&mut self.has_letters) {
            self.deps.outboxes.add(self.keyspace, self.at);
        }
        Ok(())
    }
}

/// The longer a commit took, the longer the next one is put off: what happens to one group between two commits is stored
/// once, so that fewer commits are less work.
pub(super) fn age_max(shortest: Duration, commit_took: Duration) -> Duration {
    commit_took.saturating_mul(COMMIT_PAUSE).clamp(shortest, shortest.saturating_mul(COMMIT_PAUSE_MAX))
}

impl Open {
    /// Commits when a bound is reached.
    pub(super) fn commit_if_full(&mut self) -> Result<(), Fault> {
        let Some(since) = self.work.dirty_since else { return Ok(()) };
        let options = self.work.deps.options.get();
        let age = self.work.deps.env.clock.monotonic().saturating_sub(since);
        let bytes = self.work.batch_bytes + self.processor.pending_bytes();
        if bytes >= options.pending_bytes_max || age >= self.work.age_max() {
            self.work.commit(self.processor.as_mut())?;
        }
        Ok(())
    }

    /// Commits when there is nothing else to do; returns when it must be done at the latest if not now.
    pub(super) fn commit_if_due(&mut self, idle: bool) -> Result<Option<Duration>, Fault> {
        self.commit_if_full()?;
        let Some(since) = self.work.dirty_since else { return Ok(None) };
        let options = self.work.deps.options.get();
        let quiet = self.work.last_commit + Duration::from_millis(options.commit_ms_min);
        if idle && (self.work.commits == 0 || self.work.deps.env.clock.monotonic() >= quiet) {
            self.work.commit(self.processor.as_mut())?;
            return Ok(None);
        }
        let latest = since + self.work.age_max();
        Ok(Some(if idle { quiet.min(latest) } else { latest }))
    }
}
