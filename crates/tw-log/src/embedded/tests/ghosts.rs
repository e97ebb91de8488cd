//! What was lost once must not come back.
//!
//! These tests make the one situation in which it could: a torn frame whose missing sectors are later supplied by
//! another frame of the same shape at the same place.

use super::model::Number;
use super::rig::{Rig, small};
use crate::Error;
use std::io;
use tw_env::sim::{Fault, Sim};
use tw_types::{Compression, Offset, StreamDef, StreamPartition};

/// An event with large data, one with small data, and another of the very same size.
const LARGE: Number = Number(14);
const SMALL: Number = Number(100);
const SAME_SIZE: Number = Number(190);

fn at(def: &StreamDef, number: u32) -> StreamPartition {
    StreamPartition::new(def.id, tw_types::PartitionId(number))
}

/// Appends a small and a large event to two partitions, in one frame.
fn append_two(rig: &mut Rig, def: &StreamDef, small: Number) -> crate::Ack {
    let batch = |number| Number::batch(&[number], Compression::None);
    let ack = rig.append(vec![(at(def, 0), batch(small), None), (at(def, 1), batch(LARGE), None)]);
    rig.commit();
    ack
}

fn ids(rig: &Rig, at: StreamPartition) -> Vec<String> {
    let blocks = rig.read_all(at).unwrap();
    blocks
        .iter()
        .flat_map(|block| {
            let records = block.records().unwrap();
            records.iter().unwrap().map(|record| record.unwrap().event.id.to_owned()).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn the_events_of_these_tests_have_the_same_size() {
    let bytes = |number| Number::batch(&[number], Compression::None).bytes();
    assert_eq!(bytes(SMALL), bytes(SAME_SIZE));
    assert!(bytes(SMALL) < 400 && bytes(LARGE) > 700);
}

/// A frame is torn by a crash; after the next crash in the middle of a frame of the same shape it is still gone.
#[test]
fn log_1_a_torn_frame_is_not_completed_by_its_successor() {
    let mut torn = 0;
    for seed in 0..1_000 {
        let sim = Sim::new(seed);
        let mut rig = Rig::open(&sim, &small()).unwrap();
        let def = rig.create_plain("ghosts", 2);
        // Both frames: write, then the sync at which the power goes.
        sim.disk.fault_at(sim.disk.operations() + 1, Fault::Crash);
        assert!(matches!(append_two(&mut rig, &def, SMALL).wait(), Err(Error::Unknown(_))));
        sim.disk.power_loss();
        let mut rig = Rig::open(&sim, &small()).unwrap();
        if !ids(&rig, at(&def, 0)).is_empty() {
            continue;
        }
        torn += 1;
        sim.disk.fault_at(sim.disk.operations() + 1, Fault::Crash);
        assert!(append_two(&mut rig, &def, SAME_SIZE).wait().is_err());
        sim.disk.power_loss();
        let rig = Rig::open(&sim, &small()).unwrap();
        let found = ids(&rig, at(&def, 0));
        assert!(!found.contains(&SMALL.0.to_string()), "seed {seed}: a lost event is back");
    }
    assert!(torn > 200);
}

/// A write finds no room and is refused; a crash in the middle of the next one does not complete it.
#[test]
fn log_1_a_refused_frame_is_not_completed_by_its_successor() {
    for seed in 0..1_000 {
        let sim = Sim::new(seed);
        let mut rig = Rig::open(&sim, &small()).unwrap();
        let def = rig.create_plain("ghosts", 2);
        sim.disk.fault_at(sim.disk.operations(), Fault::Fail(io::ErrorKind::StorageFull));
        assert!(matches!(append_two(&mut rig, &def, SMALL).wait(), Err(Error::DiskFull { .. })));
        sim.disk.fault_at(sim.disk.operations() + 1, Fault::Crash);
        assert!(append_two(&mut rig, &def, SAME_SIZE).wait().is_err());
        sim.disk.power_loss();
        let rig = Rig::open(&sim, &small()).unwrap();
        let found = ids(&rig, at(&def, 0));
        assert!(!found.contains(&SMALL.0.to_string()), "seed {seed}: a refused event is there");
    }
}

/// After a failed sync the process is restarted, but not the machine: what the page cache shows may not be on the disk.
/// Either it is made durable, or it is not shown.
#[test]
fn log_1_what_only_the_page_cache_holds_is_made_durable_or_dropped() {
    let mut shown = 0;
    for seed in 0..200 {
        let sim = Sim::new(seed);
        let mut rig = Rig::open(&sim, &small()).unwrap();
        let def = rig.create_plain("cached", 2);
        sim.disk.fault_at(sim.disk.operations() + 1, Fault::Fail(io::ErrorKind::Other));
        assert!(matches!(append_two(&mut rig, &def, SMALL).wait(), Err(Error::Unknown(_))));
        sim.disk.process_loss();
        let mut rig = Rig::open(&sim, &small()).unwrap();
        let before = ids(&rig, at(&def, 1));
        shown += usize::from(!before.is_empty());
        let later = rig.append(vec![(at(&def, 0), Number::batch(&[Number(5)], Compression::None), None)]);
        rig.commit();
        later.wait().unwrap();
        sim.disk.power_loss();
        let rig = Rig::open(&sim, &small()).unwrap();
        assert_eq!(ids(&rig, at(&def, 1)), before, "seed {seed}");
        assert_eq!(ids(&rig, at(&def, 0)).last().map(String::as_str), Some("5"));
        assert_eq!(rig.shared.partition(at(&def, 1)).unwrap().bounds().end, Offset(before.len() as u64));
    }
    assert!(shown > 20);
}

/// A log in which segments with little in them are waiting to be put together by the cleaner.
fn with_hollow_segments(seed: u64) -> (Sim, Rig, StreamPartition) {
    let sim = Sim::new(seed);
    let mut rig = Rig::open(&sim, &small()).unwrap();
    let def = rig.create_plain("hollow", 2);
    for number in 0..6 {
        append_numbers(&mut rig, at(&def, 1), &[Number(number)]);
        // 5,000 bytes each: more than a segment of them.
        append_numbers(&mut rig, at(&def, 0), &[Number(13); 15]);
    }
    let end = rig.shared.partition(at(&def, 0)).unwrap().bounds().end;
    let outcome = rig.trim(at(&def, 0), end);
    rig.commit();
    outcome.wait().unwrap();
    (sim, rig, at(&def, 1))
}

fn append_numbers(rig: &mut Rig, at: StreamPartition, numbers: &[Number]) {
    for number in numbers {
        rig.prepare();
        let batch = Number::batch(&[*number], Compression::None);
        let ack = rig.append(vec![(at, batch, None)]);
        rig.commit();
        ack.wait().unwrap();
    }
}

/// The cleaner says in a frame that segments are of no use any more, and its sync fails. Whoever opens the log next sees
/// the frame in the page cache; until it is durable, those segments must stay, or a power loss leaves a log without them.
#[test]
fn log_1_segments_stay_until_the_frame_that_frees_them_is_durable() {
    let tidied = |seed| {
        let (sim, mut rig, thin) = with_hollow_segments(seed);
        let before = sim.disk.operations();
        rig.tidy();
        (before, sim.disk.trace(), ids(&rig, thin))
    };
    let (first, trace, events) = tidied(1);
    let syncs: Vec<u64> = (first..trace.len() as u64)
        .filter(|number| trace.get(*number as usize) == Some(&tw_env::sim::Operation::Sync))
        .collect();
    assert!(syncs.len() > 5 && events.len() == 6);
    for (sync, seed) in syncs.iter().flat_map(|sync| (0..4).map(move |seed| (*sync, seed))) {
        // What a failed sync leaves on the disk differs from seed to seed, the operations do not.
        let (sim, mut rig, thin) = with_hollow_segments(seed);
        sim.disk.fault_at(sync, Fault::Fail(io::ErrorKind::Other));
        rig.tidy();
        sim.disk.process_loss();
        let whole = sim.fork(seed);
        Rig::open(&whole, &small()).unwrap();
        let changes = (0..).zip(whole.disk.trace()).filter(|(_, operation)| operation.is_change());
        for (crash, operation) in changes {
            let sim = sim.fork(crash);
            sim.disk.fault_at(crash, Fault::Crash);
            assert!(Rig::open(&sim, &small()).is_err());
            sim.disk.power_loss();
            let rig = Rig::open(&sim, &small());
            let rig = rig.unwrap_or_else(|error| panic!("sync {sync}, crash at {operation:?}: {error}"));
            assert_eq!(ids(&rig, thin), events, "sync {sync}, crash at {operation:?}");
        }
    }
}
