//! Tests that need processes of their own: one that is killed, one whose memory is measured.
//!
//! Without a harness, because the program starts itself: `processes child FOLDER` and `processes memory FOLDER`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use bytes::Bytes;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use tw_state::{Batch, DiskStore, Keyspace, Options, Range, Store};

const NAMES: [&str; 3] = ["small", "large", "rare"];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("child") => child(Path::new(&arguments[2])),
        Some("memory") => memory(Path::new(&arguments[2])),
        _ => {
            commits_are_whole_or_absent_after_kill_9();
            memory_stays_within_its_bounds();
        }
    }
}

fn options() -> Options {
    // Small, so that flushes and compactions happen all the time.
    Options { write_buffer_bytes: 1 << 20, cache_bytes: 1 << 20, ..Options::default() }
}

fn open(folder: &Path) -> (DiskStore, [Keyspace; 3]) {
    let store = DiskStore::open(folder, options()).unwrap();
    let keyspaces = NAMES.map(|name| store.keyspace(name).unwrap());
    (store, keyspaces)
}

/// The changes of a commit depend on its number alone, so that whoever reads can tell what must be there.
fn changes(number: u64) -> Vec<(usize, u64, Bytes)> {
    let value = Bytes::copy_from_slice(&number.to_be_bytes());
    let large = Bytes::from(number.to_be_bytes().repeat(500));
    let mut changes = vec![(0, 0, value.clone()), (0, 1 + number % 50, value.clone())];
    changes.extend((0..4).map(|index| (1, (number * 7 + index) % 1_000, large.clone())));
    if number.is_multiple_of(40) {
        changes.push((2, number % 3, value));
    }
    changes
}

/// Commits for ever, and says after each commit which it was.
fn child(folder: &Path) {
    let (store, keyspaces) = open(folder);
    let last = store.get(keyspaces[0], &0u64.to_be_bytes()).unwrap();
    let last = last.map_or(0, |bytes| u64::from_be_bytes(bytes.as_ref().try_into().unwrap()));
    let mut out = std::io::stdout();
    for number in last + 1.. {
        let mut batch = Batch::new();
        for (index, key, value) in changes(number) {
            batch.put(keyspaces[index], Bytes::copy_from_slice(&key.to_be_bytes()), value);
        }
        store.commit(batch).unwrap();
        if number % 500 == 0 {
            let entries = (0..300u64).map(|key| (2_000 + key).to_be_bytes());
            let mut entries = entries
                .map(|key| (Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&number.to_be_bytes())));
            store.ingest(keyspaces[2], &mut entries).unwrap();
        }
        writeln!(out, "{number}").unwrap();
    }
}

/// Starts this program again.
fn start(mode: &str, folder: &Path) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .arg(mode)
        .arg(folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn commits_are_whole_or_absent_after_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let mut before = 0;
    for round in 0..30u64 {
        let mut child = start("child", folder.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Another number of commits each time, so that it dies in other places.
        let mut acknowledged = before;
        for line in lines.by_ref().take(1 + (round as usize * 97) % 700) {
            acknowledged = line.unwrap().parse().unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        before = check(folder.path());
        assert!(before >= acknowledged, "commit {acknowledged} was acknowledged, {before} is the last");
    }
    println!("test commits_are_whole_or_absent_after_kill_9 ... ok ({before} commits)");
}

/// Checks that the store holds what the commits up to one of them leave, and says up to which.
fn check(folder: &Path) -> u64 {
    let (store, keyspaces) = open(folder);
    let Some(last) = store.get(keyspaces[0], &0u64.to_be_bytes()).unwrap() else { return 0 };
    let last = u64::from_be_bytes(last.as_ref().try_into().unwrap());
    let mut model = NAMES.map(|_| std::collections::BTreeMap::new());
    for number in 1..=last {
        for (index, key, value) in changes(number) {
            model[index].insert(Bytes::copy_from_slice(&key.to_be_bytes()), value);
        }
    }
    let snapshot = store.snapshot();
    for (keyspace, wanted) in keyspaces.into_iter().zip(model) {
        let end = Bytes::copy_from_slice(&2_000u64.to_be_bytes());
        let committed = Range { end: std::ops::Bound::Excluded(end), ..Range::all() };
        let found = snapshot.range(keyspace, committed).collect::<tw_state::Result<Vec<_>>>().unwrap();
        assert_eq!(found, wanted.into_iter().collect::<Vec<_>>(), "after commit {last}");
    }
    last
}

/// Writes and reads far more than the bounds allow to be kept, and says how much memory the process had at most.
fn memory(folder: &Path) {
    let (store, keyspaces) = open(folder);
    let key = |number: u64| Bytes::copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    for round in 0..300u64 {
        let mut batch = Batch::new();
        for number in 0..2_000 {
            let value = (round * 2_000 + number).to_be_bytes().repeat(32);
            batch.put(keyspaces[(number % 3) as usize], key(round * 2_000 + number), value);
        }
        store.commit(batch).unwrap();
    }
    let snapshot = store.snapshot();
    let count: usize = keyspaces.iter().map(|keyspace| snapshot.range(*keyspace, Range::all()).count()).sum();
    assert_eq!(count, 600_000);
    for number in (0..600_000).step_by(7) {
        assert!(store.get(keyspaces[(number % 2_000 % 3) as usize], &key(number)).unwrap().is_some());
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("{}", peak.trim().trim_end_matches(" kB"));
}

fn memory_stays_within_its_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let child = start("memory", folder.path());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let peak_kib: u64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    // 160 MB were written with 1 MiB of cache and 1 MiB of write buffer; indexes, filters and compactions come on top.
    assert!(peak_kib < 64 << 10, "{peak_kib} KiB");
    println!("test memory_stays_within_its_bounds ... ok ({peak_kib} KiB)");
}
