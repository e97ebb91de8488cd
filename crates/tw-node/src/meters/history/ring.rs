//! Steps of one length, the latest ones. Pure; its memory is bounded by the number of steps.

use std::collections::VecDeque;
use std::ops::Range;

/// A step of which something is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Slot {
    /// Its number: when it begins, divided by how long it is.
    pub(super) place: u64,
    pub(super) mean: f32,
    pub(super) max: f32,
    /// How many of the smallest steps the mean is of.
    pub(super) weight: u32,
}

impl Slot {
    /// A step that consists of no smaller ones.
    pub(super) fn one(place: u64, (mean, max): (f32, f32)) -> Self {
        Self { place, mean, max, weight: 1 }
    }
}

/// The latest steps, in order; those of which nothing is known take no room.
#[derive(Debug)]
pub(super) struct Ring {
    slots: VecDeque<Slot>,
    /// How many steps back from the newest are kept.
    span: u64,
}

impl Ring {
    pub(super) fn new(span: u64) -> Self {
        Self { slots: VecDeque::new(), span }
    }

    /// Puts what `of` makes of a step, of which something may be known; false if it is older than what is kept.
    pub(super) fn put(&mut self, place: u64, of: impl FnOnce(Option<Slot>) -> Slot) -> bool {
        if self.slots.back().is_some_and(|newest| place + self.span <= newest.place) {
            return false;
        }
        let index = self.slots.partition_point(|slot| slot.place < place);
        match self.slots.get_mut(index).filter(|slot| slot.place == place) {
            Some(slot) => *slot = of(Some(*slot)),
            None => self.slots.insert(index, of(None)),
        }
        let newest = self.slots.back().map_or(place, |newest| newest.place);
        while self.slots.front().is_some_and(|oldest| oldest.place + self.span <= newest) {
            self.slots.pop_front();
        }
        true
    }

    /// The newest step.
    pub(super) fn last(&self) -> Option<&Slot> {
        self.slots.back()
    }

    /// The steps with these numbers of which something is known.
    pub(super) fn range(&self, places: Range<u64>) -> impl Iterator<Item = Slot> + '_ {
        let first = self.slots.partition_point(|slot| slot.place < places.start);
        self.slots.range(first..).take_while(move |slot| slot.place < places.end).copied()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

/// Several steps as the one of this number: the mean of their means by their weights, and the most. None of none.
pub(super) fn together(place: u64, slots: impl Iterator<Item = Slot>) -> Option<Slot> {
    let (mut total, mut weight, mut max) = (0.0_f64, 0_u32, f32::MIN);
    for slot in slots {
        total += f64::from(slot.mean) * f64::from(slot.weight);
        weight += slot.weight;
        max = max.max(slot.max);
    }
    (weight > 0).then(|| Slot { place, mean: (total / f64::from(weight)) as f32, max, weight })
}

/// Steps in groups of `each` neighbours, with the number of each group.
pub(super) fn by(slots: impl Iterator<Item = Slot>, each: u64) -> Vec<(u64, Vec<Slot>)> {
    let mut groups: Vec<(u64, Vec<Slot>)> = Vec::new();
    for slot in slots {
        let group = slot.place / each;
        match groups.last_mut().filter(|(last, _)| *last == group) {
            Some((_, slots)) => slots.push(slot),
            None => groups.push((group, vec![slot])),
        }
    }
    groups
}
