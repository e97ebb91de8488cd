//! `bench log replay`: reading a partition from its start, decoding every event.

use super::setup::{Payloads, open};
use crate::report::median;
use anyhow::{Context, Result};
use rustix::fs::Advice;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tw_env::Env;
use tw_log::{Append, EmbeddedLog, Log, Options, ReadAhead};
use tw_types::{Compression, Offset, StreamPartition};
use tw_wire::BatchBuilder;

/// What to replay.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many events of 256 bytes are replayed.
    #[arg(long, default_value_t = 4_000_000)]
    events: u64,
    /// How many events a block has.
    #[arg(long, default_value_t = 200)]
    batch: u64,
}

pub(crate) fn run(folder: &Path, args: &Args, rounds: usize) -> Result<()> {
    let log_folder = folder.join("log");
    println!("{} events of 256 bytes of random data in one partition, {} a block", args.events, args.batch);
    println!("every block's checksum is checked, every event decoded");
    println!("from the page cache: all threads pinned to one core; from the disk: not pinned\n");
    let (at, partition_of_15) = write(&log_folder, args)?;
    let options = || Options { tail_bytes: 0, ..Options::default() };
    let files = segments(&log_folder)?;
    for (name, at, events) in [
        ("one partition alone", at, args.events),
        ("one of 15 partitions by turns", partition_of_15, args.events / 15),
    ] {
        let (mut warm, mut cold, mut raw) = (Vec::new(), Vec::new(), Vec::new());
        let mut bytes = 0;
        for _ in 0..rounds {
            pin(false)?;
            raw.push(read_raw(&files)?);
            let log = Arc::new(EmbeddedLog::open(&log_folder, options(), Env::real())?);
            drop_cache(&files)?;
            let (seconds, read) = replay(&log, at, events)?;
            cold.push(read as f64 / seconds);
            drop(log);
            pin(true)?;
            let log = Arc::new(EmbeddedLog::open(&log_folder, options(), Env::real())?);
            replay(&log, at, events)?;
            let (seconds, _) = replay(&log, at, events)?;
            warm.push(events as f64 / seconds);
            bytes = read;
        }
        println!("{name}: {events} events, {} MB of blocks", bytes / 1_000_000);
        println!("  {:>12.0} events/s from the page cache", median(&warm));
        println!("  {:>12.0} MB/s from the disk", median(&cold) / 1e6);
        println!(
            "  {:>12.0} MB/s is the disk's bandwidth (bare reads of 1 MiB of the same files): {:.0} %\n",
            median(&raw) / 1e6,
            100.0 * median(&cold) / median(&raw)
        );
    }
    Ok(())
}

/// Fills one partition alone, then 16 by turns.
fn write(folder: &Path, args: &Args) -> Result<(StreamPartition, StreamPartition)> {
    let (log, partitions) = open(folder, u64::MAX, Options::default())?;
    let (payloads, mut builder) = (Payloads::random(), BatchBuilder::new());
    let alone = *partitions.first().context("no partition")?;
    let turns: Vec<_> = partitions.iter().copied().skip(1).collect();
    let mut put = |at, first| -> Result<_> {
        let batch = payloads.batch(&mut builder, first, args.batch, Compression::None)?;
        loop {
            match log.try_reserve(batch.bytes()) {
                Ok(permit) => {
                    return Ok(
                        log.append(permit, vec![Append { at, batch, expected_end: None, foreign: None }])
                    );
                }
                Err(tw_log::Error::Busy) => std::thread::yield_now(),
                Err(error) => return Err(error.into()),
            }
        }
    };
    let mut acks = std::collections::VecDeque::new();
    for first in (0..args.events).step_by(args.batch as usize) {
        acks.push_back(put(alone, first)?);
        if acks.len() > 64 {
            acks.pop_front().context("no append")?.wait()?;
        }
    }
    for (n, first) in (0..args.events).step_by(args.batch as usize).enumerate() {
        let at = *turns.get(n % turns.len()).context("no partition")?;
        acks.push_back(put(at, first)?);
        if acks.len() > 64 {
            acks.pop_front().context("no append")?.wait()?;
        }
    }
    for ack in acks {
        ack.wait()?;
    }
    Ok((alone, *turns.first().context("no partition")?))
}

/// Reads `events` events; the seconds and the bytes.
fn replay(log: &Arc<EmbeddedLog>, at: StreamPartition, events: u64) -> Result<(f64, u64)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut ahead = ReadAhead::new(log.clone(), at, 4 << 20);
    let start = Instant::now();
    let (mut next, mut bytes, mut seen, mut sum) = (Offset::ZERO, 0u64, 0u64, 0usize);
    let end = log.bounds(at)?.end.min(Offset(events));
    while next < end {
        for block in runtime.block_on(ahead.read(next, end))? {
            bytes += u64::from(block.header().length);
            next = block.header().end_offset();
            let records = block.records()?;
            for record in records.iter()? {
                let record = record?;
                sum += record.event.data.bytes().len() + record.event.id.len();
                seen += 1;
            }
        }
    }
    anyhow::ensure!(seen >= end.0 && sum > 0, "{seen} events were read");
    Ok((start.elapsed().as_secs_f64(), bytes))
}

/// The bandwidth of bare sequential reads of all files, in bytes a second.
fn read_raw(files: &[PathBuf]) -> Result<f64> {
    drop_cache(files)?;
    let mut buffer = vec![0; 1 << 20];
    let (start, mut bytes) = (Instant::now(), 0);
    for path in files {
        let file = File::open(path)?;
        rustix::fs::fadvise(&file, 0, None, Advice::Sequential)?;
        let mut position = 0;
        loop {
            let n = file.read_at(&mut buffer, position)?;
            if n == 0 {
                break;
            }
            position += n as u64;
        }
        bytes += position;
    }
    Ok(bytes as f64 / start.elapsed().as_secs_f64())
}

/// The segment files that hold frames.
fn segments(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "seg") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Takes files out of the page cache.
fn drop_cache(files: &[PathBuf]) -> Result<()> {
    for path in files {
        let file = File::open(path)?;
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// Pins this thread, and those that it starts from now on, to one core, or lets them run on all.
fn pin(one: bool) -> Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (0..if one { 1 } else { rustix::thread::CpuSet::MAX_CPU.min(cores.max(64)) })
        .for_each(|core| set.set(core));
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}
