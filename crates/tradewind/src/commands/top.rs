//! `tradewind top`: streams, projections and sources by what they do now.
//!
//! [`board`] is what is known, in the order that is wanted; [`screen`] draws it on a terminal. Everything comes from the node's interface.

mod board;
mod screen;

use super::{list, number, objects, text, troubles};
use crate::cli::Context;
use crate::client::{Client, Request, encode};
use crate::error::{Error, Result};
use crate::output::{Align, Cell, Format, Listing, bytes, count, duration_ms};
use crate::units;
use board::{Board, Item, Kind, Order};
use serde_json::{Value, json};
use std::io::IsTerminal as _;

const EXAMPLES: &str = "\
Examples:
  tradewind top                      what happens now; r, l and n sort, a shows all, q ends it
  tradewind top shop.orders          the partitions of a stream
  tradewind top --once --sort lag    one table
  tradewind top --once -o json | jq '.[] | select(.lag_ms > 1000) | .name'

Without a terminal it is printed once.";

/// How many lines have a curve: each is asked for by name.
const CURVES_MAX: usize = 64;
/// How many columns a curve has, and how long it reaches back.
const CURVE_POINTS: u64 = 20;
const CURVE_MS: u64 = 10 * 60_000;

/// Watch streams, projections and sources
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Only this stream, partition by partition
    stream: Option<String>,
    /// Print one table and end
    #[arg(long)]
    once: bool,
    /// What comes first
    #[arg(long, value_enum, default_value_t = Order::Rate)]
    sort: Order,
    /// Also the platform's own streams, whose names start with $
    #[arg(short, long)]
    all: bool,
}

/// Runs the command.
///
/// # Errors
/// Those of the client; those of the terminal.
pub(crate) fn run(options: &Options, context: &Context) -> Result<()> {
    let client = context.client()?;
    let mut board = Board::new(options.sort, options.all);
    context.run(async {
        let looked = look(&client, options.stream.as_deref()).await;
        let looked = match &options.stream {
            Some(stream) => super::suggest(&client, stream, looked).await?,
            None => looked?,
        };
        board.take(looked, tokio::time::Instant::now().into_std());
        let mut out = context.output();
        let is_live = out.is_terminal() && out.format == Format::Table && std::io::stdin().is_terminal();
        if options.once || !is_live {
            return print(&board, &mut out);
        }
        screen::show(&client, options.stream.as_deref(), board).await
    })
}

/// What there is, and what is not as it should be.
struct Looked {
    state: String,
    troubles: Vec<String>,
    items: Vec<Item>,
}

/// Asks the node.
async fn look(client: &Client, stream: Option<&str>) -> Result<Looked> {
    let status: Value = client.get("/v1/status").await?;
    let items = match stream {
        Some(stream) => partitions(client, stream).await?,
        None => {
            let mut items: Vec<Item> = list(client, "streams").await?.iter().map(of_stream).collect();
            items.extend(list(client, "projections").await?.iter().map(of_projection));
            items.extend(list(client, "sources").await?.iter().map(of_source));
            items
        }
    };
    Ok(Looked { state: text(&status, "state").to_owned(), troubles: troubles(&status), items })
}

fn rate(object: &Value) -> Option<f64> {
    object.get("rate_events_per_second").and_then(Value::as_f64)
}

fn of_stream(stream: &Value) -> Item {
    Item {
        rate: rate(stream),
        bytes: stream.get("bytes").and_then(Value::as_u64),
        ..Item::new(Kind::Stream, text(stream, "name"))
    }
}

fn of_projection(projection: &Value) -> Item {
    Item {
        state: text(projection, "state").to_owned(),
        rate: rate(projection),
        lag_ms: projection.get("lag_ms").and_then(Value::as_u64),
        lag_events: Some(number(projection, "lag_events")),
        bytes: projection.get("state_bytes").and_then(Value::as_u64),
        note: match number(projection, "parked") {
            0 => text(projection, "error").to_owned(),
            parked => format!("{} parked", count(parked)),
        },
        ..Item::new(Kind::Projection, text(projection, "name"))
    }
}

fn of_source(source: &Value) -> Item {
    Item {
        state: text(source, "state").to_owned(),
        lag_ms: source.get("lag_ms").and_then(Value::as_u64),
        bytes: source.get("lag_bytes").and_then(Value::as_u64),
        note: text(source, "error").to_owned(),
        ..Item::new(Kind::Source, text(source, "name"))
    }
}

/// The partitions of a stream: how fast they grow is known after the second look.
async fn partitions(client: &Client, stream: &str) -> Result<Vec<Item>> {
    let shown: Value = client.get(&format!("/v1/streams/{}", encode(stream))).await?;
    let partitions = objects(&shown, "offsets").into_iter().map(|at| Item {
        end: Some(number(&at, "end")),
        held: Some(number(&at, "end").saturating_sub(number(&at, "start"))),
        ..Item::new(Kind::Partition, &number(&at, "partition").to_string())
    });
    Ok(partitions.collect())
}

/// How much the shown lines did lately: of each series the means, the oldest first.
async fn curves(client: &Client, series: &[String]) -> Result<Vec<(String, Vec<(u64, f64)>)>> {
    if series.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&String> = series.iter().take(CURVES_MAX).collect();
    let names = names.into_iter().map(String::as_str).collect::<Vec<_>>().join(",");
    let from_ms = units::now_ms().saturating_sub(CURVE_MS);
    let request = Request::get("/v1/metrics")
        .query("series", Some(names))
        .query("from", Some(from_ms))
        .query("points", Some(CURVE_POINTS));
    let answer: Value = client.send(request).await?.json().await?;
    let point = |point: &Value| Some((point.get(0)?.as_u64()?, point.get(1)?.as_f64()?));
    let curves = objects(&answer, "series").into_iter().map(|one| {
        let points = objects(&one, "points").iter().filter_map(point).collect();
        (text(&one, "name").to_owned(), points)
    });
    Ok(curves.collect())
}

/// Prints one table.
fn print(board: &Board, out: &mut crate::output::Output) -> Result<()> {
    let columns = [
        ("kind", "kind", Align::Left),
        ("name", "name", Align::Left),
        ("state", "state", Align::Left),
        ("events/s", "rate_events_per_second", Align::Right),
        ("behind", "lag_ms", Align::Right),
        ("events", "lag_events", Align::Right),
        ("size", "bytes", Align::Right),
        ("", "note", Align::Left),
    ];
    let mut listing =
        Listing::new(&columns, "there is nothing yet: `tradewind stream create NAME` makes a stream");
    for item in board.rows() {
        listing.push(item.cells().map(Cell::text).to_vec(), item.object());
    }
    listing.print(out)?;
    match board.troubles() {
        [] => Ok(()),
        troubles => Err(Error::Degraded(troubles.join("; "))),
    }
}

impl Item {
    /// What is shown of it: kind, name, state, rate, lag in time, lag in events, size, note.
    fn cells(&self) -> [String; 8] {
        let or_none = |text: Option<String>| text.unwrap_or_default();
        [
            self.kind.name().to_owned(),
            self.name.clone(),
            self.state.clone(),
            or_none(self.rate.map(rate_text)),
            or_none(self.lag_ms.map(|ms| if ms == 0 { "0".to_owned() } else { duration_ms(ms) })),
            or_none(self.lag_events.or(self.held).map(count)),
            or_none(self.bytes.map(bytes)),
            self.note.clone(),
        ]
    }

    fn object(&self) -> Value {
        json!({
            "kind": self.kind.name(), "name": self.name, "state": self.state,
            "rate_events_per_second": self.rate, "lag_ms": self.lag_ms, "lag_events": self.lag_events,
            "held_events": self.held, "bytes": self.bytes, "note": self.note,
        })
    }
}

/// A rate: whole from ten on.
fn rate_text(rate: f64) -> String {
    if rate == 0.0 {
        "0".to_owned()
    } else if rate < 10.0 {
        format!("{rate:.1}")
    } else {
        count(rate.round() as u64)
    }
}
