//! Idempotency keys: whether a write has happened already, in whole or in part.
//!
//! A write that names a key leaves a record: what it said (a fingerprint of its content), when, and where its events
//! went in each partition. The same key with the same content is answered from the record; parts that are missing
//! (a write over several partitions was cut off) are appended. The same key with other content is an error.

use std::collections::BTreeMap;
use tw_types::{Offset, StreamPartition};
use xxhash_rust::xxh3::xxh3_128;

/// Stands for a key: XXH3-128 of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub u128);

impl KeyHash {
    /// The hash of `key`.
    pub fn of(key: &str) -> Self {
        Self(xxh3_128(key.as_bytes()))
    }
}

/// What a write stored in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPart {
    /// The partition.
    pub at: StreamPartition,
    /// Where its first event is.
    pub base: Offset,
    /// How many events it stored there; they follow one another.
    pub count: u32,
}

impl KeyPart {
    /// The offset after its last event.
    pub fn end(&self) -> Offset {
        self.base.plus(u64::from(self.count))
    }
}

/// What is known of the write that used a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Stands for its content.
    pub fingerprint: u64,
    /// When it was accepted, in milliseconds since 1970.
    pub time_ms: u64,
    /// What it stored, in no order, each partition once.
    pub parts: Vec<KeyPart>,
}

/// What to do with a write that names a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyDecision {
    /// Nobody has used the key: append all of it.
    New,
    /// It has happened: answer from these parts, and append what goes to other partitions.
    Repeated(Vec<KeyPart>),
    /// The key was used for something else.
    Reused,
}

impl KeyRecord {
    /// Decides on a write with this content; `keep_ms` after its time a record counts no more.
    pub fn decide(record: Option<&Self>, fingerprint: u64, now_ms: u64, keep_ms: u64) -> KeyDecision {
        match record {
            None => KeyDecision::New,
            Some(record) if record.has_expired(now_ms, keep_ms) => KeyDecision::New,
            Some(record) if record.fingerprint != fingerprint => KeyDecision::Reused,
            Some(record) => KeyDecision::Repeated(record.parts.clone()),
        }
    }

    /// Whether it counts no more.
    fn has_expired(&self, now_ms: u64, keep_ms: u64) -> bool {
        self.time_ms.saturating_add(keep_ms) < now_ms
    }

    /// Adds what else is known of the same write, or takes `other` instead if that is a later write: one with other
    /// content, or one with the same content from when this one counted no more.
    pub fn merge(&mut self, other: &Self, keep_ms: u64) {
        let (earlier, later) = if self.time_ms <= other.time_ms { (&*self, other) } else { (other, &*self) };
        if self.fingerprint != other.fingerprint || earlier.has_expired(later.time_ms, keep_ms) {
            if other.time_ms >= self.time_ms {
                *self = other.clone();
            }
            return;
        }
        self.time_ms = self.time_ms.min(other.time_ms);
        for part in &other.parts {
            if !self.parts.iter().any(|known| known.at == part.at) {
                self.parts.push(*part);
            }
        }
    }
}

/// The records that are not in the stored index yet.
#[derive(Debug, Default)]
pub struct KeyTable {
    records: BTreeMap<KeyHash, KeyRecord>,
}

impl KeyTable {
    /// The record of a key.
    pub fn get(&self, key: KeyHash) -> Option<&KeyRecord> {
        self.records.get(&key)
    }

    /// Remembers what a write stores, or what the log says it has stored; see [`KeyRecord::merge`].
    pub fn add(&mut self, key: KeyHash, record: &KeyRecord, keep_ms: u64) {
        let records = self.records.entry(key);
        records.and_modify(|known| known.merge(record, keep_ms)).or_insert_with(|| record.clone());
    }

    /// Takes back what was to be stored at `from` and after it: it did not get there.
    pub fn truncate(&mut self, at: StreamPartition, from: Offset) {
        self.records.retain(|_, record| {
            record.parts.retain(|part| part.at != at || part.base < from);
            !record.parts.is_empty()
        });
    }

    /// Forgets what was stored in partitions that are gone.
    pub fn forget_partitions(&mut self, gone: impl Fn(StreamPartition) -> bool) {
        self.records.retain(|_, record| {
            record.parts.retain(|part| !gone(part.at));
            !record.parts.is_empty()
        });
    }

    /// The records with those of their parts that end at or before what `confirmed` says of their partition.
    pub fn confirmed(&self, confirmed: impl Fn(StreamPartition) -> Offset) -> Vec<(KeyHash, KeyRecord)> {
        let parts = |record: &KeyRecord| -> Vec<KeyPart> {
            record.parts.iter().filter(|part| part.end() <= confirmed(part.at)).copied().collect()
        };
        self.records
            .iter()
            .map(|(key, record)| (*key, KeyRecord { parts: parts(record), ..record.clone() }))
            .filter(|(_, record)| !record.parts.is_empty())
            .collect()
    }

    /// Forgets records that are in the stored index as they are here.
    pub fn forget(&mut self, stored: &[(KeyHash, KeyRecord)]) {
        for (key, record) in stored {
            if self.records.get(key) == Some(record) {
                self.records.remove(key);
            }
        }
    }

    /// The partitions that records are about.
    pub fn partitions(&self) -> impl Iterator<Item = StreamPartition> + '_ {
        self.records.values().flat_map(|record| &record.parts).map(|part| part.at)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// About how much memory they take, in bytes.
    pub fn bytes(&self) -> usize {
        self.records.len() * 160
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tw_types::{PartitionId, StreamId};

    fn at(partition: u32) -> StreamPartition {
        StreamPartition::new(StreamId(1), PartitionId(partition))
    }

    fn record(fingerprint: u64, parts: &[(u32, u64, u32)]) -> KeyRecord {
        let parts =
            parts.iter().map(|(p, base, count)| KeyPart { at: at(*p), base: Offset(*base), count: *count });
        KeyRecord { fingerprint, time_ms: 1_000, parts: parts.collect() }
    }

    #[test]
    fn same_key_same_content_is_repeated_and_other_content_is_refused() {
        let known = record(7, &[(0, 10, 2)]);
        let decide = |fingerprint, now_ms| KeyRecord::decide(Some(&known), fingerprint, now_ms, 500);
        assert_eq!(KeyRecord::decide(None, 7, 1_000, 500), KeyDecision::New);
        assert_eq!(decide(7, 1_500), KeyDecision::Repeated(known.parts.clone()));
        assert_eq!(decide(8, 1_500), KeyDecision::Reused);
        assert_eq!(decide(8, 1_501), KeyDecision::New);
    }

    #[test]
    fn parts_of_one_write_come_together_and_go_with_what_failed() {
        let mut table = KeyTable::default();
        let key = KeyHash::of("k");
        table.add(key, &record(7, &[(0, 10, 2)]), 500);
        table.add(key, &record(7, &[(1, 5, 1), (0, 99, 2)]), 500);
        assert_eq!(table.get(key), Some(&record(7, &[(0, 10, 2), (1, 5, 1)])));
        let confirmed = table.confirmed(|partition| if partition == at(0) { Offset(12) } else { Offset(5) });
        assert_eq!(confirmed, [(key, record(7, &[(0, 10, 2)]))]);
        table.forget(&confirmed);
        assert_eq!(table.len(), 1);
        table.truncate(at(1), Offset(5));
        assert_eq!(table.get(key), Some(&record(7, &[(0, 10, 2)])));
        table.add(key, &record(7, &[(2, 8, 1)]), 500);
        table.add(KeyHash::of("of it alone"), &record(7, &[(2, 9, 1)]), 500);
        table.forget_partitions(|partition| partition == at(2));
        assert_eq!((table.len(), table.get(key)), (1, Some(&record(7, &[(0, 10, 2)]))));
        table.forget(&confirmed);
        assert!(table.is_empty());
    }

    #[test]
    fn a_record_that_has_changed_since_it_was_stored_is_kept() {
        let (mut table, key) = (KeyTable::default(), KeyHash::of("k"));
        table.add(key, &record(7, &[(0, 10, 2)]), 500);
        let stored = table.confirmed(|_| Offset(100));
        // It has expired, and the same write has taken the key again.
        let later = KeyRecord { time_ms: 1_501, ..record(7, &[(0, 77, 2)]) };
        table.add(key, &later, 500);
        table.forget(&stored);
        assert_eq!(table.get(key), Some(&later));
    }

    #[test]
    fn a_later_write_takes_the_key_of_an_expired_one() {
        // Other content, and the same content at another place.
        for later in [record(8, &[(1, 3, 1)]), record(7, &[(0, 77, 2)])] {
            let mut known = record(7, &[(0, 10, 2)]);
            let later = KeyRecord { time_ms: 1_501, ..later };
            known.merge(&later, 500);
            assert_eq!(known, later);
            known.merge(&record(7, &[(0, 10, 2)]), 500);
            assert_eq!(known, later);
        }
    }
}
