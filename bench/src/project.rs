//! `bench project`: projections and queries next to a bare loop over the same JSON.

use crate::process::Watch;
use crate::report::{median, ms, quantile};
use crate::scratch::Scratch;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tw_env::Env;
use tw_log::{Append, EmbeddedLog, Log};
use tw_order::partition_of;
use tw_process::{Handle, LogWriter, Workers};
use tw_project::{Action, Catalog, Engine, Param, Request, parse};
use tw_state::{DiskStore, Store};
use tw_types::{Compression, Data, EventRef, PartitionId, StreamDef, StreamPartition, Timestamp, Token};
use tw_wire::BatchBuilder;

/// How many events a block has.
const BATCH: u64 = 200;
/// Nothing here takes as long.
const LONG: Duration = Duration::from_secs(600);
const STREAM: &str = "CREATE STREAM sales (\
    id bigint NOT NULL, customer bigint NOT NULL, total numeric(10,2), state text, currency text, \
    channel text, placed_at timestamptz, city text, note text) WITH (partitions = 4)";
const SELECT: &str = "SELECT customer, count(*) AS orders, sum(total) AS revenue FROM sales WHERE state <> 'void' GROUP BY customer";

const READ: &str = "SELECT orders, revenue FROM revenue WHERE customer = $1";

/// What to measure, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    scratch: Scratch,
    /// How often each measurement is repeated; medians are reported.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How many events there are.
    #[arg(long, default_value_t = 5_000_000)]
    events: u64,
    /// How many customers they are about.
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// Events without the members that no statement reads: 60 bytes of JSON instead of 250.
    #[arg(long)]
    small: bool,
    /// How long the state waits for its commit at most while the projection catches up, in milliseconds. Default: that of a node.
    #[arg(long)]
    commit_ms_max: Option<u64>,
    /// For how long rows are read by key, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = args.scratch.open()?;
    println!(
        "{} events of about {} bytes of JSON about {} customers, {BATCH} a block, 4 partitions, in the page cache; {} rounds, medians",
        args.events,
        json(args, args.events / 2).len(),
        args.keys,
        args.rounds
    );
    println!(
        "state: atomic commits with the offset, not synced (the log is); its folder is new in every round\n"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build()?;
    let log =
        Arc::new(EmbeddedLog::open(folder.path().join("log"), tw_log::Options::default(), Env::real())?);
    let bench = Bench { folder: folder.path(), runtime, log, args };
    let stream = bench.fill()?;
    bench.group(&stream)?;
    bench.select()?;
    bench.points(&stream)?;
    bench.repeats(&stream)
}

/// The options of an engine that uses so much memory to keep answers: what is measured of queries is to be computed.
fn queries(answers_bytes_max: usize) -> tw_project::Options {
    tw_project::Options { query_threads_max: 1, answers_bytes_max, ..tw_project::Options::default() }
}

/// The data of an event.
fn json(args: &Args, number: u64) -> String {
    // A walk over all customers that visits neighbours far from one another.
    let customer = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let customer = customer % args.keys;
    let state = if number.is_multiple_of(10) { "void" } else { "paid" };
    let read =
        format!(r#""customer":{customer},"total":"{}.{:02}","state":"{state}""#, number % 500, number % 100);
    if args.small {
        return format!("{{{read}}}");
    }
    let (minute, second) = (number / 60 % 60, number % 60);
    format!(
        r#"{{"id":{number},{read},"currency":"EUR","channel":"web","placed_at":"2026-11-01T12:{minute:02}:{second:02}Z","city":"Rotterdam","note":"ring twice, the second door on the left; leave it with the neighbours if nobody is in"}}"#
    )
}

/// What the bound reads of an event.
#[derive(Deserialize)]
struct Sale<'a> {
    customer: u64,
    total: &'a str,
    state: &'a str,
}

/// What events cost.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    /// Events per second by the clock.
    rate: f64,
    /// Processor time of an event, of all threads.
    nanos: f64,
}

impl Cost {
    fn of(watch: Watch, events: u64) -> Self {
        let events = events as f64;
        Self { rate: events / watch.seconds, nanos: 1e9 * watch.processor_seconds / events }
    }

    fn median(rounds: &[Self]) -> Self {
        let medians = |of: fn(&Self) -> f64| median(&rounds.iter().map(of).collect::<Vec<_>>());
        Self { rate: medians(|cost| cost.rate), nanos: medians(|cost| cost.nanos) }
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>10.0} events/s, {:>5.0} ns of processor time an event", self.rate, self.nanos)
    }
}

struct Bench<'a> {
    folder: &'a Path,
    runtime: Runtime,
    log: Arc<EmbeddedLog>,
    args: &'a Args,
}

impl Bench<'_> {
    /// Creates the stream and fills it.
    fn fill(&self) -> Result<Arc<StreamDef>> {
        let store: Arc<dyn Store> =
            Arc::new(DiskStore::open(&self.folder.join("fill"), tw_state::Options::default())?);
        let (engine, handle) = self.engine(&store, 1)?;
        let Action::CreateStream { stream, .. } = engine.decide(&parse(STREAM)?)? else {
            anyhow::bail!("the stream is there already")
        };
        let stream = self.runtime.block_on(self.log.create_stream(stream))?;
        let mut batches: Vec<BatchBuilder> = (0..stream.partitions).map(|_| BatchBuilder::new()).collect();
        for number in 0..self.args.events {
            let data = json(self.args, number);
            let subject = number.to_string();
            let partition = partition_of(&subject, stream.partitions);
            let Some(batch) = batches.get_mut(partition.0 as usize) else { continue };
            batch.push(&EventRef {
                id: &subject,
                source: "/bench",
                ty: "sale",
                subject: Some(&subject),
                data: Data::Json(data.as_bytes()),
                ..EventRef::default()
            });
            if u64::from(batch.count()) == BATCH {
                self.append(&stream, partition, batch)?;
            }
        }
        for (partition, batch) in
            (0..).map(PartitionId).zip(&mut batches).filter(|(_, batch)| batch.count() > 0)
        {
            self.append(&stream, partition, batch)?;
        }
        handle.shutdown()?;
        Ok(stream)
    }

    fn append(&self, stream: &StreamDef, partition: PartitionId, batch: &mut BatchBuilder) -> Result<()> {
        let batch = batch.finish(Compression::Lz4)?;
        let at = StreamPartition::new(stream.id, partition);
        self.runtime.block_on(async {
            let permit = self.log.reserve(batch.bytes()).await?;
            self.log.append(permit, vec![Append { at, batch, expected_end: None, foreign: None }]).await
        })?;
        Ok(())
    }

    fn engine(&self, store: &Arc<dyn Store>, threads: usize) -> Result<(Engine, Handle)> {
        let defaults = tw_process::Options::default();
        let options = tw_process::Options {
            worker_threads: threads,
            commit_ms_max: self.args.commit_ms_max.unwrap_or(defaults.commit_ms_max),
            ..defaults
        };
        let parked = Arc::new(LogWriter::new(self.log.clone()));
        let handle = Workers::start(options, self.log.clone(), store.clone(), parked, Env::real())?;
        let engine = Engine::new(queries(0), self.log.clone(), store.clone(), Arc::new(handle.clone()))?;
        Ok((engine, handle))
    }

    /// An engine whose catalogue has the projection, which the workers are not told of yet.
    fn with_projection(
        &self,
        name: &str,
        threads: usize,
    ) -> Result<(Engine, Handle, Arc<dyn tw_process::View>)> {
        let store: Arc<dyn Store> =
            Arc::new(DiskStore::open(&self.folder.join(name), tw_state::Options::default())?);
        let (engine, handle) = self.engine(&store, threads)?;
        let statement = parse(&format!("CREATE PROJECTION revenue AS {SELECT}"))?;
        let Action::Change { change, .. } = engine.decide(&statement)? else {
            anyhow::bail!("no projection")
        };
        let mut catalog = Catalog::new(self.log.streams());
        catalog.apply(change);
        engine.set_catalog(catalog);
        let view = engine.views().into_iter().next().context("no view")?.map_err(|(_, error)| error)?;
        Ok((engine, handle, view.view))
    }

    fn token(&self, stream: &StreamDef) -> Result<Token> {
        let ends = (0..stream.partitions).map(|partition| {
            let at = StreamPartition::new(stream.id, PartitionId(partition));
            Ok((at, self.log.bounds(at)?.end))
        });
        ends.collect()
    }

    /// Parses the same JSON on one core and updates a hash map; what an event costs.
    fn bound(&self) -> Cost {
        let texts: Vec<String> =
            (0..self.args.events.min(1_000_000)).map(|number| json(self.args, number)).collect();
        let mut groups: HashMap<u64, (u64, u64)> = HashMap::new();
        let watch = Watch::start();
        for text in &texts {
            let Ok(sale) = serde_json::from_str::<Sale<'_>>(text) else { continue };
            if sale.state != "void" {
                let group = groups.entry(sale.customer).or_default();
                group.0 += 1;
                group.1 += sale.total.len() as u64;
            }
        }
        black_box(&groups);
        Cost::of(watch.stop(), texts.len() as u64)
    }

    fn group(&self, stream: &StreamDef) -> Result<()> {
        let (mut bounds, mut one, mut two) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..self.args.rounds {
            bounds.push(self.bound());
            one.push(self.catch_up(stream, &format!("one-{round}"), 1)?);
            two.push(self.catch_up(stream, &format!("two-{round}"), 2)?);
        }
        let bound = Cost::median(&bounds);
        println!("filter and GROUP BY, from the log to committed state");
        println!("  {bound}: the bound: JSON into a borrowed struct, a hash map update, on one core");
        for (name, costs) in [("one worker thread", one), ("two worker threads", two)] {
            let cost = Cost::median(&costs);
            println!("  {cost}: {name}: {:.0} % of the bound", 100.0 * cost.rate / bound.rate);
        }
        println!();
        Ok(())
    }

    /// What it costs to make the projection of everything in the log.
    fn catch_up(&self, stream: &StreamDef, name: &str, threads: usize) -> Result<Cost> {
        let (_engine, handle, view) = self.with_projection(name, threads)?;
        let watch = Watch::start();
        handle.add(view)?;
        self.runtime.block_on(handle.wait_for("projection/revenue", &self.token(stream)?, LONG))?;
        let cost = Cost::of(watch.stop(), self.args.events);
        handle.shutdown()?;
        Ok(cost)
    }

    fn select(&self) -> Result<()> {
        let store: Arc<dyn Store> =
            Arc::new(DiskStore::open(&self.folder.join("select"), tw_state::Options::default())?);
        let (engine, handle) = self.engine(&store, 1)?;
        println!("ad-hoc SELECT over the log's history, one thread");
        for sql in [
            "SELECT count(*) FROM sales",
            "SELECT state, count(*), sum(total) FROM sales GROUP BY state",
            "SELECT customer, sum(total) AS revenue FROM sales GROUP BY customer ORDER BY revenue DESC LIMIT 10",
        ] {
            let mut costs = Vec::new();
            for _ in 0..self.args.rounds {
                let watch = Watch::start();
                let rows: usize = self.runtime.block_on(async {
                    let answer = engine.run(sql, Request::new(Timestamp::from_millis(0))).await?;
                    let batches = answer.collect().await?;
                    anyhow::Ok(batches.iter().map(tw_project::arrow::array::RecordBatch::num_rows).sum())
                })?;
                black_box(rows);
                costs.push(Cost::of(watch.stop(), self.args.events));
            }
            println!("  {}: {sql}", Cost::median(&costs));
        }
        println!();
        handle.shutdown()?;
        Ok(())
    }

    /// The same statements again and again, computed each time, and given from what was kept.
    fn repeats(&self, stream: &StreamDef) -> Result<()> {
        const TIMES: usize = 50;
        let (engine, handle, view) = self.with_projection("repeats", 1)?;
        handle.add(view)?;
        let token = self.token(stream)?;
        self.runtime.block_on(handle.wait_for("projection/revenue", &token, LONG))?;
        println!(
            "\nthe same statement {TIMES} times in each round, one thread, with the token of the last event"
        );
        for sql in [
            "SELECT count(*), sum(revenue), max(orders) FROM revenue",
            "SELECT customer, revenue FROM revenue ORDER BY revenue DESC LIMIT 10",
        ] {
            let (mut computed, mut kept) = (Vec::new(), Vec::new());
            for _ in 0..self.args.rounds {
                for (answers_bytes_max, times) in [(0, &mut computed), (64 << 20, &mut kept)] {
                    engine.reconfigure(queries(answers_bytes_max))?;
                    for number in 0..=TIMES {
                        let start = Instant::now();
                        let request =
                            Request { token: Some(token.clone()), ..Request::new(Timestamp::from_millis(0)) };
                        let batches = self
                            .runtime
                            .block_on(async { engine.run(sql, request).await?.collect().await })?;
                        black_box(batches);
                        // The first one is computed.
                        if number > 0 {
                            times.push(start.elapsed());
                        }
                    }
                }
            }
            for (name, times) in [("computed", computed), ("kept", kept)] {
                let (p50, p99) = (ms(quantile(&times, 0.5)), ms(quantile(&times, 0.99)));
                println!("  {name:<8} p50 {p50} ms, p99 {p99} ms: {sql}");
            }
        }
        handle.shutdown()?;
        Ok(())
    }

    /// Reads rows by key at a fixed rate; a read that starts late counts from when it should have started.
    fn points(&self, stream: &StreamDef) -> Result<()> {
        const PER_SECOND: u64 = 5_000;
        let (engine, handle, view) = self.with_projection("points", 1)?;
        handle.add(view)?;
        self.runtime.block_on(handle.wait_for("projection/revenue", &self.token(stream)?, LONG))?;
        let reads = self.args.seconds * PER_SECOND;
        let keys = self.args.keys;
        let latencies = self.runtime.block_on(async {
            let start = Instant::now();
            let mut latencies = Vec::with_capacity(reads as usize);
            for number in 0..reads {
                let due = start + Duration::from_nanos(number * 1_000_000_000 / PER_SECOND);
                // Timers are coarser than what is measured.
                while Instant::now() < due {
                    tokio::task::yield_now().await;
                }
                let key = Param::Number((number.wrapping_mul(7_919) % keys).to_string());
                let request = Request { params: vec![key], ..Request::new(Timestamp::from_millis(0)) };
                let batches = engine.run(READ, request).await?.collect().await?;
                black_box(batches);
                latencies.push(due.elapsed());
            }
            anyhow::Ok(latencies)
        })?;
        println!("reads of a row by its key, {PER_SECOND}/s for {} s", self.args.seconds);
        for share in [0.5, 0.99, 0.999] {
            println!("  p{}: {} ms", share * 100.0, ms(quantile(&latencies, share)));
        }
        handle.shutdown()?;
        Ok(())
    }
}
