//! Raising the epoch of a log: what is counted anew, what is taken of earlier epochs, and a crash at every change of the disk.

use super::super::recovery;
use super::super::verify::verify;
use super::model::Number;
use super::rig::{FOLDER, Rig, small};
use crate::{Append, Error, Foreign};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tw_env::sim::Sim;
use tw_types::{Compression, Epoch, Hlc, Origin, PartitionId, RegionId, Sequence, StreamPartition};

const HERE: RegionId = RegionId(0);

fn raise(sim: &Sim) -> crate::Result<Epoch> {
    recovery::raise_epoch(Path::new(FOLDER), &small(), &sim.env())
}

fn batch(number: u64) -> tw_wire::Batch {
    Number::batch(&[Number(number)], Compression::None)
}

/// Appends an event of this region.
fn put(rig: &mut Rig, at: StreamPartition, number: u64) {
    let ack = rig.append(vec![(at, batch(number), None)]);
    rig.commit();
    ack.wait().unwrap();
}

/// Appends an event of this region that comes back from elsewhere.
fn fetch_back(
    rig: &mut Rig,
    at: StreamPartition,
    number: u64,
    origin: Origin,
    hlc: Hlc,
) -> crate::Result<()> {
    let foreign = Some(Foreign { origin, first_hlc: hlc });
    let ack = rig.append_parts(vec![Append { at, batch: batch(number), expected_end: None, foreign }]);
    rig.commit();
    ack.wait().map(drop)
}

/// Epoch, sequence and time of everything in a partition.
fn origins(rig: &Rig, at: StreamPartition) -> Vec<(u32, u64, Hlc)> {
    let blocks = rig.read_all(at).unwrap();
    let of = |block: &tw_wire::Block| {
        let header = block.header().clone();
        let count = u64::from(header.last_delta) + 1;
        (0..count)
            .map(move |n| (header.epoch.0, header.base_sequence.0 + n, header.first_hlc.plus(n)))
            .collect::<Vec<_>>()
    };
    blocks.iter().flat_map(of).collect()
}

/// How many bytes are left of the segment that is written.
fn room(rig: &Rig) -> u64 {
    rig.writer.active.len - rig.writer.active.position
}

/// Appends until hardly anything has room in the segment; how many events that took.
fn fill_segment(rig: &mut Rig, at: StreamPartition) -> u64 {
    for n in 0.. {
        if room(rig) < 4_096 + 2_048 {
            return n;
        }
        put(rig, at, n);
    }
    0
}

fn own(epoch: u32, sequence: u64) -> Origin {
    Origin { region: HERE, epoch: Epoch(epoch), sequence: Sequence(sequence) }
}

#[test]
fn after_a_raise_sequences_begin_at_one_and_offsets_and_times_go_on() {
    let sim = Sim::new(1);
    let mut rig = Rig::open(&sim, &small()).unwrap();
    rig.prepare();
    let at = StreamPartition::new(rig.create_plain("s", 1).id, PartitionId(0));
    (0..3).for_each(|n| put(&mut rig, at, n));
    assert!(matches!(raise(&sim), Err(Error::Locked(_))), "somebody has it open");
    drop(rig);
    assert_eq!(raise(&sim).unwrap(), Epoch(2));
    let mut rig = Rig::open(&sim, &small()).unwrap();
    assert_eq!(rig.writer.known.epoch, Epoch(2));
    assert_eq!(rig.shared.partition(at).unwrap().sequence(), Sequence(0));
    // What it had accepted before comes back as what comes from elsewhere, and is not counted.
    let last = origins(&rig, at)[2].2;
    fetch_back(&mut rig, at, 3, own(1, 4), last.plus(7)).unwrap();
    for refused in [own(2, 1), own(3, 1), own(0, 1)] {
        let outcome = fetch_back(&mut rig, at, 4, refused, last.plus(9));
        assert!(matches!(outcome, Err(Error::NotForeign { .. })), "{refused}: {outcome:?}");
    }
    // Many segments later, when a checkpoint has to say so, and after another start.
    for n in 10..2_000 {
        rig.prepare();
        put(&mut rig, at, n);
    }
    assert!(rig.shared.segments.read().len() > 3);
    drop(rig);
    let mut rig = Rig::open(&sim, &small()).unwrap();
    assert_eq!(rig.shared.partition(at).unwrap().sequence(), Sequence(1_990));
    put(&mut rig, at, 5_000);
    let all = origins(&rig, at);
    let expected: Vec<(u32, u64)> = (1..=4).map(|n| (1, n)).chain((1..=1_991).map(|n| (2, n))).collect();
    assert_eq!(all.iter().map(|(epoch, sequence, _)| (*epoch, *sequence)).collect::<Vec<_>>(), expected);
    assert!(all.windows(2).all(|pair| pair[0].2 < pair[1].2), "times rise over epochs");
    assert_eq!(verify(Path::new(FOLDER), &sim.env()).unwrap().problems, []);
}

#[test]
fn a_raise_without_a_log_or_beyond_the_last_epoch_is_refused() {
    let sim = Sim::new(2);
    sim.env().disk.create_dir_all(Path::new(FOLDER)).unwrap();
    assert!(matches!(raise(&sim), Err(Error::NoLog(_))));
    drop(Rig::open(&sim, &small()).unwrap());
    for epoch in 2..=64 {
        assert_eq!(raise(&sim).unwrap(), Epoch(epoch));
    }
    let refused = raise(&sim).unwrap_err();
    assert!(matches!(refused, Error::Epochs { max: 64, .. }), "{refused}");
    assert_eq!(Rig::open(&sim, &small()).unwrap().writer.known.epoch, Epoch(64), "it can still be used");
}

/// LOG-1: the power goes at every single change of the disk while the epoch is raised, at places where the frame just fits a segment and
/// where it does not. Either it is raised, or not; what was there is there, and what comes then is counted from one.
#[test]
fn log_1_a_crash_at_every_boundary_of_a_raise_leaves_one_epoch_or_the_next() {
    let (mut crashes, mut met) = (0u64, [0u64; 2]);
    for fill in 0..12u64 {
        let sim = Sim::new(fill);
        let mut rig = Rig::open(&sim, &small()).unwrap();
        rig.prepare();
        let at = StreamPartition::new(rig.create_plain("s", 1).id, PartitionId(0));
        let count = fill_segment(&mut rig, at);
        // The frames of openings take what room is left, until the two of a raise just fit, or one of them, or none.
        while room(&rig) > 40 + fill * 16 {
            drop(rig);
            rig = Rig::open(&sim, &small()).unwrap();
        }
        drop(rig);
        sim.disk.process_loss();
        let found = Arc::new(Mutex::new(Vec::new()));
        sim.disk.observe({
            let (sim, found) = (sim.clone(), found.clone());
            move |operation| {
                if operation.is_change() {
                    let seed = fill << 32 | found.lock().unwrap().len() as u64;
                    let crashed = sim.fork(seed);
                    crashed.disk.power_loss();
                    found.lock().unwrap().push(crashed);
                }
            }
        });
        assert_eq!(raise(&sim).unwrap(), Epoch(2));
        sim.disk.observe_no_more();
        let crashed = std::mem::take(&mut *found.lock().unwrap());
        for one in crashed {
            crashes += 1;
            let mut rig = Rig::open(&one, &small()).unwrap();
            let epoch = rig.writer.known.epoch.0;
            met[epoch as usize - 1] += 1;
            rig.prepare();
            let before = origins(&rig, at);
            assert_eq!(before.len() as u64, count);
            assert!(before.iter().zip(1..).all(|((of, sequence, _), n)| (*of, *sequence) == (1, n)));
            put(&mut rig, at, 9_000);
            let last = origins(&rig, at).pop().unwrap();
            let next = if epoch == 1 { count + 1 } else { 1 };
            assert_eq!((last.0, last.1), (epoch, next));
        }
        // What was said is so.
        sim.disk.power_loss();
        assert_eq!(Rig::open(&sim, &small()).unwrap().writer.known.epoch, Epoch(2));
    }
    assert!(crashes > 100 && met.iter().all(|met| *met > 1), "{crashes} crashes, {met:?}");
}
