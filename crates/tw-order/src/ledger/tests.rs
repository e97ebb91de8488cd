//! The ledger against a model that remembers every event and counts.

mod examples;

use super::*;
use crate::consolidate;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use tw_types::ExpectedVersion;

/// An event of the model: its subject (0: none) and its id.
type Event = (u8, u32);

#[derive(Debug, Clone)]
enum Step {
    /// An append; `believed` is a subject and how far off the believed version is.
    Append {
        events: Vec<Event>,
        believed: Option<(u8, i8)>,
        dedup: bool,
    },
    /// Many events of one subject whose ids nobody uses otherwise.
    Bulk {
        subject: u8,
        count: u32,
    },
    /// So many appends in flight are acknowledged.
    Confirm(usize),
    /// All that is in flight fails.
    Fail,
    /// What is confirmed is sealed, and later in the stored index.
    Seal,
    Flush,
    /// Somebody else appends, with or without saying the versions.
    Foreign {
        events: Vec<Event>,
        versions: bool,
    },
    /// Memory is lost; the stored index is not, or is.
    Restart {
        index: bool,
        versions: bool,
    },
    /// Memory for windows is short: so many bytes are to be freed of those that were not used for so many steps.
    Evict {
        bytes: usize,
        unused: u64,
    },
    /// From now on so many subjects are loaded at a time, and windows leave memory whenever something is in the way.
    Short {
        loads_max: usize,
        evict: bool,
    },
}

fn event() -> impl Strategy<Value = Event> {
    (prop_oneof![1 => Just(0u8), 9 => 1u8..5], 0u32..60)
}

fn step() -> impl Strategy<Value = Step> {
    let events = || proptest::collection::vec(event(), 1..6);
    let believed = proptest::option::weighted(0.4, (1u8..5, prop_oneof![3 => Just(0i8), 1 => -2i8..3]));
    prop_oneof![
        12 => (events(), believed, proptest::bool::weighted(0.8))
            .prop_map(|(events, believed, dedup)| Step::Append { events, believed, dedup }),
        1 => (1u8..5, 1u32..700).prop_map(|(subject, count)| Step::Bulk { subject, count }),
        6 => (0usize..4).prop_map(Step::Confirm),
        2 => Just(Step::Fail),
        2 => Just(Step::Seal),
        2 => Just(Step::Flush),
        1 => (events(), any::<bool>()).prop_map(|(events, versions)| Step::Foreign { events, versions }),
        2 => (0usize..9_000, 0u64..4).prop_map(|(bytes, unused)| Step::Evict { bytes, unused }),
        1 => (1usize..6, any::<bool>()).prop_map(|(loads_max, evict)| Step::Short { loads_max, evict }),
        1 => any::<(bool, bool)>().prop_map(|(index, versions)| Step::Restart { index, versions }),
    ]
}

/// The ledger, what surrounds it, and the model.
struct World {
    ledger: Ledger,
    sealed: Option<Sealed>,
    /// The stored index: runs and tail of each subject, and the offset up to which it is complete.
    index: BTreeMap<SubjectHash, (Vec<PackedRun>, PackedRun)>,
    position: Offset,
    /// Every event that was accepted, durable or in flight, in order: the model.
    log: Vec<Event>,
    /// The ends of the appends in flight.
    flights: VecDeque<Offset>,
    confirmed: Offset,
    bulk: u32,
    now: u64,
    loads_max: usize,
    evict: bool,
}

fn hash(subject: u8) -> Option<SubjectHash> {
    (subject > 0).then(|| SubjectHash::from_u128(u128::from(subject) << 100 | u128::from(subject % 2)))
}

/// Few values, so that hashes of different ids are the same.
fn id_hash(id: u32) -> IdHash {
    IdHash(if id < 60 { id % 16 } else { id })
}

impl World {
    fn new() -> Self {
        Self {
            ledger: Ledger::new(Offset::ZERO),
            sealed: None,
            index: BTreeMap::new(),
            position: Offset::ZERO,
            log: Vec::new(),
            flights: VecDeque::new(),
            confirmed: Offset::ZERO,
            bulk: 1_000,
            now: 0,
            loads_max: usize::MAX,
            evict: false,
        }
    }

    /// The model: the offsets of a subject's events before `before`, in order of their versions.
    fn history(&self, subject: u8, before: Offset) -> Vec<Offset> {
        let events = self.log.iter().zip(0..).take(before.0 as usize);
        events.filter(|((other, _), _)| *other == subject).map(|(_, offset)| Offset(offset)).collect()
    }

    /// The model: what an append stores, and which of its events are duplicates of what.
    fn model(&self, events: &[Event], dedup: bool) -> Vec<Result<Version, Offset>> {
        let mut log = self.log.clone();
        let mut outcome = Vec::new();
        for (subject, id) in events {
            let of_subject = |log: &[Event]| -> Vec<usize> {
                (0..log.len()).filter(|at| *subject > 0 && log[*at].0 == *subject).collect()
            };
            let history = of_subject(&log);
            let recent = history.iter().skip(history.len().saturating_sub(DEDUP_VERSIONS as usize));
            match recent.filter(|_| dedup).find(|at| log[**at].1 == *id) {
                Some(at) => outcome.push(Err(Offset(*at as u64))),
                None => {
                    log.push((*subject, *id));
                    let version = if *subject > 0 { history.len() as u64 + 1 } else { 0 };
                    outcome.push(Ok(Version(version)));
                }
            }
        }
        outcome
    }

    fn confirm(&mut self, count: usize) {
        for _ in 0..count {
            self.confirmed = self.flights.pop_front().unwrap_or(self.confirmed);
        }
    }

    fn append(&mut self, events: &[Event], believed: Option<(u8, i8)>, dedup: bool) {
        let proposed: Vec<_> = events
            .iter()
            .map(|(subject, id)| Proposed { subject: hash(*subject), id: id_hash(*id) })
            .collect();
        let now = believed.map(|(subject, _)| self.history(subject, self.ledger.end()).len() as u64);
        let expected: Vec<_> = believed
            .zip(now)
            .into_iter()
            .map(|((subject, off), now)| {
                let version = now.saturating_add_signed(off.into());
                let expected = if version == 0 {
                    ExpectedVersion::None
                } else {
                    ExpectedVersion::Exact(Version(version))
                };
                (hash(subject).unwrap(), expected)
            })
            .collect();
        let model = self.model(events, dedup);
        let mut facts: Vec<Fact> = Vec::new();
        for _ in 0..1_000 {
            let request = Request {
                events: &proposed,
                expected: &expected,
                dedup,
                same_id: &|a, b| events[a].1 == events[b].1,
                facts: &facts,
                confirmed: self.confirmed,
                sealed: self.sealed.as_ref(),
                now: self.now,
            };
            let (checked, seen) = match self.ledger.check(&request) {
                Ok(plan) => (Ok(plan), Vec::new()),
                Err(Stop { obstacle, seen }) => (Err(obstacle), seen),
            };
            match checked {
                Ok(plan) => {
                    let accepted = self.ledger.accept(&request, plan);
                    return self.check_accepted(events, &model, &expected, now, &accepted);
                }
                Err(Obstacle::Load(loads)) if self.ledger.recall(&loads) => {}
                Err(Obstacle::Load(loads)) => {
                    Fact::learn(&mut facts, seen);
                    self.make_room();
                    self.load(&loads[..loads.len().min(self.loads_max)]);
                }
                Err(Obstacle::Check(suspects)) => {
                    let mut news = seen;
                    news.extend(suspects.iter().map(|suspect| self.look_into(suspect, events)));
                    Fact::learn(&mut facts, news);
                    self.make_room();
                }
                Err(Obstacle::Wait(until)) => {
                    assert!(until > self.confirmed && until <= self.ledger.end());
                    Fact::learn(&mut facts, seen);
                    self.make_room();
                    self.confirm(1);
                }
                Err(Obstacle::Conflict { index, actual }) => {
                    assert_eq!(Some(actual.0), now, "the version that is reported is the true one");
                    assert!(!expected[index].1.holds(actual), "only a wrong belief is refused");
                    let head = self.history(believed.unwrap().0, self.confirmed).len() as u64;
                    assert_eq!(head, actual.0, "only what is confirmed is a reason to refuse");
                    return;
                }
            }
        }
        panic!("an append goes round in circles");
    }

    /// What a shell does when memory for windows is short.
    fn make_room(&mut self) {
        if self.evict {
            self.ledger.evict_windows(usize::MAX, u64::MAX);
        }
    }

    /// What a shell does: find the event, in the stored index if need be, and read it.
    fn look_into(&self, suspect: &Suspect, events: &[Event]) -> Fact {
        let Suspect { index, version, offset } = *suspect;
        let event = events[index as usize];
        let stored = self.index.get(&hash(event.0).unwrap());
        let mut postings = stored.into_iter().flat_map(|(runs, tail)| runs.iter().chain([tail]));
        let in_index = || {
            let mut runs = postings.find_map(|run| run.iter().find(|posting| posting.version == version));
            runs.take().map(|posting| posting.offset)
        };
        let offset = offset.or_else(in_index).expect("nothing is ever lost here");
        assert!(offset < self.confirmed, "only what is readable");
        Fact { index, version, same: (self.log[offset.0 as usize] == event).then_some(offset) }
    }

    fn check_accepted(
        &mut self,
        events: &[Event],
        model: &[Result<Version, Offset>],
        expected: &[(SubjectHash, ExpectedVersion)],
        now: Option<u64>,
        accepted: &Accepted,
    ) {
        assert_eq!(accepted.base.0, self.log.len() as u64);
        let (mut versions, mut duplicates) = (accepted.versions.iter(), accepted.duplicates.iter());
        let mut stored_of_believed = false;
        for (index, (event, outcome)) in events.iter().zip(model).enumerate() {
            match outcome {
                Ok(version) => {
                    assert_eq!(versions.next(), Some(version));
                    stored_of_believed |= expected.iter().any(|(subject, _)| hash(event.0) == Some(*subject));
                    self.log.push(*event);
                }
                Err(offset) => {
                    let duplicate = duplicates.next().unwrap();
                    assert_eq!((duplicate.index as usize, duplicate.offset), (index, *offset));
                    let version = self.history(event.0, offset.next()).len() as u64;
                    assert_eq!(duplicate.version, Version(version));
                }
            }
        }
        assert_eq!((versions.next(), duplicates.next()), (None, None));
        assert_eq!(self.ledger.end().0, self.log.len() as u64);
        if let (Some((subject, expected)), Some(now)) = (expected.first(), now) {
            let repeated = events.iter().any(|event| hash(event.0) == Some(*subject)) && !stored_of_believed;
            // A first event of the append may repeat one that was confirmed, a later one its own first.
            assert!(repeated || expected.holds(Version(now)), "a wrong belief is never accepted");
        }
        self.flights.push_back(self.ledger.end());
    }

    /// What a shell does: ask the sealed ledger, then the stored index.
    fn load(&mut self, loads: &[Load]) {
        for load in loads {
            let mut loaded =
                self.sealed.as_ref().and_then(|sealed| sealed.loaded(load.subject)).unwrap_or_else(|| {
                    match self.index.get(&load.subject) {
                        None => Loaded { complete: true, ..Loaded::default() },
                        Some((_, tail)) => Loaded {
                            head: tail.last(),
                            complete: tail.first() == Version(1),
                            tail: Some(tail.clone()),
                            ..Loaded::default()
                        },
                    }
                });
            if load.ids && !loaded.complete {
                // Everything that is stored, however long ago: more than is asked for does no harm.
                let stored = self.index.get(&load.subject);
                let mut window = IdWindow::default();
                stored
                    .iter()
                    .flat_map(|(runs, tail)| runs.iter().chain([tail]))
                    .flat_map(PackedRun::iter)
                    .for_each(|posting| window.push(posting));
                loaded.window.iter().for_each(|later| window.extend(later));
                (loaded.window, loaded.complete) = (Some(window), true);
            }
            self.ledger.load(load.subject, &loaded);
        }
    }

    fn fail(&mut self) {
        self.flights.clear();
        self.log.truncate(self.confirmed.0 as usize);
        self.ledger.truncate(self.confirmed);
        if let Some(sealed) = &mut self.sealed {
            sealed.truncate(self.confirmed);
        }
    }

    fn seal(&mut self) {
        if self.sealed.is_none() {
            self.sealed = Some(self.ledger.seal());
        }
    }

    fn flush(&mut self) {
        let Some(sealed) = self.sealed.take() else { return };
        while self.confirmed < sealed.end() {
            self.confirm(1);
        }
        let mut last = None;
        for slot in sealed.sorted() {
            let entry = sealed.entry(slot).unwrap();
            assert!(last < Some(entry.subject()), "in the order of their hashes");
            last = Some(entry.subject());
            let (mut runs, mut tail) = (Vec::new(), None);
            if let Some((stored_runs, stored_tail)) = self.index.remove(&entry.subject()) {
                assert!(entry.is_unread() || entry.tail() == Some(&stored_tail));
                (runs, tail) = (stored_runs, Some(stored_tail));
            } else {
                assert_eq!(entry.tail(), None);
            }
            let joined = consolidate(tail.as_ref(), entry.postings()).unwrap();
            runs.extend(joined.runs);
            self.index.insert(entry.subject(), (runs, joined.tail));
        }
        self.position = sealed.end();
    }

    fn foreign(&mut self, events: &[Event], versions: bool) {
        self.confirm(self.flights.len());
        for (subject, id) in events {
            let version = Version(self.history(*subject, self.ledger.end()).len() as u64).next();
            let offset = self.ledger.end();
            self.replay(*subject, versions.then_some(version), offset, *id);
            self.log.push((*subject, *id));
        }
        self.confirmed = self.ledger.end();
    }

    fn replay(&mut self, subject: u8, version: Option<Version>, offset: Offset, id: u32) {
        if !self.ledger.replay(hash(subject), version, offset, id_hash(id)) {
            self.load(&[Load { subject: hash(subject).unwrap(), ids: false }]);
            assert!(self.ledger.replay(hash(subject), version, offset, id_hash(id)));
        }
    }

    fn restart(&mut self, index: bool, versions: bool) {
        self.fail();
        self.sealed = None;
        if !index {
            self.index.clear();
            self.position = Offset::ZERO;
        }
        // A flush that was cut off has stored more than its position says.
        let from = Offset(self.position.0 / 2);
        self.ledger = Ledger::new(from);
        for at in from.0 as usize..self.log.len() {
            let (subject, id) = self.log[at];
            let version = Version(self.history(subject, Offset(at as u64 + 1)).len() as u64);
            self.replay(subject, versions.then_some(version), Offset(at as u64), id);
        }
        assert_eq!(self.ledger.end().0, self.log.len() as u64);
    }

    fn check(&self) {
        for subject in 1..5u8 {
            let key = hash(subject).unwrap();
            let history = self.history(subject, self.confirmed);
            let head = self
                .ledger
                .head(self.sealed.as_ref(), key, self.confirmed)
                .or_else(|| self.index.get(&key).map(|(_, tail)| tail.last()))
                .unwrap_or_default();
            assert_eq!(head.0, history.len() as u64, "version of subject {subject}");
            let mut found: Vec<_> = Vec::new();
            found.extend(self.ledger.postings(key, self.confirmed));
            if let Some(sealed) = &self.sealed {
                found.extend(sealed.postings(key, self.confirmed));
            }
            if let Some((runs, tail)) = self.index.get(&key) {
                found.extend(runs.iter().chain([tail]).flat_map(PackedRun::iter));
            }
            found.sort_by_key(|posting| posting.version);
            found.dedup();
            let offsets: Vec<_> = found.iter().map(|posting| posting.offset).collect();
            assert_eq!(offsets, history, "subject {subject}");
            let accepted = Version(self.history(subject, self.ledger.end()).len() as u64);
            let window = self.ledger.windows.find(key);
            if let Some(window) = window.and_then(|place| self.ledger.windows.get(place)) {
                assert!(window.is_complete() && window.head() == accepted, "window of subject {subject}");
            }
            if let Some(entry) = self.ledger.table.get(key).filter(|entry| entry.complete) {
                assert_eq!(
                    (entry.head, entry.window),
                    (accepted, window.map_or(NO_WINDOW, |_| entry.window))
                );
                assert_eq!(self.ledger.windows.get(entry.window).is_some(), window.is_some());
            }
            assert!(found.iter().zip(1..).all(|(posting, version)| posting.version == Version(version)));
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append { events, believed, dedup } => self.append(&events, believed, dedup),
            Step::Bulk { subject, count } => {
                let events: Vec<_> = (self.bulk..self.bulk + count).map(|id| (subject, id)).collect();
                self.bulk += count;
                self.append(&events, None, true);
            }
            Step::Confirm(count) => self.confirm(count),
            Step::Fail => self.fail(),
            Step::Seal => self.seal(),
            Step::Flush => self.flush(),
            Step::Foreign { events, versions } => self.foreign(&events, versions),
            Step::Restart { index, versions } => self.restart(index, versions),
            Step::Evict { bytes, unused } => {
                self.ledger.evict_windows(bytes, self.now.saturating_sub(unused));
            }
            Step::Short { loads_max, evict } => (self.loads_max, self.evict) = (loads_max, evict),
        }
        self.now += 1;
        self.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: tw_testing::cases(256), ..ProptestConfig::default() })]

    /// Versions, conflicts, duplicates and histories are those of the model, through failures, flushes and restarts.
    #[test]
    fn log_2_log_3_decisions_are_those_of_a_model_that_counts(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
    }
}
