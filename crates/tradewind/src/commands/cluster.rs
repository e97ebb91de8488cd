//! `tradewind cluster`: the nodes of a cluster, and who has what.

mod local;
mod plan;

use super::{number, objects, text};
use crate::cli::Context;
use crate::client::{Client, Request, encode};
use crate::error::{Error, Result};
use crate::output::{Align, Cell, Listing, bytes, count, duration_ms, record};
use crate::units;
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// How often it is looked whether a node has nothing any more.
const LOOK: Duration = Duration::from_millis(100);

const EXAMPLES: &str = "\
Examples:
  tradewind cluster local                       try it out: a whole cluster on this machine
  tradewind cluster status                      is everything owned, and where the plan has it
  tradewind cluster nodes
  tradewind cluster partitions --node n2        what n2 has, or is to have
  tradewind cluster plan                        who is to have how much, and what is under way
  tradewind cluster rebalance --dry-run         what would move if it were to be even
  tradewind cluster drain n2 --wait 2m          before n2 is ended or upgraded
  tradewind cluster activate n2                 and after that";

/// See the nodes of a cluster, and who has what
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Start a whole cluster on this machine, for trying it out
    #[command(after_help = local::EXAMPLES)]
    Local(local::Options),
    /// Show whether everything has an owner; exits with 6 when something has none
    Status,
    /// List the nodes
    Nodes,
    /// List partitions and sources with their owners
    Partitions {
        /// Only those that this node has, or is to have
        #[arg(long)]
        node: Option<String>,
    },
    /// Show the plan in effect: what each node is to have, what it has, and the moves under way
    Plan,
    /// Have the leader make a plan that is as even as moves can make it
    #[command(after_help = plan::REBALANCE)]
    Rebalance {
        /// Only show what would move
        #[arg(long)]
        dry_run: bool,
    },
    /// Have a node hand over what it has and take nothing new
    Drain {
        /// The node
        #[arg(env = "TRADEWIND_NODE")]
        node: String,
        /// Wait until it has nothing any more, at most so long
        #[arg(long, value_name = "TIME", value_parser = units::duration)]
        wait: Option<Duration>,
    },
    /// Have a node that was drained take its share again
    Activate {
        /// The node
        #[arg(env = "TRADEWIND_NODE")]
        node: String,
    },
}

/// Runs the command.
///
/// # Errors
/// [`Error::Degraded`], or those of the client.
pub(crate) fn run(options: &Options, context: &Context) -> Result<()> {
    if let Command::Local(options) = &options.command {
        return context.run(local::run(options, context));
    }
    let client = context.client()?;
    context.run(async {
        match &options.command {
            Command::Local(_) => Ok(()),
            Command::Status => status(&client, context).await,
            Command::Nodes => nodes(&client, context).await,
            Command::Partitions { node } => partitions(&client, context, node.as_deref()).await,
            Command::Plan => plan::show(&client, context).await,
            Command::Rebalance { dry_run } => plan::rebalance(&client, context, *dry_run).await,
            Command::Drain { node, wait } => {
                act(&client, context, node, "drain").await?;
                match wait {
                    Some(limit) => until_empty(&client, context, node, *limit).await,
                    None => Ok(()),
                }
            }
            Command::Activate { node } => act(&client, context, node, "activate").await,
        }
    })
}

async fn view(client: &Client) -> Result<Value> {
    client.get("/v1/cluster").await
}

async fn status(client: &Client, context: &Context) -> Result<()> {
    let view = view(client).await?;
    let mut out = context.output();
    let (unowned, in_transit) = (number(&view, "unowned"), number(&view, "in_transit"));
    let nodes = objects(&view, "nodes");
    let draining = nodes.iter().filter(|node| text(node, "state") == "draining").count();
    let state = match (unowned, in_transit) {
        (0, 0) => "settled",
        (0, _) => "moving",
        _ => "degraded",
    };
    let lines = [
        ("state", out.style.state(state)),
        ("answered by", text(&view, "node").to_owned()),
        ("nodes", format!("{} ({draining} draining)", nodes.len())),
        ("plan", format!("version {}", number(&view, "plan_version"))),
        ("units", count(objects(&view, "units").len() as u64)),
        ("moving", count(in_transit)),
        ("without owner", count(unowned)),
    ];
    record(&lines, &view, &mut out)?;
    match unowned {
        0 => Ok(()),
        _ => Err(Error::Degraded(format!(
            "{unowned} units have no owner: `tradewind cluster partitions` lists them"
        ))),
    }
}

async fn nodes(client: &Client, context: &Context) -> Result<()> {
    let view = view(client).await?;
    let columns = [
        ("node", "name", Align::Left),
        ("state", "state", Align::Left),
        ("address", "address", Align::Left),
        ("units", "units", Align::Right),
        ("standbys", "standbys", Align::Right),
        ("cpu", "used_millicores", Align::Right),
        ("memory", "memory_bytes", Align::Right),
        ("requests", "in_flight", Align::Right),
        ("queue", "queued_writes", Align::Right),
        ("behind", "lag_events", Align::Right),
        ("registered for", "registered_ms", Align::Right),
        ("version", "version", Align::Left),
    ];
    let mut listing = Listing::new(&columns, "no node is registered");
    for node in objects(&view, "nodes") {
        let told = |member: &str, shown: &dyn Fn(u64) -> String| {
            node.get(member).and_then(Value::as_u64).map_or_else(|| "not told".to_owned(), shown)
        };
        let capacity = number(&node, "capacity_millicores").max(1);
        let row = [
            text(&node, "name").to_owned(),
            text(&node, "state").to_owned(),
            text(&node, "address").to_owned(),
            count(number(&node, "units")),
            count(number(&node, "standbys")),
            told("used_millicores", &|used| format!("{} %", used * 100 / capacity)),
            told("memory_bytes", &bytes),
            told("in_flight", &count),
            told("queued_writes", &count),
            told("lag_events", &count),
            duration_ms(number(&node, "registered_ms")),
            text(&node, "version").to_owned(),
        ];
        listing.push(row.into_iter().map(Cell::from).collect(), node);
    }
    listing.print(&mut context.output())
}

async fn partitions(client: &Client, context: &Context, node: Option<&str>) -> Result<()> {
    let view = view(client).await?;
    let columns = [
        ("partition", "name", Align::Left),
        ("owner", "owner", Align::Left),
        ("planned", "planned", Align::Left),
        ("standbys", "standbys", Align::Left),
    ];
    let mut listing = Listing::new(&columns, "there are none");
    for unit in objects(&view, "units") {
        let standbys = unit.get("standbys").and_then(Value::as_array).cloned().unwrap_or_default();
        let standbys: Vec<&str> = standbys.iter().filter_map(Value::as_str).collect();
        let (owner, planned) = (text(&unit, "owner"), text(&unit, "planned"));
        if node.is_some_and(|node| owner != node && planned != node && !standbys.contains(&node)) {
            continue;
        }
        let owner = match (owner, unit.get("unowned_ms").and_then(Value::as_u64)) {
            ("", Some(ms)) => format!("nobody for {}", duration_ms(ms)),
            ("", None) => "nobody".to_owned(),
            (owner, _) => owner.to_owned(),
        };
        let row = [text(&unit, "name").to_owned(), owner, planned.to_owned(), standbys.join(", ")];
        listing.push(row.into_iter().map(Cell::from).collect(), unit);
    }
    listing.print(&mut context.output())
}

async fn act(client: &Client, context: &Context, node: &str, verb: &str) -> Result<()> {
    let request = Request::post(format!("/v1/cluster/nodes/{}/{verb}", encode(node)));
    let answer: Value = client.send(request).await?.json().await?;
    context.output().done(text(&answer, "message"))
}

/// Waits until a node that drains has handed over all that it had.
async fn until_empty(client: &Client, context: &Context, node: &str, limit: Duration) -> Result<()> {
    let end = Instant::now() + limit;
    loop {
        let view = view(client).await?;
        let left = objects(&view, "units").iter().filter(|unit| text(unit, "owner") == node).count() as u64;
        if left == 0 {
            return context.output().done(&format!("node `{node}` has nothing any more"));
        }
        if objects(&view, "nodes").iter().all(|other| text(other, "state") == "draining") {
            return Err(Error::Refused(format!(
                "node `{node}` keeps {left} units: every node drains, so nobody can take them"
            )));
        }
        if Instant::now() >= end {
            return Err(Error::Timeout(format!(
                "node `{node}` has {left} units still after {}: `tradewind cluster partitions --node {node}` lists them",
                duration_ms(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX))
            )));
        }
        tokio::time::sleep(LOOK).await;
    }
}
