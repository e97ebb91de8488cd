//! Carrying out what people decided about waiting events, and removing what has become void.

use super::fetch::Fetcher;
use super::{Fault, Open};
use crate::keys::{self, Kind};
use crate::parked::{Decision, How};
use crate::record::{Note, Told, decode_lane};
use bytes::Bytes;
use tw_order::gate::{Input, LaneKey};
use tw_state::Range;
use tw_types::Offset;

/// Decisions carried out, or entries removed, in one turn.
const CHUNK: usize = 1_000;

/// How far the removal of void entries has come.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    kind: usize,
    after: Option<Bytes>,
}

const SWEPT: [Kind; 5] = [Kind::Told, Kind::Queue, Kind::Note, Kind::Retrying, Kind::Parked];

impl Open {
    /// Carries out the decisions that have come in; says whether there may be more.
    pub(super) fn decide(&mut self) -> Result<bool, Fault> {
        let latest = self.work.inbox.get();
        if latest <= self.work.cursor.decided {
            return Ok(false);
        }
        let limit = self.work.gate.room().min(CHUNK);
        if limit == 0 || self.work.progress.is_stale() {
            return Ok(false);
        }
        // From here on the queues in the store are complete.
        self.work.commit(self.processor.as_mut())?;
        let work = &self.work;
        let decisions = work.deps.index.decisions(work.view_key, work.at, work.cursor.decided, limit)?;
        let more = decisions.len() == limit;
        let mut fetcher = Fetcher::new(work.deps.log.clone(), work.at);
        let mut all = true;
        for (position, decision) in decisions {
            all = match decision {
                Decision::Retry(offset) => self.retry(offset, &mut fetcher)?,
                Decision::Drop(offset) => self.drop_event(offset, position, &mut fetcher)?,
                Decision::Undrop(offset) => self.undrop(offset),
            };
            self.work.touch();
            if self.work.progress.is_stale() {
                // It stays undecided, so that a new process finds out, too.
                return Ok(false);
            }
            if !all {
                break;
            }
            self.work.cursor.decided = position + 1;
        }
        if all && !more {
            self.work.cursor.decided = self.work.cursor.decided.max(latest);
            self.work.touch();
        }
        // What is still to come and was dropped is passed over from here on.
        self.work.find_next_drop(self.work.cursor.position)?;
        Ok(more || !all)
    }

    fn retry(&mut self, offset: Offset, fetcher: &mut Fetcher) -> Result<bool, Fault> {
        if let Some(key) = self.lane_of(offset, fetcher)? {
            let found = self.work.found(key)?;
            self.work.step(Input::Retry { key, offset, found }, None, &mut Vec::new())?;
        }
        Ok(true)
    }

    /// False when it is not done yet.
    fn drop_event(&mut self, offset: Offset, position: u64, fetcher: &mut Fetcher) -> Result<bool, Fault> {
        if offset >= self.work.cursor.position {
            return Ok(true);
        }
        let Some(key) = self.lane_of(offset, fetcher)? else {
            self.work.tell_too_late(offset, position)?;
            return Ok(true);
        };
        let start = self.work.deps.log.bounds(self.work.at)?.start;
        if offset < start {
            // Nothing of what was removed from the log together with it can ever be processed.
            let behind = self.queue(key, offset.next(), CHUNK + 1)?;
            let lost: Vec<_> = behind.into_iter().filter(|behind| *behind < start).take(CHUNK).collect();
            for behind in lost.iter().rev() {
                self.drop_one(key, *behind, None)?;
            }
            if lost.len() == CHUNK {
                return Ok(false);
            }
        }
        let next = self.queue(key, offset.next(), 1)?.first().copied();
        if !self.drop_one(key, offset, next)? {
            self.work.tell_too_late(offset, position)?;
        }
        Ok(true)
    }

    /// What is built and has passed over the event has to be built anew; what is read has said so itself.
    fn undrop(&self, offset: Offset) -> bool {
        if offset < self.work.cursor.position && self.work.is_built() {
            self.work.progress.set_stale();
        }
        true
    }

    /// Whether it was waiting.
    fn drop_one(&mut self, key: LaneKey, offset: Offset, next: Option<Offset>) -> Result<bool, Fault> {
        let found = self.work.found(key)?;
        let place = keys::queue(self.work.at.partition, key, offset);
        let queued = !self.work.unqueued.contains(&(key, offset))
            && self.work.deps.store.get(self.work.keyspace, &place)?.is_some();
        self.work.step(Input::Drop { key, offset, found, queued, next }, None, &mut Vec::new())?;
        Ok(queued)
    }

    /// The first `limit` events that wait in a lane's queue, from `from` on.
    fn queue(&self, key: LaneKey, from: Offset, limit: usize) -> Result<Vec<Offset>, Fault> {
        let snapshot = self.work.deps.store.snapshot();
        let mut queue = Vec::new();
        for entry in snapshot.range(self.work.keyspace, keys::queue_from(self.work.at.partition, key, from)) {
            let offset = keys::last_number(&entry?.0).map(Offset);
            queue.extend(offset.filter(|offset| !self.work.unqueued.contains(&(key, *offset))));
            if queue.len() == limit {
                break;
            }
        }
        Ok(queue)
    }

    /// The lane in which an event waits, as far as one can tell. None when it is still to come, or does not wait, or is gone.
    fn lane_of(&self, offset: Offset, fetcher: &mut Fetcher) -> Result<Option<LaneKey>, Fault> {
        if offset >= self.work.cursor.position {
            return Ok(None);
        }
        let place = keys::number(Kind::Told, self.work.at.partition, offset.0);
        if let Some(told) = self.work.deps.store.get(self.work.keyspace, &place)? {
            return Told::decode(&told).map(|told| Some(told.key)).ok_or(Fault::LaterVersion);
        }
        if self.work.gate.is_open() {
            return Ok(None);
        }
        let fetched = fetcher.fetch(&[offset])?;
        let events = fetched.events(&[offset])?;
        Ok(events.first().map(|event| {
            let wall = self.processor.clears_all(event);
            if wall { LaneKey::WALL } else { self.lane_key(event) }
        }))
    }

    /// Removes void entries for a while; says whether there may be more.
    pub(super) fn sweep(&mut self) -> Result<bool, Fault> {
        if !self.work.cursor.sweeping {
            return Ok(false);
        }
        // What is swept must not hit what was written since.
        self.work.commit(self.processor.as_mut())?;
        self.work.touch();
        let Some(kind) = SWEPT.get(self.work.sweep.kind).copied() else {
            self.work.cursor.sweeping = false;
            self.work.sweep = Sweep::default();
            return Ok(false);
        };
        let mut range = Range::prefix(&keys::prefix(kind, self.work.at.partition));
        if let Some(after) = &self.work.sweep.after {
            range = range.after(after);
        }
        let snapshot = self.work.deps.store.snapshot();
        let before = self.work.gate.cleared();
        let mut seen = 0;
        for entry in snapshot.range(self.work.keyspace, range).take(CHUNK) {
            let (key, value) = entry?;
            seen += 1;
            let offset = match kind {
                Kind::Retrying | Kind::Parked => decode_lane(&value).map(|lane| lane.head),
                Kind::Note => Note::decode(&value).map(|note| Offset(note.offset)),
                _ => keys::last_number(&key).map(Offset),
            };
            if offset.is_some_and(|offset| offset < before) {
                match offset.filter(|_| kind == Kind::Told) {
                    Some(offset) => self.work.tell_released(offset, How::Cleared)?,
                    None => self.work.remove(key.clone()),
                }
            }
            self.work.sweep.after = Some(key);
        }
        if seen < CHUNK {
            self.work.sweep = Sweep { kind: self.work.sweep.kind + 1, after: None };
        }
        Ok(true)
    }
}
