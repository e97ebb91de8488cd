//! What is known of a partition: its bounds, where its records are in Kafka, and the blocks written last.

use crate::plan::Tip;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;
use tw_log::{Bounds, Result, Signal, fitting_blocks};
use tw_types::{Offset, StreamPartition};
use tw_wire::Block;
use tw_wire::kafka::{Place, Record};

/// A partition of a stream.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) at: StreamPartition,
    pub(crate) topic: Arc<str>,
    /// Whether the topic is one of others, which the stream only shows.
    pub(crate) is_foreign: bool,
    /// Its end.
    pub(crate) end: Arc<Signal>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    start: u64,
    tip: Tip,
    /// Whether the tip may be behind: then it is asked for before the next append.
    is_stale: bool,
    /// Whether the end is only this process's idea: nothing in the partition says it, because Kafka's retention has removed
    /// all there was.
    is_guess: bool,
    /// Whether Kafka has not shown all that is known for long.
    is_stuck: bool,
    /// The last event, if known.
    last: Option<Place>,
    /// Where some events are: offset → offset of the record. Never further on than the record really is, counted from
    /// there.
    records: BTreeMap<u64, u64>,
    /// The blocks written last, without gaps up to the end.
    tail: VecDeque<Block>,
    written: Option<Instant>,
}

/// What Kafka says of a partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loaded {
    /// The first record that Kafka has, or the end.
    pub(crate) first_record: u64,
    /// The offset after everything that is decided: where the next record goes.
    pub(crate) next_record: u64,
    /// The place of the first record, if there is one.
    pub(crate) first: Option<Place>,
    /// The last record, if there is one.
    pub(crate) last: Option<(u64, LastRecord)>,
}

/// The last record of a partition.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LastRecord {
    /// An event.
    Event(Place),
    /// The end of an emptied partition.
    Trimmed(Place),
}

impl From<Record<'_>> for LastRecord {
    fn from(record: Record<'_>) -> Self {
        match record {
            Record::Event(place, _) => Self::Event(place),
            Record::Trimmed(place) => Self::Trimmed(place),
        }
    }
}

impl LastRecord {
    /// What it says of the place.
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Event(place) | Self::Trimmed(place) => *place,
        }
    }

    /// The end of the partition.
    fn end(&self) -> u64 {
        match self {
            Self::Event(place) => place.offset.0 + 1,
            Self::Trimmed(place) => place.offset.0,
        }
    }
}

/// What is new in what Kafka says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Learned {
    /// The end has moved.
    Moved,
    /// Nothing.
    Same,
    /// It is less than what is known: the broker does not show all yet, or a transaction of this process lacks its marker.
    Behind,
}

/// How a read goes on.
#[derive(Debug)]
pub(crate) enum Plan {
    /// It is answered.
    Done(Vec<Block>),
    /// It asks Kafka: the end, and the offset of a record at or before the wanted one.
    Ask { end: Offset, record: u64 },
}

impl Partition {
    /// A partition that nothing was written to.
    pub(crate) fn new(at: StreamPartition, topic: Arc<str>, is_foreign: bool) -> Self {
        let state = State {
            start: 0,
            tip: Tip { end: 0, sequence: 0, record: 0 },
            is_stale: false,
            is_guess: false,
            is_stuck: false,
            last: None,
            records: BTreeMap::new(),
            tail: VecDeque::new(),
            written: None,
        };
        Self { at, topic, is_foreign, end: Arc::default(), state: Mutex::new(state) }
    }

    pub(crate) fn number(&self) -> i32 {
        self.at.partition.0 as i32
    }

    pub(crate) fn bounds(&self) -> Bounds {
        self.state.lock().bounds()
    }

    /// The tip, and whether it may be behind.
    pub(crate) fn tip(&self) -> (Tip, bool) {
        let state = self.state.lock();
        (state.tip, state.is_stale)
    }

    /// The last event, if known.
    pub(crate) fn last(&self) -> Option<Place> {
        self.state.lock().last
    }

    /// When this process wrote to it last.
    pub(crate) fn written(&self) -> Option<Instant> {
        self.state.lock().written
    }

    pub(crate) fn make_stale(&self) {
        self.state.lock().is_stale = true;
    }

    /// Whether nothing in the partition says where it ends.
    pub(crate) fn is_guess(&self) -> bool {
        !self.is_foreign && self.state.lock().is_guess
    }

    /// Whether Kafka has not shown all that is known for long: then there is no use in waiting.
    pub(crate) fn is_stuck(&self) -> bool {
        self.state.lock().is_stuck
    }

    /// Kafka does not show all that is known, and has been waited for.
    pub(crate) fn make_stuck(&self) {
        self.state.lock().is_stuck = true;
    }

    /// There are records up to `record` at least, and Kafka's marker after it: an end before that is not the end.
    pub(crate) fn passed(&self, record: u64) {
        let mut state = self.state.lock();
        state.tip.record = state.tip.record.max(record + 2);
        state.is_stale = true;
    }

    /// Takes note of what Kafka says. What is less than what is known changes nothing.
    pub(crate) fn learn(&self, loaded: &Loaded) -> Learned {
        let mut state = self.state.lock();
        if loaded.next_record < state.tip.record
            || (loaded.last.is_some_and(|(_, last)| last.end() < state.tip.end) && !state.is_guess)
        {
            return Learned::Behind;
        }
        let before = state.tip.end;
        state.take(loaded);
        let end = state.tip.end;
        drop(state);
        self.end.raise(end);
        if end > before { Learned::Moved } else { Learned::Same }
    }

    /// Takes note of what this process has written: `blocks` from the record of the tip on, then Kafka's marker. The
    /// signal is raised by the caller. Returns whether the blocks are in memory now.
    pub(crate) fn wrote(&self, tip: Tip, blocks: &[Block], events: u64, places_max: usize) -> bool {
        let mut state = self.state.lock();
        let after =
            Tip { end: tip.end + events, sequence: tip.sequence + events, record: tip.record + events + 1 };
        state.written = Some(Instant::now());
        state.is_guess = false;
        state.records.insert(tip.end, tip.record);
        thin(&mut state.records, places_max);
        if state.tip.record > after.record {
            // What others have written since is known already.
            return false;
        }
        state.tip = after;
        state.is_stale = false;
        if let Some(block) = blocks.last() {
            state.last = Some(crate::blocks::last_place(block));
        }
        state.tail.extend(blocks.iter().cloned());
        true
    }

    /// Takes note of a record that is no event, and of the marker after it.
    pub(crate) fn wrote_mark(&self, record: u64) {
        let mut state = self.state.lock();
        state.tip.record = state.tip.record.max(record + 2);
        state.is_guess = false;
        state.written = Some(Instant::now());
    }

    /// Removes the block that starts at `base`, and those before it, from memory, if they are there still.
    pub(crate) fn forget(&self, base: Offset) {
        let mut state = self.state.lock();
        while state.tail.pop_front_if(|block| block.header().base_offset <= base).is_some() {}
    }

    /// Remembers where an event is.
    pub(crate) fn remember(&self, offset: u64, record: u64, places_max: usize) {
        let mut state = self.state.lock();
        if offset >= state.start {
            state.records.insert(offset, record);
            thin(&mut state.records, places_max);
        }
    }

    /// The record of an event, if it is remembered.
    pub(crate) fn record_of(&self, offset: u64) -> Option<u64> {
        self.state.lock().records.get(&offset).copied()
    }

    /// The first event at a record or after it, or the end if there is none, as far as what is known of the partition says it.
    pub(crate) fn offset_of(&self, record: u64) -> Option<u64> {
        self.state.lock().offset_of(record)
    }

    /// The events before `start` are gone.
    pub(crate) fn trimmed(&self, start: u64) {
        let mut state = self.state.lock();
        state.start = state.start.max(start);
        let start = state.start;
        state.records = state.records.split_off(&start);
    }

    /// How a read from `from` on goes on.
    ///
    /// # Errors
    /// As [`Bounds::check`].
    pub(crate) fn plan_read(&self, from: Offset, bytes_max: usize) -> Result<Plan> {
        let state = self.state.lock();
        let bounds = state.bounds();
        if !bounds.check(self.at, from)? {
            return Ok(Plan::Done(Vec::new()));
        }
        if state.tail.front().is_some_and(|first| first.header().base_offset <= from) {
            let first = state.tail.partition_point(|block| block.header().end_offset() <= from);
            return Ok(Plan::Done(fitting_blocks(state.tail.range(first..), bytes_max)));
        }
        Ok(Plan::Ask { end: bounds.end, record: state.record_before(from) })
    }

    /// Where an event before the end is in Kafka, about: the end, and the offset of a record at or before it.
    pub(crate) fn whereabouts(&self, offset: Offset) -> (Offset, u64) {
        let state = self.state.lock();
        (Offset(state.tip.end), state.record_before(offset))
    }
}

impl State {
    fn bounds(&self) -> Bounds {
        Bounds { start: Offset(self.start), end: Offset(self.tip.end) }
    }

    fn take(&mut self, loaded: &Loaded) {
        let was_guess = self.is_guess;
        (self.is_stale, self.is_stuck) = (false, false);
        let (mut end, mut sequence) = (self.tip.end, self.tip.sequence);
        match loaded.last {
            Some((record, LastRecord::Event(place))) => {
                (end, sequence) = (place.offset.0 + 1, place.origin.sequence.0);
                self.last = Some(place);
                self.records.insert(place.offset.0, record);
                self.is_guess = false;
            }
            Some((_, LastRecord::Trimmed(place))) => {
                (end, sequence) = (place.offset.0, place.origin.sequence.0);
                self.last = Some(place);
                self.is_guess = false;
            }
            // Kafka's retention has removed all there was before anybody here knew it: offsets and sequences go on where
            // Kafka's do, which are never behind.
            None if loaded.first_record > 0 && (end == 0 || self.is_guess) => {
                (end, sequence) = (loaded.next_record, loaded.next_record);
                self.is_guess = true;
            }
            None => {}
        }
        if end != self.tip.end {
            // Somebody else wrote what is in between.
            self.tail.clear();
        }
        let start = loaded.first.map_or(end, |place| place.offset.0).min(end);
        if loaded.first_record > 0 && (start > self.start || was_guess) {
            self.start = start;
        }
        self.records = self.records.split_off(&self.start);
        if let Some(first) = loaded.first {
            self.records.insert(first.offset.0, loaded.first_record);
        }
        self.tip = Tip { end, sequence, record: loaded.next_record };
    }

    /// See [`Partition::offset_of`]. Between two places that are as far apart in events as in records there is nothing but
    /// events; a place that is not where the record really is, but before it, is never so near to another one.
    fn offset_of(&self, record: u64) -> Option<u64> {
        if record >= self.tip.record {
            return Some(self.tip.end);
        }
        let after = self.records.iter().find(|(_, known)| **known >= record);
        let before = self.records.iter().rfind(|(_, known)| **known < record);
        let (offset, known) = before.map_or((0, 0), |(offset, known)| (*offset, *known));
        let reached = offset + (record - known);
        match after {
            Some((offset, known)) if *known == record => Some(*offset),
            Some((next, at)) => (at - known == next.saturating_sub(offset)).then_some(reached),
            // The last thing that is known is the marker of the transaction with the last event.
            None => {
                let (records, events) = (self.tip.record - known, self.tip.end.saturating_sub(offset));
                (records <= events + 1).then_some(reached.min(self.tip.end))
            }
        }
    }

    fn record_before(&self, offset: Offset) -> u64 {
        let known = self.records.range(..=offset.0).next_back();
        // Between two events there is a record for each event in between, and perhaps more.
        known.map_or(offset.0, |(known, record)| record + (offset.0 - known))
    }
}

/// Forgets every other place when there are too many: the others still lead there, with a few reads more.
fn thin(records: &mut BTreeMap<u64, u64>, places_max: usize) {
    if records.len() > places_max {
        let mut keep = false;
        records.retain(|_, _| {
            keep = !keep;
            keep
        });
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use tw_types::{Epoch, Hlc, Origin, PartitionId, RegionId, Sequence, StreamId};

    fn partition() -> Partition {
        Partition::new(StreamPartition::new(StreamId(1), PartitionId(0)), "t".into(), false)
    }

    fn place(offset: u64) -> Place {
        let origin = Origin { region: RegionId(0), epoch: Epoch(1), sequence: Sequence(offset + 1) };
        Place { offset: Offset(offset), hlc: Hlc::new(offset, 0), origin, version: None }
    }

    /// What Kafka says when the last event is at that offset and record, and its marker the last record.
    pub(crate) fn ends_with(offset: u64, record: u64) -> Loaded {
        let last = Some((record, LastRecord::Event(place(offset))));
        Loaded { first_record: 0, next_record: record + 2, first: None, last }
    }

    const TIP: Tip = Tip { end: 0, sequence: 0, record: 0 };

    #[test]
    fn an_end_that_is_less_than_what_is_known_is_not_believed() {
        let known = partition();
        assert_eq!(known.learn(&ends_with(9, 20)), Learned::Moved);
        assert_eq!(known.learn(&ends_with(9, 20)), Learned::Same);
        assert_eq!(known.learn(&ends_with(8, 18)), Learned::Behind);
        // More records, and yet an event less.
        assert_eq!(known.learn(&ends_with(8, 30)), Learned::Behind);
        // A transaction of ours was aborted whose last record was 23: its marker is missing.
        known.passed(23);
        assert_eq!(known.tip(), (Tip { end: 10, sequence: 10, record: 25 }, true));
        assert_eq!(known.learn(&Loaded { next_record: 24, ..ends_with(9, 20) }), Learned::Behind);
        assert_eq!(known.learn(&Loaded { next_record: 25, ..ends_with(9, 20) }), Learned::Same);
        assert_eq!(known.tip(), (Tip { end: 10, sequence: 10, record: 25 }, false));
    }

    #[test]
    fn what_others_wrote_since_is_not_forgotten_when_a_write_is_noted() {
        let partition = partition();
        // Ours are the first five; the watch was faster, and has seen what came after them.
        assert_eq!(partition.learn(&ends_with(6, 7)), Learned::Moved);
        assert!(!partition.wrote(TIP, &[], 5, 16));
        assert_eq!(partition.tip().0, Tip { end: 7, sequence: 7, record: 9 });
        assert_eq!(partition.end.get(), 7);
        assert!(partition.written().is_some());
    }

    #[test]
    fn a_guess_gives_way_to_what_the_log_says() {
        let partition = partition();
        let emptied = Loaded { first_record: 40, next_record: 40, first: None, last: None };
        assert_eq!(partition.learn(&emptied), Learned::Moved);
        assert!(partition.is_guess());
        assert_eq!(partition.bounds(), Bounds { start: Offset(40), end: Offset(40) });
        // Somebody who knew better has written the eleventh event.
        let written = Loaded { first_record: 40, first: Some(place(10)), ..ends_with(10, 40) };
        assert_eq!(partition.learn(&written), Learned::Same);
        assert!(!partition.is_guess());
        assert_eq!(partition.bounds(), Bounds { start: Offset(10), end: Offset(11) });
    }

    proptest! {
        #[test]
        fn what_is_said_of_a_record_without_reading_is_so(
            // Of each transaction: its events, whether it was committed, and whether this process knows where it begins.
            transactions in vec((1u64..6, any::<bool>(), any::<bool>()), 1..12),
        ) {
            let known = partition();
            let (mut record, mut events) = (0, Vec::new());
            for (count, is_committed, is_known) in transactions {
                if is_committed {
                    let offset = events.len() as u64;
                    events.extend(record..record + count);
                    let last = (record + count - 1, LastRecord::Event(place(offset + count - 1)));
                    let loaded = Loaded { first_record: 0, next_record: record + count + 1, first: None, last: Some(last) };
                    known.learn(&loaded);
                    if is_known {
                        known.remember(offset, record, 16);
                    }
                }
                record += count + 1;
                known.passed(record - 2);
            }
            for wanted in 0..record + 2 {
                let offset = events.partition_point(|at| *at < wanted) as u64;
                let told = known.offset_of(wanted);
                prop_assert!(told.is_none_or(|told| told == offset), "{wanted}: {told:?}, not {offset}: {events:?}");
                prop_assert!(told.is_some() || wanted < record);
            }
            // Who has read everything is known to have.
            prop_assert_eq!(known.offset_of(record), Some(events.len() as u64));
        }
    }
}
