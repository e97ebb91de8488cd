//! The groups of one partition: a cache of what the store has, with the changes since the last flush.
//!
//! Each group has a slot. A group that is not in the cache is read from the store when a row of it comes, unless the cache is known to be
//! complete. After a flush, groups that have not been touched for long make room for others.

use super::accumulator::Accumulator;
use super::aggregate::Aggregate;
use crate::state::Malformed;
use crate::state::layout::{self, Kind, PREFIX_BYTES};
use crate::state::varint::{put_signed, take_byte, take_signed};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;
use tw_state::{Batch, Keyspace, Range, Store};
use tw_types::PartitionId;

/// The version of the stored form of a group: version, number of rows, then what each accumulator remembers.
const VERSION: u8 = 1;
/// About how much a group takes beside its key and its accumulators.
const GROUP_BYTES: usize = 96;

/// A group's own data.
#[derive(Debug, Default)]
struct Group {
    key: Box<[u8]>,
    /// How many rows it has; without any, it does not exist.
    rows: i64,
    /// Whether the slot is in use.
    used: bool,
    changed: bool,
    /// The flush after which it was last touched.
    touched: u64,
}

/// The groups of one partition.
pub(crate) struct Groups {
    partition: PartitionId,
    keyspace: Keyspace,
    era: u32,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
    groups: Vec<Group>,
    free: Vec<u32>,
    changed: Vec<u32>,
    accumulators: Vec<Box<dyn Accumulator>>,
    /// Whether every group of the store is in the cache.
    complete: bool,
    key_bytes: usize,
    flushes: u64,
    scratch: Vec<u8>,
}

/// What went wrong with the groups.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The store failed.
    #[error(transparent)]
    State(#[from] tw_state::Error),
    /// What is stored cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A row has a value that is too long for a key.
    #[error("{0}")]
    Key(String),
}

impl Groups {
    /// The groups that the store has. If they are expected to take no more than `cache_bytes_max`, they are read at once.
    pub(crate) fn open(
        partition: PartitionId,
        keyspace: Keyspace,
        era: u32,
        aggregates: &[Aggregate],
        store: &dyn Store,
        cache_bytes_max: usize,
    ) -> Result<Self, Error> {
        let mut groups = Self {
            partition,
            keyspace,
            era,
            table: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            groups: Vec::new(),
            free: Vec::new(),
            changed: Vec::new(),
            accumulators: aggregates.iter().map(Aggregate::accumulator).collect(),
            complete: true,
            key_bytes: 0,
            flushes: 0,
            scratch: Vec::new(),
        };
        let prefix = groups.prefix();
        let snapshot = store.snapshot();
        for entry in snapshot.range(keyspace, Range::prefix(&prefix)) {
            let (key, stored) = entry?;
            if groups.bytes() > cache_bytes_max / 2 {
                groups.complete = false;
                break;
            }
            let slot = groups.insert(key.get(PREFIX_BYTES..).unwrap_or_default());
            groups.load(slot, &stored)?;
        }
        Ok(groups)
    }

    fn prefix(&self) -> [u8; PREFIX_BYTES] {
        layout::prefix(Kind::Group, self.partition, self.era)
    }

    /// The accumulator of an aggregate.
    pub(crate) fn accumulators(&mut self) -> &mut [Box<dyn Accumulator>] {
        &mut self.accumulators
    }

    /// The key of a slot's group.
    pub(crate) fn key(&self, slot: u32) -> &[u8] {
        self.groups.get(slot as usize).map_or(&[], |group| &group.key)
    }

    /// The slot of a group, which is read from the store, or made, if need be.
    pub(crate) fn slot(&mut self, key: &[u8], store: &dyn Store) -> Result<u32, Error> {
        let hash = self.hasher.hash_one(key);
        let groups = &self.groups;
        if let Some(slot) =
            self.table.find(hash, |slot| groups.get(*slot as usize).is_some_and(|group| *group.key == *key))
        {
            return Ok(*slot);
        }
        let slot = self.insert(key);
        if !self.complete
            && let Some(stored) = store.get(self.keyspace, &layout::key(&self.prefix(), key))?
        {
            self.load(slot, &stored)?;
        }
        Ok(slot)
    }

    fn insert(&mut self, key: &[u8]) -> u32 {
        let slot = self.free.pop().unwrap_or(self.groups.len() as u32);
        let group = Group { key: key.into(), touched: self.flushes, used: true, ..Group::default() };
        self.key_bytes += key.len();
        match self.groups.get_mut(slot as usize) {
            Some(free) => *free = group,
            None => {
                self.groups.push(group);
                let slots = self.groups.len();
                self.accumulators.iter_mut().for_each(|accumulator| accumulator.resize(slots));
            }
        }
        let (groups, hasher) = (&self.groups, &self.hasher);
        let hash = hasher.hash_one(key);
        self.table.insert_unique(hash, slot, |slot| {
            hasher.hash_one(groups.get(*slot as usize).map_or(&[][..], |group| &group.key))
        });
        slot
    }

    fn load(&mut self, slot: u32, stored: &[u8]) -> Result<(), Malformed> {
        let mut input = stored;
        let rows = take_rows(&mut input)?;
        for accumulator in &mut self.accumulators {
            accumulator.merge(slot as usize, &mut input)?;
        }
        if let Some(group) = self.groups.get_mut(slot as usize) {
            group.rows = rows;
        }
        Ok(())
    }

    /// Counts a row of a group, and remembers that the group has changed.
    #[inline]
    pub(crate) fn touch(&mut self, slot: u32, taken_back: bool) {
        if let Some(group) = self.groups.get_mut(slot as usize) {
            group.rows += if taken_back { -1 } else { 1 };
            group.touched = self.flushes;
            if !group.changed {
                group.changed = true;
                self.changed.push(slot);
            }
        }
    }

    /// About how many bytes will be written by the next flush.
    pub(crate) fn pending_bytes(&self) -> usize {
        if self.groups.is_empty() {
            return 0;
        }
        self.changed.len() * (self.bytes() / self.groups.len())
    }

    fn bytes(&self) -> usize {
        let accumulators: usize = self.accumulators.iter().map(|accumulator| accumulator.bytes()).sum();
        self.key_bytes + accumulators + self.groups.capacity() * GROUP_BYTES
    }

    /// Adds the groups that have changed to `batch`, and makes room if more than `cache_bytes_max` are in use.
    pub(crate) fn flush(&mut self, batch: &mut Batch, cache_bytes_max: usize) {
        let prefix = self.prefix();
        let mut changed = std::mem::take(&mut self.changed);
        // In the order in which the store keeps them, so that it finds their places side by side.
        changed.sort_unstable_by(|a, b| self.key_of(*a).cmp(&self.key_of(*b)));
        let mut empty = Vec::new();
        for slot in changed.drain(..) {
            let Some(group) = self.groups.get_mut(slot as usize) else { continue };
            group.changed = false;
            let key = layout::key(&prefix, &group.key);
            if group.rows == 0 {
                batch.remove(self.keyspace, key);
                empty.push(slot);
                continue;
            }
            self.scratch.clear();
            put_rows(group.rows, &mut self.scratch);
            for accumulator in &self.accumulators {
                accumulator.put(slot as usize, &mut self.scratch);
            }
            batch.put(self.keyspace, key, self.scratch.clone());
        }
        self.changed = changed;
        empty.into_iter().for_each(|slot| self.forget(slot));
        self.flushes += 1;
        if self.bytes() > cache_bytes_max {
            self.make_room(cache_bytes_max);
        }
    }

    fn key_of(&self, slot: u32) -> Option<&[u8]> {
        self.groups.get(slot as usize).map(|group| group.key.as_ref())
    }

    /// Lets groups go that were not touched since the flush before; if that is not enough, all of them.
    fn make_room(&mut self, cache_bytes_max: usize) {
        self.complete = false;
        let last = self.flushes.saturating_sub(1);
        let old: Vec<u32> = (0u32..)
            .zip(&self.groups)
            .filter(|(_, group)| group.used && group.touched < last)
            .map(|(slot, _)| slot)
            .collect();
        let used = self.table.len();
        if used.saturating_sub(old.len()) * (self.bytes() / used.max(1)) > cache_bytes_max / 2 {
            self.forget_all();
        } else {
            old.into_iter().for_each(|slot| self.forget(slot));
        }
    }

    fn forget(&mut self, slot: u32) {
        let Some(group) = self.groups.get_mut(slot as usize) else { return };
        let key = std::mem::take(&mut group.key);
        let hash = self.hasher.hash_one(&*key);
        if let Ok(entry) = self.table.find_entry(hash, |known| *known == slot) {
            entry.remove();
            self.key_bytes -= key.len();
            self.accumulators.iter_mut().for_each(|accumulator| accumulator.clear(slot as usize));
            *group = Group::default();
            self.free.push(slot);
        }
    }

    fn forget_all(&mut self) {
        self.table.clear();
        self.groups = Vec::new();
        self.free.clear();
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.resize(0));
        self.key_bytes = 0;
    }

    /// Starts an empty era.
    pub(crate) fn start_era(&mut self, era: u32) {
        self.changed.clear();
        self.forget_all();
        (self.era, self.complete) = (era, true);
    }
}

/// Appends the head of a group's stored form.
fn put_rows(rows: i64, out: &mut Vec<u8>) {
    out.push(VERSION);
    put_signed(out, rows);
}

/// Takes the head of a group's stored form: how many rows it has.
pub(crate) fn take_rows(input: &mut &[u8]) -> Result<i64, Malformed> {
    if take_byte(input)? != VERSION {
        return Err(Malformed("a group has an unknown version"));
    }
    take_signed(input)
}
