//! `bench process`: the partition workers next to a bare loop over the same events.

pub(crate) mod view;

use crate::log::setup::{PARTITIONS, Payloads, open};
use crate::report::{median, ms, quantile};
use crate::scratch::Scratch;
use anyhow::{Context, Result};
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tw_env::Env;
use tw_log::{Append, EmbeddedLog, Log};
use tw_process::{Handle, LogWriter, Workers};
use tw_state::DiskStore;
use tw_types::{Compression, Offset, StreamPartition, Token};
use tw_wire::BatchBuilder;
use view::{Kind, Trivial};

/// How many events a block has.
const BATCH: u64 = 200;
/// How many subjects there are.
const SUBJECTS: u64 = 100_000;
/// Nothing here takes as long.
const LONG: Duration = Duration::from_secs(600);

/// What to measure, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    scratch: Scratch,
    /// How often each measurement is repeated; medians are reported.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How many events are processed.
    #[arg(long, default_value_t = 3_200_000)]
    events: u64,
    /// How many single events the latency is measured with.
    #[arg(long, default_value_t = 2_000)]
    singles: usize,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let folder = args.scratch.open()?;
    println!(
        "{} events with 256 bytes of data about 100,000 subjects, {BATCH} a block, {PARTITIONS} partitions, in the page \
         cache; {} rounds, medians",
        args.events, args.rounds
    );
    println!(
        "state: atomic commits with the offset, not synced (the log is); its folder is new in every round\n"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (log, partitions) = open(&folder.path().join("log"), u64::MAX, tw_log::Options::default())?;
    fill(&runtime, log.as_ref(), &partitions, args.events)?;
    let bench = Bench { folder: folder.path(), runtime, log, partitions };
    bench.throughput(args.rounds, args.events)?;
    bench.latency(args.singles)
}

/// Time by the clock and on processors, of all threads of this process; zero, and a point in time, until it is stopped.
#[derive(Clone, Copy)]
pub(crate) struct Watch {
    clock: Instant,
    pub(crate) seconds: f64,
    pub(crate) processor_seconds: f64,
}

impl Watch {
    pub(crate) fn start() -> Self {
        Self { clock: Instant::now(), seconds: 0.0, processor_seconds: processor_seconds() }
    }

    pub(crate) fn stop(self) -> Self {
        let processor_seconds = processor_seconds() - self.processor_seconds;
        Self { seconds: self.clock.elapsed().as_secs_f64(), processor_seconds, ..self }
    }
}

fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Medians over the rounds.
struct Cost {
    /// Events per second by the clock.
    rate: f64,
    /// Processor time of an event.
    nanos: f64,
}

impl Cost {
    fn median(rounds: &[Watch], events: u64) -> Self {
        let medians = |of: fn(&Watch) -> f64| median(&rounds.iter().map(of).collect::<Vec<_>>());
        let events = events as f64;
        Self {
            rate: events / medians(|watch| watch.seconds),
            nanos: 1e9 * medians(|watch| watch.processor_seconds) / events,
        }
    }
}

struct Bench<'a> {
    folder: &'a Path,
    runtime: Runtime,
    log: Arc<EmbeddedLog>,
    partitions: Vec<StreamPartition>,
}

impl Bench<'_> {
    fn throughput(&self, rounds: usize, events: u64) -> Result<()> {
        for kind in [Kind::Look, Kind::Count] {
            let mut costs = [const { Vec::new() }; 3];
            for _ in 0..rounds {
                let measured =
                    [self.bare(kind)?, self.workers(kind, 1, events)?, self.workers(kind, 2, events)?];
                costs.iter_mut().zip(measured).for_each(|(costs, cost)| costs.push(cost));
            }
            println!("{}", kind.what());
            let [bound, one, two] = costs.map(|costs| Cost::median(&costs, events));
            for (what, cost) in [
                ("a bare loop on one thread, nothing committed", &bound),
                ("one worker thread, everything committed", &one),
                ("two worker threads, everything committed", &two),
            ] {
                println!(
                    "  {:>10.0} events/s ({:>3.0} %), {:>4.0} ns of processor time an event ({:>3.0} %): {what}",
                    cost.rate,
                    100.0 * cost.rate / bound.rate,
                    cost.nanos,
                    100.0 * bound.nanos / cost.nanos
                );
            }
        }
        Ok(())
    }

    /// How long single events take to be acknowledged and to be seen, one after the other.
    fn latency(&self, singles: usize) -> Result<()> {
        let at = *self.partitions.first().context("no partition")?;
        let (handle, _) = self.start(Kind::Count, 1)?;
        self.runtime.block_on(handle.wait_for("trivial", &self.token()?, LONG))?;
        let (payloads, mut builder) = (Payloads::text(), BatchBuilder::new());
        let (mut durable, mut seen) = (Vec::new(), Vec::new());
        for n in 0..singles as u64 {
            let batch = payloads.batch(&mut builder, n, 1, Compression::None)?;
            let start = Instant::now();
            let permit = self.runtime.block_on(self.log.reserve(batch.bytes()))?;
            let placed = self
                .log
                .append(permit, vec![Append { at, batch, expected_end: None, foreign: None }])
                .wait()?;
            durable.push(start.elapsed());
            let end = placed.first().context("no place")?.base_offset.next();
            let token: Token = [(at, end)].into_iter().collect();
            self.runtime.block_on(handle.wait_for("trivial", &token, LONG))?;
            seen.push(start.elapsed());
        }
        handle.shutdown()?;
        println!("\n{singles} single events, one after the other, until a token's read may go on");
        for (what, times) in [("durable", durable), ("durable and seen in the view", seen)] {
            println!("  p50 {} ms, p99 {} ms: {what}", ms(quantile(&times, 0.5)), ms(quantile(&times, 0.99)));
        }
        Ok(())
    }

    /// What a loop costs which does the same to every event, and keeps the result in memory.
    fn bare(&self, kind: Kind) -> Result<Watch> {
        let start = Watch::start();
        let (mut counts, mut seen) = (HashMap::<Box<str>, u64>::new(), 0u64);
        for at in &self.partitions {
            let (mut next, end) = (Offset::ZERO, self.log.bounds(*at)?.end);
            while next < end {
                for block in self.runtime.block_on(self.log.read(*at, next, 1 << 20))? {
                    next = block.header().end_offset();
                    for event in block.records()?.iter()? {
                        let event = event?;
                        seen += 1;
                        if kind == Kind::Count {
                            view::count(&mut counts, event.event.subject.unwrap_or_default());
                        }
                    }
                }
            }
        }
        anyhow::ensure!(seen == self.token()?.iter().map(|(_, end)| end.0).sum::<u64>(), "{seen} events");
        Ok(start.stop())
    }

    /// What it costs from adding the view until everything is committed.
    fn workers(&self, kind: Kind, threads: usize, events: u64) -> Result<Watch> {
        let (handle, start) = self.start(kind, threads)?;
        self.runtime.block_on(handle.wait_for("trivial", &self.token()?, LONG))?;
        let cost = start.stop();
        let status = handle.status_of("trivial")?;
        let done: u64 = status.partitions.iter().map(|partition| partition.offset.0).sum();
        anyhow::ensure!(done == events, "{done} events were processed");
        handle.shutdown()?;
        Ok(cost)
    }

    /// Starts workers with an empty state, and the view; says when that was added.
    fn start(&self, kind: Kind, threads: usize) -> Result<(Handle, Watch)> {
        let folder = self.folder.join("state");
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        let store = Arc::new(DiskStore::open(&folder, tw_state::Options::default())?);
        let options = tw_process::Options { worker_threads: threads, ..tw_process::Options::default() };
        let parked = Arc::new(LogWriter::new(self.log.clone()));
        let handle = Workers::start(options, self.log.clone(), store, parked, Env::real())?;
        let stream = self.partitions.first().context("no partition")?.stream;
        let start = Watch::start();
        handle.add(Arc::new(Trivial { kind, stream }))?;
        Ok((handle, start))
    }

    fn token(&self) -> Result<Token> {
        self.partitions.iter().map(|at| Ok((*at, self.log.bounds(*at)?.end))).collect()
    }
}

/// Fills the partitions by turns; all events of a subject are in one.
pub(crate) fn fill(
    runtime: &Runtime,
    log: &dyn Log,
    partitions: &[StreamPartition],
    events: u64,
) -> Result<()> {
    let (payloads, mut builder) = (Payloads::text(), BatchBuilder::new());
    let mut acks = VecDeque::new();
    for first in (0..events).step_by(BATCH as usize) {
        let count = BATCH.min(events - first);
        let turn = (first % SUBJECTS / BATCH) as usize;
        let batch = payloads.batch(&mut builder, first, count, Compression::None)?;
        let at = *partitions.get(turn % partitions.len()).context("no partition")?;
        if acks.len() >= 64
            && let Some(ack) = acks.pop_front()
        {
            tw_log::Ack::wait(ack)?;
        }
        let permit = runtime.block_on(log.reserve(batch.bytes()))?;
        acks.push_back(log.append(permit, vec![Append { at, batch, expected_end: None, foreign: None }]));
    }
    for ack in acks {
        ack.wait()?;
    }
    Ok(())
}
