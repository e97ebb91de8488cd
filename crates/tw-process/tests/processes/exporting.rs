//! A process that processes and stores snapshots all the time is killed with -9 again and again.

use crate::machine::{Machine, options};
use crate::start;
use crate::world::{self, Sample};
use pollster::block_on;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tw_depot::{Depot, Objects};
use tw_log::Signal;
use tw_process::Error;
use tw_process::snapshot::{Counts, Options};
use tw_types::PartitionId;

const ROUNDS: usize = 16;
const PARTITIONS: u32 = 2;
/// How many events a partition may be ahead of its newest snapshot.
const LEAD: u64 = 1_000;
/// Nothing in this test takes as long.
const LONG: Duration = Duration::from_secs(120);

fn depot(folder: &Path, runtime: &Runtime) -> Arc<Objects> {
    let place = folder.join("depot").to_str().unwrap().to_owned();
    let options = tw_depot::Options { place, ..tw_depot::Options::default() };
    Arc::new(Objects::open(&options, runtime.handle().clone()).unwrap().unwrap())
}

/// A machine that begins with snapshots, and stores none by itself.
fn open(folder: &Path, depot: &Arc<Objects>) -> Machine {
    let machine = Machine::open(folder, PARTITIONS, options());
    let by_hand =
        Options { events_max: 1_000_000_000_000, interval_ms_max: 604_800_000, ..Options::default() };
    machine.handle.keep_snapshots(depot.clone(), by_hand, |_| true).unwrap();
    machine.add();
    machine
}

/// Works until it is killed; says where each snapshot ends.
pub fn child(folder: &Path) {
    let runtime = Runtime::new().unwrap();
    let machine = open(folder, &depot(folder, &runtime));
    // How far the snapshots of each partition are.
    let stored: Vec<Signal> = (0..PARTITIONS).map(|_| Signal::default()).collect();
    std::thread::scope(|scope| {
        for (partition, stored) in (0..PARTITIONS).zip(&stored) {
            let machine = &machine;
            scope.spawn(move || append(machine, partition, stored));
            scope.spawn(move || export(machine, PartitionId(partition), stored));
        }
    });
}

fn append(machine: &Machine, partition: u32, stored: &Signal) {
    for number in 0u64.. {
        let samples = (0..=number % 50).map(|n| Sample::of(&format!("s{}", (number + n * n) % 31)));
        let samples: Vec<_> = samples.collect();
        let first = world::append(machine.log.as_ref(), &machine.stream, partition, &samples);
        if let Some(broken) = machine.health.broken.lock().first() {
            eprintln!("{broken}");
            std::process::exit(3);
        }
        // Not so far ahead that most of the time goes into catching up.
        stored.wait_over(first.saturating_sub(LEAD), LONG);
    }
}

fn export(machine: &Machine, partition: PartitionId, stored: &Signal) {
    loop {
        match machine.handle.export("v", partition) {
            Ok(exported) => {
                // One call, so that lines of two threads do not mix.
                let line = format!("{partition} {}\n", exported.position);
                std::io::stdout().write_all(line.as_bytes()).unwrap();
                stored.raise(exported.position.0 + 1);
            }
            // It has not caught up yet.
            Err(Error::NotBuilt { .. }) => std::thread::park_timeout(Duration::from_millis(1)),
            Err(error) => {
                eprintln!("{error}");
                std::process::exit(4);
            }
        }
    }
}

pub fn pro_1_pro_2_killed_16_times_while_it_stores_snapshots_each_that_is_seen_is_right() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        let mut child = start(&["export", folder.path().to_str().unwrap()]);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Another number each time, so that it dies in other places.
        for _ in 0..1 + round * 7 % 30 {
            lines.next().unwrap_or_else(|| panic!("the process ended by itself")).unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if round % 2 == 1 {
            // The next one begins with what is in the depot.
            forget_state(folder.path());
        }
    }
    let runtime = Runtime::new().unwrap();
    let depot = depot(folder.path(), &runtime);
    let names = block_on(depot.list("views", 1_000)).unwrap();
    let manifests: Vec<&String> = names.iter().filter(|name| name.contains("/manifests/")).collect();
    assert!(manifests.len() >= 2 * PARTITIONS as usize, "{names:?}");
    let left = names.iter().filter(|name| is_left(name, &manifests)).count();
    // The newest first, which then makes way for the older one.
    let mut checked = 0;
    let mut by_partition: Vec<Vec<&String>> = vec![Vec::new(); PARTITIONS as usize];
    for name in manifests {
        by_partition[usize::from(name.contains("/1/"))].push(name);
    }
    while by_partition.iter().any(|names| !names.is_empty()) {
        let some = by_partition.iter().filter(|names| !names.is_empty()).count() as u64;
        forget_state(folder.path());
        check(folder.path(), &depot, some);
        checked += some;
        for name in by_partition.iter_mut().filter_map(Vec::pop) {
            block_on(depot.remove(name)).unwrap();
        }
    }
    println!(
        "test pro_1_pro_2_killed_{ROUNDS}_times_while_it_stores_snapshots_each_that_is_seen_is_right ... ok \
         ({checked} snapshots, {left} objects of such that were cut off)"
    );
}

fn forget_state(folder: &Path) {
    let state = folder.join("state");
    if state.exists() {
        std::fs::remove_dir_all(state).unwrap();
    }
}

/// Whether an object is a chunk of a snapshot that was never whole.
fn is_left(name: &str, manifests: &[&String]) -> bool {
    let run = |name: &str| name.split('/').find(|part| part.len() == 37).map(str::to_owned);
    name.contains("/chunks/") && !manifests.iter().any(|manifest| run(manifest) == run(name))
}

/// So many partitions begin with their newest snapshot, and everything is there then.
fn check(folder: &Path, depot: &Arc<Objects>, restored: u64) {
    let machine = open(folder, depot);
    machine.catch_up();
    let ends = machine.ends();
    for (applied, end) in machine.applied().iter().zip(&ends) {
        assert!(*applied == (0..*end).collect::<BTreeSet<u64>>(), "an event is missing");
    }
    let counts = machine.handle.snapshot_counts();
    assert_eq!(counts, Counts { restored, lag_events: counts.lag_events, ..Counts::default() });
    machine.health.check();
    machine.handle.shutdown().unwrap();
}
