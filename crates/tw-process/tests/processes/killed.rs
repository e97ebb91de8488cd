//! A process that writes, processes, parks, decides and rebuilds at the same time is killed with -9 again and again.

use crate::machine::{Machine, options};
use crate::start;
use crate::world::{self, Sample};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use tw_process::ParkedFilter;
use tw_types::{Offset, PartitionId};

const ROUNDS: usize = 25;
const PARTITIONS: u32 = 4;

/// Works until it is killed; says after each append which partition ends where.
pub fn child(folder: &Path, round: u64) {
    let machine = Machine::open(folder, PARTITIONS, options());
    // Every 97th event cannot be processed; which of them are healed changes from round to round.
    for (partition, end) in machine.ends().into_iter().enumerate() {
        let sick =
            (0..end + 200_000).filter(|offset| offset % 97 == 5 && (offset / 97 + round).is_multiple_of(2));
        let partition = PartitionId(partition as u32);
        machine.health.sick.lock().extend(sick.map(|offset| (partition, Offset(offset))));
    }
    machine.add();
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let machine = &machine;
            scope.spawn(move || write(machine, writer));
        }
        // What people do meanwhile.
        let parked = machine.handle.parked();
        let some = ParkedFilter { subject: Some(format!("s{}", round % 31)), ..ParkedFilter::default() };
        pollster::block_on(parked.drop_all(&some)).unwrap();
        pollster::block_on(parked.retry_all(&ParkedFilter::default())).unwrap();
        if round % 3 == 1 {
            machine.handle.rebuild("v").unwrap();
        }
    });
}

fn write(machine: &Machine, writer: u32) {
    for number in 0u64.. {
        let partition = 2 * writer + (number % 2) as u32;
        let count = 1 + number * 7 % 40;
        let samples: Vec<_> =
            (0..count).map(|n| Sample::of(&format!("s{}", (number + n * n) % 31))).collect();
        let first = world::append(machine.log.as_ref(), &machine.stream, partition, &samples);
        if let Some(broken) = machine.health.broken.lock().first() {
            eprintln!("{broken}");
            std::process::exit(3);
        }
        // One call, so that lines of two writers do not mix.
        let line = format!("{partition} {}\n", first + count);
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    }
}

pub fn pro_1_pro_2_pro_3_killed_25_times_under_load_every_event_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = vec![0u64; PARTITIONS as usize];
    for round in 0..ROUNDS {
        let mut child = start(&["kill", folder.path().to_str().unwrap(), &round.to_string()]);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Another number of appends each time, so that it dies in other places.
        for _ in 0..40 + round * 97 % 500 {
            let line = lines.next().unwrap_or_else(|| panic!("the process ended by itself")).unwrap();
            let (partition, end) = line.split_once(' ').unwrap();
            acknowledged[partition.parse::<usize>().unwrap()] = end.parse().unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let machine = Machine::open(folder.path(), PARTITIONS, options());
    machine.add();
    machine.catch_up();
    let ends = machine.ends();
    assert!(ends.iter().zip(&acknowledged).all(|(end, seen)| end >= seen), "{ends:?} {acknowledged:?}");
    machine.retry_all();
    let applied = machine.applied();
    let dropped = check(&machine, &ends, &applied);
    machine.handle.shutdown().unwrap();
    drop(machine);

    // The state is gone: a replay makes the same of it, decisions included.
    std::fs::remove_dir_all(folder.path().join("state")).unwrap();
    let machine = Machine::open(folder.path(), PARTITIONS, options());
    machine.add();
    machine.catch_up();
    let differences = differences(&machine, &applied);
    assert!(differences.is_empty(), "the replay gives another state:\n{}", differences.join("\n"));
    machine.health.check();
    let events: u64 = ends.iter().sum();
    println!(
        "test pro_1_pro_2_pro_3_killed_{ROUNDS}_times_under_load_every_event_counts_once ... ok \
         ({events} events, {dropped} dropped)"
    );
}

/// The events that only one of two states has, and what was said of each.
fn differences(machine: &Machine, applied: &[BTreeSet<u64>]) -> Vec<String> {
    let replayed = machine.applied();
    let said = machine.said();
    let pairs = applied.iter().zip(&replayed).zip(0..);
    let differing = pairs.flat_map(|((one, other), partition)| {
        let of = |by| move |offset: &u64| (by, format!("v/orders/{partition}/{offset}"));
        let before = one.difference(other).map(of("before"));
        before.chain(other.difference(one).map(of("after"))).collect::<Vec<_>>()
    });
    let line = |(when, name): (&str, String)| {
        let of_it: Vec<_> = said.iter().filter(|(_, subject, _)| *subject == name).collect();
        format!("{name} was applied only {when}; {of_it:?}")
    };
    differing.map(line).collect()
}

/// Every event was applied, or a person has dropped it; and nothing was said twice. Returns how many were dropped.
fn check(machine: &Machine, ends: &[u64], applied: &[BTreeSet<u64>]) -> usize {
    machine.health.check();
    let said = machine.said();
    let ids: BTreeSet<_> = said.iter().map(|(_, subject, id)| (subject, id)).collect();
    assert_eq!(ids.len(), said.len(), "something was said twice");
    let dropped: BTreeSet<&str> = said
        .iter()
        .filter(|(ty, ..)| ty == "tradewind.parked.dropped")
        .map(|(_, subject, _)| subject.as_str())
        .collect();
    let mut missing = 0;
    for (partition, (end, applied)) in ends.iter().zip(applied).enumerate() {
        for offset in (0..*end).filter(|offset| !applied.contains(offset)) {
            let id = format!("v/orders/{partition}/{offset}");
            assert!(dropped.contains(id.as_str()), "{id} is lost");
            missing += 1;
        }
    }
    assert!(missing > 0, "nobody has dropped anything");
    missing
}
