//! The bytes on the disk: fixed, read back, and refused when they are others.

use super::super::index::{Index, Run, StoredIndex};
use super::super::layout::{FRAME_HEADER, FrameHeader, SegmentHeader, SegmentId};
use super::super::record::{Checkpoint, PartitionEntry, Record, SegmentEntry};
use expect_test::expect;
use proptest::prelude::*;
use tw_types::{
    Compression, Data, Epoch, EventRef, Hlc, Offset, PartitionId, RegionId, Sequence, StreamId,
    StreamPartition,
};
use tw_wire::{BatchBuilder, Block, Placement};

fn hex(bytes: &[u8]) -> String {
    bytes
        .chunks(16)
        .map(|row| row.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ") + "\n")
        .collect()
}

fn at(stream: u32, partition: u32) -> StreamPartition {
    StreamPartition::new(StreamId(stream), PartitionId(partition))
}

fn id() -> SegmentId {
    SegmentId { first: 3, last: 9, generation: 2 }
}

/// A block of `count` events of one partition.
fn block(at: StreamPartition, base: u64, count: u32) -> Block {
    let mut builder = BatchBuilder::new();
    for _ in 0..count {
        builder.push(&EventRef {
            id: "e",
            source: "/s",
            ty: "t",
            data: Data::Text(b"data"),
            ..EventRef::default()
        });
    }
    let place = Placement {
        at,
        base_offset: Offset(base),
        first_hlc: Hlc::new(1_000, 0).plus(base),
        region: RegionId(0),
        epoch: Epoch(1),
        base_sequence: Sequence(base + 1),
    };
    Block::new(&builder.finish(Compression::None).unwrap(), &place)
}

#[test]
fn golden_bytes_of_a_segment_header() {
    let header = SegmentHeader { id: id(), salt: 0x0123_4567_89ab_cdef, len: 1 << 26, log: 77 << 64 | 5 };
    let bytes = header.encode();
    expect![[r#"
        54 57 53 45 47 30 30 31 d8 e3 a6 dd 01 00 00 00
        03 00 00 00 00 00 00 00 09 00 00 00 00 00 00 00
        02 00 00 00 00 00 00 00 ef cd ab 89 67 45 23 01
        00 00 00 04 00 00 00 00 05 00 00 00 00 00 00 00
        4d 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
        00 00 00 00 00 00 00 00
    "#]]
    .assert_eq(&hex(&bytes));
    assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
    assert_eq!(id().stem(), "000000000003-000000000009.2");
    assert_eq!(SegmentId::appended(17).stem(), "000000000017");
}

#[test]
fn golden_bytes_of_a_frame_header() {
    let header = FrameHeader {
        body_len: 300,
        records_len: 20,
        blocks: 2,
        content_crc: 0xdead_beef,
        opening: 4,
        number: 9,
    };
    let bytes = header.encode(7, 4096);
    expect![[r#"
        54 57 46 31 a6 44 cf d1 2c 01 00 00 14 00 00 00
        02 00 00 00 ef be ad de 04 00 00 00 09 00 00 00
    "#]]
    .assert_eq(&hex(&bytes));
    assert_eq!(FrameHeader::decode(&bytes, 7, 4096), Some(header));
    assert_eq!(header.next_position(4096), 4096 + 336);
    for (salt, position) in [(8, 4096), (7, 4104)] {
        assert_eq!(FrameHeader::decode(&bytes, salt, position), None, "another place or another life");
    }
}

fn records() -> Vec<Record> {
    let entry = SegmentEntry { id: id(), salt: 11, end: 5_000 };
    vec![
        Record::Checkpoint(Checkpoint {
            log: 5,
            region: RegionId(2),
            epoch: Epoch(3),
            hlc: Hlc::new(1_700_000_000_000, 4),
            segments: vec![entry],
            partitions: vec![PartitionEntry {
                at: at(1, 2),
                start: Offset(10),
                end: Offset(20),
                sequence: Sequence(20),
            }],
        }),
        Record::Opened { at_ms: 1_700_000_000_000 },
        Record::Trimmed { at: at(1, 2), start: Offset(12) },
        Record::Freed(vec![SegmentId::appended(1), SegmentId::appended(2)]),
        Record::Replaced { old: vec![SegmentId::appended(3)], new: entry },
        Record::Rewritten { from: vec![SegmentId::appended(3)] },
        Record::Void,
        Record::Raised { epoch: Epoch(4), at_ms: 1_700_000_000_000 },
    ]
}

#[test]
fn golden_bytes_of_records() {
    let bytes = Record::encode_all(&records());
    expect![[r#"
        01 6a 00 00 00 05 00 00 00 00 00 00 00 00 00 00
        00 00 00 00 00 02 00 03 00 00 00 04 00 00 68 e5
        cf 8b 01 01 00 00 00 03 00 00 00 00 00 00 00 09
        00 00 00 00 00 00 00 02 00 00 00 0b 00 00 00 00
        00 00 00 88 13 00 00 00 00 00 00 01 00 00 00 01
        00 00 00 02 00 00 00 0a 00 00 00 00 00 00 00 14
        00 00 00 00 00 00 00 14 00 00 00 00 00 00 00 02
        08 00 00 00 00 68 e5 cf 8b 01 00 00 03 10 00 00
        00 01 00 00 00 02 00 00 00 0c 00 00 00 00 00 00
        00 04 2c 00 00 00 02 00 00 00 01 00 00 00 00 00
        00 00 01 00 00 00 00 00 00 00 00 00 00 00 02 00
        00 00 00 00 00 00 02 00 00 00 00 00 00 00 00 00
        00 00 05 3c 00 00 00 01 00 00 00 03 00 00 00 00
        00 00 00 03 00 00 00 00 00 00 00 00 00 00 00 03
        00 00 00 00 00 00 00 09 00 00 00 00 00 00 00 02
        00 00 00 0b 00 00 00 00 00 00 00 88 13 00 00 00
        00 00 00 06 18 00 00 00 01 00 00 00 03 00 00 00
        00 00 00 00 03 00 00 00 00 00 00 00 00 00 00 00
        07 00 00 00 00 08 0c 00 00 00 04 00 00 00 00 68
        e5 cf 8b 01 00 00
    "#]]
    .assert_eq(&hex(&bytes));
    assert_eq!(Record::decode_all(&bytes), Some(records()));
    let checkpoint = Record::encode_all(records().get(..1).unwrap());
    assert_eq!(checkpoint.len(), Checkpoint::bytes(1, 1));
}

#[test]
fn a_record_of_a_later_version_is_refused() {
    let mut bytes = Record::encode_all(&[Record::Void]);
    bytes[0] = 99;
    assert_eq!(Record::decode_all(&bytes), None);
}

#[test]
fn golden_bytes_of_an_index() {
    let mut index = Index::default();
    for (position, (partition, base)) in [(1, 0), (1, 2), (2, 0), (1, 4)].into_iter().enumerate() {
        index.add(block(at(1, partition), base, 2).header(), 4128 + position as u64 * 200);
    }
    index.set_compacted(at(1, 2));
    let bytes = index.encode(id(), 11, 9_000);
    expect![[r#"
        54 57 49 44 58 30 30 31 9a d0 7a 62 02 00 00 00
        03 00 00 00 00 00 00 00 09 00 00 00 00 00 00 00
        02 00 00 00 00 00 00 00 0b 00 00 00 00 00 00 00
        28 23 00 00 00 00 00 00 00 00 00 00 00 00 00 00
        01 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00
        06 00 00 00 00 00 00 00 00 00 e8 03 00 00 00 00
        05 00 e8 03 00 00 00 00 3e 01 00 00 00 00 00 00
        03 00 00 00 00 00 00 00 e0 00 00 00 00 00 00 00
        09 00 00 00 bd a9 dc 76 02 00 00 00 00 00 00 00
        01 00 00 00 02 00 00 00 00 00 00 00 00 00 00 00
        02 00 00 00 00 00 00 00 00 00 e8 03 00 00 00 00
        01 00 e8 03 00 00 00 00 6a 00 00 00 00 00 00 00
        01 00 00 00 01 00 00 00 e9 00 00 00 00 00 00 00
        04 00 00 00 db 4a ee 13 01 00 00 00 00 00 00 00
        00 a0 20 b2 02 04 d8 04 6a 00 b0 23 6a
    "#]]
    .assert_eq(&hex(&bytes));
    let stored = StoredIndex::decode(&bytes).unwrap();
    assert_eq!((stored.id, stored.salt, stored.end), (id(), 11, 9_000));
    let summaries: Vec<_> = stored.summaries.iter().map(|stored| stored.summary).collect();
    assert_eq!(summaries, index.summaries().collect::<Vec<_>>());
    assert!(
        stored.get(at(1, 2)).unwrap().summary.compacted && !stored.get(at(1, 1)).unwrap().summary.compacted
    );
}

/// Alone in the file a partition has long runs; where partitions alternate, each block is one.
#[test]
fn runs_are_long_where_a_partition_is_alone() {
    let mut index = Index::default();
    let length = u64::from(block(at(1, 1), 0, 1).header().length);
    for n in 0..2_000 {
        index.add(block(at(1, 1), n, 1).header(), 4096 + n * length);
    }
    let bytes = 2_000 * length;
    assert_eq!(index.runs(at(1, 1)).len() as u64, bytes.div_ceil(64 << 10));
    for n in 0..10 {
        index
            .add(block(at(1, 2 + n % 2), u64::from(n / 2), 1).header(), 4096 + bytes + u64::from(n) * length);
    }
    assert_eq!((index.runs(at(1, 2)).len(), index.runs(at(1, 3)).len()), (5, 5));
}

/// The runs as they are read from the stored form.
fn stored_runs(bytes: &[u8], at: StreamPartition) -> Option<Vec<Run>> {
    let stored = *StoredIndex::decode(bytes)?.get(at)?;
    let start = stored.position as usize;
    stored.runs(bytes.get(start..start + stored.len as usize)?)
}

proptest! {
    #[test]
    fn an_index_reads_back(blocks in proptest::collection::vec((0u32..5, 1u32..4, 0u64..300), 1..200)) {
        let mut index = Index::default();
        let (mut position, mut ends) = (4096, [0u64; 5]);
        for (partition, count, gap) in blocks {
            let block = block(at(1, partition), ends[partition as usize], count);
            index.add(block.header(), position);
            position += u64::from(block.header().length) + gap;
            ends[partition as usize] += u64::from(count);
        }
        let bytes = index.encode(id(), 1, position);
        for summary in index.summaries() {
            prop_assert_eq!(stored_runs(&bytes, summary.at), Some(index.runs(summary.at).to_vec()));
            prop_assert_eq!(summary.end, Offset(ends[summary.at.partition.0 as usize]));
        }
    }

    /// A changed byte is noticed, in the front or in the runs of the partition that it belongs to.
    #[test]
    fn a_changed_index_is_refused(at_byte in any::<proptest::sample::Index>(), flip in 1u8..) {
        let mut index = Index::default();
        for n in 0..20 {
            index.add(block(at(1, n % 3), u64::from(n / 3), 1).header(), 4096 + u64::from(n) * 200);
        }
        let mut bytes = index.encode(id(), 1, 9_000);
        let place = at_byte.index(bytes.len());
        bytes[place] ^= flip;
        let same = (0..3).all(|p| stored_runs(&bytes, at(1, p)).as_deref() == Some(index.runs(at(1, p))));
        prop_assert!(!same);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = SegmentHeader::decode(&bytes);
        let _ = FrameHeader::decode(&bytes, 1, 8);
        let _ = Record::decode_all(&bytes);
        let _ = StoredIndex::decode(&bytes);
    }

    /// Checksums that match around content that does not: as no version of this program would write it.
    #[test]
    fn changed_records_are_read_or_refused(changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = Record::encode_all(&records());
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(records) = Record::decode_all(&bytes) {
            prop_assert_eq!(Record::decode_all(&Record::encode_all(&records)), Some(records));
        }
    }

    #[test]
    fn a_changed_header_is_refused(place in 0usize..88, flip in 1u8..) {
        let mut bytes = SegmentHeader { id: id(), salt: 3, len: 9, log: 1 }.encode();
        bytes[place] ^= flip;
        prop_assert!(SegmentHeader::decode(&bytes).is_err());
        let header = FrameHeader { body_len: 3, records_len: 2, blocks: 0, content_crc: 1, opening: 1, number: 1 };
        let mut bytes = header.encode(3, 8);
        bytes[place % FRAME_HEADER] ^= flip;
        prop_assert_eq!(FrameHeader::decode(&bytes, 3, 8), None);
    }
}
