//! Other regions in the histories of a simulated machine, and what must be true of origins and times in the log.

use super::super::shared::Shared;
use super::model::Number;
use crate::Foreign;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use tw_env::sim::SimRandom;
use tw_types::{Epoch, Hlc, Offset, Origin, RegionId, Sequence, StreamPartition};

/// What is so far ahead that no clock of a history gets there.
const NEVER_MS: u64 = 3_600_000;
/// No time of a history is later.
const LAST_MS: u64 = 1_700_000_000_000 + 1_000_000;

/// The other regions of a history: their clocks and sequences.
#[derive(Debug, Clone)]
pub(super) struct Others {
    regions: Vec<(Origin, Hlc)>,
    /// The number of the next region that appears.
    next_region: u16,
}

impl Others {
    /// Regions from number `first` on.
    pub(super) fn new(first: u16) -> Self {
        Self { regions: Vec::new(), next_region: first }
    }

    /// Where and when `count` events come from: most from a moment ago, some from a clock that is ahead. Times of a region rise.
    pub(super) fn accept(&mut self, random: &SimRandom, now_ms: u64, count: u64) -> Foreign {
        let index = random.below(3) as usize;
        // A region whose clock is too far ahead for one that was set back makes room for another one.
        if self.regions.get(index).is_none_or(|(_, hlc)| hlc.millis() > now_ms + 400) {
            let region = RegionId(self.next_region);
            self.next_region += 1;
            let new = (Origin { region, epoch: Epoch(2), sequence: Sequence(1) }, Hlc::ZERO);
            match self.regions.get_mut(index) {
                Some(old) => *old = new,
                None => self.regions.push(new),
            }
        }
        let index = index.min(self.regions.len() - 1);
        let (origin, last) = &mut self.regions[index];
        let millis = match index {
            0 => now_ms - 20_000 + random.below(1_000),
            1 => now_ms - random.below(50),
            _ => now_ms + random.below(400),
        };
        let foreign = Foreign { origin: *origin, first_hlc: Hlc::new(millis, 3).max(last.plus(1)) };
        *last = foreign.last_hlc(count as u32);
        // What it removed or wrote for others leaves gaps.
        origin.sequence.0 += count + random.below(3);
        foreign
    }

    /// What must never be taken: it is of this region, has no sequence, runs out of sequences, or comes from the future.
    pub(super) fn impossible(random: &SimRandom, here: RegionId, now_ms: u64) -> Foreign {
        let origin = Origin { region: RegionId(900), epoch: Epoch(1), sequence: Sequence(1) };
        let first_hlc = Hlc::new(now_ms, 0);
        match random.below(5) {
            0 => Foreign { origin: Origin { region: here, ..origin }, first_hlc },
            1 => Foreign { origin: Origin { sequence: Sequence(0), ..origin }, first_hlc },
            2 => Foreign { origin: Origin { sequence: Sequence(u64::MAX), ..origin }, first_hlc },
            3 => Foreign { origin, first_hlc: Hlc::new(now_ms + NEVER_MS, 0) },
            _ => Foreign { origin, first_hlc: Hlc::from_u64(u64::MAX) },
        }
    }
}

/// What is known of origins and times, beside where events are.
#[derive(Debug, Clone, Default)]
pub(super) struct Origins {
    /// Where each event of another region comes from.
    of: BTreeMap<Number, Foreign>,
    /// The events that must be refused.
    impossible: BTreeSet<Number>,
    /// The offsets of the events of other regions that are in the log, removed ones included.
    places: BTreeMap<StreamPartition, BTreeSet<Offset>>,
    /// Up to when nothing more comes, as it was last said.
    settled: Hlc,
}

/// What the log says of an event, besides its content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    pub(super) origin: Origin,
    pub(super) hlc: Hlc,
}

impl Origins {
    /// Events that another region has accepted are handed in.
    pub(super) fn expect(&mut self, numbers: &[Number], foreign: Foreign, possible: bool) {
        for (n, number) in (0..).zip(numbers) {
            let sequence = Sequence(foreign.origin.sequence.0.saturating_add(n));
            let origin = Origin { sequence, ..foreign.origin };
            self.of.insert(*number, Foreign { origin, first_hlc: foreign.first_hlc.plus(n) });
            if !possible {
                self.impossible.insert(*number);
            }
        }
    }

    /// An event is in the log, first heard of just now; its time is only known to whoever was told.
    pub(super) fn placed(&mut self, at: StreamPartition, offset: Offset, number: Number, hlc: Option<Hlc>) {
        assert!(
            !self.impossible.contains(&number),
            "event {number:?} was taken, and cannot be another region's"
        );
        let Some(foreign) = self.of.get(&number) else {
            let passed = hlc.is_some_and(|hlc| hlc <= self.settled);
            assert!(
                !passed,
                "event {number:?} of this region comes at {hlc:?}, after {} was settled",
                self.settled
            );
            return;
        };
        self.places.entry(at).or_default().insert(offset);
        assert!(hlc.is_none_or(|hlc| hlc == foreign.first_hlc), "REG-3: the time of {number:?} was altered");
    }

    /// Up to when nothing more comes, as the log says it now.
    pub(super) fn observe(&mut self, shared: &Shared) {
        let settled = settled(shared);
        assert!(settled >= self.settled, "settled went back from {} to {settled}", self.settled);
        assert!(settled.millis() < LAST_MS, "the clock has learned of something that was refused");
        self.settled = settled;
    }

    /// Checks a whole partition, once all that is in it is known.
    pub(super) fn check(
        &self,
        here: RegionId,
        at: StreamPartition,
        events: impl Iterator<Item = (Offset, Number, Stamp)>,
    ) {
        let none = BTreeSet::new();
        let mut foreign = self.places.get(&at).unwrap_or(&none).iter().peekable();
        let (mut before, mut latest, mut of_region) = (0, Hlc::ZERO, BTreeMap::new());
        for (offset, number, Stamp { origin, hlc }) in events {
            while foreign.next_if(|place| **place < offset).is_some() {
                before += 1;
            }
            let last = of_region.insert(origin.region, hlc).unwrap_or_default();
            assert!(hlc > last, "REG-3: region {} runs backwards at {offset} of {at}", origin.region);
            if let Some(accepted) = self.of.get(&number) {
                let found = Foreign { origin, first_hlc: hlc };
                assert_eq!(
                    found, *accepted,
                    "REG-3: {number:?} at {offset} of {at} is said to be another event"
                );
            } else {
                let sequence = Sequence(offset.0 + 1 - before);
                let own = Origin { region: here, epoch: Epoch(1), sequence };
                assert_eq!(origin, own, "{number:?} at {offset} of {at} was accepted here");
                assert!(
                    hlc > latest,
                    "REG-2: {number:?} at {offset} of {at} is not later than what was there"
                );
            }
            latest = latest.max(hlc);
        }
    }

    /// How many events of other regions are in the log.
    pub(super) fn count(&self) -> usize {
        self.places.values().map(BTreeSet::len).sum()
    }
}

/// Up to when nothing more comes, as a log says it.
pub(super) fn settled(shared: &Shared) -> Hlc {
    Hlc::from_u64(shared.settled.load(Ordering::Acquire))
}

/// The checks of this file see what they are for.
mod controls {
    use super::*;
    use tw_types::{PartitionId, StreamId};

    const AT: StreamPartition = StreamPartition::new(StreamId(1), PartitionId(0));

    fn origin(region: u16, sequence: u64) -> Origin {
        Origin { region: RegionId(region), epoch: Epoch(1), sequence: Sequence(sequence) }
    }

    /// Events at offsets from 0, each with its origin and time; that at offset 1 is the first of region 5, accepted at 300.
    fn check(stamps: [(Origin, u64); 3]) {
        let mut origins = Origins::default();
        let foreign = Foreign { origin: origin(5, 1), first_hlc: Hlc::from_u64(300) };
        origins.expect(&[Number(1)], foreign, true);
        origins.placed(AT, Offset(1), Number(1), None);
        let events = (0..).zip(stamps);
        let events = events
            .map(|(n, (origin, hlc))| (Offset(n), Number(n), Stamp { origin, hlc: Hlc::from_u64(hlc) }));
        origins.check(RegionId(0), AT, events);
    }

    #[test]
    fn what_is_right_is_accepted() {
        check([(origin(0, 1), 700), (origin(5, 1), 300), (origin(0, 2), 701)]);
    }

    #[test]
    #[should_panic(expected = "was accepted here")]
    fn a_gap_in_own_sequences_is_seen() {
        check([(origin(0, 1), 700), (origin(5, 1), 300), (origin(0, 3), 701)]);
    }

    #[test]
    #[should_panic(expected = "said to be another event")]
    fn another_origin_is_seen() {
        check([(origin(0, 1), 700), (origin(5, 2), 300), (origin(0, 2), 701)]);
    }

    #[test]
    #[should_panic(expected = "REG-2")]
    fn an_effect_before_its_cause_is_seen() {
        check([(origin(0, 1), 200), (origin(5, 1), 300), (origin(0, 2), 299)]);
    }

    #[test]
    #[should_panic(expected = "was settled")]
    fn an_event_before_what_was_settled_is_seen() {
        let mut origins = Origins { settled: Hlc::from_u64(500), ..Origins::default() };
        origins.placed(AT, Offset(0), Number(0), Some(Hlc::from_u64(500)));
    }
}
