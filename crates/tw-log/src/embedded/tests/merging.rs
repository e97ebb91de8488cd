//! Small batches that share a block: what each appender is told, and what is stored.

use super::super::plan::{Circumstances, Head, Knowledge, Plan, Verdict, plan};
use super::super::queue::Request;
use super::model::Number;
use crate::{Ack, Append, NewStream, Permit, Streams};
use hashbrown::HashMap;
use proptest::prelude::*;
use std::sync::Arc;
use tw_types::{
    Compression, Epoch, Hlc, HlcClock, Offset, PartitionId, RegionId, Sequence, StreamId, StreamName,
    StreamPartition, Version,
};
use tw_wire::BatchBuilder;

pub(super) fn at(partition: u32) -> StreamPartition {
    StreamPartition::new(StreamId(1), PartitionId(partition))
}

pub(super) fn known() -> Knowledge {
    let mut streams = Streams::new();
    let change = streams.create(NewStream::plain(StreamName::new("merged").unwrap(), 3)).unwrap();
    streams.apply(change);
    let head = Head { start: Offset(0), end: Offset(100), sequence: Sequence(100) };
    Knowledge {
        streams: Arc::new(streams),
        heads: HashMap::from([(at(0), head)]),
        clock: HlcClock::new(Hlc::new(5_000, 0), 500),
        region: RegionId(1),
        epoch: Epoch(1),
    }
}

fn around(merge_bytes_max: u64) -> Circumstances {
    Circumstances { now_ms: 4_000, id: 1, merge_bytes_max, append_bytes_max: 1 << 20 }
}

/// One part: partition, events, compressed, versioned, and how the expected end is wrong, if one is expected.
#[derive(Debug, Clone)]
struct Part {
    partition: u32,
    events: Vec<u64>,
    lz4: bool,
    versioned: bool,
    expected: Option<bool>,
}

fn any_part() -> impl Strategy<Value = Part> {
    let expected = prop_oneof![4 => Just(None), 2 => Just(Some(true)), 1 => Just(Some(false))];
    (0u32..3, proptest::collection::vec(0u64..1_000, 1..5), any::<bool>(), any::<bool>(), expected).prop_map(
        |(partition, events, lz4, versioned, expected)| Part { partition, events, lz4, versioned, expected },
    )
}

/// The request of some parts, given where partitions would end if every append succeeded that should.
fn request(parts: &[Part], ends: &mut HashMap<u32, u64>) -> (Request, bool) {
    let mut after = ends.clone();
    let mut right = true;
    let appends = parts
        .iter()
        .map(|part| {
            let numbers: Vec<Number> = part.events.iter().copied().map(Number).collect();
            let compression = if part.lz4 { Compression::Lz4 } else { Compression::None };
            let mut batch = Number::batch(&numbers, compression);
            if part.versioned {
                batch = batch.with_versions(part.events.iter().map(|n| Version(n + 1))).unwrap();
            }
            let end = after.entry(part.partition).or_default();
            let expected_end = part.expected.map(|right| Offset(*end + u64::from(!right)));
            right &= part.expected != Some(false);
            *end += part.events.len() as u64;
            Append { at: at(part.partition), batch, expected_end, foreign: None }
        })
        .collect();
    if right {
        *ends = after;
    }
    let (ack, _) = Ack::channel();
    (Request::Append { parts: appends, bytes: 0, permit: Permit::unlimited(), ack }, right)
}

fn plan_of(requests: Vec<Request>, merge_bytes_max: u64) -> Plan {
    plan(&known(), requests, around(merge_bytes_max), &mut BatchBuilder::new())
}

proptest! {
    /// Whatever is merged: every appender is told the true place and time of each event, the blocks of a partition
    /// follow each other without gaps, and refused appends leave no trace.
    #[test]
    fn merged_batches_are_where_their_appenders_are_told(
        appends in proptest::collection::vec(proptest::collection::vec(any_part(), 1..4), 1..20),
        merge_bytes_max in prop_oneof![Just(0u64), Just(700), Just(64 << 10)],
    ) {
        let mut ends: HashMap<u32, u64> = HashMap::from([(0, 100u64)]);
        let (requests, right): (Vec<_>, Vec<_>) = appends.iter().map(|parts| request(parts, &mut ends)).unzip();
        let plan = plan_of(requests, merge_bytes_max);
        let mut stored: HashMap<_, _> = HashMap::new();
        let mut next: HashMap<StreamPartition, u64> = HashMap::from([(at(0), 100u64)]);
        let mut last_hlc = Hlc::new(5_000, 0);
        for block in &plan.blocks {
            let header = block.header();
            let next = next.entry(header.at).or_default();
            prop_assert_eq!((header.base_offset, header.base_sequence), (Offset(*next), Sequence(*next + 1)));
            prop_assert!(header.first_hlc > last_hlc);
            last_hlc = header.last_hlc;
            *next = header.end_offset().0;
            for record in block.records().unwrap().iter().unwrap() {
                let record = record.unwrap();
                stored.insert((header.at, record.offset), (record.event.id.to_owned(), record.version, record.hlc));
            }
        }
        prop_assert_eq!(plan.clock.last(), last_hlc);
        let mut count = 0;
        for (((_, verdict), parts), right) in plan.requests.iter().zip(&appends).zip(right) {
            let Verdict::Placed(placed) = verdict else {
                let refused = matches!(verdict, Verdict::Refused(crate::Error::WrongEnd { .. }));
                prop_assert!(!right && refused);
                continue;
            };
            prop_assert!(right);
            for (placed, part) in placed.iter().zip(parts) {
                for (n, number) in (0..).zip(&part.events) {
                    let version = if part.versioned { Version(number + 1) } else { Version::NONE };
                    let told = (number.to_string(), version, placed.first_hlc.plus(n));
                    prop_assert_eq!(stored.get(&(placed.at, placed.base_offset.plus(n))), Some(&told));
                    count += 1;
                }
            }
        }
        prop_assert_eq!(stored.len(), count);
        for (at, head) in &plan.heads {
            prop_assert_eq!((head.end.0, head.sequence.0), (next[at], next[at]));
        }
    }
}

#[test]
fn small_batches_of_a_partition_become_one_block_and_large_ones_do_not() {
    let part =
        |event| Part { partition: 1, events: vec![event], lz4: false, versioned: false, expected: None };
    let blocks = |events: &[u64], merge_bytes_max| {
        let mut ends = HashMap::new();
        let requests = events.iter().map(|event| request(&[part(*event)], &mut ends).0).collect();
        plan_of(requests, merge_bytes_max).blocks.iter().map(|block| block.header().count).collect::<Vec<_>>()
    };
    assert_eq!(blocks(&[5, 6, 7, 8], 64 << 10), [4]);
    assert_eq!(blocks(&[5, 6, 7, 8], 0), [1, 1, 1, 1]);
    // Number 13 has 5,000 bytes of data.
    assert_eq!(blocks(&[5, 6, 13, 7, 8], 4_000), [2, 1, 2]);
}
