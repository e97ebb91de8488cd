//! `bench state`: the engine of the state next to bare writes of the same bytes, and to a map in memory.

use crate::report::cpu;
use crate::report::{median, quantile};
use crate::scratch::Scratch;
use bytes::Bytes;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};
use tw_state::{Batch, DiskStore, Keyspace, MemoryStore, Options, Range, Store};

const KEY_BYTES: usize = 16;
const VALUE_BYTES: usize = 64;
const READS: u64 = 100_000;
const SCANS: u64 = 2_000;
/// How many entries one scan shows.
const SCAN_ENTRIES: usize = 100;

/// What to measure, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    scratch: Scratch,
    /// How often each measurement is repeated; medians are reported.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How many entries each measurement writes.
    #[arg(long, default_value_t = 1_000_000)]
    entries: u64,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let folder = args.scratch.open()?;
    println!(
        "keys of {KEY_BYTES} bytes in random order, values of {VALUE_BYTES} bytes, {} entries a measurement; a commit outlives \
         the process (it is written, not synced), an ingest is synced once; bound: the same bytes, written by one `write` a \
         commit into one file; medians of {} rounds",
        args.entries, args.rounds
    );
    println!(
        "{:<18}{:>16}{:>16}{:>12}{:>12}",
        "", "bound entries/s", "state entries/s", "bound µs", "state µs"
    );
    for batch in [1, 100, 1_000] {
        // Single entries are slow: fewer of them say as much.
        let entries = if batch == 1 { args.entries / 4 } else { args.entries };
        let name = format!("commits of {batch}");
        compare(&name, args.rounds, |round| {
            let bound = write_bare(&folder.path().join("bare"), entries, batch, false)?;
            let state = commit(&folder.path().join(format!("state-{batch}-{round}")), entries, batch)?;
            Ok((bound, state))
        })?;
    }
    compare("one ingest", args.rounds, |round| {
        let bound = write_bare(&folder.path().join("bare"), args.entries, 1_000, true)?;
        Ok((bound, ingest(&folder.path().join(format!("ingest-{round}")), args.entries)?))
    })?;
    read(&folder.path().join("read"), args.entries)
}

/// What it took to write entries: wall time, and processor time of all threads.
#[derive(Debug, Clone, Copy)]
struct Cost {
    entries_per_s: f64,
    cpu_us: f64,
}

impl Cost {
    fn since(started: Instant, cpu_before: f64, entries: u64) -> Self {
        let entries_per_s = entries as f64 / started.elapsed().as_secs_f64();
        Self { entries_per_s, cpu_us: (cpu() - cpu_before) * 1e6 / entries as f64 }
    }
}

/// Prints the medians of what `measure` gives, the bound's first.
fn compare(
    name: &str,
    rounds: usize,
    mut measure: impl FnMut(usize) -> anyhow::Result<(Cost, Cost)>,
) -> anyhow::Result<()> {
    let (mut bounds, mut states) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let (bound, state) = measure(round)?;
        bounds.push(bound);
        states.push(state);
    }
    let of = |costs: &[Cost], value: fn(&Cost) -> f64| median(&costs.iter().map(value).collect::<Vec<_>>());
    println!(
        "{name:<18}{:>16.0}{:>16.0}{:>12.2}{:>12.2}",
        of(&bounds, |cost| cost.entries_per_s),
        of(&states, |cost| cost.entries_per_s),
        of(&bounds, |cost| cost.cpu_us),
        of(&states, |cost| cost.cpu_us),
    );
    Ok(())
}

/// The key with a number: keys of numbers that follow one another are far apart.
fn key(number: u64) -> Bytes {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Bytes::copy_from_slice(&(u128::from(spread) << 64 | u128::from(number)).to_be_bytes())
}

/// A value that does not compress well.
fn value(number: u64) -> Bytes {
    let mut bytes = Vec::with_capacity(VALUE_BYTES);
    let mut state = number | 1;
    while bytes.len() < VALUE_BYTES {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    Bytes::from(bytes)
}

fn write_bare(path: &Path, entries: u64, batch: u64, sync: bool) -> anyhow::Result<Cost> {
    let mut file = std::fs::File::create(path)?;
    let (started, cpu_before) = (Instant::now(), cpu());
    let mut bytes = Vec::new();
    for first in (0..entries).step_by(batch as usize) {
        bytes.clear();
        for number in first..(first + batch).min(entries) {
            bytes.extend_from_slice(&key(number));
            bytes.extend_from_slice(&value(number));
        }
        file.write_all(&bytes)?;
    }
    if sync {
        file.sync_data()?;
    }
    let cost = Cost::since(started, cpu_before, entries);
    std::fs::remove_file(path)?;
    Ok(cost)
}

fn commit(folder: &Path, entries: u64, batch: u64) -> anyhow::Result<Cost> {
    let store = DiskStore::open(folder, Options::default())?;
    let keyspace = store.keyspace("bench")?;
    let (started, cpu_before) = (Instant::now(), cpu());
    for first in (0..entries).step_by(batch as usize) {
        let mut changes = Batch::new();
        for number in first..(first + batch).min(entries) {
            changes.put(keyspace, key(number), value(number));
        }
        store.commit(changes)?;
    }
    let entries_per_s = entries as f64 / started.elapsed().as_secs_f64();
    // Flushes and compactions that are still to be done are part of the processor time.
    drop(store);
    let cost = Cost { entries_per_s, ..Cost::since(started, cpu_before, entries) };
    std::fs::remove_dir_all(folder)?;
    Ok(cost)
}

fn sorted(entries: u64) -> impl Iterator<Item = (Bytes, Bytes)> {
    let mut numbers: Vec<u64> = (0..entries).collect();
    numbers.sort_unstable_by_key(|number| key(*number));
    numbers.into_iter().map(|number| (key(number), value(number)))
}

fn ingest(folder: &Path, entries: u64) -> anyhow::Result<Cost> {
    let store = DiskStore::open(folder, Options::default())?;
    let keyspace = store.keyspace("bench")?;
    let mut sorted = sorted(entries);
    let (started, cpu_before) = (Instant::now(), cpu());
    store.ingest(keyspace, &mut sorted)?;
    let entries_per_s = entries as f64 / started.elapsed().as_secs_f64();
    // Flushes and compactions that are still to be done are part of the processor time.
    drop(store);
    let cost = Cost { entries_per_s, ..Cost::since(started, cpu_before, entries) };
    std::fs::remove_dir_all(folder)?;
    Ok(cost)
}

/// Reads of what was ingested, from the disk's engine and from a map in memory.
fn read(folder: &Path, entries: u64) -> anyhow::Result<()> {
    let disk = DiskStore::open(folder, Options::default())?;
    let memory = MemoryStore::new();
    println!("reads among {entries} entries: p50 and p99 in µs");
    for (name, store) in [("a map in memory", &memory as &dyn Store), ("state", &disk)] {
        let keyspace = store.keyspace("bench")?;
        store.ingest(keyspace, &mut sorted(entries))?;
        let hits = gets(store, keyspace, entries, 0)?;
        let misses = gets(store, keyspace, entries, entries)?;
        let (mut scans, mut shown) = (Vec::new(), 0);
        for scan in 0..SCANS {
            let started = Instant::now();
            let snapshot = store.snapshot();
            let range = Range::all().after(&key(scan * 7_919 % entries));
            shown += snapshot.range(keyspace, range).take(SCAN_ENTRIES).filter(Result::is_ok).count();
            scans.push(started.elapsed());
        }
        // Only those that start near the last key show less.
        anyhow::ensure!(shown > SCANS as usize * SCAN_ENTRIES / 2, "scans show too little");
        print(name, "gets", &hits);
        print(name, "gets of what is not there", &misses);
        print(name, &format!("scans of {SCAN_ENTRIES}"), &scans);
    }
    Ok(())
}

fn gets(store: &dyn Store, keyspace: Keyspace, entries: u64, from: u64) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(READS as usize);
    for read in 0..READS {
        let key = key(from + read.wrapping_mul(7_919) % entries);
        let started = Instant::now();
        let found = store.get(keyspace, &key)?;
        times.push(started.elapsed());
        anyhow::ensure!(found.is_some() == (from == 0), "a read does not find what was written");
    }
    Ok(times)
}

fn print(name: &str, what: &str, times: &[Duration]) {
    let us = |share| quantile(times, share).as_secs_f64() * 1e6;
    println!("{name}: {what}: {:.2}, {:.2}", us(0.5), us(0.99));
}
