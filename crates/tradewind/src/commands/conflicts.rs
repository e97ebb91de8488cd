//! `tradewind conflicts`: what changes of merged rows have lost to others that did not know of them.

use super::{each_event, is_missing, text};
use crate::cli::Context;
use crate::client::Client;
use crate::error::Result;
use crate::output::{Align, Cell, Listing};
use serde_json::Value;
use std::collections::VecDeque;

const EXAMPLES: &str = "\
Examples:
  tradewind conflicts ls
  tradewind conflicts ls --stream players --subject ann
  tradewind conflicts ls --json | jq .loser.value

Two regions that change the same row without knowing of each other are in conflict where one of
them loses something: a value of `lww` that another one overwrites, or a delete that a change
outlives. What lost stays in the log. Each region lists the same conflicts, each of them once.";

/// List conflicts of rows that several regions have changed
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List conflicts, the latest last
    Ls {
        /// Only those of this stream
        #[arg(long)]
        stream: Option<String>,
        /// Only those of this row
        #[arg(long)]
        subject: Option<String>,
        /// At most this many, the latest
        #[arg(short = 'n', long, default_value_t = 100)]
        limit: usize,
    },
}

pub(crate) fn run(options: Options, context: &Context) -> Result<()> {
    let client = context.client()?;
    match options.action {
        Action::Ls { stream, subject, limit } => {
            let is_wanted = |conflict: &Value| {
                let is = |name, wanted: &Option<String>| {
                    wanted.as_deref().is_none_or(|wanted| text(conflict, name) == wanted)
                };
                is("stream", &stream) && is("subject", &subject)
            };
            context.run(list(&client, context, limit, is_wanted))
        }
    }
}

async fn list(
    client: &Client,
    context: &Context,
    limit: usize,
    is_wanted: impl Fn(&Value) -> bool,
) -> Result<()> {
    let columns = [
        ("stream", "stream", Align::Left),
        ("subject", "subject", Align::Left),
        ("column", "column", Align::Left),
        ("class", "class", Align::Left),
        ("kind", "kind", Align::Left),
        ("winner", "winner", Align::Left),
        ("loser", "loser", Align::Left),
    ];
    let mut listing = Listing::new(&columns, "no conflict is known");
    for conflict in latest(client, limit, is_wanted).await? {
        let row =
            ["stream", "subject", "column", "class", "kind"].map(|name| text(&conflict, name).to_owned());
        let sides = ["winner", "loser"].map(|name| side(conflict.get(name).unwrap_or(&Value::Null)));
        listing.push(row.into_iter().chain(sides).map(Cell::from).collect(), conflict);
    }
    listing.print(&mut context.output())
}

/// The last conflicts that are wanted.
async fn latest(
    client: &Client,
    limit: usize,
    is_wanted: impl Fn(&Value) -> bool,
) -> Result<VecDeque<Value>> {
    let mut found = VecDeque::new();
    let read = each_event(client, "$conflicts", |event| {
        let conflict = event.get("data").cloned().unwrap_or_default();
        if is_wanted(&conflict) {
            found.push_back(conflict);
            if found.len() > limit {
                found.pop_front();
            }
        }
    });
    match read.await {
        // It is made with the first conflict.
        Err(error) if is_missing(&error, "no_stream") => Ok(VecDeque::new()),
        read => read.map(|()| found),
    }
}

/// One of two changes: what it wrote, and where.
fn side(change: &Value) -> String {
    let origin = text(change, "origin");
    match change.get("value").and_then(Value::as_str) {
        Some(value) => format!("{value} ({origin})"),
        None => origin.to_owned(),
    }
}
