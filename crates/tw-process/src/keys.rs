//! The worker's own keys in the keyspace of a view.
//!
//! ```text
//! 0 1 partition                cursor
//! 0 2 partition lane           a lane that is being retried
//! 0 3 partition lane           a parked lane
//! 0 4 partition lane offset    an event that waits in a lane's queue
//! 0 5 partition lane           why the lane's head could not be processed
//! 0 6 partition offset         an event of which was told that it is parked
//! 0 7 partition number         an event for `$parked` that is still to be written
//! 0 8 partition                nothing that is stored of the partition counts: it is to be removed
//! ```
//!
//! The first byte is [`WORKER_KEY`], the second the [`Kind`]; partitions take 4 bytes, lanes 16, offsets and numbers 8, all
//! big-endian, so that keys sort as their parts do.

use crate::WORKER_KEY;
use bytes::Bytes;
use std::ops::Bound;
use tw_order::gate::LaneKey;
use tw_state::{Keyspace, Range, Snapshot};
use tw_types::{Offset, PartitionId};

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Kind {
    Cursor = 1,
    Retrying = 2,
    Parked = 3,
    Queue = 4,
    Note = 5,
    Told = 6,
    Outbox = 7,
    Void = 8,
}

/// The kinds of what is stored of a partition, but for [`Kind::Void`], in ascending order.
const STORED: [Kind; 7] =
    [Kind::Cursor, Kind::Retrying, Kind::Parked, Kind::Queue, Kind::Note, Kind::Told, Kind::Outbox];

/// Bytes before the part that differs within a kind.
pub(crate) const PREFIX_BYTES: usize = 6;

/// What all keys of a kind of a partition start with.
pub(crate) fn prefix(kind: Kind, partition: PartitionId) -> [u8; PREFIX_BYTES] {
    let [a, b, c, d] = partition.0.to_be_bytes();
    [WORKER_KEY, kind as u8, a, b, c, d]
}

fn join(kind: Kind, partition: PartitionId, parts: &[&[u8]]) -> Bytes {
    let mut key = Vec::with_capacity(PREFIX_BYTES + 24);
    key.extend_from_slice(&prefix(kind, partition));
    for part in parts {
        key.extend_from_slice(part);
    }
    Bytes::from(key)
}

/// The key of a partition's cursor.
pub(crate) fn cursor(partition: PartitionId) -> Bytes {
    join(Kind::Cursor, partition, &[])
}

/// The key of a kind that has one entry per lane.
pub(crate) fn lane(kind: Kind, partition: PartitionId, key: LaneKey) -> Bytes {
    join(kind, partition, &[&key.to_bytes()])
}

/// The key of a waiting event.
pub(crate) fn queue(partition: PartitionId, key: LaneKey, offset: Offset) -> Bytes {
    join(Kind::Queue, partition, &[&key.to_bytes(), &offset.0.to_be_bytes()])
}

/// The key of a kind that has one entry per offset or number.
pub(crate) fn number(kind: Kind, partition: PartitionId, number: u64) -> Bytes {
    join(kind, partition, &[&number.to_be_bytes()])
}

/// The waiting events of a lane from `from` (inclusive) on.
pub(crate) fn queue_from(partition: PartitionId, key: LaneKey, from: Offset) -> Range {
    let mut range = Range::prefix(&join(Kind::Queue, partition, &[&key.to_bytes()]));
    range.start = Bound::Included(queue(partition, key, from));
    range
}

/// The entries of a kind, from the number `from` (inclusive) on.
pub(crate) fn numbers_from(kind: Kind, partition: PartitionId, from: u64) -> Range {
    let mut range = Range::prefix(&prefix(kind, partition));
    range.start = Bound::Included(number(kind, partition, from));
    range
}

/// The key that says that nothing that is stored of a partition counts.
pub(crate) fn void(partition: PartitionId) -> Bytes {
    join(Kind::Void, partition, &[])
}

/// The partitions of a keyspace of which nothing counts that is stored.
pub(crate) fn voids(snapshot: &dyn Snapshot, keyspace: Keyspace) -> tw_state::Result<Vec<PartitionId>> {
    let entries = snapshot.range(keyspace, Range::prefix(&[WORKER_KEY, Kind::Void as u8]));
    let partition = |key: &[u8]| key.last_chunk().copied().map(u32::from_be_bytes).map(PartitionId);
    entries.map(|entry| entry.map(|(key, _)| partition(&key))).filter_map(Result::transpose).collect()
}

/// Where everything of a partition is, in ascending order; [`void`] is not among it. The processors keep to the rule at
/// [`WORKER_KEY`].
pub(crate) fn all(
    snapshot: &dyn Snapshot,
    keyspace: Keyspace,
    partition: PartitionId,
) -> tw_state::Result<Vec<Range>> {
    let mut ranges: Vec<_> = STORED.iter().map(|kind| Range::prefix(&prefix(*kind, partition))).collect();
    let mut kind = Some(WORKER_KEY + 1);
    while let Some(from) = kind {
        let rest = Range { start: Bound::Included(Bytes::copy_from_slice(&[from])), end: Bound::Unbounded };
        let first = snapshot.range(keyspace, rest).next().transpose()?;
        let Some(found) = first.and_then(|(key, _)| key.first().copied()) else { break };
        let [a, b, c, d] = partition.0.to_be_bytes();
        ranges.push(Range::prefix(&[found, a, b, c, d]));
        kind = found.checked_add(1);
    }
    Ok(ranges)
}

/// Whether a key is of a partition, and not [`void`] nor its cursor.
pub(crate) fn is_of(key: &[u8], partition: PartitionId) -> bool {
    let number = partition.0.to_be_bytes();
    match key {
        [WORKER_KEY, kind, rest @ ..] => {
            *kind != Kind::Cursor as u8
                && STORED.iter().any(|known| *known as u8 == *kind)
                && rest.starts_with(&number)
        }
        [_, rest @ ..] => rest.starts_with(&number),
        [] => false,
    }
}

/// The lane that a key of [`Kind::Retrying`], [`Kind::Parked`], [`Kind::Queue`] or [`Kind::Note`] is about.
pub(crate) fn lane_of(key: &[u8]) -> Option<LaneKey> {
    let bytes = key.get(PREFIX_BYTES..PREFIX_BYTES + 16)?;
    bytes.try_into().ok().map(LaneKey::from_bytes)
}

/// The offset or number at the end of a key of [`Kind::Queue`], [`Kind::Told`] or [`Kind::Outbox`].
pub(crate) fn last_number(key: &[u8]) -> Option<u64> {
    key.last_chunk().copied().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_that_earlier_versions_stored() {
        let at = PartitionId(3);
        let key = LaneKey::from_bytes(*b"0123456789abcdef");
        assert_eq!(&cursor(at)[..], b"\0\x01\0\0\0\x03");
        assert_eq!(&lane(Kind::Parked, at, key)[..], b"\0\x03\0\0\0\x030123456789abcdef");
        let waiting = queue(at, key, Offset(258));
        assert_eq!(&waiting[..], b"\0\x04\0\0\0\x030123456789abcdef\0\0\0\0\0\0\x01\x02");
        assert_eq!((lane_of(&waiting), last_number(&waiting)), (Some(key), Some(258)));
        assert_eq!(&number(Kind::Told, at, 1)[..], b"\0\x06\0\0\0\x03\0\0\0\0\0\0\0\x01");
    }
}
