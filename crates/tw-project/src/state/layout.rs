//! Where a view keeps what, in the keyspace that its partitions share.
//!
//! ```text
//! key        = kind partition era rest     kind 1 byte; partition, era 4 bytes, big-endian
//! kind       = 1 group: its key → rows, accumulators
//!            | 2 row: its subject, or the place of its event → the columns that are kept of it
//!            | 3 entry: group key, aggregate (1 byte), entry key → count, value
//!            | 4 era (there is no era in this key): → version 01, era
//!            | 5 conflict that is to be told: `merged::conflict::key` → JSON
//! ```
//!
//! An era is everything since the last TRUNCATE: the next one starts empty at once, and what is left of older ones is removed little by
//! little. The worker's own keys start with byte 0.

use bytes::Bytes;
use std::ops::Bound;
use tw_state::Range;
use tw_types::PartitionId;

/// What a key is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Group = 1,
    Row = 2,
    Entry = 3,
    Conflict = 5,
}

/// The kinds of which every era has its own.
pub(crate) const KINDS: [Kind; 3] = [Kind::Group, Kind::Row, Kind::Entry];

const ERA: u8 = 4;
/// The length of what stands before a key's rest.
pub(crate) const PREFIX_BYTES: usize = 9;

/// The start of all keys of a kind, a partition and an era.
pub(crate) fn prefix(kind: Kind, partition: PartitionId, era: u32) -> [u8; PREFIX_BYTES] {
    let mut prefix = [0; PREFIX_BYTES];
    let parts = std::iter::once(kind as u8).chain(partition.0.to_be_bytes()).chain(era.to_be_bytes());
    prefix.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
    prefix
}

/// A whole key.
pub(crate) fn key(prefix: &[u8; PREFIX_BYTES], rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(PREFIX_BYTES + rest.len());
    key.extend_from_slice(prefix);
    key.extend_from_slice(rest);
    key
}

/// All keys of a kind and a partition that belong to eras before `era`.
pub(crate) fn older(kind: Kind, partition: PartitionId, era: u32) -> Range {
    Range {
        start: Bound::Included(Bytes::copy_from_slice(&prefix(kind, partition, 0))),
        end: Bound::Excluded(Bytes::copy_from_slice(&prefix(kind, partition, era))),
    }
}

/// The key that holds a partition's era.
pub(crate) fn era_key(partition: PartitionId) -> [u8; 5] {
    let [a, b, c, d] = partition.0.to_be_bytes();
    [ERA, a, b, c, d]
}

/// The stored form of an era.
pub(crate) fn put_era(era: u32) -> Vec<u8> {
    let mut out = vec![1];
    out.extend_from_slice(&era.to_be_bytes());
    out
}

/// Reads an era; 0 if nothing is stored.
pub(crate) fn take_era(stored: Option<&[u8]>) -> Result<u32, super::Malformed> {
    match stored {
        None => Ok(0),
        Some([1, era @ ..]) if era.len() == 4 => {
            Ok(era.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
        }
        Some(_) => Err(super::Malformed("an era has an unknown version")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_version_1() {
        assert_eq!(prefix(Kind::Entry, PartitionId(1), 2), [3, 0, 0, 0, 1, 0, 0, 0, 2]);
        assert_eq!(era_key(PartitionId(258)), [4, 0, 0, 1, 2]);
        assert_eq!(put_era(3), [1, 0, 0, 0, 3]);
        assert_eq!(take_era(Some(&put_era(u32::MAX))), Ok(u32::MAX));
        assert_eq!(take_era(None), Ok(0));
        assert!(take_era(Some(&[2, 0, 0, 0, 0])).is_err());
    }
}
