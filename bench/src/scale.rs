//! `bench scale`: what more nodes bring to work that waits, and what a shared log costs work that computes.
//!
//! Nodes are sets of partition workers in this process, each with a log on Kafka, a store and threads of its own, and the partitions
//! that a plan gives it. What they do is the same everywhere: only where the log is, and how many share the work, differs.

mod wait;

use crate::log::setup::open;
use crate::process::view::{Kind, Trivial};
use crate::process::{Watch, fill};
use crate::report::median;
use crate::scratch::Scratch;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tw_env::Env;
use tw_log::{EmbeddedLog, Log, NewStream};
use tw_log_kafka::KafkaLog;
use tw_plan::placement::{self, Load, Node, Plan, Unit};
use tw_process::{Assigned, Handle, LogWriter, View, Workers};
use tw_state::DiskStore;
use tw_testing::Kafka;
use tw_types::{NodeId, PartitionId, StreamName, StreamPartition, Token};
use wait::Waiting;

/// How many partitions the stream on Kafka has.
const PARTITIONS: u32 = 64;
/// How many threads each node has that waits.
const THREADS: usize = 4;
/// Nothing here takes as long.
const LONG: Duration = Duration::from_secs(600);

/// What to measure, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    scratch: Scratch,
    /// How often each measurement is repeated; medians are reported.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How many events are waited for.
    #[arg(long, default_value_t = 153_600)]
    waits: u64,
    /// How many events are counted.
    #[arg(long, default_value_t = 1_600_000)]
    counts: u64,
    /// How often the data of an event is gone through before it is counted; each number is a measurement of its own.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 4, 16])]
    passes: Vec<u32>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = args.scratch.open()?;
    println!("one Kafka broker on the same machine; {PARTITIONS} partitions, events with 256 bytes of data");
    println!(
        "state: atomic commits with the offset, not synced (the log is what counts); new in every round\n"
    );
    let kafka = Kafka::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let bench = Bench { folder: folder.path(), runtime, kafka };
    bench.waiting(args)?;
    bench.computing(args)
}

struct Bench<'a> {
    folder: &'a Path,
    runtime: Runtime,
    kafka: Kafka,
}

/// A node: its log, its workers, and its partitions.
struct Running {
    handle: Handle,
    own: Vec<StreamPartition>,
    log: Arc<dyn Log>,
}

impl Bench<'_> {
    /// Every event keeps a thread waiting for two milliseconds.
    fn waiting(&self, args: &Args) -> Result<()> {
        let partitions = self.filled("waits", args.waits)?;
        println!(
            "{} events, each of which waits 2 ms; {THREADS} threads a node; medians of {} rounds",
            args.waits, args.rounds
        );
        let mut alone = 0.0;
        for count in [1, 2, 4] {
            let mut rates = Vec::new();
            for round in 0..args.rounds {
                let view = Arc::new(Waiting::new(partitions.first().context("no partition")?.stream));
                let watch =
                    self.nodes(&format!("w{count}-{round}"), count, THREADS, &partitions, view.clone())?;
                ensure!(view.is_right(args.waits), "events were missing, twice, or out of their order");
                rates.push(args.waits as f64 / watch.seconds);
            }
            let rate = median(&rates);
            alone = if count == 1 { rate } else { alone };
            println!("  {count} nodes: {rate:>6.0} events/s, {:.2} times one node", rate / alone);
        }
        Ok(())
    }

    /// Every event is counted under its subject: on Kafka, and on one node with the embedded log.
    fn computing(&self, args: &Args) -> Result<()> {
        let partitions = self.filled("counts", args.counts)?;
        let folder = self.folder.join("embedded");
        let (log, own) = open(&folder, u64::MAX, tw_log::Options::default())?;
        fill(&self.runtime, log.as_ref(), &own, args.counts)?;
        for passes in &args.passes {
            println!(
                "\n{} events, the data of each gone through {passes} times, then counted under its subject; one thread a node; medians of {} rounds",
                args.counts, args.rounds
            );
            self.compared(args, *passes, &log, &own, &partitions)?;
        }
        Ok(())
    }

    /// The processor time of the same work on each log.
    fn compared(
        &self,
        args: &Args,
        passes: u32,
        log: &Arc<EmbeddedLog>,
        own: &[StreamPartition],
        partitions: &[StreamPartition],
    ) -> Result<()> {
        let kind = Kind::Work(passes);
        let mut costs = [const { Vec::new() }; 3];
        for round in 0..args.rounds {
            let measured = [
                self.embedded(log, own, kind)?,
                self.counted(&format!("c{passes}-1-{round}"), 1, partitions, kind)?,
                self.counted(&format!("c{passes}-2-{round}"), 2, partitions, kind)?,
            ];
            for (costs, watch) in costs.iter_mut().zip(measured) {
                costs.push(1e9 * watch.processor_seconds / args.counts as f64);
            }
        }
        let [embedded, one, two] = costs.map(|costs| median(&costs));
        for (what, nanos) in
            [("embedded log, one node", embedded), ("Kafka, one node", one), ("Kafka, two nodes", two)]
        {
            println!("  {nanos:>5.0} ns of processor time an event, {:.2} times: {what}", nanos / embedded);
        }
        println!("  without the broker's own processor time");
        Ok(())
    }

    fn counted(&self, name: &str, count: usize, partitions: &[StreamPartition], kind: Kind) -> Result<Watch> {
        let stream = partitions.first().context("no partition")?.stream;
        self.nodes(name, count, 1, partitions, Arc::new(Trivial { kind, stream }))
    }

    fn embedded(&self, log: &Arc<EmbeddedLog>, partitions: &[StreamPartition], kind: Kind) -> Result<Watch> {
        let stream = partitions.first().context("no partition")?.stream;
        let node = self.start("embedded-state", 1, log.clone(), partitions.to_vec())?;
        self.work(vec![node], Arc::new(Trivial { kind, stream }))
    }

    /// The time from adding the view to some nodes until all of them have committed everything.
    fn nodes(
        &self,
        name: &str,
        count: usize,
        threads: usize,
        partitions: &[StreamPartition],
        view: Arc<dyn View>,
    ) -> Result<Watch> {
        let shares = shares(partitions, count)?;
        let nodes = shares.into_iter().enumerate().map(|(number, share)| {
            let name = format!("{name}-n{number}");
            let log: Arc<dyn Log> = self.log(&name)?;
            self.start(&name, threads, log, share)
        });
        self.work(nodes.collect::<Result<_>>()?, view)
    }

    fn work(&self, nodes: Vec<Running>, view: Arc<dyn View>) -> Result<Watch> {
        let start = Watch::start();
        for node in &nodes {
            node.handle.add(view.clone())?;
        }
        for node in &nodes {
            let ends = node.own.iter().map(|at| Ok((*at, node.log.bounds(*at)?.end)));
            let token = ends.collect::<Result<Token>>()?;
            self.runtime.block_on(node.handle.wait_for(view.name(), &token, LONG))?;
        }
        let watch = start.stop();
        for node in nodes {
            node.handle.shutdown()?;
        }
        Ok(watch)
    }

    /// Starts workers with an empty state.
    fn start(
        &self,
        name: &str,
        threads: usize,
        log: Arc<dyn Log>,
        own: Vec<StreamPartition>,
    ) -> Result<Running> {
        let folder = self.folder.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        let store = Arc::new(DiskStore::open(&folder, tw_state::Options::default())?);
        let options = tw_process::Options { worker_threads: threads, ..tw_process::Options::default() };
        let parked = Arc::new(LogWriter::new(log.clone()));
        let handle = Workers::start(options, log.clone(), store, parked, Env::real())?;
        handle.assign(Assigned::Only(own.iter().copied().collect()))?;
        Ok(Running { handle, own, log })
    }

    fn log(&self, writer: &str) -> Result<Arc<KafkaLog>> {
        let options = tw_log_kafka::Options {
            servers: self.kafka.bootstrap(),
            writer: writer.to_owned(),
            ..tw_log_kafka::Options::default()
        };
        Ok(Arc::new(KafkaLog::open(options, Env::real())?))
    }

    /// A new stream on Kafka with so many events.
    fn filled(&self, name: &str, events: u64) -> Result<Vec<StreamPartition>> {
        let log = self.log(name)?;
        let new = NewStream::plain(StreamName::new(name)?, PARTITIONS);
        let stream = self.runtime.block_on(log.create_stream(new))?.id;
        let partitions: Vec<_> =
            (0..PARTITIONS).map(|partition| StreamPartition::new(stream, PartitionId(partition))).collect();
        fill(&self.runtime, log.as_ref(), &partitions, events)?;
        Ok(partitions)
    }
}

/// The partitions of each node, by the plan that `tradewind cluster rebalance` makes.
fn shares(partitions: &[StreamPartition], count: usize) -> Result<Vec<Vec<StreamPartition>>> {
    let names = (0..count).map(|number| NodeId::new(&format!("n{number}")));
    let names: Vec<NodeId> = names.collect::<std::result::Result<_, _>>()?;
    let node = |id: &NodeId| Node {
        id: id.clone(),
        capacity: 1_000,
        background_permille: Some(0),
        domain: None,
        drains: false,
    };
    let nodes: Vec<Node> = names.iter().map(node).collect();
    let loads: Vec<Load> =
        partitions.iter().map(|at| Load { unit: Unit::from(*at), weight: Some(1) }).collect();
    let options = placement::Options::default();
    let planned = placement::plan(&nodes, &loads, &Plan::default(), &options, 0)?;
    let planned = placement::rebalance(&nodes, &loads, &planned.plan, &options, 0)?;
    let own = |id: &NodeId| {
        let of = |at: &&StreamPartition| planned.plan.owner(&Unit::from(**at)) == Some(id);
        partitions.iter().filter(of).copied().collect::<Vec<_>>()
    };
    let shares: Vec<_> = names.iter().map(own).collect();
    let placed: BTreeSet<_> = shares.iter().flatten().collect();
    ensure!(placed.len() == partitions.len(), "a partition has no owner");
    Ok(shares)
}
