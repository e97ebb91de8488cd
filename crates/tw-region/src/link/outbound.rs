//! The sending end of one link: what to read from the log, what to send next, and what may be promised.
//!
//! One value for each connection, kept by the shell that reads the log and writes the connection; nothing of it outlives that. It sends
//! this region's own events only, as they are stored; or those of one other region, to give them back or to relay them.
//!
//! Blocks of all partitions are sent in the order of their first timestamps, not in turns: the receiver may append none before
//! everything earlier of this region has come (`docs/adr/0017-what-a-region-has-seen.md`). Taking turns would fill its window
//! with what has to wait for what the full window keeps away.
//!
//! What the shell has to do:
//!
//! - It answers each [`Action::Look`] with the first own block in its log that has an event after the named one, and what the log
//!   says of that event itself.
//! - It tells with [`Input::Grew`] what was accepted after that is visible in its log, and before it makes a promise with [`Input::Beat`]
//!   whose timestamp is not before it.
//! - It sends what it is told to in this order. If a block is gone by then, it closes the connection; the receiver pulls anew.

mod cursor;
mod history;
mod refuse;
#[cfg(test)]
mod tests;

pub use history::SeenHistory;

use super::handshake::{Agreed, LocalStream};
use super::wire::{ENTRIES_MAX, Epochs, Have, Heartbeat, Passed, Pull, Pulled, Refuse, Relayed};
use cursor::Cursor;
use refuse::{Sends, check, not_agreed};
use std::collections::{BTreeMap, BTreeSet};
use tw_merge::Seen;
use tw_merge::received::Mark;
use tw_types::{Epoch, Hlc, Origin, RegionId, Sequence, StreamPartition};

/// This region's epochs in a partition, in rising order, each with its last event; the last one is the current epoch.
pub type Ends = Vec<(Epoch, Mark)>;

/// An own block in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// By what the shell finds it again, as its base offset.
    pub token: u64,
    /// Where its first sequence was accepted.
    pub first: Origin,
    /// How many sequences it covers.
    pub count: u64,
    /// The timestamp of its first sequence.
    pub first_hlc: Hlc,
    /// Its length as stored.
    pub bytes: u64,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// That frame has arrived.
    Pull(Pull),
    /// That frame has arrived, with so many bytes.
    Credit(u64),
    /// That frame has arrived.
    Have(Have),
    /// The answer to a look.
    Found {
        /// The partition.
        at: StreamPartition,
        /// [`Action::Look`]'s number.
        look: u64,
        /// The first own block that has an event after the named one; None: there is none now.
        found: Option<Found>,
        /// The timestamp of the named event itself, if the log still has it.
        named_hlc: Option<Hlc>,
    },
    /// This region has accepted something.
    Grew {
        /// The partition.
        at: StreamPartition,
        /// Its ends now.
        ends: Ends,
        /// The block that was accepted, if the shell has it at hand: saves a look, and the promises that wait for it. Of several blocks each is
        /// told on its own, in order.
        block: Option<Found>,
    },
    /// Of who relays a region, before the next heartbeat: how its link with that is, and of each partition of which that is news the epochs, as the region
    /// itself has said them.
    Upstream {
        /// The link.
        relayed: Relayed,
        /// The epochs, in rising order.
        announced: Vec<(StreamPartition, Vec<(Epoch, Sequence)>)>,
    },
    /// It is time for a heartbeat.
    Beat {
        /// The wall clock, in milliseconds since the Unix epoch.
        now_ms: u64,
        /// A timestamp that was taken: everything that was accepted up to it was told of, and whatever is accepted from now on is later.
        until: Hlc,
        /// What is seen now, see [`super::inbound::Inbound::seen`].
        seen: Seen,
    },
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Find the first own block that has an event after this one, and answer.
    Look {
        /// The partition.
        at: StreamPartition,
        /// Its number, for the answer.
        look: u64,
        /// The epoch of the event; blocks of later epochs come after it.
        epoch: Epoch,
        /// Its sequence; 0: before the first one.
        after: Sequence,
    },
    /// Send a block.
    Send {
        /// The partition, as it is numbered here.
        at: StreamPartition,
        /// For [`super::wire::Block::stream`].
        stream: u32,
        /// Which block.
        found: Found,
        /// For [`super::wire::Block::next_hlc`].
        next_hlc: Hlc,
        /// For [`super::wire::Block::seen`].
        seen: Option<Seen>,
    },
    /// Send that frame.
    Passed(Passed),
    /// Send that frame.
    Heartbeat(Heartbeat),
    /// Send that frame and close the connection.
    Refuse(Refuse),
}

/// The sending end of one connection.
#[derive(Debug)]
pub struct Outbound {
    me: RegionId,
    epoch: Epoch,
    /// Both ways: by name what a pull may ask for, and the index in this side's hello.
    streams: BTreeMap<String, (u32, tw_types::StreamId, u32)>,
    ends: BTreeMap<StreamPartition, Ends>,
    cursors: BTreeMap<StreamPartition, Cursor>,
    /// The next block of each partition, by its first timestamp.
    fronts: BTreeSet<(Hlc, StreamPartition)>,
    /// Partitions of which it is not known whether there is a next block.
    unknown: BTreeSet<StreamPartition>,
    /// What the receiver has not been told of.
    untold: BTreeSet<StreamPartition>,
    credit_bytes: i128,
    seen: Seen,
    looks: u64,
    have: Option<Have>,
    is_refused: bool,
    sends: Sends,
    /// Nothing from this time on is sent or promised.
    below: Option<Hlc>,
    /// What the region that is relayed has said itself, which may be more than is here.
    announced: BTreeMap<StreamPartition, Vec<(Epoch, Sequence)>>,
    relayed: Option<Relayed>,
}

impl Outbound {
    /// A connection of region `me` in its `epoch`. `streams` are those of this side's hello, in the same order; `agreed` is what this side made
    /// of the other one's. `ends`: of each partition in which this region has accepted something.
    pub fn start(
        me: RegionId,
        epoch: Epoch,
        streams: &[LocalStream],
        agreed: &Agreed,
        ends: BTreeMap<StreamPartition, Ends>,
    ) -> Self {
        let is_agreed = |stream: &LocalStream| agreed.streams.values().any(|one| one.id == stream.id);
        let streams = (0u32..).zip(streams).filter(|(_, stream)| is_agreed(stream));
        Self {
            me,
            epoch,
            streams: streams
                .map(|(index, one)| (one.name.clone(), (index, one.id, one.partitions)))
                .collect(),
            ends,
            cursors: BTreeMap::new(),
            fronts: BTreeSet::new(),
            unknown: BTreeSet::new(),
            untold: BTreeSet::new(),
            credit_bytes: 0,
            seen: Seen::new(),
            looks: 0,
            have: None,
            is_refused: false,
            sends: Sends::Own,
            below: None,
            announced: BTreeMap::new(),
            relayed: None,
        }
    }

    /// The same for who stands in for `me`: what this region has received of that is sent in its place, from `below` on nothing.
    pub fn gives_back(self, below: Option<Hlc>) -> Self {
        Self { sends: Sends::GivesBack, below, ..self }
    }

    /// The same for who relays `me`: what this region receives of that is sent on.
    pub fn relays(self) -> Self {
        Self { sends: Sends::Relays, ..self }
    }

    /// Takes one input and says what to do about it, in this order. After a refusal there is nothing more to do.
    pub fn step(&mut self, input: Input, history: &SeenHistory, actions: &mut Vec<Action>) {
        if self.is_refused {
            return;
        }
        let result = match input {
            Input::Pull(pull) => self.pull(pull.entries, actions),
            Input::Credit(bytes) => {
                self.credit_bytes = self.credit_bytes.saturating_add(bytes.into());
                Ok(())
            }
            Input::Have(have) => {
                self.have = Some(have);
                Ok(())
            }
            Input::Found { at, look, found, named_hlc } => self.found(at, look, found, named_hlc, actions),
            Input::Grew { at, ends, block } => {
                self.grew(at, ends, block, actions);
                Ok(())
            }
            Input::Upstream { relayed, announced } => {
                self.relayed = Some(relayed);
                self.untold.extend(announced.iter().map(|(at, _)| *at));
                self.announced.extend(announced);
                Ok(())
            }
            Input::Beat { now_ms, until, seen } => {
                self.send(history, actions);
                self.beat(now_ms, until, &seen, actions);
                Ok(())
            }
        };
        match result {
            Ok(()) => self.send(history, actions),
            Err(refuse) => {
                self.is_refused = true;
                actions.push(Action::Refuse(refuse));
            }
        }
    }

    /// What the receiver said last that it has.
    pub fn have(&self) -> Option<&Have> {
        self.have.as_ref()
    }

    /// How many bytes may be sent; less than one byte stops.
    pub fn credit_bytes(&self) -> i128 {
        self.credit_bytes
    }

    fn pull(&mut self, entries: Vec<Pulled>, actions: &mut Vec<Action>) -> Result<(), Refuse> {
        let mut pulled: BTreeMap<StreamPartition, (u32, BTreeMap<Epoch, Mark>)> = BTreeMap::new();
        for entry in entries {
            let known = self.streams.get(&entry.stream).filter(|(.., parts)| entry.partition.0 < *parts);
            let Some((index, id, _)) = known.filter(|_| entry.region == self.me) else {
                return Err(not_agreed(&entry));
            };
            let at = StreamPartition::new(*id, entry.partition);
            let (_, marks) = pulled.entry(at).or_insert_with(|| (*index, BTreeMap::new()));
            marks.insert(entry.epoch, Mark { sequence: entry.after, hlc: entry.after_hlc });
        }
        for (at, (stream, marks)) in pulled {
            let ends = self.ends.entry(at).or_insert_with(|| vec![(self.epoch, Mark::default())]);
            for (epoch, held) in &marks {
                let end = ends.iter().find(|(one, _)| one == epoch).map(|(_, end)| *end).unwrap_or_default();
                check(*epoch, *held, end, None, self.sends)?;
            }
            let cursor = Cursor::new(stream, ends, &marks);
            self.forget(at);
            self.cursors.insert(at, cursor);
            self.untold.insert(at);
            self.look(at, actions);
        }
        self.announce(0, Hlc::ZERO, &Seen::new(), actions);
        Ok(())
    }

    fn forget(&mut self, at: StreamPartition) {
        if let Some(front) = self.cursors.remove(&at).and_then(|cursor| cursor.front()) {
            self.fronts.remove(&(front.first_hlc, at));
        }
        self.unknown.remove(&at);
    }

    fn found(
        &mut self,
        at: StreamPartition,
        look: u64,
        found: Option<Found>,
        named_hlc: Option<Hlc>,
        actions: &mut Vec<Action>,
    ) -> Result<(), Refuse> {
        let Some(cursor) = self.cursors.get_mut(&at).filter(|cursor| cursor.looking == Some(look)) else {
            return Ok(());
        };
        cursor.looking = None;
        if let Some((epoch, held)) = cursor.pulled.take() {
            let ends = self.ends.get(&at);
            let end = ends.and_then(|ends| ends.iter().find(|(one, _)| *one == epoch));
            check(epoch, held, end.map(|(_, end)| *end).unwrap_or_default(), named_hlc, self.sends)?;
        }
        let is_first = cursor.found.is_empty();
        match found {
            Some(found) => {
                cursor.found.push_back(found);
                if is_first {
                    self.fronts.insert((found.first_hlc, at));
                }
            }
            None => cursor.is_at_end = !std::mem::take(&mut cursor.has_grown),
        }
        self.look(at, actions);
        Ok(())
    }

    fn grew(&mut self, at: StreamPartition, ends: Ends, block: Option<Found>, actions: &mut Vec<Action>) {
        let end = ends.last().map(|(epoch, end)| (*epoch, end.sequence));
        self.ends.insert(at, ends);
        let Some(cursor) = self.cursors.get_mut(&at) else { return };
        self.untold.insert(at);
        match block.filter(|block| cursor.takes(block)) {
            Some(block) => {
                if cursor.found.is_empty() {
                    self.fronts.insert((block.first_hlc, at));
                }
                cursor.found.push_back(block);
                cursor.is_at_end = end == Some(cursor.end_of_found());
            }
            // It grew by events of others: to look through those would cost more than it costs to take them.
            None if end == Some(cursor.end_of_found()) => {}
            None => {
                cursor.is_at_end = false;
                cursor.has_grown = cursor.looking.is_some();
            }
        }
        self.look(at, actions);
    }

    /// Looks one block ahead of the one that is sent next.
    fn look(&mut self, at: StreamPartition, actions: &mut Vec<Action>) {
        let Some(cursor) = self.cursors.get_mut(&at) else { return };
        if cursor.needs_look() {
            self.looks += 1;
            cursor.looking = Some(self.looks);
            let (epoch, after) = cursor.end_of_found();
            actions.push(Action::Look { at, look: self.looks, epoch, after });
        }
        if cursor.found.is_empty() && !cursor.is_at_end {
            self.unknown.insert(at);
        } else {
            self.unknown.remove(&at);
        }
    }

    /// Sends what may be sent: always the block with the first timestamp of all.
    fn send(&mut self, history: &SeenHistory, actions: &mut Vec<Action>) {
        while self.credit_bytes > 0 && self.unknown.is_empty() {
            let Some((first_hlc, at)) = self.fronts.first().copied() else { break };
            if !self.is_below(first_hlc) {
                break;
            }
            let Some(cursor) = self.cursors.get_mut(&at) else { break };
            // What follows is known first: a receiver may have to wait for it.
            if cursor.found.len() < 2 && !cursor.is_at_end {
                break;
            }
            let Some(found) = cursor.found.pop_front() else { break };
            let next_hlc = cursor.front().map_or(Hlc::ZERO, |next| next.first_hlc);
            let stream = cursor.stream;
            let ends = self.ends.get(&at).map_or(&[][..], Vec::as_slice);
            let before = Hlc::from_u64(first_hlc.as_u64().saturating_sub(1));
            let gone = cursor.pass_to(ends, found.first.epoch, found.first.sequence, Some(before));
            actions.extend(gone.into_iter().map(|gone| Action::Passed(gone.to_frame(stream, at, self.me))));
            cursor.sent = (found.first.epoch, Sequence(found.first.sequence.0 + (found.count.max(1) - 1)));
            self.untold.insert(at);
            self.fronts.remove(&(first_hlc, at));
            if next_hlc > Hlc::ZERO {
                self.fronts.insert((next_hlc, at));
            }
            // That there is nothing before what is not sent would be a promise.
            let next_hlc = if self.is_below(next_hlc) { next_hlc } else { Hlc::ZERO };
            self.credit_bytes -= i128::from(found.bytes);
            let seen = history.at(first_hlc);
            let seen = (seen != self.seen).then_some(seen);
            if let Some(seen) = &seen {
                self.seen = seen.clone();
            }
            actions.push(Action::Send { at, stream, found, next_hlc, seen });
            self.look(at, actions);
        }
    }

    fn beat(&mut self, now_ms: u64, until: Hlc, seen: &Seen, actions: &mut Vec<Action>) {
        // What was removed at the end of a partition is passed, since no block will come to say so.
        for (at, cursor) in self.cursors.iter_mut().filter(|(_, one)| one.is_at_end && one.found.is_empty()) {
            let ends = self.ends.get(at).map_or(&[][..], Vec::as_slice);
            let Some((epoch, end)) = ends.last() else { continue };
            let gone = cursor.pass_to(ends, *epoch, Sequence(end.sequence.0 + 1), None);
            actions.extend(
                gone.into_iter().map(|gone| Action::Passed(gone.to_frame(cursor.stream, *at, self.me))),
            );
            if cursor.sent != (*epoch, end.sequence) {
                cursor.sent = (*epoch, end.sequence);
                self.untold.insert(*at);
            }
        }
        let until = match self.fronts.first() {
            Some((first_hlc, _)) => until.min(Hlc::from_u64(first_hlc.as_u64().saturating_sub(1))),
            None => until,
        };
        let until =
            self.below.map_or(until, |below| until.min(Hlc::from_u64(below.as_u64().saturating_sub(1))));
        let until = if self.unknown.is_empty() { until } else { Hlc::ZERO };
        self.announce(now_ms, until, seen, actions);
    }

    fn is_below(&self, hlc: Hlc) -> bool {
        self.below.is_none_or(|below| hlc < below)
    }

    /// Tells of the epochs of which the receiver does not know yet; the promise comes with the last of them.
    fn announce(&mut self, now_ms: u64, until: Hlc, seen: &Seen, actions: &mut Vec<Action>) {
        let mut epochs = Vec::new();
        for at in std::mem::take(&mut self.untold) {
            let (Some(cursor), Some(ends)) = (self.cursors.get(&at), self.ends.get(&at)) else { continue };
            if epochs.len() == ENTRIES_MAX {
                let epochs = std::mem::take(&mut epochs);
                let seen = seen.clone();
                let (until, relayed) = (Hlc::ZERO, self.relayed);
                actions.push(Action::Heartbeat(Heartbeat { now_ms, until, seen, relayed, epochs }));
            }
            let mut of: BTreeMap<Epoch, Sequence> =
                ends.iter().map(|(epoch, end)| (*epoch, end.sequence)).collect();
            for (epoch, last) in self.announced.get(&at).into_iter().flatten() {
                let known = of.entry(*epoch).or_default();
                *known = (*last).max(*known);
            }
            let of = of.into_iter().collect();
            let (stream, partition, sent) = (cursor.stream, at.partition, cursor.sent);
            epochs.push(Epochs { stream, partition, epochs: of, sent });
        }
        let (seen, relayed) = (seen.clone(), self.relayed);
        actions.push(Action::Heartbeat(Heartbeat { now_ms, until, seen, relayed, epochs }));
    }
}
