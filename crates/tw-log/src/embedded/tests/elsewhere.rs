//! Events of other regions: how a commit with them is planned, and what retention, compaction and restarts leave of them.

use super::super::plan::{Circumstances, Plan, Verdict, plan};
use super::super::queue::Request;
use super::merging::{at, known};
use super::model::Number;
use super::origins::settled;
use super::rig::{Rig, small};
use crate::{Ack, Append, Error, Foreign, NewStream, Permit};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use tw_env::Clock;
use tw_env::sim::Sim;
use tw_types::{
    Cleanup, Compression, Epoch, Hlc, Offset, Origin, PartitionId, RegionId, Sequence, StreamName,
    StreamOptions, StreamPartition,
};
use tw_wire::{BatchBuilder, Block};

const NOW_MS: u64 = 10_000;

fn foreign(region: u16, sequence: u64, first_hlc: Hlc) -> Foreign {
    let origin = Origin { region: RegionId(region), epoch: Epoch(7), sequence: Sequence(sequence) };
    Foreign { origin, first_hlc }
}

/// One part of a request: partition, count of events, and how far ahead the clock of their region is; None for events of this one.
type Part = (u32, u64, Option<u64>);

fn any_part() -> impl Strategy<Value = Part> {
    let ahead_ms = prop_oneof![4 => Just(None), 4 => (0u64..500).prop_map(Some), 1 => Just(Some(501))];
    (0u32..4, 1u64..4, ahead_ms)
}

/// The request of some parts; each event of another region has a sequence of its own.
fn request(parts: &[Part], sequence: &mut u64) -> Request {
    let append = |&(partition, count, ahead_ms): &Part| {
        let numbers: Vec<Number> = (0..count).map(Number).collect();
        *sequence += 10;
        let time = |ahead_ms| Hlc::new(NOW_MS + ahead_ms, 0);
        Append {
            at: at(partition % 3),
            batch: Number::batch(&numbers, Compression::None),
            expected_end: None,
            foreign: ahead_ms.map(|ahead_ms| foreign(2, *sequence, time(ahead_ms))),
        }
    };
    let parts = parts.iter().map(append).collect();
    let (ack, _) = Ack::channel();
    Request::Append { parts, bytes: 0, permit: Permit::unlimited(), ack }
}

fn plan_of(requests: Vec<Request>) -> Plan {
    let around =
        Circumstances { now_ms: NOW_MS, id: 1, merge_bytes_max: 64 << 10, append_bytes_max: 1 << 20 };
    plan(&known(), requests, around, &mut BatchBuilder::new())
}

proptest! {
    /// What other regions have accepted stays as it is, each batch a block of its own, and what is accepted here in the same commit is
    /// later than all of it: first what tells of it, then the rest.
    #[test]
    fn reg_2_reg_3_batches_of_other_regions_are_never_merged_and_come_before_what_is_accepted_here(
        appends in proptest::collection::vec(proptest::collection::vec(any_part(), 1..4), 1..12),
    ) {
        let mut sequence = 0;
        let plan = plan_of(appends.iter().map(|parts| request(parts, &mut sequence)).collect());
        let (mut leading, mut wanted) = (BTreeSet::new(), BTreeMap::new());
        for ((request, verdict), parts) in plan.requests.iter().zip(&appends) {
            let Request::Append { parts: real, .. } = request else { continue };
            let Verdict::Placed(placed) = verdict else {
                let is_skewed = matches!(verdict, Verdict::Refused(Error::Skewed { .. }));
                prop_assert!(is_skewed);
                prop_assert!(parts.iter().any(|part| part.2 == Some(501)));
                continue;
            };
            prop_assert!(parts.iter().all(|part| part.2 != Some(501)));
            let has_foreign = parts.iter().any(|part| part.2.is_some());
            for (part, placed) in real.iter().zip(placed) {
                match part.foreign {
                    Some(foreign) => {
                        prop_assert_eq!(placed.first_hlc, foreign.first_hlc);
                        wanted.insert(foreign.origin, (placed.at, placed.base_offset, placed.count, foreign.first_hlc));
                    }
                    None if has_foreign => drop(leading.insert(part.at)),
                    None => {}
                }
            }
        }
        let (theirs, own): (Vec<&Block>, Vec<&Block>) =
            plan.blocks.iter().partition(|block| block.header().region == RegionId(2));
        let found: BTreeMap<_, _> = theirs.iter().map(|block| block.header()).map(|header| {
            let origin = Origin { region: header.region, epoch: header.epoch, sequence: header.base_sequence };
            (origin, (header.at, header.base_offset, header.count, header.first_hlc))
        }).collect();
        prop_assert_eq!(&found, &wanted);
        let latest = theirs.iter().map(|block| block.header().last_hlc).max().unwrap_or(known().clock.last());
        let (mut sequences, mut last) = (BTreeMap::from([(at(0), 100)]), latest);
        for header in own.iter().map(|block| block.header()) {
            let sequence = sequences.entry(header.at).or_insert(0);
            prop_assert_eq!((header.region, header.base_sequence), (RegionId(1), Sequence(*sequence + 1)));
            *sequence += u64::from(header.count);
            prop_assert!(header.first_hlc > last);
            last = header.last_hlc;
        }
        prop_assert_eq!(plan.clock.last(), last.max(known().clock.last()));
        prop_assert!(own.iter().is_sorted_by_key(|block| !leading.contains(&block.header().at)));
        for (at, head) in &plan.heads {
            prop_assert_eq!(head.sequence.0, sequences.get(at).copied().unwrap_or(0));
        }
    }
}

fn create(rig: &mut Rig, name: &str, options: StreamOptions) -> StreamPartition {
    let new = NewStream { options, ..NewStream::plain(StreamName::new(name).unwrap(), 1) };
    StreamPartition::new(rig.create(new).unwrap().id, PartitionId(0))
}

fn put(rig: &mut Rig, at: StreamPartition, numbers: std::ops::Range<u64>, foreign: Option<Foreign>) {
    let numbers: Vec<Number> = numbers.map(Number).collect();
    let batch = Number::batch(&numbers, Compression::Lz4);
    rig.prepare();
    let ack = rig.append_parts(vec![Append { at, batch, expected_end: None, foreign }]);
    rig.commit();
    ack.wait().unwrap();
}

/// Each event that a partition has: offset, id, origin and time.
fn all(rig: &Rig, at: StreamPartition) -> BTreeMap<Offset, (String, Origin, Hlc)> {
    let start = rig.shared.partition(at).unwrap().bounds().start;
    let mut all = BTreeMap::new();
    for block in rig.read_all(at).unwrap() {
        for record in block.records().unwrap().iter().unwrap().map(Result::unwrap) {
            all.insert(record.offset, (record.event.id.to_owned(), record.origin, record.hlc));
        }
    }
    all.split_off(&start)
}

/// What has come late is old, and the events around it are not.
#[test]
fn retention_by_time_removes_no_young_event_because_an_old_one_came_after_it() {
    let sim = Sim::new(1);
    let mut rig = Rig::open(&sim, &small()).unwrap();
    let options = StreamOptions { retention_ms: Some(60_000), ..StreamOptions::default() };
    let at = create(&mut rig, "short", options);
    let old = Hlc::new(sim.clock.now_ms() - 50_000, 0);
    put(&mut rig, at, 0..1, None);
    put(&mut rig, at, 1..2, Some(foreign(5, 1, old)));
    // Other segments follow, so that the share of the first one may be removed.
    let other = create(&mut rig, "other", StreamOptions::default());
    (0..40).for_each(|n| put(&mut rig, other, n * 10..n * 10 + 10, None));
    sim.clock.advance(20_000);
    rig.tidy();
    assert_eq!(all(&rig, at).len(), 2, "one of the two is 20 seconds old, and one minute is kept");
    sim.clock.advance(50_000);
    rig.tidy();
    assert_eq!(all(&rig, at).len(), 0);
}

/// Compaction and rewrites of segments leave what lives as it is, whoever has accepted it.
#[test]
fn reg_3_compaction_and_rewrites_keep_origins_and_times() {
    let sim = Sim::new(2);
    let mut rig = Rig::open(&sim, &small()).unwrap();
    let compact = StreamOptions { cleanup: Cleanup::Compact, ..StreamOptions::default() };
    let (rows, bulk) =
        (create(&mut rig, "rows", compact), create(&mut rig, "bulk", StreamOptions::default()));
    let mut next = 0;
    for round in 0..60u64 {
        let ago = Hlc::new(sim.clock.now_ms() - 5_000 + round, 0);
        for (count, foreign) in
            [(5, None), (3, Some(foreign(5, 1 + round * 4, ago))), (2, Some(foreign(6, 9 + round * 2, ago)))]
        {
            put(&mut rig, rows, next..next + count, foreign);
            next += count;
        }
        put(&mut rig, bulk, round * 20..round * 20 + 20, None);
        sim.clock.advance(10);
    }
    let before = all(&rig, rows);
    let outcome = rig.trim(bulk, Offset(1_000));
    rig.commit();
    outcome.wait().unwrap();
    rig.tidy();
    rig.prepare();
    let after = all(&rig, rows);
    let regions: BTreeSet<RegionId> = after.values().map(|(_, origin, _)| origin.region).collect();
    assert!(
        after.len() < 250 && regions.len() == 3,
        "{} of {} events, of {regions:?}",
        after.len(),
        before.len()
    );
    assert!(after.iter().all(|(offset, event)| before.get(offset) == Some(event)), "an event has changed");
    sim.disk.power_loss();
    let mut rig = Rig::open(&sim, &small()).unwrap();
    assert_eq!(all(&rig, rows), after);
    // The next event of this region follows its last one, also where that was not the last of the log.
    put(&mut rig, rows, next..next + 1, None);
    assert_eq!(all(&rig, rows).last_key_value().unwrap().1.1.sequence, Sequence(60 * 5 + 1));
}

/// What was observed of another region is remembered as its event is, and what was refused is not.
#[test]
fn reg_2_a_clock_that_was_set_back_does_not_go_behind_what_was_settled() {
    let sim = Sim::new(3);
    let mut rig = Rig::open(&sim, &small()).unwrap();
    let at = create(&mut rig, "s", StreamOptions::default());
    put(&mut rig, at, 0..1, None);
    let ahead = Hlc::new(sim.clock.now_ms() + 450, 9);
    put(&mut rig, at, 1..3, Some(foreign(5, 1, ahead)));
    assert_eq!(settled(&rig.shared), ahead.plus(1));
    // The event of the other region may be in a segment that a later start does not read any more.
    let other = create(&mut rig, "other", StreamOptions::default());
    let mut last = settled(&rig.shared);
    for start in 0..3 {
        sim.clock.set_wall(1_000_000_000_000);
        sim.disk.power_loss();
        rig = Rig::open(&sim, &small()).unwrap();
        assert_eq!(settled(&rig.shared), last, "start {start}");
        put(&mut rig, other, 0..14, None);
        assert!(all(&rig, other).values().all(|(_, _, hlc)| *hlc > ahead.plus(1)));
        last = settled(&rig.shared);
    }
}
