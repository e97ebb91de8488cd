//! The windows of a ledger: they outlive what is flushed, and leave when memory is short.

use crate::{IdWindow, Posting, SubjectHash};
use hashbrown::HashTable;
use tw_types::Offset;

/// No place among windows.
pub(crate) const NO_WINDOW: u32 = u32::MAX;

/// What a place takes besides the heap of its window: in the vector, in the table, and among the free ones.
const PLACE_BYTES: usize = size_of::<Option<Kept>>() + 5 + size_of::<u32>();

/// When there are more than so many places for each window, memory is given back.
const FREE_PLACES: usize = 4;

/// Windows by subject and by place. A window keeps its place until it is removed, or
/// [`Windows::shrink`] gives it another one.
#[derive(Debug, Default)]
pub(super) struct Windows {
    places: HashTable<u32>,
    kept: Vec<Option<Kept>>,
    free: Vec<u32>,
    /// What windows take besides their places.
    heap_bytes: usize,
}

#[derive(Debug)]
struct Kept {
    subject: SubjectHash,
    /// When it was used last.
    used: u64,
    window: IdWindow,
}

impl Windows {
    pub(super) fn find(&self, subject: SubjectHash) -> Option<u32> {
        let same = |place: &u32| self.kept(*place).is_some_and(|kept| kept.subject == subject);
        self.places.find(subject.short(), same).copied()
    }

    pub(super) fn get(&self, place: u32) -> Option<&IdWindow> {
        self.kept(place).map(|kept| &kept.window)
    }

    fn kept(&self, place: u32) -> Option<&Kept> {
        self.kept.get(place as usize).and_then(Option::as_ref)
    }

    /// Adds the window of a subject that has none; returns its place.
    pub(super) fn insert(&mut self, subject: SubjectHash, window: IdWindow) -> u32 {
        self.heap_bytes += window.heap_bytes();
        let kept = Some(Kept { subject, used: 0, window });
        let place = match self.free.pop() {
            Some(place) => {
                self.kept[place as usize] = kept;
                place
            }
            None => {
                self.kept.push(kept);
                self.kept.len() as u32 - 1
            }
        };
        let all = &self.kept;
        let short = |place: &u32| {
            let kept = all.get(*place as usize).and_then(Option::as_ref);
            kept.map_or(0, |kept| kept.subject.short())
        };
        self.places.insert_unique(subject.short(), place, short);
        place
    }

    /// Takes note that the window at `place`, if there is one, is used at `now`.
    pub(super) fn touch(&mut self, place: u32, now: u64) {
        if let Some(kept) = self.kept.get_mut(place as usize).and_then(Option::as_mut) {
            kept.used = kept.used.max(now);
        }
    }

    /// Adds an event to the window at `place`, if there is one.
    pub(super) fn push(&mut self, place: u32, posting: Posting) {
        if let Some(kept) = self.kept.get_mut(place as usize).and_then(Option::as_mut) {
            let before = kept.window.heap_bytes();
            kept.window.push(posting);
            self.heap_bytes += kept.window.heap_bytes() - before;
        }
    }

    /// Removes the windows with events at `from` or after it; says whose they were.
    pub(super) fn truncate(&mut self, from: Offset) -> Vec<SubjectHash> {
        let reaches = |kept: &&Kept| kept.window.last_offset() >= from;
        let gone: Vec<_> = self.kept.iter().flatten().filter(reaches).map(|kept| kept.subject).collect();
        gone.iter().for_each(|subject| self.remove(*subject));
        gone
    }

    /// Removes windows that were last used before `before`, the least recently used first, until `bytes` are free; says
    /// whose they were.
    pub(super) fn evict(&mut self, bytes: usize, before: u64) -> Vec<SubjectHash> {
        let mut order: Vec<_> = self.uses().filter(|(used, ..)| *used < before).collect();
        order.sort_unstable_by_key(|(used, _, subject)| (*used, *subject));
        let mut freed = 0;
        let enough = |(_, size, _): &(u64, usize, SubjectHash)| {
            let missing = freed < bytes;
            freed += size;
            missing
        };
        let gone: Vec<_> = order.into_iter().take_while(enough).map(|(.., subject)| subject).collect();
        gone.iter().for_each(|subject| self.remove(*subject));
        gone
    }

    /// Of each window: when it was used last, how much memory is free when it goes, and whose it is.
    pub(super) fn uses(&self) -> impl Iterator<Item = (u64, usize, SubjectHash)> + '_ {
        self.kept.iter().flatten().map(|kept| (kept.used, kept.window.heap_bytes(), kept.subject))
    }

    fn remove(&mut self, subject: SubjectHash) {
        let Some(place) = self.find(subject) else { return };
        if let Ok(entry) = self.places.find_entry(subject.short(), |other| *other == place) {
            entry.remove();
        }
        if let Some(kept) = self.kept.get_mut(place as usize).and_then(Option::take) {
            self.heap_bytes -= kept.window.heap_bytes();
            self.free.push(place);
        }
    }

    /// Gives memory back when most places are free, because what was large once is not to stay so. Returns true when
    /// windows have other places then.
    pub(super) fn shrink(&mut self) -> bool {
        if self.kept.len() <= FREE_PLACES * self.places.len() {
            return false;
        }
        let Self { kept, heap_bytes, .. } = std::mem::take(self);
        self.kept = kept.into_iter().filter(Option::is_some).collect();
        self.kept.shrink_to_fit();
        self.heap_bytes = heap_bytes;
        let all = &self.kept;
        let short = |place: &u32| {
            let kept = all.get(*place as usize).and_then(Option::as_ref);
            kept.map_or(0, |kept| kept.subject.short())
        };
        for place in 0..all.len() as u32 {
            self.places.insert_unique(short(&place), place, short);
        }
        true
    }

    /// About how much memory it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.heap_bytes + self.kept.capacity() * PLACE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IdHash;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use tw_types::Version;

    fn subject(number: u8) -> SubjectHash {
        // Some share the bits that the table looks at.
        SubjectHash::from_u128(u128::from(number) << 70 | u128::from(number % 3 + 1))
    }

    fn window(events: u64) -> IdWindow {
        let mut window = IdWindow::default();
        for n in 1..=events {
            window.push(Posting { version: Version(n), offset: Offset(n), id: IdHash(n as u32) });
        }
        window
    }

    #[derive(Debug, Clone)]
    enum Step {
        Use(u8, u64, u64),
        Truncate(u64),
        Evict(usize, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0u8..40, 1u64..300, 0u64..100).prop_map(|(who, events, now)| Step::Use(who, events, now)),
            1 => (0u64..300).prop_map(Step::Truncate),
            1 => (0usize..9_000, 0u64..150).prop_map(|(bytes, before)| Step::Evict(bytes, before)),
        ]
    }

    proptest! {
        /// The model: the last offset and the last use of each window.
        #[test]
        fn the_least_recently_used_leave_first(steps in proptest::collection::vec(step(), 1..100)) {
            let (mut windows, mut model) = (Windows::default(), BTreeMap::<SubjectHash, (u64, u64)>::new());
            for step in steps {
                match step {
                    Step::Use(who, events, now) => {
                        let who = subject(who);
                        let place = windows.find(who).unwrap_or_else(|| windows.insert(who, window(events)));
                        windows.touch(place, now);
                        let used = model.entry(who).or_insert((events, 0));
                        used.1 = used.1.max(now);
                    }
                    Step::Truncate(from) => {
                        windows.truncate(Offset(from));
                        model.retain(|_, (last, _)| *last < from);
                    }
                    Step::Evict(bytes, before) => {
                        let sizes: BTreeMap<_, _> = windows.uses().map(|(_, size, who)| (who, size)).collect();
                        let gone = windows.evict(bytes, before);
                        let freed: usize = gone.iter().map(|who| sizes[who]).sum();
                        let youngest = gone.iter().filter_map(|who| model.remove(who)).map(|(_, used)| used).max();
                        let oldest = model.values().map(|(_, used)| *used).min();
                        prop_assert!(youngest.is_none_or(|used| used < before));
                        prop_assert!(youngest.is_none() || oldest.is_none() || youngest <= oldest);
                        prop_assert!(freed >= bytes || oldest.is_none_or(|used| used >= before));
                        let spare = gone.last().map_or(0, |who| sizes[who]);
                        prop_assert!(freed - spare <= bytes, "no more than was asked for");
                        windows.shrink();
                        prop_assert!(windows.kept.len() <= FREE_PLACES * model.len());
                    }
                }
                let kept: BTreeMap<_, _> = windows.uses().map(|(used, _, who)| (who, used)).collect();
                prop_assert_eq!(&kept, &model.iter().map(|(who, (_, used))| (*who, *used)).collect());
                prop_assert!(kept.keys().all(|who| windows.find(*who).is_some()));
                let heap: usize = windows.kept.iter().flatten().map(|kept| kept.window.heap_bytes()).sum();
                prop_assert_eq!(windows.heap_bytes, heap);
            }
            windows.evict(usize::MAX, u64::MAX);
            windows.shrink();
            prop_assert_eq!(windows.bytes(), 0);
        }
    }
}
