//! The changes of a subject that some region may not have seen yet, in the order of their stamps.

use crate::class::Arrival;
use crate::{Change, Context, FieldOp, Kind, Stamp};
use std::collections::BTreeMap;
use std::ops::Bound;
use tw_types::{Epoch, RegionId};

/// A change, and whether a delete has taken it away. A delete is never dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry<V> {
    pub(super) change: Change<V>,
    pub(super) dead: bool,
}

/// A put that survives: its context and its operations.
type Survivor<'a, V> = (&'a Context, &'a [(u16, FieldOp<V>)]);

/// Changes by stamp. A put that is taken away stays, because changes that do not know of it may come, and are in conflict with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Log<V> {
    entries: BTreeMap<Stamp, Entry<V>>,
    /// How many puts survive.
    alive: usize,
    /// How many changes each region has here in each epoch.
    writers: BTreeMap<(RegionId, Epoch), usize>,
}

impl<V: Clone> Log<V> {
    pub(super) const fn new() -> Self {
        Self { entries: BTreeMap::new(), alive: 0, writers: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn alive(&self) -> usize {
        self.alive
    }

    pub(super) fn contains(&self, stamp: &Stamp) -> bool {
        self.entries.contains_key(stamp)
    }

    pub(super) fn change(&self, stamp: &Stamp) -> Option<&Change<V>> {
        self.entries.get(stamp).map(|entry| &entry.change)
    }

    /// The last change in the order.
    pub(super) fn last(&self) -> Option<&Stamp> {
        self.entries.last_key_value().map(|(stamp, _)| stamp)
    }

    pub(super) fn changes(&self) -> impl Iterator<Item = Change<V>> + '_ {
        self.entries.values().map(|entry| entry.change.clone())
    }

    pub(super) fn deletes(&self) -> impl Iterator<Item = &Stamp> {
        let deletes = self.entries.iter().filter(|(_, entry)| matches!(entry.change.kind, Kind::Delete));
        deletes.map(|(stamp, _)| stamp)
    }

    /// The puts that survive, in order, from a stamp on (inclusive) or all.
    pub(super) fn surviving(&self, from: Option<Stamp>) -> impl Iterator<Item = Survivor<'_, V>> {
        let start = from.map_or(Bound::Unbounded, Bound::Included);
        let alive = self.entries.range((start, Bound::Unbounded)).filter(|(_, entry)| !entry.dead);
        alive.filter_map(|(_, entry)| match &entry.change.kind {
            Kind::Put(ops) => Some((&entry.change.context, ops.as_slice())),
            Kind::Delete => None,
        })
    }

    /// How a change with this stamp, which is not here, arrives.
    pub(super) fn arrival(&self, stamp: &Stamp) -> Arrival {
        let mut later = self.after(stamp).peekable();
        if later.peek().is_none() {
            return Arrival::InOrder;
        }
        match later.any(|entry| entry.change.context.knew(stamp)) {
            true => Arrival::AfterItsEffect,
            false => Arrival::Late,
        }
    }

    fn after(&self, stamp: &Stamp) -> impl Iterator<Item = &Entry<V>> {
        self.entries.range((Bound::Excluded(*stamp), Bound::Unbounded)).map(|(_, entry)| entry)
    }

    /// The changes that neither know of this one nor are known by it. Only those are looked at that are late enough: of each writer the
    /// change knows everything up to a time.
    pub(super) fn concurrent<'a>(&'a self, context: &'a Context) -> impl Iterator<Item = &'a Change<V>> {
        let own = (context.stamp.origin.region, context.stamp.origin.epoch);
        let known_until = |writer: &(RegionId, Epoch)| match *writer == own {
            true => context.stamp.hlc,
            false => context.seen.of(writer.0),
        };
        let from = self.writers.keys().map(known_until).min().unwrap_or_default();
        let late = self.entries.iter().rev().take_while(move |(stamp, _)| stamp.hlc >= from);
        late.map(|(_, entry)| &entry.change).filter(|other| other.context.is_concurrent_with(context))
    }

    /// Puts a change in that is not here.
    pub(super) fn insert(&mut self, change: Change<V>) {
        match change.kind {
            Kind::Put(ops) => {
                self.insert_put(change.context, ops);
            }
            Kind::Delete => self.insert_delete(change.context),
        }
    }

    /// Puts a put in; whether it survives.
    pub(super) fn insert_put(&mut self, context: Context, ops: Vec<(u16, FieldOp<V>)>) -> bool {
        let stamp = context.stamp;
        // Whoever knew of it has a greater stamp.
        let taken =
            |later: &Entry<V>| matches!(later.change.kind, Kind::Delete) && later.change.context.knew(&stamp);
        let dead = self.after(&stamp).any(taken);
        self.alive += usize::from(!dead);
        self.enter(Entry { change: Change { context, kind: Kind::Put(ops) }, dead });
        !dead
    }

    /// Puts a delete in, and takes away what it had seen.
    pub(super) fn insert_delete(&mut self, context: Context) {
        for (stamp, entry) in self.entries.range_mut(..context.stamp) {
            if matches!(entry.change.kind, Kind::Put(_)) && !entry.dead && context.knew(stamp) {
                entry.dead = true;
                self.alive -= 1;
            }
        }
        self.enter(Entry { change: Change { context, kind: Kind::Delete }, dead: false });
    }

    fn enter(&mut self, entry: Entry<V>) {
        let stamp = entry.change.context.stamp;
        *self.writers.entry((stamp.origin.region, stamp.origin.epoch)).or_default() += 1;
        self.entries.insert(stamp, entry);
    }

    /// Takes the first change out if `wanted` holds for its stamp.
    pub(super) fn pop_first_if(&mut self, wanted: impl Fn(&Stamp) -> bool) -> Option<Entry<V>> {
        let first = self.entries.first_entry().filter(|first| wanted(first.key()))?;
        let (stamp, entry) = first.remove_entry();
        self.alive -= usize::from(matches!(entry.change.kind, Kind::Put(_)) && !entry.dead);
        let writer = (stamp.origin.region, stamp.origin.epoch);
        if let Some(count) = self.writers.get_mut(&writer) {
            *count -= 1;
            if *count == 0 {
                self.writers.remove(&writer);
            }
        }
        Some(entry)
    }

    /// Drops what is not after `cut`.
    pub(super) fn forget(&mut self, cut: &Stamp) {
        while self.pop_first_if(|stamp| stamp <= cut).is_some() {}
    }
}
