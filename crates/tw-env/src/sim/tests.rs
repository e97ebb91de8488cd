//! The simulated disk keeps what it must and loses what it may.

use super::{Fault, Operation, Rates, Sim};
use crate::{Clock, Disk, File, OpenMode, Random};
use proptest::prelude::*;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

fn folder() -> &'static Path {
    Path::new("/d")
}

fn create(sim: &Sim, name: &str, content: &[u8]) -> Arc<dyn File> {
    let file = sim.disk.open(&folder().join(name), OpenMode::CreateNew).unwrap();
    write(&*file, content, 0);
    file
}

fn write(file: &dyn File, content: &[u8], position: u64) {
    file.write_all_at(&mut [IoSlice::new(content)], position).unwrap();
}

fn content(sim: &Sim, name: &str) -> Option<Vec<u8>> {
    let file = sim.disk.open(&folder().join(name), OpenMode::Read).ok()?;
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

fn durable(sim: &Sim, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = create(sim, name, bytes);
    file.sync().unwrap();
    sim.disk.sync_dir(folder()).unwrap();
    file
}

#[test]
fn unsynced_sectors_survive_in_any_combination_but_never_in_part() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let sim = Sim::new(seed);
        let file = durable(&sim, "a", &[b'o'; 2048]);
        write(&*file, &[b'n'; 2048], 0);
        sim.disk.power_loss();
        let bytes = content(&sim, "a").unwrap();
        let sectors: String = bytes
            .chunks(512)
            .map(|sector| {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is torn");
                char::from(sector[0])
            })
            .collect();
        seen.insert(sectors);
    }
    for expected in ["oooo", "nnnn", "nooo", "ooon", "onno", "nnon"] {
        assert!(seen.contains(expected), "{expected} was never seen among {seen:?}");
    }
}

#[test]
fn synced_bytes_and_names_survive() {
    for seed in 0..50 {
        let sim = Sim::new(seed);
        durable(&sim, "a", b"kept");
        sim.disk.power_loss();
        assert_eq!(content(&sim, "a").unwrap(), b"kept");
    }
}

#[test]
fn a_name_may_be_lost_until_its_folder_is_synced() {
    let outcomes: Vec<bool> = (0..50)
        .map(|seed| {
            let sim = Sim::new(seed);
            create(&sim, "a", b"x").sync().unwrap();
            sim.disk.power_loss();
            content(&sim, "a").is_some()
        })
        .collect();
    assert!(outcomes.contains(&true) && outcomes.contains(&false));
}

#[test]
fn a_rename_leaves_one_name_or_the_other() {
    for seed in 0..50 {
        let sim = Sim::new(seed);
        durable(&sim, "a", b"x");
        sim.disk.rename(&folder().join("a"), &folder().join("b")).unwrap();
        sim.disk.power_loss();
        assert!(content(&sim, "a").is_some() != content(&sim, "b").is_some(), "seed {seed}");
    }
}

#[test]
fn a_sync_after_a_failed_one_succeeds_without_the_bytes() {
    let lost = (0..50).any(|seed| {
        let sim = Sim::new(seed);
        let file = durable(&sim, "a", &[b'o'; 4096]);
        write(&*file, &[b'n'; 4096], 0);
        sim.disk.fault_at(sim.disk.operations(), Fault::Fail(io::ErrorKind::Other));
        file.sync().unwrap_err();
        file.sync().unwrap();
        sim.disk.power_loss();
        content(&sim, "a").unwrap().contains(&b'o')
    });
    assert!(lost);
}

#[test]
fn a_killed_process_loses_its_handles_and_locks_but_no_bytes() {
    let sim = Sim::new(1);
    let file = create(&sim, "a", b"unsynced");
    let _lock = sim.disk.lock(&folder().join("LOCK")).unwrap();
    let refused = sim.disk.lock(&folder().join("LOCK")).map(drop).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
    sim.disk.process_loss();
    assert!(file.sync().is_err());
    assert_eq!(content(&sim, "a").unwrap(), b"unsynced");
    sim.disk.lock(&folder().join("LOCK")).unwrap();
}

#[test]
fn everything_fails_after_a_crash_until_the_restart() {
    let sim = Sim::new(1);
    let file = durable(&sim, "a", b"x");
    sim.disk.fault_at(sim.disk.operations() + 1, Fault::Crash);
    file.len().unwrap();
    file.sync().unwrap_err();
    assert!(content(&sim, "a").is_none());
    sim.disk.power_loss();
    assert_eq!(content(&sim, "a").unwrap(), b"x");
}

#[test]
fn a_full_disk_takes_overwrites_and_refuses_growth() {
    let sim = Sim::new(1);
    let file = durable(&sim, "a", &[1; 1024]);
    sim.disk.set_capacity(1536);
    assert_eq!(sim.disk.free_bytes(folder()).unwrap(), 512);
    write(&*file, &[2; 1024], 0);
    let grown = file.write_all_at(&mut [IoSlice::new(&[3; 1024])], 1024).unwrap_err();
    assert_eq!(grown.kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 1536);
    sim.disk.remove(&folder().join("a")).unwrap();
    sim.disk.sync_dir(folder()).unwrap();
    assert_eq!(sim.disk.used_bytes(), 0);
}

#[test]
fn rot_changes_what_is_read_now_and_later() {
    let sim = Sim::new(1);
    durable(&sim, "a", b"abc");
    sim.disk.rot(&folder().join("a"), 1, 0x20).unwrap();
    assert_eq!(content(&sim, "a").unwrap(), b"aBc");
    sim.disk.power_loss();
    assert_eq!(content(&sim, "a").unwrap(), b"aBc");
}

#[test]
fn an_observer_sees_every_operation_and_may_fork_the_disk() {
    let sim = Sim::new(1);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (disk, log) = (sim.disk.clone(), seen.clone());
    sim.disk.observe(move |operation| log.lock().unwrap().push((operation, disk.fork(0).used_bytes())));
    durable(&sim, "a", &[1; 600]);
    sim.disk.observe_no_more();
    use Operation::{Create, Sync, SyncDir, Write};
    assert_eq!(*seen.lock().unwrap(), [(Create, 0), (Write, 0), (Sync, 1024), (SyncDir, 1024)]);
    assert_eq!(sim.disk.trace(), [Create, Write, Sync, SyncDir]);
}

#[test]
fn time_moves_by_hand() {
    let sim = Sim::new(1);
    let (wall, mono) = (sim.clock.now_ms(), sim.clock.monotonic());
    sim.clock.advance(1_500);
    assert_eq!((sim.clock.now_ms() - wall, (sim.clock.monotonic() - mono).as_millis()), (1_500, 1_500));
    sim.clock.set_wall(5);
    assert_eq!((sim.clock.now_ms(), (sim.clock.monotonic() - mono).as_millis()), (5, 1_500));
    assert_ne!(sim.random.next_u64(), sim.random.next_u64());
}

proptest! {
    /// Whatever is cut short or interrupted: whole reads and writes arrive whole, and a run repeats from its seed.
    #[test]
    fn cut_operations_add_up(seed: u64, pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..700), 1..8)) {
        let run = || {
            let sim = Sim::new(seed);
            sim.disk.set_rates(Rates { short_reads: 500, short_writes: 500, interrupts: 300 });
            let file = sim.disk.open(&PathBuf::from("/d/a"), OpenMode::CreateNew).unwrap();
            let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            file.write_all_at(&mut slices, 3).unwrap();
            let mut read = vec![0; pieces.iter().map(Vec::len).sum()];
            file.read_exact_at(&mut read, 3).unwrap();
            (read, sim.disk.trace())
        };
        prop_assert_eq!(&run().0, &pieces.concat());
        prop_assert_eq!(run(), run());
    }
}
