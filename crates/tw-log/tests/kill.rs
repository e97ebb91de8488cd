//! LOG-1 with a real process: it appends from several threads, is killed with -9 again and again, and nothing that it
//! acknowledged is lost.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread;
use tw_env::Env;
use tw_log::{Append, EmbeddedLog, Log, NewStream, Options};
use tw_types::{Compression, Data, Event, Offset, PartitionId, StreamId, StreamName, StreamPartition};
use tw_wire::{Batch, BatchBuilder};

/// Tells the process that it is the one to be killed: the log's folder, and the number of the round.
const CHILD: &str = "TRADEWIND_KILL_CHILD";
const THIS: &str = "log_1_every_acknowledged_event_survives_kill_9";
const ROUNDS: u64 = 30;
const THREADS: u64 = 8;
const PARTITIONS: u32 = 3;

fn options() -> Options {
    // Small, so that the process is also killed while it changes segments.
    Options {
        segment_bytes: 256 << 10,
        append_bytes_max: 64 << 10,
        group_bytes_max: 64 << 10,
        in_flight_bytes_max: 1 << 20,
        ..Options::default()
    }
}

/// Everything about an event follows from its id.
fn event(id: &str) -> Event {
    let len = id.bytes().fold(7, |sum: usize, byte| sum.wrapping_mul(31) ^ usize::from(byte)) % 900;
    let data = id.bytes().cycle().take(len).collect();
    Event {
        id: id.into(),
        source: "/kill".into(),
        ty: "tick".into(),
        data: Data::Binary(data),
        ..Event::default()
    }
}

fn batch(id: &str) -> Batch {
    let mut builder = BatchBuilder::new();
    builder.push(&event(id).as_ref());
    builder.finish(Compression::Lz4).unwrap()
}

/// Appends until it is killed. What is acknowledged is told to the parent: `ack PARTITION OFFSET ID` per event.
fn append_for_ever(folder: &str, round: &str) {
    let log = Arc::new(EmbeddedLog::open(folder, options(), Env::real()).unwrap());
    let stream = log.streams().get("ticks").unwrap().id;
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (log, round) = (log.clone(), round.to_owned());
            thread::spawn(move || {
                for n in 0u64.. {
                    append(&log, stream, &format!("{round}-{thread}-{n}"), thread + n);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

/// One append; every third goes to two partitions at once.
fn append(log: &EmbeddedLog, stream: StreamId, id: &str, n: u64) {
    let count = 1 + n.is_multiple_of(3) as u64;
    let parts: Vec<_> = (0..count)
        .map(|part| {
            let partition = PartitionId(((n + part) % u64::from(PARTITIONS)) as u32);
            let at = StreamPartition::new(stream, partition);
            Append { at, batch: batch(&format!("{id}-{part}of{count}")), expected_end: None, foreign: None }
        })
        .collect();
    let permit = log.try_reserve(parts.iter().map(|part| part.batch.bytes()).sum()).unwrap();
    let placed = log.append(permit, parts).wait().unwrap();
    let lines: String = placed
        .iter()
        .enumerate()
        .map(|(part, placed)| {
            format!("\nack {} {} {id}-{part}of{count} end\n", placed.at.partition, placed.base_offset)
        })
        .collect();
    std::io::stdout().lock().write_all(lines.as_bytes()).unwrap();
}

/// What the clients know: the events that were acknowledged, and where.
type Acknowledged = BTreeMap<(u32, u64), String>;

fn start(folder: &Path, round: u64) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", THIS, "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{round} {}", folder.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// Lets a process append, kills it at some moment after `wanted` acknowledgements, and notes all that it told.
fn run_and_kill(folder: &Path, round: u64, wanted: usize, acknowledged: &mut Acknowledged) {
    let (mut child, output) = start(folder, round);
    let mut told = 0;
    for line in output.lines() {
        let line = line.unwrap();
        let fields: Vec<&str> = line.split(' ').collect();
        // The last line may be cut off.
        let ["ack", partition, offset, id, "end"] = fields[..] else { continue };
        let before =
            acknowledged.insert((partition.parse().unwrap(), offset.parse().unwrap()), id.to_owned());
        assert_eq!(before, None, "LOG-2: an offset was given twice");
        told += 1;
        if told == wanted {
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success() && told >= wanted, "round {round}: the process ended by itself");
}

/// Opens the log and compares all of it with what was acknowledged.
fn check(folder: &Path, acknowledged: &Acknowledged) -> usize {
    let found = tw_log::verify(folder, &Env::real()).unwrap();
    assert_eq!(found.problems, []);
    let log = EmbeddedLog::open(folder, options(), Env::real()).unwrap();
    let stream = log.streams().get("ticks").unwrap().id;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut missing, mut ids) = (acknowledged.clone(), BTreeSet::new());
    for partition in 0..PARTITIONS {
        let at = StreamPartition::new(stream, PartitionId(partition));
        let end = log.bounds(at).unwrap().end;
        let mut next = Offset::ZERO;
        while next < end {
            for block in runtime.block_on(log.read(at, next, 1 << 20)).unwrap() {
                for record in block.records().unwrap().iter().unwrap() {
                    let record = record.unwrap();
                    assert_eq!(record.offset, next, "LOG-4: an offset was skipped");
                    assert_eq!(record.event, event(record.event.id).as_ref(), "LOG-1: an event was altered");
                    if let Some(id) = missing.remove(&(partition, next.0)) {
                        assert_eq!(id, record.event.id, "LOG-1: another event is in its place");
                    }
                    assert!(ids.insert(record.event.id.to_owned()), "an event is there twice");
                    next = next.next();
                }
            }
        }
    }
    assert!(missing.is_empty(), "LOG-1: acknowledged events are lost: {missing:?}");
    let other_half = |id: &String| match id.strip_suffix("-0of2") {
        Some(stem) => format!("{stem}-1of2"),
        None => id.replace("-1of2", "-0of2"),
    };
    let halves: Vec<_> = ids.iter().filter(|id| !ids.contains(&other_half(id))).collect();
    assert!(halves.is_empty(), "half of an append is there: {halves:?}");
    ids.len()
}

#[test]
fn log_1_every_acknowledged_event_survives_kill_9() {
    if let Ok(child) = std::env::var(CHILD) {
        let (round, folder) = child.split_once(' ').unwrap();
        return append_for_ever(folder, round);
    }
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("log");
    {
        let log = EmbeddedLog::open(&folder, options(), Env::real()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let new = NewStream::plain(StreamName::new("ticks").unwrap(), PARTITIONS);
        runtime.block_on(log.create_stream(new)).unwrap();
    }
    let mut acknowledged = Acknowledged::new();
    for round in 0..ROUNDS {
        run_and_kill(&folder, round, 1 + (round as usize * 149) % 1_000, &mut acknowledged);
        let there = check(&folder, &acknowledged);
        assert!(there >= acknowledged.len());
    }
}
