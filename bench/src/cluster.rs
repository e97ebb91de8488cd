//! `bench cluster`: how long a partition takes no appends when its owner is killed, and when it is handed over.

pub(crate) mod nodes;
pub(crate) mod wire;

use crate::report::{median, quantile};
use crate::scratch::Scratch;
use anyhow::{Context, ensure};
use nodes::Nodes;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What to measure, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    scratch: Scratch,
    /// How many owners are killed, and how many nodes are drained and activated again.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// How many partitions the stream has.
    #[arg(long, default_value_t = 12)]
    partitions: u32,
    /// The program of the nodes. Default: `tradewind` beside this program.
    #[arg(long)]
    program: Option<PathBuf>,
}

/// How many nodes there are.
const NODES: usize = 3;
/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let folder = args.scratch.open()?;
    let program = nodes::program(args.program.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!(
        "nodes: {NODES} processes, one Kafka broker and one etcd, all on this machine; the default options (lease 3 s)"
    );
    println!("stream: {} partitions, one projection; single appends of about 150 bytes", args.partitions);
    let mut nodes = Nodes::start(&program, folder.path(), NODES)?;
    runtime.block_on(measure(args, &mut nodes))
}

async fn measure(args: &Args, nodes: &mut Nodes) -> anyhow::Result<()> {
    let sql = format!(
        "CREATE STREAM orders (total bigint NOT NULL) WITH (partitions = {}); CREATE PROJECTION sums AS SELECT count(*) AS n, sum(total) AS total FROM orders",
        args.partitions
    );
    for statement in sql.split("; ") {
        nodes.of(0)?.sql(statement).await?;
    }
    settled(nodes).await?;
    let subjects = subjects(nodes, args.partitions).await?;
    println!("\n{:<34} {:>10} {:>10} {:>10} {:>10}", "ms", "median", "p99", "longest", "count");
    let calm = appends(nodes, &subjects, 0).await?;
    row("append through another node", &calm);
    let taken_over = takeovers(args, nodes, &subjects).await?;
    row("kill -9 of the owner to accepted", &taken_over);
    let handed_over = handovers(args, nodes, &subjects).await?;
    row("append while its partition moves", &handed_over);
    Ok(())
}

fn row(what: &str, times: &[Duration]) {
    let ms: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    let longest = ms.iter().copied().fold(0.0, f64::max);
    println!(
        "{what:<34} {:>10.1} {:>10.1} {longest:>10.1} {:>10}",
        median(&ms),
        quantile(&ms, 0.99),
        times.len()
    );
}

/// Waits until every partition is where the plan has it, and the plan has something for every node.
async fn settled(nodes: &Nodes) -> anyhow::Result<BTreeMap<u32, usize>> {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut views = Vec::new();
        for number in 0..NODES {
            views.push(nodes.of(number)?.get("/v1/cluster").await.ok().and_then(|view| owners(&view)));
        }
        if let Some(Some(first)) = views.first().cloned()
            && views.iter().all(|view| view.as_ref() == Some(&first))
        {
            return Ok(first);
        }
        ensure!(Instant::now() < until, "the cluster does not settle: {views:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Who has each partition of the stream, if the cluster is at rest.
fn owners(view: &Value) -> Option<BTreeMap<u32, usize>> {
    let units = view.get("units")?.as_array()?;
    let is_at_rest = units.iter().all(|unit| unit.get("owner") == unit.get("planned"));
    let all = view.get("nodes")?.as_array()?;
    let is_shared =
        all.len() == NODES && all.iter().all(|node| node.get("units").and_then(Value::as_u64) > Some(0));
    if !is_at_rest || !is_shared {
        return None;
    }
    let number = |(partition, node): (u32, String)| Some((partition, node.strip_prefix('n')?.parse().ok()?));
    Some(of_orders(view).into_iter().filter_map(number).collect())
}

/// The node that has each partition of the stream.
fn of_orders(view: &Value) -> BTreeMap<u32, String> {
    let units = view.get("units").and_then(Value::as_array).into_iter().flatten();
    let owner = |unit: &Value| {
        let number = unit.get("name")?.as_str()?.strip_prefix("orders/")?.parse().ok()?;
        Some((number, unit.get("owner")?.as_str()?.to_owned()))
    };
    units.filter_map(owner).collect()
}

/// A subject of each partition.
async fn subjects(nodes: &Nodes, partitions: u32) -> anyhow::Result<BTreeMap<u32, String>> {
    let mut subjects = BTreeMap::new();
    for number in 0..10_000 {
        let subject = format!("s-{number}");
        let partition = nodes.of(0)?.append(&subject).await?;
        subjects.entry(partition).or_insert(subject);
        if subjects.len() == partitions as usize {
            return Ok(subjects);
        }
    }
    anyhow::bail!("no subject is in some partition")
}

/// Appends to partitions that this node does not have, one after the other, while nothing else happens.
async fn appends(
    nodes: &Nodes,
    subjects: &BTreeMap<u32, String>,
    by: usize,
) -> anyhow::Result<Vec<Duration>> {
    let owners = settled(nodes).await?;
    let mut times = Vec::new();
    for _ in 0..100 {
        for (partition, subject) in subjects {
            if owners.get(partition) != Some(&by) {
                let began = Instant::now();
                nodes.of(by)?.append(subject).await?;
                times.push(began.elapsed());
            }
        }
    }
    Ok(times)
}

/// How long it takes from the kill of an owner until its partition has taken an append through another node.
async fn takeovers(
    args: &Args,
    nodes: &mut Nodes,
    subjects: &BTreeMap<u32, String>,
) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for round in 0..args.rounds {
        let victim = round % NODES;
        let owners = settled(nodes).await?;
        let of_victim = owners.iter().find(|(_, owner)| **owner == victim);
        let (partition, _) = of_victim.context("every node has something")?;
        let subject = subjects.get(partition).context("every partition has a subject")?;
        nodes.kill(victim)?;
        let killed = Instant::now();
        let asked = nodes.of((victim + 1) % NODES)?;
        while let Err(error) = asked.append(subject).await {
            ensure!(killed.elapsed() < PATIENCE, "nobody takes it over: {error:#}");
        }
        times.push(killed.elapsed());
        nodes.start_again(victim)?;
    }
    Ok(times)
}

/// How long appends take that come while their partition is handed over, because a node is drained or activated again.
async fn handovers(
    args: &Args,
    nodes: &mut Nodes,
    subjects: &BTreeMap<u32, String>,
) -> anyhow::Result<Vec<Duration>> {
    settled(nodes).await?;
    let (is_over, slowest) = (AtomicBool::new(false), Mutex::new(BTreeMap::new()));
    let failures = AtomicU64::new(0);
    let asked = nodes.of(0)?;
    let writer = async |partition: u32, subject: &str| {
        while !is_over.load(Ordering::Relaxed) {
            let began = Instant::now();
            if asked.append(subject).await.is_err() {
                failures.fetch_add(1, Ordering::Relaxed);
            }
            let took = began.elapsed();
            if let Ok(mut slowest) = slowest.lock() {
                let longest: &mut Duration = slowest.entry(partition).or_default();
                *longest = took.max(*longest);
            }
        }
    };
    let take = || slowest.lock().map(|mut slowest| std::mem::take(&mut *slowest)).unwrap_or_default();
    let moves = async {
        let mut times = Vec::new();
        for round in 0..args.rounds {
            let node = round % (NODES - 1) + 1;
            for verb in ["drain", "activate"] {
                let before = placed(nodes).await?;
                take();
                asked.post(&format!("/v1/cluster/nodes/n{node}/{verb}"), "").await?;
                let after = moved(nodes, node, verb == "drain").await?;
                let slowest = take();
                let has_moved = |partition: &u32| before.get(partition) != after.get(partition);
                times.extend(
                    slowest.into_iter().filter(|(partition, _)| has_moved(partition)).map(|(_, t)| t),
                );
            }
        }
        anyhow::Ok(times)
    };
    let moves = async {
        let times = moves.await;
        is_over.store(true, Ordering::Relaxed);
        times
    };
    let writers = subjects.iter().map(|(partition, subject)| writer(*partition, subject));
    let (_, times) = tokio::join!(futures_util::future::join_all(writers), moves);
    ensure!(failures.load(Ordering::Relaxed) == 0, "{} appends failed", failures.load(Ordering::Relaxed));
    times
}

/// Who has each partition now.
async fn placed(nodes: &Nodes) -> anyhow::Result<BTreeMap<u32, String>> {
    Ok(of_orders(&nodes.of(0)?.get("/v1/cluster").await?))
}

/// Waits until a node has nothing any more, or something again, and nothing moves.
async fn moved(nodes: &Nodes, node: usize, is_drained: bool) -> anyhow::Result<BTreeMap<u32, String>> {
    let (until, name) = (Instant::now() + PATIENCE, format!("n{node}"));
    loop {
        let view = nodes.of(0)?.get("/v1/cluster").await?;
        let all = view.get("nodes").and_then(Value::as_array).cloned().unwrap_or_default();
        let of_node = all.iter().find(|node| node.get("name").and_then(Value::as_str) == Some(&name));
        let units = of_node.and_then(|node| node.get("units")?.as_u64());
        let in_transit = view.get("in_transit").and_then(Value::as_u64);
        if in_transit == Some(0) && units.is_some_and(|units| (units == 0) == is_drained) {
            return placed(nodes).await;
        }
        ensure!(Instant::now() < until, "node {name} is not where it should be: {view}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
