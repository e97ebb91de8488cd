//! LOG-5: damage is found, named, and never served; what is around it stays readable.

use super::model::Number;
use super::rig::{FOLDER, Rig, small};
use crate::Error;
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use tw_env::sim::Sim;
use tw_env::{Disk, OpenMode};
use tw_types::{Compression, Offset, PartitionId, StreamPartition};

const AT: StreamPartition = StreamPartition::new(tw_types::StreamId(1), PartitionId(0));
const OTHER: StreamPartition = StreamPartition::new(tw_types::StreamId(1), PartitionId(1));

/// A log of `count` appends to two partitions by turns, closed.
fn closed(seed: u64, count: u64) -> Sim {
    let sim = Sim::new(seed);
    let mut rig = Rig::open(&sim, &small()).unwrap();
    rig.create_plain("damaged", 2);
    for number in 0..count {
        rig.prepare();
        let at = if number.is_multiple_of(2) { AT } else { OTHER };
        let ack = rig.append(vec![(at, Number::batch(&[Number(number)], Compression::None), None)]);
        rig.commit();
        ack.wait().unwrap();
    }
    rig.tidy();
    sim
}

fn seg(number: u64) -> PathBuf {
    Path::new(FOLDER).join(format!("{number:012}.seg"))
}

fn bytes(sim: &Sim, path: &Path) -> Vec<u8> {
    let file = sim.disk.open(path, OpenMode::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Where the block that starts with `pattern`'s n-th occurrence lies.
fn find(bytes: &[u8], pattern: &[u8], n: usize) -> u64 {
    let mut places = bytes.windows(pattern.len()).enumerate().filter(|(_, window)| *window == pattern);
    places.nth(n).unwrap().0 as u64
}

/// The last segment that holds events, by number.
fn last(sim: &Sim) -> PathBuf {
    let with_frames = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "seg")
            && bytes(sim, path)[4096..].starts_with(b"TWF1")
    };
    let mut paths = sim.disk.list(Path::new(FOLDER)).unwrap();
    paths.retain(with_frames);
    paths.sort();
    paths.pop().unwrap()
}

#[test]
fn log_5_a_damaged_middle_is_refused_with_file_and_byte() {
    let sim = closed(1, 40);
    let path = last(&sim);
    let position = find(&bytes(&sim, &path), b"TWB1", 5);
    sim.disk.rot(&path, position + 100, 1).unwrap();
    let Err(Error::Damaged { file, position: at, cause }) = Rig::open(&sim, &small()).map(drop) else {
        panic!("the log was opened");
    };
    assert_eq!((file, at), (path, position));
    assert!(cause.contains("checksum") && cause.contains("restore the file"), "{cause}");
}

#[test]
fn a_broken_last_frame_is_a_torn_tail() {
    let sim = closed(1, 40);
    let path = last(&sim);
    let content = bytes(&sim, &path);
    let frames = content.windows(4).filter(|window| window == b"TWF1").count();
    let position = find(&content, b"TWF1", frames - 1);
    sim.disk.rot(&path, position + 40, 1).unwrap();
    let rig = Rig::open(&sim, &small()).unwrap();
    let ends = [AT, OTHER].map(|at| rig.shared.partition(at).unwrap().bounds().end);
    assert_eq!(ends, [Offset(20), Offset(19)]);
}

#[test]
fn log_5_a_damaged_block_of_an_older_segment_is_named_and_the_rest_is_readable() {
    let sim = closed(1, 400);
    let path = seg(2);
    let position = find(&bytes(&sim, &path), b"TWB1", 8);
    for byte in [position + 20, position + 90] {
        sim.disk.rot(&path, byte, 0x40).unwrap();
        let rig = Rig::open(&sim, &small()).unwrap();
        let mut damaged = 0;
        for at in [AT, OTHER] {
            let (mut next, mut seen) = (0, 0);
            while next < 200 {
                match rig.shared.read_blocking(at, Offset(next), 4_000) {
                    Ok(blocks) => {
                        for block in blocks {
                            assert!(block.records().is_ok());
                            next = block.header().end_offset().0;
                            seen += u64::from(block.header().count);
                        }
                    }
                    Err(Error::Damaged { file, position: place, cause }) => {
                        assert_eq!((&file, place), (&path, position), "{cause}");
                        damaged += 1;
                        next += 1;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            assert!(seen >= 199, "only {seen} events of {at} are readable");
        }
        assert_eq!(damaged, 1);
        sim.disk.rot(&path, byte, 0x40).unwrap();
    }
}

#[test]
fn a_missing_or_damaged_index_is_rebuilt() {
    let sim = closed(1, 400);
    let index = seg(2).with_extension("idx");
    let whole = bytes(&sim, &index);
    for byte in [3, 20, 70, whole.len() as u64 - 1] {
        sim.disk.rot(&index, byte, 0xff).unwrap();
        let mut rig = Rig::open(&sim, &small()).unwrap();
        for at in [AT, OTHER] {
            assert_eq!(rig.read_all(at).unwrap().iter().map(|block| block.header().count).sum::<u32>(), 200);
        }
        rig.tidy();
        assert!(bytes(&sim, &index) == whole, "the index was not stored again");
    }
    sim.disk.remove(&index).unwrap();
    let mut rig = Rig::open(&sim, &small()).unwrap();
    assert_eq!(rig.read_all(OTHER).unwrap().iter().map(|block| block.header().count).sum::<u32>(), 200);
    rig.tidy();
    assert!(bytes(&sim, &index) == whole);
}

#[test]
fn a_missing_segment_is_named() {
    let sim = closed(1, 400);
    let newest = last(&sim);
    for path in [seg(2), newest] {
        let copy = sim.fork(1);
        copy.disk.remove(&path).unwrap();
        let Err(Error::Damaged { file, cause, .. }) = Rig::open(&copy, &small()).map(drop) else {
            panic!("the log was opened without {}", path.display());
        };
        assert_eq!(file, path);
        assert!(cause.contains("missing"), "{cause}");
    }
}

#[test]
fn a_file_of_another_log_is_not_read() {
    let (sim, other) = (closed(1, 400), closed(2, 400));
    let foreign = bytes(&other, &seg(2));
    let file = sim.disk.open(&seg(2), OpenMode::Write).unwrap();
    file.write_all_at(&mut [std::io::IoSlice::new(&foreign)], 0).unwrap();
    let rig = Rig::open(&sim, &small()).unwrap();
    let refused = rig.read_all(AT).unwrap_err();
    assert!(matches!(&refused, Error::Damaged { file, position: 0, .. } if *file == seg(2)), "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// LOG-5: whatever bytes of whatever file change or are cut off, the log opens with a prefix of each partition, or
    /// refuses and names a file; and no altered event is ever served.
    #[test]
    fn log_5_damage_anywhere_is_refused_or_cuts_a_tail(
        file in any::<proptest::sample::Index>(),
        place in any::<proptest::sample::Index>(),
        flips in proptest::collection::vec(1u8.., 1..40),
        cut in proptest::bool::weighted(0.2),
    ) {
        let sim = closed(7, 150);
        let mut paths = sim.disk.list(Path::new(FOLDER)).unwrap();
        paths.sort();
        let path = file.get(&paths);
        let content = bytes(&sim, path);
        // Mostly within what is used: the rest of a segment is zeros.
        let used = content.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
        let start = place.index(used);
        if cut {
            sim.disk.open(path, OpenMode::Write).unwrap().set_len(start as u64).unwrap();
        } else {
            for (n, flip) in flips.iter().enumerate() {
                sim.disk.rot(path, (start + n) as u64, *flip).unwrap();
            }
        }
        match Rig::open(&sim, &small()) {
            Err(Error::Damaged { file, .. }) => prop_assert!(paths.contains(&file)),
            Err(other) => prop_assert!(false, "{other}"),
            Ok(rig) => for (at, first) in [(AT, 0), (OTHER, 1)] {
                let Ok(partition) = rig.shared.partition(at) else { continue };
                for offset in 0..partition.bounds().end.0 {
                    let Ok(blocks) = rig.shared.read_blocking(at, Offset(offset), 1) else { continue };
                    let records = blocks[0].records().unwrap();
                    let event = records.iter().unwrap().next().unwrap().unwrap();
                    let number = Number(event.offset.0 * 2 + first);
                    prop_assert_eq!(&event.event.to_owned(), &number.event());
                }
            },
        }
    }
}
