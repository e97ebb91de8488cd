//! Retention, compaction, trims and drops: what is gone, what stays, and that the room comes back.

use super::super::Options;
use super::rig::{FOLDER, Rig, small};
use crate::{Error, NewStream};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tw_env::Disk;
use tw_env::sim::Sim;
use tw_types::{
    Cleanup, Compression, Data, EventRef, Offset, PartitionId, StreamDef, StreamName, StreamOptions,
    StreamPartition, Version,
};
use tw_wire::BatchBuilder;

fn create(rig: &mut Rig, name: &str, options: StreamOptions) -> (Arc<StreamDef>, StreamPartition) {
    let def =
        rig.create(NewStream { options, ..NewStream::plain(StreamName::new(name).unwrap(), 1) }).unwrap();
    let at = StreamPartition::new(def.id, PartitionId(0));
    (def, at)
}

/// Appends events of 1,000 bytes; subject by `subject`, versions from 1.
fn fill(rig: &mut Rig, at: StreamPartition, count: u64, subject: impl Fn(u64) -> Option<String>) {
    for n in 0..count {
        let mut builder = BatchBuilder::new();
        let (id, subject) = (n.to_string(), subject(n));
        let event = EventRef {
            id: &id,
            source: "/s",
            ty: "t",
            subject: subject.as_deref(),
            data: Data::Binary(&[n as u8; 1000]),
            ..EventRef::default()
        };
        builder.push_versioned(&event, Version(n + 1));
        rig.prepare();
        let ack = rig.append(vec![(at, builder.finish(Compression::None).unwrap(), None)]);
        rig.commit();
        ack.wait().unwrap();
    }
}

fn seg_bytes(rig: &Rig) -> u64 {
    rig.sim.disk.used_bytes()
}

/// The offsets, versions, HLCs and sequences that a partition still has.
fn kept(rig: &Rig, at: StreamPartition) -> Vec<(u64, u64, u64, u64)> {
    let blocks = rig.read_all(at).unwrap();
    let start = rig.shared.partition(at).unwrap().bounds().start;
    blocks
        .iter()
        .flat_map(|block| {
            let records = block.records().unwrap();
            let events = records.iter().unwrap().map(Result::unwrap);
            events
                .filter(|event| event.offset >= start)
                .map(|e| (e.offset.0, e.version.0, e.hlc.as_u64(), e.origin.sequence.0))
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn retention_by_time_removes_what_is_older_and_gives_the_room_back() {
    let sim = Sim::new(1);
    let mut rig = Rig::open(&sim, &small()).unwrap();
    let options = StreamOptions { retention_ms: Some(60_000), ..StreamOptions::default() };
    let (_, at) = create(&mut rig, "short", options);
    let (_, forever) = create(&mut rig, "forever", StreamOptions::default());
    fill(&mut rig, at, 800, |_| None);
    fill(&mut rig, forever, 50, |_| None);
    let before = seg_bytes(&rig);
    sim.clock.advance(59_000);
    fill(&mut rig, at, 100, |_| None);
    rig.tidy();
    assert_eq!(rig.shared.partition(at).unwrap().bounds().start, Offset(0));
    sim.clock.advance(2_000);
    rig.tidy();
    rig.prepare();
    let bounds = rig.shared.partition(at).unwrap().bounds();
    assert!(bounds.start > Offset(700) && bounds.start <= Offset(800), "start {}", bounds.start);
    assert!(seg_bytes(&rig) < before / 2, "{} of {before} bytes are still taken", seg_bytes(&rig));
    let refused = rig.shared.read_blocking(at, Offset(0), 100).map(|blocks| blocks.len());
    assert!(matches!(refused, Err(Error::Trimmed { start, .. }) if start == bounds.start));
    assert_eq!(kept(&rig, forever).len(), 50);
    // Old events go even if nothing new comes.
    sim.clock.advance(3_600_000);
    rig.tidy();
    let bounds = rig.shared.partition(at).unwrap().bounds();
    assert_eq!((bounds.start, bounds.end), (Offset(900), Offset(900)));
    sim.disk.power_loss();
    let rig = Rig::open(&sim, &small()).unwrap();
    assert_eq!(rig.shared.partition(at).unwrap().bounds(), bounds);
    assert_eq!(kept(&rig, forever).len(), 50);
}

/// The platform's own streams keep all that they hold, and what is behind them is removed, whatever their options say.
#[test]
fn retention_passes_over_the_platforms_own_streams() {
    let sim = Sim::new(1);
    let mut rig = Rig::open(&sim, &small()).unwrap();
    let options = StreamOptions { retention_ms: Some(1_000), ..StreamOptions::default() };
    let (_, at) = create(&mut rig, "short", options.clone());
    let (_, parked) = create(&mut rig, "$parked", StreamOptions::default());
    // As a log has it whose streams were altered when that was still possible.
    let mut streams = crate::Streams::clone(&rig.shared.streams.read());
    for name in ["$config", "$parked"] {
        let def = StreamDef { options: options.clone(), ..StreamDef::clone(streams.get(name).unwrap()) };
        streams.apply(crate::ConfigChange::Altered(def));
    }
    *rig.shared.streams.write() = Arc::new(streams);
    fill(&mut rig, parked, 300, |_| None);
    fill(&mut rig, at, 300, |_| None);
    sim.clock.advance(5_000);
    rig.tidy();
    let start = rig.shared.partition(at).unwrap().bounds().start;
    assert!(start > Offset(200), "the events before {start} were removed");
    assert_eq!(kept(&rig, parked).len(), 300);
}

#[test]
fn retention_by_bytes_keeps_at_least_the_newest_bytes() {
    let sim = Sim::new(1);
    let options = Options { segment_bytes: 256 << 10, ..small() };
    let mut rig = Rig::open(&sim, &options).unwrap();
    let stream = StreamOptions { retention_bytes: Some(1 << 20), ..StreamOptions::default() };
    let (_, at) = create(&mut rig, "bounded", stream);
    fill(&mut rig, at, 3_000, |_| None);
    rig.tidy();
    rig.prepare();
    let bytes: u64 = rig.read_all(at).unwrap().iter().map(|block| u64::from(block.header().length)).sum();
    assert!((1 << 20..(1 << 20) + (512 << 10)).contains(&bytes), "{bytes} bytes are kept");
    assert!(seg_bytes(&rig) < 3 << 20);
    assert_eq!(rig.shared.partition(at).unwrap().bounds().end, Offset(3_000));
}

/// LOG-2: compaction keeps the latest event of each subject, events without subject, and all their places.
#[test]
fn log_2_compaction_keeps_the_latest_event_of_each_subject_and_its_place() {
    let sim = Sim::new(1);
    let mut rig = Rig::open(&sim, &small()).unwrap();
    let (_, at) =
        create(&mut rig, "rows", StreamOptions { cleanup: Cleanup::Compact, ..StreamOptions::default() });
    let subject = |n: u64| (!n.is_multiple_of(50)).then(|| format!("row-{}", n % 20));
    fill(&mut rig, at, 600, subject);
    let before: BTreeMap<u64, _> = kept(&rig, at).into_iter().map(|event| (event.0, event)).collect();
    rig.tidy();
    rig.prepare();
    let after = kept(&rig, at);
    assert!(after.len() < 150, "{} of 600 events are left", after.len());
    for event in &after {
        assert_eq!(before.get(&event.0), Some(event), "an event has changed");
    }
    let left: BTreeMap<u64, _> = after.iter().map(|event| (event.0, ())).collect();
    let mut latest = BTreeMap::new();
    for n in 0..600 {
        match subject(n) {
            None => assert!(left.contains_key(&n), "event {n} has no subject, and is gone"),
            Some(subject) => {
                latest.insert(subject, n);
            }
        }
    }
    for (subject, n) in latest {
        assert!(left.contains_key(&n), "the latest event of {subject} is gone");
    }
    assert_eq!(rig.shared.partition(at).unwrap().bounds().start, Offset(0));
    sim.disk.power_loss();
    let mut rig = Rig::open(&sim, &small()).unwrap();
    assert_eq!(kept(&rig, at), after);
    // A read from within a hole starts behind it.
    let hole = (0..600).find(|n| !left.contains_key(n)).unwrap();
    let blocks = rig.shared.read_blocking(at, Offset(hole), 1).unwrap();
    assert!(blocks[0].header().end_offset() > Offset(hole));
    // What comes later is compacted against what is there.
    fill(&mut rig, at, 600, subject);
    rig.tidy();
    rig.prepare();
    assert!(kept(&rig, at).len() < 200);
}

#[test]
fn a_compaction_with_little_memory_comes_to_an_end_and_loses_nothing() {
    let sim = Sim::new(1);
    let options = Options { compact_bytes_max: 64 << 10, ..small() };
    let mut rig = Rig::open(&sim, &options).unwrap();
    let (_, at) =
        create(&mut rig, "many", StreamOptions { cleanup: Cleanup::Compact, ..StreamOptions::default() });
    fill(&mut rig, at, 1_500, |n| Some(format!("subject-{}-{}", n % 1_200, "x".repeat(100))));
    rig.tidy();
    let left: BTreeMap<u64, ()> = kept(&rig, at).into_iter().map(|event| (event.0, ())).collect();
    assert!((300..1_500).all(|n| left.contains_key(&n)), "a latest event is gone");
}

/// What a compaction had no memory for is looked at by a later one: a superseded event does not stay for ever.
#[test]
fn what_a_compaction_had_no_memory_for_is_compacted_later() {
    let sim = Sim::new(1);
    let options = Options { compact_bytes_max: 64 << 10, ..small() };
    let mut rig = Rig::open(&sim, &options).unwrap();
    let (_, at) =
        create(&mut rig, "many", StreamOptions { cleanup: Cleanup::Compact, ..StreamOptions::default() });
    // Rows, of which all are in the clean part.
    fill(&mut rig, at, 130, |n| Some(format!("row-{}", n % 50)));
    rig.tidy();
    // Every tenth event supersedes one of them, between so many other subjects that memory runs out.
    let others = "x".repeat(100);
    fill(&mut rig, at, 500, |n| {
        Some(if n % 10 == 0 { format!("row-{}", n / 10) } else { format!("other-{n}-{others}") })
    });
    rig.tidy();
    fill(&mut rig, at, 900, |n| Some(format!("third-{}", n % 20)));
    rig.tidy();
    let left: BTreeMap<u64, ()> = kept(&rig, at).into_iter().map(|event| (event.0, ())).collect();
    let stale: Vec<_> = left.range(..130).map(|(offset, ())| *offset).collect();
    assert!(stale.is_empty(), "superseded events are still there: {stale:?}");
    assert!((130..630).all(|n| left.contains_key(&n)), "a latest event is gone");
}

/// A block that would be over its limit once it has to name its offsets: its segment stays as it is, and the cleaner does
/// not try it again and again.
#[test]
fn a_block_that_cannot_be_rewritten_is_given_up() {
    let sim = Sim::new(1);
    let options = Options {
        segment_bytes: 4 << 20,
        append_bytes_max: 2 << 20,
        in_flight_bytes_max: 4 << 20,
        read_bytes_max: 1 << 20,
        ..small()
    };
    let mut rig = Rig::open(&sim, &options).unwrap();
    let (_, dense) = create(&mut rig, "dense", StreamOptions::default());
    let (_, other) = create(&mut rig, "other", StreamOptions::default());
    let mut builder = BatchBuilder::new();
    let event = |data| EventRef { id: "1", source: "/s", ty: "t", data, ..EventRef::default() };
    while builder.bytes() < tw_wire::BLOCK_BYTES_MAX - 3_000 {
        builder.push(&event(Data::Binary(&[0; 2_000])));
    }
    let count = u64::from(builder.count());
    rig.prepare();
    let ack = rig.append(vec![(dense, builder.finish(Compression::Lz4).unwrap(), None)]);
    rig.commit();
    ack.wait().unwrap();
    fill(&mut rig, other, 5_000, |_| None);
    for (at, before) in [(dense, 1), (other, 5_000)] {
        let outcome = rig.trim(at, Offset(before));
        rig.commit();
        outcome.wait().unwrap();
    }
    rig.tidy();
    let before = sim.disk.trace().len();
    rig.tidy();
    let again = sim.disk.trace().split_off(before);
    assert!(!again.contains(&tw_env::sim::Operation::Create), "it was tried again");
    assert_eq!(kept(&rig, dense).len() as u64, count - 1);
}

/// Of neighbours that are to become one segment, one is damaged: it stays as it is, the others come together.
#[test]
fn the_neighbours_of_a_damaged_segment_are_rewritten() {
    let sim = Sim::new(1);
    let mut rig = Rig::open(&sim, &small()).unwrap();
    let (_, at) = create(&mut rig, "bulk", StreamOptions::default());
    let (_, thin) = create(&mut rig, "thin", StreamOptions::default());
    for _ in 0..20 {
        fill(&mut rig, thin, 1, |_| None);
        fill(&mut rig, at, 60, |_| None);
    }
    rig.prepare();
    let damaged = rig.shared.partition(thin).unwrap().places()[7].clone();
    let file = sim.disk.open(&damaged.path, tw_env::OpenMode::Write).unwrap();
    let mut bytes = vec![0; damaged.end() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes.iter_mut().skip(4_200).for_each(|byte| *byte ^= 0xff);
    file.write_all_at(&mut [std::io::IoSlice::new(&bytes)], 0).unwrap();
    let segments = rig.shared.segments.read().len();
    let outcome = rig.trim(at, Offset(1_200));
    rig.commit();
    outcome.wait().unwrap();
    rig.tidy();
    rig.prepare();
    let left = rig.shared.segments.read().len();
    assert!(segments > 18 && left <= 6, "{left} of {segments} segments");
    assert!(rig.shared.segments.read().contains_key(&damaged.id));
}

#[test]
fn a_dropped_stream_gives_its_room_back() {
    let sim = Sim::new(1);
    let mut rig = Rig::open(&sim, &small()).unwrap();
    let (def, at) = create(&mut rig, "dropped", StreamOptions::default());
    let (_, other) = create(&mut rig, "other", StreamOptions::default());
    fill(&mut rig, at, 1_000, |_| None);
    fill(&mut rig, other, 20, |_| None);
    let before = seg_bytes(&rig);
    let outcome = rig.define(crate::Definition::Drop(def.name.clone()));
    rig.commit();
    outcome.wait().unwrap();
    rig.tidy();
    rig.prepare();
    assert!(seg_bytes(&rig) < before / 2);
    assert!(matches!(rig.shared.read_blocking(at, Offset(0), 100), Err(Error::NoStreamId(_))));
    assert_eq!(kept(&rig, other).len(), 20);
    sim.disk.power_loss();
    let rig = Rig::open(&sim, &small()).unwrap();
    assert_eq!(kept(&rig, other).len(), 20);
}

/// A few events that stay, spread over many segments, come together in few.
#[test]
fn neighbours_in_which_little_lives_become_one_segment() {
    let sim = Sim::new(1);
    let mut rig = Rig::open(&sim, &small()).unwrap();
    let (_, at) = create(&mut rig, "bulk", StreamOptions::default());
    let (_, thin) = create(&mut rig, "thin", StreamOptions::default());
    for _ in 0..20 {
        fill(&mut rig, thin, 1, |_| None);
        fill(&mut rig, at, 60, |_| None);
    }
    let segments = rig.shared.segments.read().len();
    let outcome = rig.trim(at, Offset(1_200));
    rig.commit();
    outcome.wait().unwrap();
    rig.tidy();
    rig.prepare();
    assert!(segments > 18 && rig.shared.segments.read().len() <= 3);
    assert_eq!(kept(&rig, thin).len(), 20);
    sim.disk.power_loss();
    let rig = Rig::open(&sim, &small()).unwrap();
    assert_eq!(kept(&rig, thin).len(), 20);
    let names = sim.disk.list(Path::new(FOLDER)).unwrap();
    assert!(names.len() < 8, "{names:?}");
}

/// A file is not recycled while somebody reads it.
#[test]
fn a_segment_that_is_being_read_is_not_recycled() {
    let sim = Sim::new(1);
    let mut rig = Rig::open(&sim, &small()).unwrap();
    let (_, at) = create(&mut rig, "read", StreamOptions::default());
    fill(&mut rig, at, 200, |_| None);
    let reader = rig.shared.partition(at).unwrap().places_of(Offset(0)).remove(0);
    let content = |rig: &Rig| {
        let file = rig.shared.env.disk.open(&reader.path, tw_env::OpenMode::Read).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    let before = content(&rig);
    let outcome = rig.trim(at, Offset(200));
    rig.commit();
    outcome.wait().unwrap();
    rig.tidy();
    for _ in 0..10 {
        fill(&mut rig, at, 60, |_| None);
        rig.tidy();
    }
    assert!(content(&rig) == before, "the file was written while it was read");
    assert_eq!(rig.shared.retired.lock().len(), 1);
    drop(reader);
    rig.shared.reclaim();
    assert!(rig.shared.retired.lock().is_empty());
}

#[test]
fn what_a_partition_takes_is_told_over_restarts_and_what_was_written_only_rises() {
    let sim = Sim::new(1);
    let mut rig = Rig::open(&sim, &small()).unwrap();
    let (_, at) = create(&mut rig, "orders", StreamOptions::default());
    let held = |rig: &Rig| rig.shared.partition(at).unwrap().held();
    assert_eq!(held(&rig), crate::Held::default());
    fill(&mut rig, at, 100, |_| None);
    let full = held(&rig);
    assert!(full.bytes > 100_000 && full.written_bytes == full.bytes, "{full:?}");
    let last = kept(&rig, at).last().map(|(_, _, hlc, _)| *hlc);
    assert_eq!(full.last_hlc.map(tw_types::Hlc::as_u64), last);
    drop(rig);
    let rig = Rig::open(&sim, &small()).unwrap();
    let again = rig.shared.partition(at).unwrap().held();
    assert_eq!((again.bytes, again.last_hlc, again.written_bytes), (full.bytes, full.last_hlc, 0));
}
