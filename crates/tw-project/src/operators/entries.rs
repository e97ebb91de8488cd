//! Entries: the single values that an aggregate of a group has, where knowing a total of them is not enough.
//!
//! `min` of rows that can be taken back needs the next smallest value, `count(DISTINCT x)` how often each value is there, `array_agg` all
//! of them in order. They are kept in the store, sorted; changes are collected here and carried out by the flush, which also tells the
//! groups' accumulators what readers need to know without walking: the best entry, or the number of different ones.

use super::accumulator::Accumulator;
use super::aggregate::{Aggregate, Keeps};
use super::best::{Best, Entry, Side};
use super::groups::Error;
use crate::state::Malformed;
use crate::state::layout::{self, Kind};
use crate::state::varint::{put_signed, take_signed};
use std::collections::BTreeMap;
use tw_state::{Batch, Keyspace, Range, Snapshot};
use tw_types::PartitionId;

/// About how much an entry takes beside its key and its value.
const ENTRY_BYTES: usize = 80;

/// How an entry has changed since the last flush.
#[derive(Debug, Default)]
struct Change {
    count: i64,
    value: Vec<u8>,
    /// Whether the last that happened to it was that it was added.
    is_added: bool,
}

/// The entries of one aggregate of one group that have changed, by their keys.
#[derive(Debug, Default)]
struct Changes {
    slot: u32,
    entries: BTreeMap<Vec<u8>, Change>,
}

/// Changes of entries, by group key and aggregate.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    changes: BTreeMap<Vec<u8>, Changes>,
    bytes: usize,
}

/// The stored form of an entry: how often it is there, then its value.
fn stored(count: i64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 2);
    put_signed(&mut out, count);
    out.extend_from_slice(value);
    out
}

/// How often a stored entry is there, and its value.
pub(crate) fn take_entry(mut stored: &[u8]) -> Result<(i64, &[u8]), Malformed> {
    let count = take_signed(&mut stored)?;
    Ok((count, stored))
}

/// The most aggregates of a grouping: each has a byte in the keys of its entries.
pub(crate) const AGGREGATES_MAX: usize = 256;

/// Where the entries of an aggregate of a group are, after the prefix.
pub(crate) fn owner(group: &[u8], aggregate: usize) -> Vec<u8> {
    let mut owner = Vec::with_capacity(group.len() + 1);
    owner.extend_from_slice(group);
    owner.push(aggregate as u8);
    owner
}

/// What a flush needs to know.
pub(crate) struct Place<'a> {
    pub(crate) partition: PartitionId,
    pub(crate) era: u32,
    pub(crate) keyspace: Keyspace,
    pub(crate) snapshot: &'a dyn Snapshot,
}

impl Entries {
    /// Adds an entry, or takes one back.
    pub(crate) fn add(
        &mut self,
        slot: u32,
        group: &[u8],
        aggregate: usize,
        key: &[u8],
        value: impl FnOnce() -> Vec<u8>,
        taken_back: bool,
    ) {
        let changes = self.changes.entry(owner(group, aggregate)).or_default();
        changes.slot = slot;
        let bytes = &mut self.bytes;
        let change = match changes.entries.get_mut(key) {
            Some(change) => change,
            None => {
                *bytes += key.len() + ENTRY_BYTES;
                changes.entries.entry(key.to_vec()).or_default()
            }
        };
        change.count += if taken_back { -1 } else { 1 };
        change.is_added = !taken_back;
        if !taken_back {
            let value = value();
            *bytes = (*bytes + value.len()).saturating_sub(change.value.len());
            change.value = value;
        }
    }

    /// About how many bytes of memory the changes take.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets all changes.
    pub(crate) fn clear(&mut self) {
        self.changes.clear();
        self.bytes = 0;
    }

    /// Carries the changes out, and tells the accumulators.
    pub(crate) fn flush(
        &mut self,
        place: &Place<'_>,
        aggregates: &[Aggregate],
        accumulators: &mut [Box<dyn Accumulator>],
        batch: &mut Batch,
    ) -> Result<(), Error> {
        for (owner, changes) in std::mem::take(&mut self.changes) {
            let index = usize::from(owner.last().copied().unwrap_or_default());
            let (Some(aggregate), Some(accumulator)) = (aggregates.get(index), accumulators.get_mut(index))
            else {
                continue;
            };
            flush_one(place, aggregate, accumulator.as_mut(), &owner, changes, batch)?;
        }
        self.bytes = 0;
        Ok(())
    }
}

/// Carries out the changes of one aggregate of one group.
fn flush_one(
    place: &Place<'_>,
    aggregate: &Aggregate,
    accumulator: &mut dyn Accumulator,
    owner: &[u8],
    changes: Changes,
    batch: &mut Batch,
) -> Result<(), Error> {
    let prefix = layout::prefix(Kind::Entry, place.partition, place.era);
    let mut base = layout::key(&prefix, owner);
    let base_len = base.len();
    let unique = aggregate.keeps(false) == Keeps::Rows;
    let slot = changes.slot as usize;
    let mut after = BTreeMap::new();
    let mut more = 0;
    for (key, mut change) in changes.entries {
        // A row that is merged keeps its place when a change comes late: its entry is there as before, with another value.
        let is_other = unique && change.is_added;
        if change.count == 0 && !is_other {
            continue;
        }
        base.truncate(base_len);
        base.extend_from_slice(&key);
        // A row's entry is there once; of a value it must be known how often it was there.
        let before = if unique {
            i64::from(change.is_added) - change.count
        } else {
            let (before, value) = stored_before(place, &base)?;
            // What is only taken back brings no value.
            if change.value.is_empty() {
                change.value = value;
            }
            before
        };
        let count = before + change.count;
        more += i64::from(count > 0) - i64::from(before > 0);
        if count > 0 {
            batch.put(place.keyspace, base.clone(), stored(count, &change.value));
        } else {
            batch.remove(place.keyspace, base.clone());
        }
        after.insert(key, (count > 0).then_some(change.value));
    }
    base.truncate(base_len);
    match aggregate.side() {
        Some(side) => {
            if let Some(best) = accumulator.as_best() {
                update_best(place, side, best, slot, &base, after)?;
            }
        }
        None => accumulator.add_count(slot, more),
    }
    Ok(())
}

/// How often an entry was there before, and its value.
fn stored_before(place: &Place<'_>, key: &[u8]) -> Result<(i64, Vec<u8>), Error> {
    match place.snapshot.get(place.keyspace, key)? {
        Some(stored) => {
            let (count, value) = take_entry(&stored)?;
            Ok((count, value.to_vec()))
        }
        None => Ok((0, Vec::new())),
    }
}

/// Finds the best entry after the changes `after` (None: gone).
fn update_best(
    place: &Place<'_>,
    side: Side,
    best: &mut Best,
    slot: usize,
    base: &[u8],
    after: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
) -> Result<(), Error> {
    let known = best.get(slot).and_then(|known| Some((known.key.clone(), after.get(&known.key)?.clone())));
    match known {
        Some((_, None)) => {
            let survivor = best_in_store(place, side, base, &after)?;
            best.set(slot, survivor);
        }
        Some((key, Some(value))) => best.set(slot, Some(Entry { key, value })),
        None => {}
    }
    let mut there = after.into_iter().filter_map(|(key, value)| Some(Entry { key, value: value? }));
    let candidate = if side == Side::First { there.next() } else { there.next_back() };
    if let Some(candidate) = candidate {
        best.offer(slot, &candidate.key, || candidate.value);
    }
    Ok(())
}

/// The best of the entries that were in the store before, and that are still there.
fn best_in_store(
    place: &Place<'_>,
    side: Side,
    base: &[u8],
    after: &BTreeMap<Vec<u8>, Option<Vec<u8>>>,
) -> Result<Option<Entry>, Error> {
    let range = Range::prefix(base);
    let mut entries = match side {
        Side::First => place.snapshot.range(place.keyspace, range),
        Side::Last => place.snapshot.range_rev(place.keyspace, range),
    };
    let survivor = entries.find_map(|entry| match entry {
        Ok((key, stored)) => {
            let key = key.get(base.len()..).unwrap_or_default();
            (!after.contains_key(key)).then(|| Ok((key.to_vec(), stored)))
        }
        Err(error) => Some(Err(error)),
    });
    let Some((key, stored)) = survivor.transpose()? else { return Ok(None) };
    let (_, value) = take_entry(&stored)?;
    Ok(Some(Entry { key, value: value.to_vec() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_entries_count_as_memory() {
        let mut entries = Entries::default();
        entries.add(0, b"g", 0, b"key", || vec![1; 1_000], false);
        let long = entries.pending_bytes();
        assert!(long >= 1_003, "{long}");
        entries.add(0, b"g", 0, b"key", || vec![1; 10], false);
        assert_eq!(entries.pending_bytes(), long - 990);
        entries.clear();
        assert_eq!(entries.pending_bytes(), 0);
    }
}
