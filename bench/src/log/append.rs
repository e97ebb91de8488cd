//! `bench log append`: how many events a second become durable, and how long one takes.

use super::bound::Bound;
use super::setup::{DATA_BYTES, PARTITIONS, Payloads, open};
use crate::report::{median, ms, quantile};
use anyhow::{Context, Result};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tw_log::{Append, EmbeddedLog, Log, Options, Stats};
use tw_types::{Compression, StreamPartition};
use tw_wire::BatchBuilder;

/// How to append.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long each measurement takes, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How many appenders there are at once.
    #[arg(long, default_value_t = 64)]
    appenders: usize,
    /// How many events a batch has.
    #[arg(long, default_value_t = 200)]
    batch: u64,
    /// Only this measurement.
    #[arg(long, value_enum)]
    only: Option<Only>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Only {
    Batches,
    Singles,
    One,
}

/// What one measurement gave.
struct Measured {
    events_per_s: f64,
    /// Bytes of blocks per commit, headers of frames aside.
    bytes_per_commit: f64,
    events_per_commit: f64,
    bytes_per_event: f64,
    recycled: (u64, u64),
}

struct Bench {
    log: Arc<EmbeddedLog>,
    partitions: Vec<StreamPartition>,
    bound: Bound,
    runtime: tokio::runtime::Runtime,
    duration: Duration,
    next: AtomicU64,
}

pub(crate) fn run(folder: &Path, args: &Args, rounds: usize) -> Result<()> {
    let (log, partitions) =
        open(&folder.join("log"), 512 << 20, Options { clean_interval_ms: 100, ..Options::default() })?;
    let bench = Bench {
        log,
        partitions,
        bound: Bound::new(folder)?,
        runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build()?,
        duration: Duration::from_secs(args.seconds),
        next: AtomicU64::new(0),
    };
    println!(
        "events: {DATA_BYTES} bytes of data, id, subject, source and type; {PARTITIONS} partitions of one stream; every append is acknowledged after fdatasync"
    );
    println!(
        "bound: a bare loop of write + fdatasync of as many bytes, in whole pages, into files that were written before\n"
    );
    let mut bench = bench;
    bench.warm_up()?;
    let wanted = |only| args.only.is_none_or(|wanted| wanted == only);
    if wanted(Only::Batches) {
        for (name, payloads, compression) in [
            ("random data, no compression", Payloads::random(), Compression::None),
            ("JSON text, LZ4", Payloads::text(), Compression::Lz4),
        ] {
            bench.throughput(args, rounds, args.batch, name, &Arc::new(payloads), compression)?;
        }
    }
    if wanted(Only::Singles) {
        let payloads = Arc::new(Payloads::random());
        bench.throughput(args, rounds, 1, "random data, no compression", &payloads, Compression::None)?;
    }
    if wanted(Only::One) {
        bench.latency(rounds)?;
    }
    Ok(())
}

impl Bench {
    /// Writes until segments are recycled.
    fn warm_up(&self) -> Result<()> {
        let payloads = Arc::new(Payloads::random());
        let start = Instant::now();
        while self.log.stats().segments_recycled < 8 {
            anyhow::ensure!(
                start.elapsed() < Duration::from_secs(120),
                "no segment was recycled within two minutes"
            );
            self.append(8, 500, &payloads, Compression::None, Duration::from_millis(500))?;
        }
        Ok(())
    }

    /// Lets `appenders` tasks append batches of `count` events, each its next when its last is durable.
    fn append(
        &self,
        appenders: usize,
        count: u64,
        payloads: &Arc<Payloads>,
        compression: Compression,
        duration: Duration,
    ) -> Result<Measured> {
        let stop = Arc::new(AtomicBool::new(false));
        let before = self.log.stats();
        let start = Instant::now();
        let tasks: Vec<_> = (0..appenders)
            .map(|appender| {
                let (log, payloads, stop) = (self.log.clone(), payloads.clone(), stop.clone());
                let first = self.next.fetch_add(1 << 32, Ordering::Relaxed);
                let at = self.partitions.get(appender % self.partitions.len()).copied();
                self.runtime.spawn(async move {
                    let at = at.context("no partition")?;
                    let (mut builder, mut next) = (BatchBuilder::new(), first);
                    while !stop.load(Ordering::Relaxed) {
                        let batch = payloads.batch(&mut builder, next, count, compression)?;
                        next += count;
                        let permit = log.reserve(batch.bytes()).await?;
                        log.append(permit, vec![Append { at, batch, expected_end: None, foreign: None }])
                            .await?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        self.runtime.block_on(async { tokio::time::sleep(duration).await });
        let (after, elapsed) = (self.log.stats(), start.elapsed());
        stop.store(true, Ordering::Relaxed);
        for task in tasks {
            self.runtime.block_on(task)??;
        }
        Ok(Measured::between(&before, &after, elapsed))
    }

    fn throughput(
        &mut self,
        args: &Args,
        rounds: usize,
        count: u64,
        name: &str,
        payloads: &Arc<Payloads>,
        compression: Compression,
    ) -> Result<()> {
        let (mut ours, mut same, mut all, mut last) = (Vec::new(), Vec::new(), Vec::new(), None);
        let mut fed = Vec::new();
        for _ in 0..rounds {
            let measured = self.append(args.appenders, count, payloads, compression, self.duration)?;
            let in_all = args.appenders as f64 * count as f64;
            same.push(self.bound_rate(measured.bytes_per_commit, measured.events_per_commit)?);
            all.push(self.bound_rate(
                (measured.bytes_per_event * in_all).min(4e6),
                (4e6 / measured.bytes_per_event).min(in_all),
            )?);
            if count == 1 {
                let size = measured.bytes_per_event as u64;
                fed.push(self.bound.run_fed(&self.runtime, args.appenders, size, self.duration / 2)?);
            }
            ours.push(measured.events_per_s);
            last = Some(measured);
        }
        let Some(last) = last else { return Ok(()) };
        let (ours, same, all) = (median(&ours), median(&same), median(&all));
        println!("{} appenders, {count} events each, {name}:", args.appenders);
        println!(
            "  {ours:>12.0} events/s, {:.0} a commit, {:.0} bytes an event",
            last.events_per_commit, last.bytes_per_event
        );
        println!(
            "  {same:>12.0} events/s is the bound with as many events a sync: {:.0} %",
            100.0 * ours / same
        );
        println!(
            "  {all:>12.0} events/s is the bound with all waiting events in each sync (up to 4 MB): {:.0} %",
            100.0 * ours / all
        );
        if count == 1 {
            let fed = median(&fed);
            println!(
                "  {fed:>12.0} events/s is the bare loop when {} tasks wait for it as ours do: {:.0} %",
                args.appenders,
                100.0 * ours / fed
            );
        }
        println!("  segments made meanwhile: {} recycled, {} new\n", last.recycled.0, last.recycled.1);
        Ok(())
    }

    /// What the bare loop does with frames of this size.
    fn bound_rate(&mut self, bytes: f64, events: f64) -> Result<f64> {
        let times = self.bound.run(bytes as u64, self.duration / 2)?;
        Ok(events * times.len() as f64 / times.iter().sum::<Duration>().as_secs_f64())
    }

    /// One thread that appends one event after the other, next to the bare loop.
    fn latency(&mut self, rounds: usize) -> Result<()> {
        let payloads = Payloads::random();
        let at = *self.partitions.first().context("no partition")?;
        let (mut ours, mut theirs, mut p99, mut their_p99) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let (mut times, mut builder) = (Vec::new(), BatchBuilder::new());
            let start = Instant::now();
            while start.elapsed() < self.duration / 2 {
                let begin = Instant::now();
                let batch = payloads.batch(&mut builder, times.len() as u64, 1, Compression::None)?;
                let permit = self.log.try_reserve(batch.bytes())?;
                self.log
                    .append(permit, vec![Append { at, batch, expected_end: None, foreign: None }])
                    .wait()?;
                times.push(begin.elapsed());
            }
            let raw = self.bound.run(4096, self.duration / 2)?;
            ours.push(median(&times));
            p99.push(quantile(&times, 0.99));
            theirs.push(median(&raw));
            their_p99.push(quantile(&raw, 0.99));
        }
        let (ours, theirs) = (median(&ours), median(&theirs));
        println!("one appender, one event at a time, from a thread:");
        println!("  p50 {} ms, p99 {} ms", ms(ours), ms(median(&p99)));
        println!(
            "  p50 {} ms, p99 {} ms is one raw synced write of 4 KiB",
            ms(theirs),
            ms(median(&their_p99))
        );
        println!("  p50 is {:.2} times that\n", ours.as_secs_f64() / theirs.as_secs_f64());
        Ok(())
    }
}

impl Measured {
    fn between(before: &Stats, after: &Stats, elapsed: Duration) -> Self {
        let (events, commits) =
            ((after.events - before.events) as f64, (after.commits - before.commits) as f64);
        let bytes = (after.bytes - before.bytes) as f64;
        Self {
            events_per_s: events / elapsed.as_secs_f64(),
            bytes_per_commit: bytes / commits,
            events_per_commit: events / commits,
            bytes_per_event: bytes / events,
            recycled: (
                after.segments_recycled - before.segments_recycled,
                after.segments_new - before.segments_new,
            ),
        }
    }
}
