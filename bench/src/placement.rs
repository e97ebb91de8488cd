//! `bench placement`: how soon the plan of a large cluster is in effect after a node has left or joined, and how much moves.

use crate::cluster::nodes::{self, Nodes};
use crate::report::median;
use crate::scratch::Scratch;
use anyhow::{Context, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What to measure, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    scratch: Scratch,
    /// How many nodes there are.
    #[arg(long, default_value_t = 10)]
    nodes: usize,
    /// How many partitions the stream has.
    #[arg(long, default_value_t = 900)]
    partitions: u32,
    /// How often a node leaves and joins again.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The program of the nodes. Default: `tradewind` beside this program.
    #[arg(long)]
    program: Option<PathBuf>,
}

/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the cluster is looked at: what is measured may be shorter by as much.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.nodes >= 3, "--nodes is {}, less than 3: one leaves, and others have to stay", args.nodes);
    let folder = args.scratch.open()?;
    let program = nodes::program(args.program.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!(
        "nodes: {} processes, one Kafka broker and one etcd, all on this machine; the default options, but no cooldown",
        args.nodes
    );
    println!("stream: {} partitions without load, one projection", args.partitions);
    let mut nodes = Nodes::start(&program, folder.path(), args.nodes)?;
    runtime.block_on(measure(args, &mut nodes))
}

async fn measure(args: &Args, nodes: &mut Nodes) -> anyhow::Result<()> {
    let stream =
        format!("CREATE STREAM orders (total bigint NOT NULL) WITH (partitions = {})", args.partitions);
    nodes.of(0)?.sql(&stream).await?;
    nodes
        .of(0)?
        .sql("CREATE PROJECTION sums AS SELECT count(*) AS n, sum(total) AS total FROM orders")
        .await?;
    let mut before = until(nodes, |view| view.is_settled(args.nodes)).await?;
    let (mut left, mut joined) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        let goes = args.nodes - 1;
        let name = format!("n{goes}");
        let began = Instant::now();
        let leaving = nodes.leave(goes)?;
        let after = until(nodes, |view| view.is_settled(args.nodes - 1)).await?;
        left.push(Change {
            took: began.elapsed(),
            least: before.of(&name),
            moved: after.moved_since(&before),
        });
        drop(leaving);
        nodes.start_again(goes)?;
        until(nodes, |view| view.nodes.contains_key(&name)).await?;
        let began = Instant::now();
        let with = until(nodes, |view| view.is_settled(args.nodes)).await?;
        // What it must have to be within the bound of a tenth below its share.
        let least = with.owners.len() * 9 / 10 / args.nodes;
        joined.push(Change { took: began.elapsed(), least, moved: with.moved_since(&after) });
        before = with;
    }
    println!("\n{:<28} {:>10} {:>10} {:>10} {:>10}", "", "median s", "longest s", "moved", "of least");
    row("a node leaves", &left);
    row("a node joins", &joined);
    Ok(())
}

/// What came of a node that left or joined.
struct Change {
    took: Duration,
    /// How many units have to move at least.
    least: usize,
    moved: usize,
}

fn row(what: &str, changes: &[Change]) {
    let took: Vec<f64> = changes.iter().map(|change| change.took.as_secs_f64()).collect();
    let moved: Vec<f64> = changes.iter().map(|change| change.moved as f64).collect();
    let factors: Vec<f64> = changes.iter().map(|change| change.moved as f64 / change.least as f64).collect();
    let longest = took.iter().copied().fold(0.0, f64::max);
    println!(
        "{what:<28} {:>10.2} {longest:>10.2} {:>10.0} {:>10.2}",
        median(&took),
        median(&moved),
        median(&factors)
    );
}

/// What a node knows of the cluster.
struct View {
    /// How many units each node has.
    nodes: BTreeMap<String, u64>,
    /// The owner of each unit.
    owners: BTreeMap<String, String>,
    /// Whether every unit is where the plan has it.
    is_at_rest: bool,
}

impl View {
    fn read(view: &Value) -> Option<Self> {
        let text = |value: &Value, name: &str| Some(value.get(name)?.as_str()?.to_owned());
        let units = view.get("units")?.as_array()?;
        let nodes = view.get("nodes")?.as_array()?;
        Some(Self {
            nodes: nodes
                .iter()
                .filter_map(|node| Some((text(node, "name")?, node.get("units")?.as_u64()?)))
                .collect(),
            owners: units
                .iter()
                .filter_map(|unit| Some((text(unit, "name")?, text(unit, "owner")?)))
                .collect(),
            is_at_rest: units.iter().all(|unit| unit.get("owner") == unit.get("planned")),
        })
    }

    /// Whether there are so many nodes, all have something, and nothing moves.
    fn is_settled(&self, nodes: usize) -> bool {
        self.is_at_rest && self.nodes.len() == nodes && self.nodes.values().all(|units| *units > 0)
    }

    fn of(&self, node: &str) -> usize {
        self.owners.values().filter(|owner| *owner == node).count()
    }

    fn moved_since(&self, before: &Self) -> usize {
        self.owners.iter().filter(|(unit, owner)| before.owners.get(*unit) != Some(*owner)).count()
    }
}

/// Looks until it is so, at the first node.
async fn until(nodes: &Nodes, is_so: impl Fn(&View) -> bool) -> anyhow::Result<View> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let view = nodes.of(0)?.get("/v1/cluster").await?;
        let view = View::read(&view).context("the node tells nothing of its cluster")?;
        if is_so(&view) {
            return Ok(view);
        }
        ensure!(Instant::now() < deadline, "the cluster does not settle: {:?}", view.nodes);
        tokio::time::sleep(LOOK).await;
    }
}
