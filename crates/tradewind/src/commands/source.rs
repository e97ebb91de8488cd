//! `tradewind source`: databases whose changes are captured.

use super::{list, number, suggest, text};
use crate::cli::{Context, confirm};
use crate::client::{Client, Request, encode};
use crate::error::Result;
use crate::output::{Align, Cell, Listing, bytes, count, duration_ms, record};
use serde_json::{Value, json};

const EXAMPLES: &str = "\
Examples:
  tradewind source ls
  tradewind source show shop
  tradewind source pause shop
  tradewind source resume shop
  tradewind source resnapshot shop public.orders
  tradewind source drop shop

Sources are defined in SQL:
  tradewind sql \"CREATE SOURCE shop FROM POSTGRES 'postgres://user@host/db' TABLES (public.orders)\"";

/// List, show and control sources
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List all sources
    Ls,
    /// Show a source: its tables, its lag, its slot
    Show {
        /// The source
        name: String,
    },
    /// Stop where it is; the database keeps its changes until it goes on
    Pause {
        /// The source
        name: String,
    },
    /// Go on from there
    Resume {
        /// The source
        name: String,
    },
    /// Read all rows again, while capture goes on
    Resnapshot {
        /// The source
        name: String,
        /// Only these tables, as `schema.table`
        tables: Vec<String>,
    },
    /// Remove it, and what it made in the database; the streams that it filled stay
    Drop {
        /// The source
        name: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

/// Runs the command.
///
/// # Errors
/// Those of the client.
pub(crate) fn run(options: Options, context: &Context) -> Result<()> {
    let client = context.client()?;
    context.run(async {
        match options.action {
            Action::Ls => ls(&client, context).await,
            Action::Show { name } => show(&client, &name, context).await,
            Action::Resnapshot { name, tables } => {
                let request =
                    Request::post(format!("{}/resnapshot", path(&name))).json(&json!({ "tables": tables }));
                let outcome = client.send(request).await;
                suggest(&client, &name, outcome).await?;
                let said = format!(
                    "source `{name}` reads its rows again: `tradewind source show {name}` says how far it is"
                );
                context.output().done(&said)
            }
            Action::Pause { name } => {
                let said = "is paused: until it is resumed, its database keeps WAL for it";
                act(&client, &name, "pause", said, context).await
            }
            Action::Resume { name } => act(&client, &name, "resume", "goes on", context).await,
            Action::Drop { name, yes } => {
                get(&client, &name).await?;
                confirm(yes, &format!("drop source `{name}`, and its slot and publication in the database"))?;
                let dropped: Value = client.send(Request::delete(path(&name))).await?.json().await?;
                context.output().done(text(&dropped, "message"))
            }
        }
    })
}

fn path(name: &str) -> String {
    format!("/v1/sources/{}", encode(name))
}

async fn act(client: &Client, name: &str, action: &str, said: &str, context: &Context) -> Result<()> {
    let outcome = client.send(Request::post(format!("{}/{action}", path(name)))).await;
    suggest(client, name, outcome).await?;
    context.output().done(&format!("source `{name}` {said}"))
}

async fn get(client: &Client, name: &str) -> Result<Value> {
    let outcome = client.get(&path(name)).await;
    suggest(client, name, outcome).await
}

/// The number of a member in words, or nothing where there is none.
fn known(source: &Value, member: &str, words: fn(u64) -> String) -> Cell {
    source.get(member).and_then(Value::as_u64).map_or(Cell::from("-"), |number| Cell::from(words(number)))
}

fn slot(source: &Value) -> Option<&Value> {
    source.get("slot").filter(|slot| slot.is_object())
}

/// What is wrong, or how far snapshots are.
fn remark(source: &Value) -> String {
    let error = text(source, "error");
    if !error.is_empty() {
        return error.to_owned();
    }
    let tables = source.get("tables").and_then(Value::as_array).into_iter().flatten();
    let (mut done, mut total, mut reading) = (0, 0, 0);
    for snapshot in tables.filter_map(|table| table.get("snapshot")).filter(|snapshot| snapshot.is_object()) {
        reading += 1;
        done += number(snapshot, "done");
        total += number(snapshot, "total");
    }
    match (reading, total) {
        (0, _) => String::new(),
        (_, 0) => format!("reads rows: {}", count(done)),
        _ => format!("reads rows: {:.0} % of about {}", done as f64 * 100.0 / total as f64, count(total)),
    }
}

async fn ls(client: &Client, context: &Context) -> Result<()> {
    let columns = [
        ("source", "name", Align::Left),
        ("kind", "kind", Align::Left),
        ("state", "state", Align::Left),
        ("tables", "tables", Align::Right),
        ("behind", "lag_ms", Align::Right),
        ("behind in WAL", "lag_bytes", Align::Right),
        ("WAL kept", "retained_bytes", Align::Right),
        ("slot", "slot", Align::Left),
        ("", "error", Align::Left),
    ];
    let none = "there are no sources: `tradewind sql \"CREATE SOURCE name FROM POSTGRES 'postgres://…' TABLES (…)\"` makes one";
    let mut listing = Listing::new(&columns, none);
    for source in list(client, "sources").await? {
        let tables = source.get("tables").and_then(Value::as_array).map_or(0, Vec::len);
        let row = vec![
            Cell::from(text(&source, "name")),
            Cell::from(text(&source, "kind")),
            Cell::from(text(&source, "state")),
            Cell::from(tables.to_string()),
            known(&source, "lag_ms", duration_ms),
            known(&source, "lag_bytes", bytes),
            known(&source, "retained_bytes", bytes),
            Cell::from(slot(&source).map_or("-", |slot| text(slot, "wal_status"))),
            Cell::from(remark(&source)),
        ];
        listing.push(row, source);
    }
    listing.print(&mut context.output())
}

async fn show(client: &Client, name: &str, context: &Context) -> Result<()> {
    let mut out = context.output();
    let source = get(client, name).await?;
    let mut lines = vec![
        ("source", text(&source, "name").to_owned()),
        ("kind", text(&source, "kind").to_owned()),
        ("state", out.style.state(text(&source, "state"))),
    ];
    if let Some(error) = Some(text(&source, "error")).filter(|error| !error.is_empty()) {
        lines.push(("error", out.style.bad(error)));
    }
    lines.push(("behind", known(&source, "lag_ms", duration_ms).text));
    lines.push(("behind in WAL", known(&source, "lag_bytes", bytes).text));
    lines.push(("WAL kept", known(&source, "retained_bytes", bytes).text));
    if let Some(slot) = slot(&source) {
        let safe = slot.get("safe_bytes").and_then(Value::as_u64);
        let safe = safe.map_or(String::new(), |safe| format!(", lost after {} more", bytes(safe)));
        lines.push(("slot", format!("{}: {}{safe}", text(slot, "name"), text(slot, "wal_status"))));
    }
    lines.push(("position", text(&source, "position").to_owned()));
    let tables = source.get("tables").and_then(Value::as_array).into_iter().flatten();
    for (index, table) in tables.enumerate() {
        let mut line =
            format!("{} → {}: {}", text(table, "name"), text(table, "stream"), text(table, "state"));
        if let Some(snapshot) = table.get("snapshot").filter(|snapshot| snapshot.is_object()) {
            let (done, total) = (number(snapshot, "done"), number(snapshot, "total"));
            line.push_str(&format!(", {} of about {} rows", count(done), count(total)));
        }
        if let Some(error) = Some(text(table, "error")).filter(|error| !error.is_empty()) {
            line.push_str(&format!(", {}", out.style.bad(error)));
        }
        lines.push((if index == 0 { "tables" } else { "" }, line));
    }
    record(&lines, &source, &mut out)
}
