//! How the index is laid out in the state store. Version 1.
//!
//! ```text
//! keyspace events/N, N the number of a stream
//!   partition (2) subject (16)                → its latest events, a run
//!   partition (2) subject (16) version (8)    → earlier events from that version on, a run
//! keyspace events/positions
//!   stream (4) partition (4)                  → end (8) HLC of the event before the end (8)
//!   stream (4) partition (4) 'r'              → (region (2) epoch (4) last sequence (8) its HLC (8))*, of each region
//!   "format"                                  → the version of the format
//! keyspace events/keys
//!   'k' key (16)                              → fingerprint (8) time in ms (8) (stream (4) partition (4) base (8) count (4))*
//!   't' time in ms (8) key (16)               → nothing
//!   'n'                                       → how many keys there are (8)
//! ```
//!
//! Numbers are big-endian; a subject is its hash, a key is its hash. Runs are those of `tw_order::PackedRun`.

use super::super::received::Mark;
use bytes::Bytes;
use std::ops::Bound;
use tw_order::{KeyHash, KeyPart, KeyRecord, SubjectHash};
use tw_state::Range;
use tw_types::{
    Epoch, Hlc, Offset, Origin, PartitionId, RegionId, Sequence, StreamId, StreamPartition, Version,
};

/// The length of a key of a position.
pub(crate) const POSITION_KEY_BYTES: usize = 8;
/// The length of a key of a tail.
pub(crate) const TAIL_KEY_BYTES: usize = 18;
/// The length of a key of a run.
pub(crate) const RUN_KEY_BYTES: usize = 26;

pub(crate) fn position_key(at: StreamPartition) -> [u8; POSITION_KEY_BYTES] {
    (u64::from(at.stream.0) << 32 | u64::from(at.partition.0)).to_be_bytes()
}

/// The length of a key of marks.
pub(crate) const MARKS_KEY_BYTES: usize = POSITION_KEY_BYTES + 1;
const MARK_BYTES: usize = 22;

pub(crate) fn marks_key(at: StreamPartition) -> [u8; MARKS_KEY_BYTES] {
    let mut key = [b'r'; MARKS_KEY_BYTES];
    let (position, _) = key.split_at_mut(POSITION_KEY_BYTES);
    position.copy_from_slice(&position_key(at));
    key
}

pub(crate) fn write_marks(marks: impl Iterator<Item = Mark>) -> Bytes {
    let mut out = Vec::new();
    for Mark { origin, hlc } in marks {
        out.extend_from_slice(&origin.region.0.to_be_bytes());
        out.extend_from_slice(&origin.epoch.0.to_be_bytes());
        out.extend_from_slice(&origin.sequence.0.to_be_bytes());
        out.extend_from_slice(&hlc.as_u64().to_be_bytes());
    }
    Bytes::from(out)
}

pub(crate) fn read_marks(bytes: &[u8]) -> impl Iterator<Item = Mark> + '_ {
    bytes.chunks_exact(MARK_BYTES).filter_map(|bytes| {
        let (region, rest) = bytes.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let origin = Origin {
            region: RegionId(u16::from_be_bytes(*region)),
            epoch: Epoch(u32::from_be_bytes(*epoch)),
            sequence: Sequence(u64::from_be_bytes(*sequence)),
        };
        Some(Mark { origin, hlc: Hlc::from_u64(u64::from_be_bytes(rest.try_into().ok()?)) })
    })
}

/// What all keys of a partition start with. Streams have at most 1,024 partitions.
pub(crate) fn partition_prefix(at: StreamPartition) -> [u8; 2] {
    (at.partition.0 as u16).to_be_bytes()
}

pub(crate) fn tail_key(at: StreamPartition, subject: SubjectHash) -> [u8; TAIL_KEY_BYTES] {
    let mut key = [0; TAIL_KEY_BYTES];
    let (partition, hash) = key.split_at_mut(2);
    partition.copy_from_slice(&partition_prefix(at));
    hash.copy_from_slice(&subject.as_u128().to_be_bytes());
    key
}

pub(crate) fn run_key(at: StreamPartition, subject: SubjectHash, first: Version) -> [u8; RUN_KEY_BYTES] {
    let mut key = [0; RUN_KEY_BYTES];
    let (tail, version) = key.split_at_mut(TAIL_KEY_BYTES);
    tail.copy_from_slice(&tail_key(at, subject));
    version.copy_from_slice(&first.0.to_be_bytes());
    key
}

/// The runs of a subject that start at `version` or before.
pub(crate) fn runs_until(at: StreamPartition, subject: SubjectHash, version: Version) -> Range {
    Range {
        start: Bound::Excluded(Bytes::copy_from_slice(&tail_key(at, subject))),
        end: Bound::Included(Bytes::copy_from_slice(&run_key(at, subject, version))),
    }
}

/// The runs of a subject that start at `version` or after.
pub(crate) fn runs_from(at: StreamPartition, subject: SubjectHash, version: Version) -> Range {
    Range {
        start: Bound::Included(Bytes::copy_from_slice(&run_key(at, subject, version))),
        end: Bound::Included(Bytes::copy_from_slice(&run_key(at, subject, Version(u64::MAX)))),
    }
}

/// How far a partition is indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// Every event before it is in the index.
    pub(crate) end: Offset,
    /// The timestamp of the event before `end`: shows whether the index belongs to this log. Zero: not known.
    pub(crate) hlc: Hlc,
}

impl Position {
    pub(crate) fn write(&self) -> Bytes {
        Bytes::copy_from_slice(&(u128::from(self.end.0) << 64 | u128::from(self.hlc.as_u64())).to_be_bytes())
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let both = u128::from_be_bytes(bytes.try_into().ok()?);
        Some(Self { end: Offset((both >> 64) as u64), hlc: Hlc::from_u64(both as u64) })
    }
}

/// The key of the count of keys.
pub(crate) const KEY_COUNT: &[u8] = b"n";

pub(crate) fn key_key(key: KeyHash) -> Bytes {
    let mut out = vec![b'k'];
    out.extend_from_slice(&key.0.to_be_bytes());
    Bytes::from(out)
}

pub(crate) fn key_time_key(time_ms: u64, key: KeyHash) -> Bytes {
    let mut out = vec![b't'];
    out.extend_from_slice(&time_ms.to_be_bytes());
    out.extend_from_slice(&key.0.to_be_bytes());
    Bytes::from(out)
}

/// The time and the key of a [`key_time_key`].
pub(crate) fn read_key_time_key(bytes: &[u8]) -> Option<(u64, KeyHash)> {
    let (time, key) = bytes.strip_prefix(b"t")?.split_at_checked(8)?;
    Some((u64::from_be_bytes(time.try_into().ok()?), KeyHash(u128::from_be_bytes(key.try_into().ok()?))))
}

pub(crate) fn write_key_record(record: &KeyRecord) -> Bytes {
    let mut out = Vec::with_capacity(16 + 20 * record.parts.len());
    out.extend_from_slice(&record.fingerprint.to_be_bytes());
    out.extend_from_slice(&record.time_ms.to_be_bytes());
    for part in &record.parts {
        out.extend_from_slice(&part.at.stream.0.to_be_bytes());
        out.extend_from_slice(&part.at.partition.0.to_be_bytes());
        out.extend_from_slice(&part.base.0.to_be_bytes());
        out.extend_from_slice(&part.count.to_be_bytes());
    }
    Bytes::from(out)
}

pub(crate) fn read_key_record(bytes: &[u8]) -> Option<KeyRecord> {
    let (header, parts) = bytes.split_at_checked(16)?;
    let (fingerprint, time_ms) = header.split_at(8);
    let (parts, rest) = parts.as_chunks::<20>();
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_be_bytes);
    let part = |bytes: &[u8; 20]| {
        let (stream, rest) = bytes.split_at(4);
        let (partition, rest) = rest.split_at(4);
        let (base, count) = rest.split_at(8);
        Some(KeyPart {
            at: StreamPartition::new(StreamId(number(stream)?), PartitionId(number(partition)?)),
            base: Offset(u64::from_be_bytes(base.try_into().ok()?)),
            count: number(count)?,
        })
    };
    let parts: Option<Vec<_>> = parts.iter().map(part).collect();
    rest.is_empty().then_some(KeyRecord {
        fingerprint: u64::from_be_bytes(fingerprint.try_into().ok()?),
        time_ms: u64::from_be_bytes(time_ms.try_into().ok()?),
        parts: parts?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;

    fn at() -> StreamPartition {
        StreamPartition::new(StreamId(7), PartitionId(258))
    }

    #[test]
    fn layout_is_fixed() {
        let subject = SubjectHash::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
        let position = Position { end: Offset(9), hlc: Hlc::new(1, 2) };
        let part = KeyPart { at: at(), base: Offset(5), count: 3 };
        let record = KeyRecord { fingerprint: 0xfe, time_ms: 1_000, parts: vec![part] };
        expect![[r#"
            position [0, 0, 0, 7, 0, 0, 1, 2] [0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 1, 0, 2]
            run [1, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, a, b, c, d, e, f, 10, 0, 0, 0, 0, 0, 0, 0, 11]
            key [0, 0, 0, 0, 0, 0, 0, fe, 0, 0, 0, 0, 0, 0, 3, e8, 0, 0, 0, 7, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 3]
        "#]]
        .assert_eq(&format!(
            "position {:x?} {:x?}\nrun {:x?}\nkey {:x?}\n",
            position_key(at()),
            position.write().to_vec(),
            run_key(at(), subject, Version(17)),
            write_key_record(&record).to_vec(),
        ));
        assert!(run_key(at(), subject, Version(17)).starts_with(&tail_key(at(), subject)));
        assert_eq!(Position::read(&position.write()), Some(position));
        assert_eq!(read_key_record(&write_key_record(&record)), Some(record));
        assert_eq!(read_key_time_key(&key_time_key(5, KeyHash(9))), Some((5, KeyHash(9))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = (Position::read(&bytes), read_key_time_key(&bytes));
            if let Some(record) = read_key_record(&bytes) {
                prop_assert_eq!(write_key_record(&record), bytes);
            }
        }
    }
}
