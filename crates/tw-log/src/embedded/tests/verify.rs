//! A closed log is checked whole: sound logs are found sound, and damage anywhere is found and named.

use super::super::inspect::{Inspection, inspect};
use super::super::verify::{IndexState, Verification, verify};
use super::model::Number;
use super::rig::{FOLDER, Rig, small};
use crate::{Error, NewStream};
use std::path::{Path, PathBuf};
use tw_env::sim::Sim;
use tw_env::{Disk, OpenMode};
use tw_types::{Cleanup, Compression, Offset, PartitionId, StreamName, StreamOptions, StreamPartition};

/// A log of several segments with a trimmed, a compacted and a dropped stream, closed.
fn closed(seed: u64) -> Sim {
    let sim = Sim::new(seed);
    let mut rig = Rig::open(&sim, &small()).unwrap();
    let plain = rig.create_plain("plain", 2).id;
    let options = StreamOptions { cleanup: Cleanup::Compact, ..StreamOptions::default() };
    let compacted = StreamName::new("compacted").unwrap();
    let compacted = rig.create(NewStream { options, ..NewStream::plain(compacted, 1) }).unwrap().id;
    let dropped = rig.create_plain("dropped", 1);
    let places = [(plain, 0), (plain, 1), (compacted, 0), (dropped.id, 0)];
    for number in 0..600 {
        rig.prepare();
        let (stream, partition) = places[number as usize % places.len()];
        let at = StreamPartition::new(stream, PartitionId(partition));
        let ack = rig.append(vec![(at, Number::batch(&[Number(number)], Compression::Lz4), None)]);
        rig.commit();
        ack.wait().unwrap();
    }
    let outcome = rig.trim(StreamPartition::new(plain, PartitionId(0)), Offset(40));
    rig.commit();
    outcome.wait().unwrap();
    let outcome = rig.define(crate::Definition::Drop(dropped.name.clone()));
    rig.commit();
    outcome.wait().unwrap();
    rig.prepare();
    rig.tidy();
    // What was there is rewritten by now; this is not.
    for number in 1_000..1_300 {
        rig.prepare();
        let at = StreamPartition::new(plain, PartitionId(1));
        let ack = rig.append(vec![(at, Number::batch(&[Number(number)], Compression::Lz4), None)]);
        rig.commit();
        ack.wait().unwrap();
    }
    rig.tidy();
    sim
}

fn check(sim: &Sim) -> Verification {
    verify(Path::new(FOLDER), &sim.env()).unwrap()
}

fn segment_of(sim: &Sim, path: &Path) -> super::super::SegmentInfo {
    match inspect(path, &sim.env()).unwrap() {
        Inspection::Segment(info) => info,
        Inspection::Index(_) => panic!("{} is an index", path.display()),
    }
}

#[test]
fn a_sound_log_is_found_sound_and_told_by_partition() {
    let sim = closed(1);
    let before = sim.disk.operations();
    let found = check(&sim);
    assert_eq!(found.problems, []);
    assert!(found.log.is_some() && found.segments.len() > 3, "{found:?}");
    let told: Vec<_> = found
        .partitions
        .iter()
        .map(|p| (p.stream.as_deref().unwrap(), p.partition, p.start, p.end, p.events))
        .collect();
    assert_eq!(told[0], ("$config", 0, 0, 4, 4));
    assert_eq!(told[1], ("plain", 0, 40, 150, 110));
    assert_eq!(told[2], ("plain", 1, 0, 450, 450));
    let (name, partition, start, end, events) = told[3];
    assert_eq!((name, partition, start, end), ("compacted", 0, 0, 150));
    assert!(events < 150, "nothing was compacted");
    assert_eq!(told.len(), 4, "a dropped stream is told");
    // What one can look at is what was counted.
    for segment in &found.segments {
        let info = segment_of(&sim, &segment.file);
        let blocks = || info.frames.iter().flat_map(|frame| &frame.blocks);
        assert_eq!((info.frames.len(), blocks().count()), (segment.frames as usize, segment.blocks as usize));
        assert_eq!(blocks().map(|block| u64::from(block.events)).sum::<u64>(), segment.events);
        assert_eq!((info.end, info.problems.len()), (segment.end, 0));
    }
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["segments"][0]["index"], "sound");
    assert!(before > 0 && Rig::open(&sim, &small()).is_ok());
}

#[test]
fn log_5_damage_in_any_frame_of_a_sealed_segment_is_found_and_named() {
    let sim = closed(2);
    let segments = check(&sim).segments;
    let (_, sealed) = segments.split_last().unwrap();
    let mut tried = 0;
    for segment in sealed {
        for frame in segment_of(&sim, &segment.file).frames.iter().step_by(5) {
            // The first bytes, and some of the others.
            for byte in
                (0..frame.bytes).filter(|byte| *byte < 4 || (byte + frame.position).is_multiple_of(307))
            {
                let position = frame.position + byte;
                sim.disk.rot(&segment.file, position, 0x10).unwrap();
                let found = check(&sim);
                let named = |p: &super::super::Problem| {
                    p.file == segment.file && (frame.position..=position).contains(&p.position)
                };
                assert!(found.problems.iter().any(named), "byte {position}: {:?}", found.problems);
                assert_eq!(found.segments.len(), segments.len(), "the others are not read any more");
                sim.disk.rot(&segment.file, position, 0x10).unwrap();
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "only {tried} places were tried");
    assert!(check(&sim).is_sound());
}

#[test]
fn two_damaged_frames_are_both_told() {
    let sim = closed(3);
    let segments = check(&sim).segments;
    let segment = &segments[segments.len() - 2].file;
    let frames = segment_of(&sim, segment).frames;
    let (first, second) = (frames[1].position, frames[3].position);
    for position in [first, second] {
        sim.disk.rot(segment, position + 40, 1).unwrap();
    }
    let found = check(&sim);
    let told = |position| {
        found.problems.iter().any(|p| p.file == *segment && (position..position + 40).contains(&p.position))
    };
    assert!(told(first) && told(second), "{:?}", found.problems);
    let info = segment_of(&sim, segment);
    assert_eq!((info.problems.len(), info.frames.len()), (2, frames.len() - 2));
}

#[test]
fn a_missing_segment_and_a_short_one_are_told() {
    let sim = closed(4);
    let segments = check(&sim).segments;
    let (gone, short) = (&segments[0].file, &segments[1]);
    sim.disk.remove(gone).unwrap();
    sim.disk.open(&short.file, OpenMode::Write).unwrap().set_len(short.end - 100).unwrap();
    let problems = check(&sim).problems;
    assert!(problems.iter().any(|p| p.file == *gone && p.cause.contains("missing")), "{problems:?}");
    assert!(problems.iter().any(|p| p.file == short.file && p.cause.contains("ends here")), "{problems:?}");
}

#[test]
fn a_damaged_end_of_the_log_does_not_hide_the_rest() {
    let sim = closed(5);
    let segments = check(&sim).segments;
    let last = segments.last().unwrap().file.clone();
    let frames = segment_of(&sim, &last).frames;
    sim.disk.rot(&last, frames[0].position + 50, 1).unwrap();
    let older = &segments[0].file;
    sim.disk.rot(older, segment_of(&sim, older).frames[1].position + 50, 1).unwrap();
    let problems = check(&sim).problems;
    assert!(problems.iter().any(|p| p.file == last), "{problems:?}");
    assert!(problems.iter().any(|p| p.file == *older), "{problems:?}");
}

#[test]
fn indexes_are_compared_with_their_segments() {
    let sim = closed(6);
    let segments = check(&sim).segments;
    let (removed, damaged) = (&segments[0].file, &segments[1].file);
    sim.disk.remove(&removed.with_extension("idx")).unwrap();
    let index = damaged.with_extension("idx");
    let len = sim.disk.open(&index, OpenMode::Read).unwrap().len().unwrap();
    for byte in [3, 20, 70, len - 1] {
        sim.disk.rot(&index, byte, 1).unwrap();
        let found = check(&sim);
        assert_eq!(
            (found.segments[0].index, found.segments[1].index),
            (IndexState::Missing, IndexState::Wrong)
        );
        assert_eq!(found.problems.iter().map(|p| &p.file).collect::<Vec<_>>(), [&index]);
        sim.disk.rot(&index, byte, 1).unwrap();
    }
    let Inspection::Index(info) = inspect(&index, &sim.env()).unwrap() else { panic!("no index") };
    assert_eq!((info.end, info.partitions.is_empty()), (segments[1].end, false));
}

#[test]
fn a_log_in_use_is_refused_and_an_empty_folder_is_sound() {
    let sim = Sim::new(7);
    sim.disk.create_dir_all(Path::new("/empty")).unwrap();
    let found = verify(Path::new("/empty"), &sim.env()).unwrap();
    assert!(found.is_sound() && found.log.is_none() && found.segments.is_empty());
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("log");
    let env = tw_env::Env::real();
    let log = crate::EmbeddedLog::open(&path, crate::Options::default(), env.clone()).unwrap();
    assert!(matches!(verify(&path, &env), Err(Error::Locked(_))));
    drop(log);
    assert!(verify(&path, &env).unwrap().is_sound());
    assert!(matches!(verify(&folder.path().join("none"), &env), Err(Error::Io { .. })));
    assert!(matches!(inspect(&path.join("LOCK"), &env), Err(Error::Damaged { .. })));
}
