//! Trying blocked subjects again, and working off their queues.

use super::apply::lost;
use super::fetch::Fetcher;
use super::{Fault, Open};
use crate::record::Note;
use crate::{ApplyError, keys};
use std::time::Duration;
use tw_order::gate::{Action, Input, LaneKey};
use tw_state::Snapshot;
use tw_types::{Offset, StoredRef};

/// How many lanes are asked for at once.
const LANES: usize = 32;
/// How many events of a lane are worked off before others have their turn.
const QUEUE: usize = 256;

impl Open {
    /// Tries the lanes that are due, until `deadline` if they are many; says whether there may be more.
    pub(super) fn try_lanes(&mut self, deadline: Duration) -> Result<bool, Fault> {
        let mut fetcher = None;
        loop {
            let now_ms = self.work.now_ms();
            if self.work.gate.due_ms().is_none_or(|due_ms| due_ms > now_ms) {
                return Ok(false);
            }
            // From here on the queues in the store are complete.
            self.work.commit(self.processor.as_mut())?;
            let mut tries = Vec::new();
            self.work.gate.step(now_ms, Input::Tick { limit: LANES }, &mut tries);
            // Those that were blocked together are in the same blocks. A wall is behind all others, and stays there.
            tries.sort_by_key(|action| if let Action::Try { head, .. } = action { head.0 } else { 0 });
            let work = &self.work;
            let fetcher = fetcher.get_or_insert_with(|| Fetcher::new(work.deps.log.clone(), work.at));
            let snapshot = self.work.deps.store.snapshot();
            for action in tries {
                if let Action::Try { key, head } = action {
                    self.try_lane(key, head, snapshot.as_ref(), fetcher)?;
                }
            }
            self.commit_if_full()?;
            if self.work.deps.env.clock.monotonic() >= deadline {
                return Ok(true);
            }
        }
    }

    /// Works off the first events of a lane's queue, until one of them cannot be processed.
    fn try_lane(
        &mut self,
        key: LaneKey,
        head: Offset,
        snapshot: &dyn Snapshot,
        fetcher: &mut Fetcher,
    ) -> Result<(), Fault> {
        let partition = self.work.at.partition;
        let mut queue: Vec<Offset> = Vec::new();
        let range = keys::queue_from(partition, key, head);
        for entry in snapshot.range(self.work.keyspace, range).take(QUEUE + 1) {
            queue.extend(keys::last_number(&entry?.0).map(Offset));
        }
        if queue.first() != Some(&head) {
            queue.insert(0, head);
        }
        let mut wanted = queue.get(..queue.len().min(QUEUE)).unwrap_or_default();
        if let Some(dropped) = self.first_dropped(wanted)? {
            // The decision may not have had its turn yet, but it counts from when it was made.
            wanted = wanted.get(..dropped).unwrap_or_default();
            if wanted.is_empty() {
                let next = queue.get(1).copied();
                let drop = Input::Drop { key, offset: head, found: None, queued: true, next };
                self.work.step(drop, None, &mut Vec::new())?;
                return self.work.note_dropped(key, head);
            }
        }
        let fetched = fetcher.fetch(wanted)?;
        if fetched.lost {
            let failed = Input::Failed { key, offset: head, lost: true };
            return self.work.step(failed, Some(&lost(head)), &mut Vec::new());
        }
        let wanted = wanted.get(..fetched.looked_for).unwrap_or_default();
        let events = fetched.events(wanted)?;
        self.apply_queue(key, wanted, &queue, &events)
    }

    /// The index of the first of these events that a person has dropped.
    fn first_dropped(&self, queue: &[Offset]) -> Result<Option<usize>, Fault> {
        let (Some(mut from), Some(last)) = (queue.first().copied(), queue.last().copied()) else {
            return Ok(None);
        };
        let work = &self.work;
        while let Some(dropped) = work.deps.index.next_drop(work.view_key, work.at, from, u64::MAX)? {
            if dropped > last {
                break;
            }
            if let Ok(index) = queue.binary_search(&dropped) {
                return Ok(Some(index));
            }
            from = dropped.next();
        }
        Ok(None)
    }

    /// Applies the events of a lane that were found, in order, and tells the gate.
    fn apply_queue(
        &mut self,
        key: LaneKey,
        wanted: &[Offset],
        queue: &[Offset],
        events: &[StoredRef<'_>],
    ) -> Result<(), Fault> {
        let (mut start, mut len) = (0, events.len());
        let mut told = 0;
        while let Some(slice) = events.get(start..).filter(|rest| !rest.is_empty()) {
            let slice = slice.get(..len.max(1)).unwrap_or(slice);
            match (self.processor.apply(slice), slice) {
                (Ok(()), _) => {
                    start += slice.len();
                    len = (len * 2).clamp(1, QUEUE);
                    let last = slice.last().map_or(Offset::ZERO, |event| event.offset);
                    told = self.tell_applied(key, queue, told, last)?;
                }
                (Err(ApplyError::State(error)), _) => return Err(error.into()),
                (Err(ApplyError::Rejected(why)), [event]) => {
                    let offset = event.offset;
                    if let Some(before) = offset.0.checked_sub(1) {
                        self.tell_applied(key, queue, told, Offset(before))?;
                    }
                    let note = Note::new(event, &why);
                    self.work.progress.note_rejected(offset, &note.why);
                    let failed = Input::Failed { key, offset, lost: false };
                    return self.work.step(failed, Some(&note), &mut Vec::new());
                }
                (Err(ApplyError::Rejected(_)), _) => len = slice.len() / 2,
            }
        }
        // What was not found has been removed by compaction: a later event of the subject stands for it.
        let last = wanted.last().copied().unwrap_or_default();
        self.tell_applied(key, queue, told, last)?;
        if key == LaneKey::WALL {
            self.work.step(Input::Cleared { at: last }, None, &mut Vec::new())?;
        }
        Ok(())
    }

    /// Tells the gate that the queue's events up to `last`, inclusive, are done; `told` of them it knows already.
    fn tell_applied(
        &mut self,
        key: LaneKey,
        queue: &[Offset],
        mut told: usize,
        last: Offset,
    ) -> Result<usize, Fault> {
        while let Some(offset) = queue.get(told).copied().filter(|offset| *offset <= last) {
            told += 1;
            let next = queue.get(told).copied();
            self.work.step(Input::Applied { key, offset, next }, None, &mut Vec::new())?;
        }
        Ok(told)
    }
}
