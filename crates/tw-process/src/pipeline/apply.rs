//! Applying events: as many at once as possible, and those that cannot be processed one by one.

use super::{Fault, Open};
use crate::ApplyError;
use crate::record::Note;
use std::time::Duration;
use tw_order::gate::{Action, Input, LaneKey};
use tw_types::{Offset, StoredRef};

/// How many events are applied at once. More do not fit the processor's cache together with what they touch.
pub(super) const CHUNK: usize = 1_024;

/// Whether events after these may be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    /// An event that clears all could not be processed: everything after it waits.
    Walled,
}

/// Uses the room of an empty buffer for events that borrow from something else.
#[expect(clippy::unnecessary_filter_map, reason = "the lifetime of the items changes")]
pub(super) fn recycle<'b>(mut buffer: Vec<StoredRef<'_>>) -> Vec<StoredRef<'b>> {
    buffer.clear();
    // Nothing is left to be converted; collecting from an emptied vector keeps its room.
    buffer.into_iter().filter_map(|_| None).collect()
}

impl Open {
    /// Applies the events of the next blocks, until `deadline` if they are many, and none at or after `until`.
    pub(super) fn process(&mut self, deadline: Duration, until: Option<Offset>) -> Result<(), Fault> {
        let mut records = self.reader.take(CHUNK as u32)?;
        let mut events = recycle(std::mem::take(&mut self.spare));
        let (mut done, mut passed) = (0, None);
        let mut outcome = Ok(Flow::On);
        'blocks: for block in &records {
            let mut iter = match block.iter() {
                Ok(iter) => iter,
                Err(error) => {
                    outcome = self.flush_chunk(&mut events).and_then(|_| Err(error.into()));
                    break;
                }
            };
            let position = self.work.cursor.position;
            let skipped = iter.skip_before(position);
            let mut iter = skipped.err().map(Err).into_iter().chain(iter);
            loop {
                match iter.next() {
                    None => break,
                    Some(Ok(event)) if event.offset < position => continue,
                    Some(Ok(event)) if until.is_some_and(|until| event.offset >= until) => {
                        passed = until;
                        break 'blocks;
                    }
                    Some(Ok(event)) => events.push(event),
                    Some(Err(error)) => {
                        outcome = self.flush_chunk(&mut events).and_then(|_| Err(error.into()));
                        break 'blocks;
                    }
                }
                if events.len() >= CHUNK {
                    outcome = self.flush_chunk(&mut events);
                    let late = self.work.deps.env.clock.monotonic() >= deadline;
                    if late || !matches!(outcome, Ok(Flow::On)) {
                        break 'blocks;
                    }
                }
            }
            done += 1;
        }
        if matches!(outcome, Ok(Flow::On)) {
            outcome = self.flush_chunk(&mut events);
        }
        self.spare = recycle(events);
        if outcome? == Flow::Walled {
            self.reader.rest();
            return Ok(());
        }
        self.reader.put_back(records.drain(done..));
        if let Some(until) = passed {
            self.work.pass(until);
        }
        Ok(())
    }

    /// Applies the chunk, which is then empty.
    fn flush_chunk(&mut self, events: &mut Vec<StoredRef<'_>>) -> Result<Flow, Fault> {
        let Some((end, hlc)) = events.last().map(|event| (event.offset.next(), event.hlc)) else {
            return Ok(Flow::On);
        };
        self.work.touch();
        let count = events.len() as u64;
        self.skip_dropped(events, end)?;
        let mut width = CHUNK;
        let mut flow = Flow::On;
        let mut done = events.is_empty();
        if !done && self.work.gate.is_open() {
            match self.processor.apply(events) {
                Ok(()) => done = true,
                Err(ApplyError::Rejected(_)) => width = (events.len() / 2).max(1),
                Err(ApplyError::State(error)) => return Err(error.into()),
            }
        }
        if !done {
            flow = self.apply_carefully(events, width)?;
        }
        match flow {
            Flow::On => (self.work.cursor.position, self.work.cursor.hlc) = (end, hlc),
            // What comes behind is read again, so what was dropped of it is looked up again.
            Flow::Walled => self.work.find_next_drop(self.work.cursor.position)?,
        }
        self.work.events += count;
        events.clear();
        Ok(flow)
    }

    /// Takes the events out that a person has dropped.
    fn skip_dropped(&mut self, events: &mut Vec<StoredRef<'_>>, end: Offset) -> Result<(), Fault> {
        while let Some(dropped) = self.work.next_drop.filter(|dropped| *dropped < end) {
            events.retain(|event| event.offset != dropped);
            self.work.find_next_drop(dropped.next())?;
        }
        Ok(())
    }

    /// Applies events while some subjects are blocked, or may become so: `width` at once to begin with.
    fn apply_carefully<'a>(
        &mut self,
        events: &mut Vec<StoredRef<'a>>,
        mut width: usize,
    ) -> Result<Flow, Fault> {
        let mut window: Vec<StoredRef<'a>> = recycle(std::mem::take(&mut self.spare_window));
        let mut incoming = events.drain(..);
        let mut flow = Flow::On;
        loop {
            let mut wall = None;
            while window.len() < width {
                let Some(event) = incoming.next() else { break };
                if self.processor.clears_all(&event) {
                    wall = Some(event);
                    break;
                }
                if self.admit(&event)? {
                    window.push(event);
                }
            }
            if window.is_empty() && wall.is_none() {
                break;
            }
            let rejected = self.apply_window(&mut window)?;
            window.clear();
            // Where one event fails, others often do.
            width = if rejected { (width / 4).max(1) } else { (width * 2).min(CHUNK) };
            if let Some(event) = wall
                && self.apply_wall(&event)? == Flow::Walled
            {
                flow = Flow::Walled;
                break;
            }
        }
        drop(incoming);
        self.spare_window = recycle(window);
        Ok(flow)
    }

    /// The lane in which an event waits if it cannot be processed: that of its subject, or one of its own.
    pub(super) fn lane_key(&self, event: &StoredRef<'_>) -> LaneKey {
        let subject = event.event.subject.filter(|_| self.processor.keeps_order());
        LaneKey::of(subject, event.offset)
    }

    /// Whether the event may be applied; otherwise it joins its lane's queue.
    fn admit(&mut self, event: &StoredRef<'_>) -> Result<bool, Fault> {
        if self.work.gate.is_open() {
            return Ok(true);
        }
        let (key, offset) = (self.lane_key(event), event.offset);
        let found = self.work.found(key)?;
        let actions = &mut self.work.actions;
        actions.clear();
        // The answer does not depend on the time.
        self.work.gate.step(0, Input::Arrived { key, offset, found }, actions);
        if matches!(actions.as_slice(), [Action::Apply { .. }]) {
            return Ok(true);
        }
        self.work.enqueue(key, offset);
        Ok(false)
    }

    /// Applies admitted events; says whether one of them was rejected.
    fn apply_window(&mut self, window: &mut Vec<StoredRef<'_>>) -> Result<bool, Fault> {
        let (mut start, mut len) = (0, window.len());
        let mut rejected = false;
        while let Some(events) = window.get(start..).filter(|rest| !rest.is_empty()) {
            let events = events.get(..len).unwrap_or(events);
            match (self.processor.apply(events), events) {
                (Ok(()), _) => {
                    start += events.len();
                    len = (len * 2).min(CHUNK);
                }
                (Err(ApplyError::State(error)), _) => return Err(error.into()),
                (Err(ApplyError::Rejected(why)), [event]) => {
                    let key = self.lane_key(event);
                    self.work.reject(key, event, &why)?;
                    start += 1;
                    let subject = event.event.subject.filter(|_| self.processor.keeps_order());
                    self.hold_back(window, start, subject)?;
                    rejected = true;
                }
                (Err(ApplyError::Rejected(_)), _) => len = events.len() / 2,
            }
        }
        Ok(rejected)
    }

    /// Takes the events of a subject that has just been blocked out of the window from `start` on, into its queue.
    fn hold_back(
        &mut self,
        window: &mut Vec<StoredRef<'_>>,
        start: usize,
        subject: Option<&str>,
    ) -> Result<(), Fault> {
        if subject.is_none() {
            return Ok(());
        }
        let mut index = 0;
        let mut outcome = Ok(());
        window.retain(|event| {
            index += 1;
            if index <= start || event.event.subject != subject || outcome.is_err() {
                return true;
            }
            self.admit(event).unwrap_or_else(|fault| {
                outcome = Err(fault);
                true
            })
        });
        outcome
    }

    /// Applies an event that makes everything before it irrelevant.
    fn apply_wall(&mut self, event: &StoredRef<'_>) -> Result<Flow, Fault> {
        match self.processor.apply(std::slice::from_ref(event)) {
            Ok(()) => {
                if !self.work.gate.is_open() {
                    self.work.step(Input::Cleared { at: event.offset }, None, &mut Vec::new())?;
                }
                Ok(Flow::On)
            }
            Err(ApplyError::State(error)) => Err(error.into()),
            Err(ApplyError::Rejected(why)) => {
                self.work.reject(LaneKey::WALL, event, &why)?;
                (self.work.cursor.position, self.work.cursor.hlc) = (event.offset.next(), event.hlc);
                Ok(Flow::Walled)
            }
        }
    }
}

/// What is noted of an event that was removed from the log before it could be processed.
pub(super) fn lost(offset: Offset) -> Note {
    Note {
        offset: offset.0,
        why:
            "it was removed from the log before it could be processed: drop it, and what was removed with it"
                .to_owned(),
        ..Note::default()
    }
}
