//! `tradewind region hashes` and `tradewind region compare`: whether regions hold the same.
//!
//! A node hashes what it has ([`ask`]); what of several regions differs, and how, is found out here.

use crate::cli::Context;
use crate::client::{Client, Request};
use crate::commands::{number, objects, text};
use crate::error::{Error, Result};
use crate::output::{Align, Cell, Listing, count};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::task::{LocalSet, spawn_local};

/// How long a node may take to read everything that it has.
const READ_MAX: Duration = Duration::from_secs(3_600);
/// How many digits of a hash are shown beside others.
const DIGITS: usize = 8;

const HASHES: &str = "\
Examples:
  tradewind region hashes
  tradewind region hashes orders -o json

Every event of the streams is read, so it takes as long as that does; one such request is worked on
at a time. Regions that have received the same events show the same lines: a hash is of where events
were accepted, when, and what they say, in any order, and of the rows of projections, which have
processed at least these events. While events come, and after retention has removed some, regions
differ.";

const COMPARE: &str = "\
Examples:
  tradewind region compare http://eu.example:7070 http://us.example:7070
  tradewind region compare --stream orders http://127.0.0.1:7071 http://127.0.0.1:7072

Each region reads every event of the streams, all regions at the same time. The exit code is 0 when
all hold the same, and 6 when they do not: while events come, that is no surprise, so ask again when
the links are in sync. A projection is compared among those regions that have it.";

/// Which hashes.
#[derive(Debug, clap::Args)]
#[command(after_help = HASHES)]
pub(super) struct Options {
    /// Only this stream, and the projections of it
    stream: Option<String>,
}

/// Whose hashes.
#[derive(Debug, clap::Args)]
#[command(after_help = COMPARE)]
pub(super) struct CompareOptions {
    /// A node of each region
    #[arg(required = true, num_args = 2.., value_name = "URL")]
    urls: Vec<String>,
    /// Only this stream, and the projections of it
    #[arg(long)]
    stream: Option<String>,
}

/// What a region holds, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) region: u64,
    pub(crate) lines: Vec<Line>,
}

/// A stream or a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// Events, or rows; None if they could not be read.
    pub(crate) count: Option<u64>,
    pub(crate) hash: Option<String>,
    /// Why they could not be read.
    pub(crate) error: Option<String>,
    /// How many events come from each region.
    pub(crate) origins: BTreeMap<u64, u64>,
}

/// What is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Stream,
    Projection,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Projection => "projection",
        }
    }
}

/// Asks a node for its hashes.
///
/// # Errors
/// Those of the client.
pub(crate) async fn ask(client: &Client, stream: Option<&str>) -> Result<Held> {
    let request = Request::get("/v1/regions/hashes").query("stream", stream).timeout(READ_MAX);
    Ok(read(&client.send(request).await?.json().await?))
}

fn read(answer: &Value) -> Held {
    let mut lines = Vec::new();
    for stream in objects(answer, "streams") {
        let origins = objects(&stream, "origins");
        let mut by_region = BTreeMap::new();
        for origin in origins {
            *by_region.entry(number(&origin, "region")).or_default() += number(&origin, "events");
        }
        lines.push(line(&stream, Kind::Stream, "events", by_region));
    }
    for projection in objects(answer, "projections") {
        lines.push(line(&projection, Kind::Projection, "rows", BTreeMap::new()));
    }
    Held { region: number(answer, "region"), lines }
}

fn line(object: &Value, kind: Kind, counted: &str, origins: BTreeMap<u64, u64>) -> Line {
    let said = |member: &str| object.get(member).and_then(Value::as_str).map(str::to_owned);
    Line {
        kind,
        name: text(object, kind.name()).to_owned(),
        count: object.get(counted).and_then(Value::as_u64),
        hash: said("hash"),
        error: said("error"),
        origins,
    }
}

/// Prints what one region holds.
pub(super) async fn run(options: &Options, client: &Client, context: &Context) -> Result<()> {
    let held = ask(client, options.stream.as_deref()).await?;
    let columns = [
        ("", "kind", Align::Left),
        ("name", "name", Align::Left),
        ("events or rows", "count", Align::Right),
        ("hash", "hash", Align::Left),
        ("", "error", Align::Left),
    ];
    let mut listing = Listing::new(&columns, "no stream is written in every region");
    for line in held.lines {
        let Line { kind, name, count: counted, hash, error, origins } = line;
        let row = [
            kind.name().to_owned(),
            name.clone(),
            counted.map_or_else(String::new, count),
            hash.clone().unwrap_or_default(),
            error.clone().unwrap_or_default(),
        ];
        let origins: Vec<Value> = origins
            .into_iter()
            .map(|(region, events)| json!({ "region": region, "events": events }))
            .collect();
        let object = json!({
            "kind": kind.name(), "name": name, "count": counted, "hash": hash, "error": error, "origins": origins,
        });
        listing.push(row.into_iter().map(Cell::from).collect(), object);
    }
    listing.print(&mut context.output())
}

/// Prints what several regions hold, side by side.
pub(super) async fn compare(options: &CompareOptions, context: &Context) -> Result<()> {
    let held = ask_all(&options.urls, options.stream.as_deref()).await?;
    let mut regions = BTreeSet::new();
    if let Some(twice) = held.iter().find(|held| !regions.insert(held.region)) {
        return Err(Error::Usage(format!("region {} is named twice: name each region once", twice.region)));
    }
    let compared = Compared::of(&held);
    let mut out = context.output();
    // Columns have names that last; regions are known only now, so their cells are put together.
    let columns = [
        ("", "kind", Align::Left),
        ("name", "name", Align::Left),
        ("regions", "regions", Align::Left),
        ("", "verdict", Align::Left),
    ];
    let mut listing = Listing::new(&columns, "no stream is written in every region");
    for row in &compared.rows {
        let verdict = if row.is_same { "same" } else { "different" };
        let cells: Vec<String> =
            row.lines.iter().map(|(region, line)| cell(*region, line.as_ref())).collect();
        let of_regions = row.lines.iter().map(|(region, line)| {
            let (counted, hash) =
                line.as_ref().map(|line| (line.count, line.hash.clone())).unwrap_or_default();
            json!({ "region": region, "count": counted, "hash": hash })
        });
        let object = json!({
            "kind": row.kind.name(), "name": row.name, "verdict": verdict,
            "regions": of_regions.collect::<Vec<_>>(),
        });
        let row = [row.kind.name().to_owned(), row.name.clone(), cells.join("  "), verdict.to_owned()];
        listing.push(row.into_iter().map(Cell::from).collect(), object);
    }
    listing.print(&mut out)?;
    match compared.why() {
        None => Ok(()),
        Some(why) => Err(Error::Degraded(format!("different: {why}"))),
    }
}

/// What a region has, beside others: `1: 1,200 52b7edbe`.
fn cell(region: u64, line: Option<&Line>) -> String {
    match line {
        None => format!("{region}: -"),
        Some(Line { count: Some(counted), hash: Some(hash), .. }) => {
            format!("{region}: {} {}", count(*counted), short(hash))
        }
        Some(line) => format!("{region}: {}", line.error.as_deref().unwrap_or("unknown")),
    }
}

/// The first digits of a hash.
pub(crate) fn short(hash: &str) -> &str {
    hash.get(..DIGITS).unwrap_or(hash)
}

/// Asks all regions at the same time.
async fn ask_all(urls: &[String], stream: Option<&str>) -> Result<Vec<Held>> {
    let asked = LocalSet::new();
    asked
        .run_until(async {
            let mut tasks = Vec::new();
            for url in urls {
                let (client, stream) = (Client::new(url)?, stream.map(str::to_owned));
                tasks.push(spawn_local(async move { ask(&client, stream.as_deref()).await }));
            }
            let mut held = Vec::new();
            for task in tasks {
                held.push(task.await.map_err(|error| Error::Failed(error.to_string()))??);
            }
            Ok(held)
        })
        .await
}

/// What several regions hold, side by side.
pub(crate) struct Compared {
    pub(crate) rows: Vec<Row>,
}

/// A stream or a projection in all regions.
pub(crate) struct Row {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// What each region has, in the order in which they were given; None where it is not.
    pub(crate) lines: Vec<(u64, Option<Line>)>,
    pub(crate) is_same: bool,
}

impl Compared {
    /// Compares what regions hold.
    pub(crate) fn of(held: &[Held]) -> Self {
        let names: BTreeSet<(Kind, &str)> =
            held.iter().flat_map(|held| &held.lines).map(|line| (line.kind, line.name.as_str())).collect();
        let row = |(kind, name): (Kind, &str)| {
            let find = |held: &Held| {
                let line = held.lines.iter().find(|line| line.kind == kind && line.name == name);
                (held.region, line.cloned())
            };
            let lines: Vec<_> = held.iter().map(find).collect();
            let is_same = is_same(kind, &lines);
            Row { kind, name: name.to_owned(), lines, is_same }
        };
        Self { rows: names.into_iter().map(row).collect() }
    }

    /// Whether all hold the same; otherwise what is the matter first of all.
    pub(crate) fn why(&self) -> Option<String> {
        let different = self.rows.iter().find(|row| !row.is_same)?;
        Some(different.why())
    }
}

/// A stream has to be in every region; definitions of projections are everybody's own.
fn is_same(kind: Kind, lines: &[(u64, Option<Line>)]) -> bool {
    let there: Vec<&Line> = lines.iter().filter_map(|(_, line)| line.as_ref()).collect();
    let is_read = there.iter().all(|line| line.hash.is_some());
    let is_equal = there.windows(2).all(|two| match two {
        [one, other] => (one.count, &one.hash) == (other.count, &other.hash),
        _ => true,
    });
    is_read && is_equal && (kind == Kind::Projection || there.len() == lines.len())
}

impl Row {
    fn why(&self) -> String {
        let Self { kind, name, lines, .. } = self;
        let what = format!("{} `{name}`", kind.name());
        for (region, line) in lines {
            match line {
                None if *kind == Kind::Stream => return format!("{what} is not in region {region}"),
                Some(Line { error: Some(error), .. }) => {
                    return format!("{what} could not be read in region {region}: {error}");
                }
                _ => {}
            }
        }
        let mut most: BTreeMap<u64, u64> = BTreeMap::new();
        for (origin, events) in
            lines.iter().filter_map(|(_, line)| line.as_ref()).flat_map(|line| &line.origins)
        {
            let known = most.entry(*origin).or_default();
            *known = (*known).max(*events);
        }
        let mut lacks = Vec::new();
        for (region, line) in lines {
            for (origin, most) in &most {
                let here =
                    line.as_ref().and_then(|line| line.origins.get(origin)).copied().unwrap_or_default();
                if here < *most {
                    lacks.push(format!(
                        "region {region} lacks {} of the events of region {origin}",
                        count(most - here)
                    ));
                }
            }
        }
        match (kind, lacks.is_empty()) {
            (Kind::Stream, false) => format!("not yet here: {what}: {}", lacks.join(", ")),
            (Kind::Stream, true) => {
                format!(
                    "{what} has as many events everywhere, but not the same: keep the folders of all regions, and report it"
                )
            }
            (Kind::Projection, _) => {
                format!(
                    "the rows of {what} differ: compare again when its stream is the same, and its definition"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests;
