//! What must be true of the log, whatever happened to the machine.

use super::origins::{Origins, Stamp};
use super::rig::Rig;
use crate::{Ack, Placed};
use futures_util::FutureExt;
use std::collections::{BTreeMap, BTreeSet};
use tw_types::{Cleanup, Compression, Data, Event, Hlc, Offset, StreamName, StreamPartition};
use tw_wire::{Batch, BatchBuilder};

/// An event: everything about it follows from its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number(pub(super) u64);

impl Number {
    pub(super) fn subject(self) -> Option<String> {
        // Some events have no subject; the others share a few.
        (!self.0.is_multiple_of(7)).then(|| format!("subject-{}", self.0 * 31 % 11))
    }

    fn data(self) -> Vec<u8> {
        let len = match self.0 % 13 {
            0 => 5_000,
            1..=3 => 700,
            _ => self.0 as usize % 90,
        };
        (0..len)
            .map(|at| ((at as u64 + 1).wrapping_mul(self.0).wrapping_mul(0x9e37_79b9) >> 13) as u8)
            .collect()
    }

    /// The event.
    pub(super) fn event(self) -> Event {
        Event {
            id: self.0.to_string(),
            source: "/sim".into(),
            ty: if self.0.is_multiple_of(2) { "even" } else { "odd" }.into(),
            subject: self.subject(),
            data: Data::Binary(self.data()),
            ..Event::default()
        }
    }

    /// A batch of the events with these numbers.
    pub(super) fn batch(numbers: &[Self], compression: Compression) -> Batch {
        let mut builder = BatchBuilder::new();
        for number in numbers {
            builder.push(&number.event().as_ref());
        }
        builder.finish(compression).unwrap()
    }
}

/// Where each event is that an opened log has, and its time.
type Found = BTreeMap<Number, (StreamPartition, Offset, Hlc)>;

/// What an append consists of: each part's partition and events.
pub(super) type Parts = Vec<(StreamPartition, Vec<Number>)>;

/// A stream, as far as anybody was told.
#[derive(Debug, Clone)]
pub(super) struct ModelStream {
    pub(super) cleanup: Cleanup,
    pub(super) retained: bool,
    /// Whether it must be there, or may be.
    pub(super) certain: bool,
    pub(super) partitions: Vec<StreamPartition>,
}

/// What is known of an event that is in the log.
type Known = (Number, Option<Hlc>);

#[derive(Debug, Clone, Default)]
pub(super) struct ModelPartition {
    /// Acknowledged events.
    pub(super) events: BTreeMap<Offset, Known>,
    /// The start that was acknowledged, and the furthest that was asked for.
    pub(super) start: Offset,
    pub(super) start_asked: Offset,
    pub(super) end: Offset,
}

impl ModelPartition {
    /// Checks the bounds of an opened log, and takes them over.
    fn check_bounds(&mut self, at: StreamPartition, stream: &ModelStream, bounds: &crate::Bounds) {
        let (start, end) = (bounds.start, bounds.end);
        assert!(end >= self.end, "LOG-1: {at} ends at {end}, {} was acknowledged", self.end);
        assert!(start >= self.start, "{at} starts at {start}, it was trimmed to {}", self.start);
        let asked = stream.retained || start <= self.start_asked;
        assert!(asked, "LOG-1: {at} starts at {start}, nobody asked for that");
        (self.start, self.end) = (start, end);
        self.start_asked = self.start_asked.max(start);
    }

    /// Checks that every acknowledged event from the start on is there, or was compacted away, and learns timestamps.
    fn check_events(&mut self, at: StreamPartition, stream: &ModelStream, contents: &Contents) {
        for (offset, (number, hlc)) in self.events.range(self.start..) {
            match contents.events.get(offset) {
                Some((there, stamp)) => {
                    assert_eq!(there, number, "LOG-1: another event is at {offset} of {at}");
                    assert!(hlc.is_none_or(|hlc| hlc == stamp.hlc), "LOG-1: a timestamp was altered");
                }
                None => {
                    let later = number.subject().and_then(|subject| contents.latest.get(&subject).copied());
                    let superseded =
                        stream.cleanup == Cleanup::Compact && later.is_some_and(|later| later > *offset);
                    assert!(superseded, "LOG-1: event {number:?} at {offset} of {at} is lost");
                }
            }
        }
        for (offset, (_, stamp)) in contents.events.range(self.start..) {
            if let Some((_, known @ None)) = self.events.get_mut(offset) {
                *known = Some(stamp.hlc);
            }
        }
        let start = self.start;
        self.events.retain(|offset, _| *offset >= start);
    }
}

/// What a partition of an opened log holds; blocks may begin before its start.
#[derive(Default)]
struct Contents {
    events: BTreeMap<Offset, (Number, Stamp)>,
    /// The last event of each subject.
    latest: BTreeMap<String, Offset>,
}

impl Contents {
    /// Reads a partition and checks what each event says by itself, and their order.
    fn read(rig: &Rig, at: StreamPartition) -> Self {
        let (mut contents, mut last) = (Self::default(), None);
        for block in rig.read_all(at).unwrap() {
            let records = block.records().unwrap();
            for record in records.iter().unwrap().map(Result::unwrap) {
                let number = Number(record.event.id.parse().unwrap());
                let (offset, stamp) = (record.offset, Stamp { origin: record.origin, hlc: record.hlc });
                let (subject, data) = (number.subject(), number.data());
                let same =
                    record.event.data == Data::Binary(&data) && record.event.subject == subject.as_deref();
                assert!(same, "LOG-1: event {number:?} was altered: {record:?}");
                assert!(last.is_none_or(|last| last < offset), "LOG-2: {at} runs backwards at {offset}");
                last = Some(offset);
                if let Some(subject) = subject {
                    contents.latest.insert(subject, offset);
                }
                contents.events.insert(offset, (number, stamp));
            }
        }
        contents
    }
}

/// What must be true. Cloned for every crash that is tried.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) streams: BTreeMap<StreamName, ModelStream>,
    pub(super) partitions: BTreeMap<StreamPartition, ModelPartition>,
    /// Appends that may or may not be in the log.
    pub(super) unknown: Vec<Parts>,
    /// Events of appends that are not in the log, and must never be.
    pub(super) dead: BTreeSet<Number>,
    /// What other regions have accepted, and what time it is.
    pub(super) origins: Origins,
}

/// Appends whose outcome nobody has looked at.
#[derive(Default)]
pub(super) struct Pending(Vec<(Parts, Ack)>);

impl Pending {
    pub(super) fn push(&mut self, model: &mut Model, parts: Parts, ack: Ack) {
        model.unknown.push(parts.clone());
        self.0.push((parts, ack));
    }

    /// Looks at every outcome there is.
    pub(super) fn settle(&mut self, model: &mut Model) {
        self.0.retain_mut(|(parts, ack)| match ack.now_or_never() {
            None => true,
            Some(outcome) => {
                model.settle(parts, outcome);
                false
            }
        });
    }

    /// Forgets what nobody will ever learn the outcome of.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

impl Model {
    fn settle(&mut self, parts: &Parts, outcome: crate::Result<Vec<Placed>>) {
        let index = self.unknown.iter().position(|unknown| unknown == parts).expect("an append was lost");
        match outcome {
            Ok(placed) => {
                self.unknown.remove(index);
                for ((at, numbers), placed) in parts.iter().zip(placed) {
                    assert_eq!((*at, numbers.len()), (placed.at, placed.count as usize));
                    self.acknowledge(*at, numbers, placed.base_offset, Some(placed.first_hlc));
                }
            }
            Err(crate::Error::Unknown(_)) => {}
            Err(_) => {
                let refused = self.unknown.remove(index);
                self.dead.extend(refused.into_iter().flat_map(|(_, numbers)| numbers));
            }
        }
    }

    fn acknowledge(&mut self, at: StreamPartition, numbers: &[Number], base: Offset, first: Option<Hlc>) {
        let partition = self.partitions.entry(at).or_default();
        for (n, number) in (0..).zip(numbers) {
            let known = (*number, first.map(|first| first.plus(n)));
            self.origins.placed(at, base.plus(n), *number, known.1);
            let before = partition.events.insert(base.plus(n), known);
            assert!(before.is_none(), "LOG-2: offset {} of {at} was given twice", base.plus(n));
        }
        partition.end = partition.end.max(base.plus(numbers.len() as u64));
    }

    fn stream_of(&self, at: StreamPartition) -> Option<&ModelStream> {
        self.streams.values().find(|stream| stream.partitions.contains(&at))
    }

    /// Checks a log that was just opened against all that is known, and learns from it what was unknown. Nothing is
    /// unknown afterwards.
    pub(super) fn check_opened(&mut self, rig: &Rig) {
        self.check_streams(rig);
        let mut found: Found = BTreeMap::new();
        let mut all = Vec::new();
        for at in self.partitions.keys().copied().collect::<Vec<_>>() {
            all.push((at, self.check_partition(rig, at, &mut found)));
        }
        for parts in std::mem::take(&mut self.unknown) {
            self.resolve(&parts, &found);
        }
        for (at, contents) in all {
            let events = contents.events.into_iter().map(|(offset, (number, stamp))| (offset, number, stamp));
            self.origins.check(rig.shared.options.region, at, events);
        }
        self.origins.observe(&rig.shared);
        let ghosts: Vec<_> = found.keys().filter(|number| self.dead.contains(number)).collect();
        assert!(ghosts.is_empty(), "events {ghosts:?} were refused or lost, and are back");
        let known: BTreeSet<Number> =
            self.partitions.values().flat_map(|p| p.events.values().map(|(number, _)| *number)).collect();
        let strangers: Vec<_> = found.keys().filter(|number| !known.contains(number)).collect();
        assert!(strangers.is_empty(), "events {strangers:?} are in the log, but nobody appended them");
    }

    fn check_streams(&mut self, rig: &Rig) {
        let streams = rig.shared.streams.read().clone();
        self.streams.retain(|name, stream| {
            let there = streams.get(name.as_str()).ok();
            assert!(!stream.certain || there.is_some(), "LOG-1: stream `{name}` is gone");
            let Some(def) = there else {
                for at in &stream.partitions {
                    self.partitions.remove(at);
                }
                return false;
            };
            stream.certain = true;
            stream.partitions = super::super::publish::partitions_of(def).collect();
            for at in &stream.partitions {
                self.partitions.entry(*at).or_default();
            }
            true
        });
        let expected: Vec<_> = self.streams.keys().map(StreamName::as_str).collect();
        let names: Vec<_> = streams.iter().map(|def| def.name.as_str().to_owned()).collect();
        assert_eq!(names.iter().filter(|name| *name != "$config").collect::<Vec<_>>(), expected);
        self.partitions.retain(|at, _| streams.of_partition(*at).is_ok());
    }

    fn check_partition(&mut self, rig: &Rig, at: StreamPartition, found: &mut Found) -> Contents {
        let stream = self.stream_of(at).cloned().expect("every partition has a stream");
        let model = self.partitions.get_mut(&at).unwrap();
        model.check_bounds(at, &stream, &rig.shared.partition(at).unwrap().bounds());
        let contents = Contents::read(rig, at);
        for (offset, (number, stamp)) in contents.events.range(model.start..) {
            let before = found.insert(*number, (at, *offset, stamp.hlc));
            assert_eq!(before, None, "event {number:?} is there twice");
        }
        model.check_events(at, &stream, &contents);
        contents
    }

    /// An append whose outcome was unknown: all of it is there, or nothing.
    fn resolve(&mut self, parts: &Parts, found: &Found) {
        let all = || parts.iter().flat_map(|(at, numbers)| numbers.iter().map(move |number| (*at, *number)));
        // What lay in a stream that was dropped, or before a start, or was compacted away, tells nothing.
        let tells = |at: &StreamPartition| {
            self.stream_of(*at).is_some_and(|stream| !stream.retained && stream.cleanup == Cleanup::Delete)
                && self.partitions.get(at).is_some_and(|partition| partition.start == Offset::ZERO)
        };
        let there = all().filter(|(at, number)| tells(at) && found.contains_key(number)).count();
        let telling = all().filter(|(at, _)| tells(at)).count();
        assert!(there == 0 || there == telling, "half of the append {parts:?} is there");
        for (at, number) in all() {
            match found.get(&number) {
                Some((found_at, offset, hlc)) => {
                    assert_eq!(*found_at, at, "event {number:?} is in the wrong partition");
                    self.acknowledge(at, &[number], *offset, Some(*hlc));
                }
                None => {
                    self.dead.insert(number);
                }
            }
        }
    }
}
