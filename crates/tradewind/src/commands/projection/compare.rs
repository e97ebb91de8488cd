//! `tradewind projection compare`: what a projection answers beside what is built anew of it.

use super::path;
use crate::cli::Context;
use crate::client::{Client, encode};
use crate::commands::{number, suggest, text};
use crate::error::Result;
use crate::output::{Align, Cell, Expanded, Format, Output, Table, count, record};
use serde_json::Value;

pub(super) const EXAMPLES: &str = "\
Examples:
  tradewind projection compare revenue
  tradewind projection compare revenue --where \"total > 1000\" --limit 100
  tradewind projection compare revenue -o json

Both versions are read at the same events. The new one is the table next.NAME in SQL, too.
`tradewind projection release NAME` lets it take over; to go back, define the projection
as it was before, with CREATE OR REPLACE PROJECTION.";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The projection
    name: String,
    /// Only rows of which this condition is true
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// Show so many rows that differ
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=1000))]
    limit: u64,
}

/// Runs the command.
///
/// # Errors
/// Those of the client.
pub(super) async fn run(client: &Client, options: Options, context: &Context) -> Result<()> {
    let Options { name, condition, limit } = options;
    let mut uri = format!("{}/compare?limit={limit}", path(&name));
    if let Some(condition) = &condition {
        uri += &format!("&where={}", encode(condition));
    }
    let outcome = client.get(&uri).await;
    let comparison = suggest(client, &name, outcome).await?;
    let mut out = context.output();
    record(&summary(&comparison), &comparison, &mut out)?;
    let rows = comparison.get("rows").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() || out.format != Format::Table {
        return Ok(());
    }
    out.line("")?;
    print_rows(&comparison, rows, &mut out)
}

/// What both come to, in words.
fn summary(comparison: &Value) -> Vec<(&'static str, String)> {
    let rows_of = |side: &str| count(comparison.get(side).map_or(0, |side| number(side, "rows")));
    let named = |key: &str| {
        let names = comparison.get(key).and_then(Value::as_array).into_iter().flatten();
        names.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    let mut lines = vec![
        ("projection", text(comparison, "projection").to_owned()),
        ("rows", format!("{} now, {} in the new version", rows_of("old"), rows_of("new"))),
        ("the same", count(number(comparison, "same"))),
        ("different", count(number(comparison, "different"))),
        ("only now", count(number(comparison, "only_old"))),
        ("only new", count(number(comparison, "only_new"))),
    ];
    for (title, key) in [("columns only now", "only_old_columns"), ("columns only new", "only_new_columns")] {
        let names = named(key);
        if !names.is_empty() {
            lines.push((title, names));
        }
    }
    lines
}

/// The rows that differ: two lines for one that both have.
fn print_rows(comparison: &Value, rows: &[Value], out: &mut Output) -> Result<()> {
    let columns: Vec<&str> = comparison
        .get("columns")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let heads =
        std::iter::once(("version", Align::Left)).chain(columns.iter().map(|column| (*column, Align::Left)));
    let mut table = Table::new(heads, Expanded::Off);
    for row in rows {
        for (side, word) in [("old", "now"), ("new", "new")] {
            let Some(values) = row.get(side) else { continue };
            let value = |column: &&str| values.get(*column).map_or_else(Cell::null, Cell::json);
            table.row(std::iter::once(Cell::text(word)).chain(columns.iter().map(value)).collect(), out)?;
        }
    }
    table.end(out)?;
    out.flush()
}
