//! `tradewind group`: consumer groups of Kafka, which read streams straight from the brokers: who they are, how far they have
//! come, and putting them elsewhere. It asks a node, and never Kafka itself.

mod reset;

use super::{list, number, objects, text};
use crate::cli::Context;
use crate::client::{Client, Request, encode};
use crate::error::{Error, Result};
use crate::output::{Align, Cell, Format, Listing, Output, count, note, record};
use crate::suggest;
use serde_json::Value;

/// How many groups are asked for at once.
const PAGE: u64 = 100;

const EXAMPLES: &str = "\
Examples:
  tradewind group ls
  tradewind group ls --stream shop.orders
  tradewind group show billing
  tradewind group reset billing --stream shop.orders --to start --dry-run
  tradewind group reset billing --stream shop.orders --to 2026-01-31T09:30:00Z
  tradewind group reset billing --stream shop.orders --to -100 --partition 0 --partition 3

A program that reads a stream's topic from Kafka does so as a member of a consumer group, which
commits how far it has come. Only a group without members is reset: end its programs first. There
are groups only where the log is on Kafka (docs/getting-started-cluster.md).";

/// List, show and reset consumer groups of Kafka that read streams
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List groups, the streams that they read, and how many events they lack
    Ls {
        /// Only those that read this stream
        #[arg(long)]
        stream: Option<String>,
        /// Only those whose names start so
        #[arg(long, value_name = "TEXT")]
        prefix: Option<String>,
        /// Also those that read no stream, but other topics of the same brokers
        #[arg(short, long)]
        all: bool,
    },
    /// Show a group: its members, and how far it has come in each partition
    Show {
        /// The group
        group: String,
    },
    /// Have a group go on elsewhere in a stream
    Reset(reset::Reset),
}

/// Runs the command.
///
/// # Errors
/// Those of the client.
pub(crate) fn run(options: Options, context: &Context) -> Result<()> {
    let client = context.client()?;
    context.run(async {
        match options.action {
            Action::Ls { stream, prefix, all } => {
                ls(&client, stream.as_deref(), prefix.as_deref(), all, context).await
            }
            Action::Show { group } => show(&client, &group, context).await,
            Action::Reset(options) => reset::run(&client, &options, context).await,
        }
    })
}

fn path(group: &str) -> String {
    format!("/v1/groups/{}", encode(group))
}

/// A number that may be unknown.
fn known(object: &Value, member: &str) -> Cell {
    object
        .get(member)
        .and_then(Value::as_u64)
        .map_or_else(|| Cell::from("-"), |number| Cell::from(count(number)))
}

async fn ls(
    client: &Client,
    stream: Option<&str>,
    prefix: Option<&str>,
    all: bool,
    context: &Context,
) -> Result<()> {
    let columns = [
        ("group", "group", Align::Left),
        ("state", "state", Align::Left),
        ("members", "members", Align::Right),
        ("behind", "lag_events", Align::Right),
        ("streams", "streams", Align::Left),
    ];
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    let is_kafka = loop {
        let request = Request::get("/v1/groups").query("limit", Some(PAGE)).query("after", after.as_deref());
        let request = request.query("stream", stream).query("prefix", prefix);
        let outcome = client.send(request).await;
        let page: Value = super::suggest(client, stream.unwrap_or_default(), outcome).await?.json().await?;
        found.extend(objects(&page, "groups"));
        match page.get("next").and_then(Value::as_str) {
            Some(next) => after = Some(next.to_owned()),
            None => break page.get("kafka").and_then(Value::as_bool) != Some(false),
        }
    };
    let none = match is_kafka {
        true => "no consumer group reads a stream",
        false => "there are no consumer groups: the log of this node is not on Kafka",
    };
    let mut listing = Listing::new(&columns, none);
    let mut left_out = 0;
    for group in found {
        let streams = names(&group);
        if streams.is_empty() && !all {
            left_out += 1;
            continue;
        }
        let row = vec![
            Cell::from(text(&group, "group")),
            Cell::from(text(&group, "state")),
            known(&group, "members"),
            known(&group, "lag_events"),
            Cell::from(streams.join(", ")),
        ];
        listing.push(row, group);
    }
    let mut out = context.output();
    listing.print(&mut out)?;
    if left_out > 0 && out.format == Format::Table {
        note(format_args!("{} more read other topics: `--all` lists them, too", count(left_out)));
    }
    Ok(())
}

/// The streams of a group.
fn names(group: &Value) -> Vec<&str> {
    group.get("streams").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

async fn show(client: &Client, name: &str, context: &Context) -> Result<()> {
    let outcome: Result<Value> = client.get(&path(name)).await;
    let group = match outcome {
        Err(error) => return Err(suggested(client, name, error).await),
        Ok(group) => group,
    };
    let partitions = objects(&group, "partitions");
    let members = group.get("members").and_then(Value::as_array);
    let lags = partitions.iter().filter_map(|place| place.get("lag_events").and_then(Value::as_u64));
    let behind = match lags.clone().count() {
        0 => "-".to_owned(),
        _ => format!("{} events", count(lags.sum())),
    };
    let mut lines = vec![
        ("group", text(&group, "group").to_owned()),
        ("state", text(&group, "state").to_owned()),
        (
            "members",
            members.map_or("the brokers do not say".to_owned(), |members| count(members.len() as u64)),
        ),
        ("behind", behind),
    ];
    if let Some(protocol) = group.get("protocol").and_then(Value::as_str) {
        lines.push(("shared by", protocol.to_owned()));
    }
    let mut out = context.output();
    record(&lines, &group, &mut out)?;
    if out.format != Format::Table {
        return Ok(());
    }
    print_members(objects(&group, "members"), &mut out)?;
    print_partitions(partitions, &mut out)
}

fn print_members(members: Vec<Value>, out: &mut Output) -> Result<()> {
    if members.is_empty() {
        return Ok(());
    }
    out.line("")?;
    let columns = [
        ("member", "id", Align::Left),
        ("client", "client", Align::Left),
        ("host", "host", Align::Left),
        ("partitions", "partitions", Align::Right),
    ];
    let mut listing = Listing::new(&columns, "it has no members");
    for member in members {
        let row = vec![
            Cell::from(text(&member, "id")),
            Cell::from(text(&member, "client")),
            Cell::from(text(&member, "host")),
            Cell::from(count(objects(&member, "partitions").len() as u64)),
        ];
        listing.push(row, member);
    }
    listing.print(out)
}

fn print_partitions(partitions: Vec<Value>, out: &mut Output) -> Result<()> {
    out.line("")?;
    let columns = [
        ("stream", "stream", Align::Left),
        ("partition", "partition", Align::Right),
        ("next offset", "committed", Align::Right),
        ("end", "end", Align::Right),
        ("behind", "lag_events", Align::Right),
        ("member", "member", Align::Left),
    ];
    let mut listing = Listing::new(&columns, "it reads no stream");
    for place in partitions {
        let offset = |member: &str| match place.get(member).and_then(Value::as_u64) {
            Some(offset) => Cell::from(offset.to_string()),
            None => Cell::from("-"),
        };
        let row = vec![
            Cell::from(text(&place, "stream")),
            Cell::from(number(&place, "partition").to_string()),
            offset("committed"),
            offset("end"),
            known(&place, "lag_events"),
            Cell::from(text(&place, "member")),
        ];
        listing.push(row, place);
    }
    listing.print(out)
}

/// Adds to an error about a group that is not known which one may have been meant.
async fn suggested(client: &Client, name: &str, error: Error) -> Error {
    let Error::Problem(mut problem) = error else { return error };
    if problem.code == "no_group"
        && let Ok(groups) = list(client, "groups").await
    {
        let names: Vec<&str> = groups.iter().map(|group| text(group, "group")).collect();
        problem.suggestion = suggest::closest(name, names).map(|close| format!("did you mean `{close}`?"));
    }
    Error::Problem(problem)
}
