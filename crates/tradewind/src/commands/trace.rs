//! `tradewind trace`: what was done for a request, where, and how long it took.

use super::{number, objects, text};
use crate::cli::Context;
use crate::client::encode;
use crate::error::Result;
use crate::output::{Align, Cell, Listing, note};
use serde_json::Value;

const EXAMPLES: &str = "\
Examples:
  tradewind append orders '{\"id\": 7}' --trace
  tradewind trace 4bf92f3577b34da6a3ce929d0e0e4736

A request is recorded if whoever sends it wants that: the commands of this program with `--trace`,
other clients with the flag `sampled` of the header `traceparent` (W3C Trace Context). All nodes of
the cluster and all regions are asked for what they did. Each keeps the last 10,000 such steps in
memory (`trace_spans_max` of [node]). Steps in other regions come when the events have arrived there:
ask again a moment later.";

/// Show what was done for a request, on all nodes and in all regions
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The trace: what `--trace` has printed
    #[arg(value_name = "TRACE")]
    id: String,
}

/// Runs the command.
///
/// # Errors
/// Those of the client.
pub(crate) fn run(options: &Options, context: &Context) -> Result<()> {
    let client = context.client()?;
    let answer: Value = context.run(client.get(&format!("/v1/traces/{}", encode(&options.id))))?;
    let columns = [
        ("step", "name", Align::Left),
        ("where", "place", Align::Left),
        ("after ms", "start_ms", Align::Right),
        ("took ms", "took_us", Align::Right),
        ("", "facts", Align::Left),
    ];
    let none = "nothing is known of this trace: it was not recorded, or so long ago that it is forgotten";
    let mut listing = Listing::new(&columns, none);
    let spans = in_order(objects(&answer, "spans"));
    let begin = spans.iter().map(|(_, span)| number(span, "start_ms")).min().unwrap_or_default();
    for (depth, span) in spans {
        let row = vec![
            Cell::from(format!("{}{}", "  ".repeat(depth), text(&span, "name"))),
            Cell::from(text(&span, "place").to_owned()),
            Cell::from((number(&span, "start_ms") - begin).to_string()),
            Cell::from(format!("{:.2}", number(&span, "took_us") as f64 / 1_000.0)),
            Cell::from(remarks(&span)),
        ];
        listing.push(row, span);
    }
    listing.print(&mut context.output())?;
    for silent in objects(&answer, "silent") {
        note(format_args!(
            "{} does not say what it did: {}",
            text(&silent, "place"),
            text(&silent, "reason")
        ));
    }
    Ok(())
}

/// The spans as a tree, each with its depth: what is done for one comes below it, in the order in which it began.
fn in_order(spans: Vec<Value>) -> Vec<(usize, Value)> {
    let is_known = |parent: &str| spans.iter().any(|span| text(span, "span") == parent);
    let mut open: Vec<(usize, &Value)> =
        spans.iter().rev().filter(|span| !is_known(text(span, "parent"))).map(|span| (0, span)).collect();
    let mut ordered = Vec::new();
    while let Some((depth, span)) = open.pop() {
        let below = spans.iter().rev().filter(|child| text(child, "parent") == text(span, "span"));
        // Whoever names itself as its cause, or goes round in a circle, is not shown twice.
        open.extend(below.filter(|_| ordered.len() < spans.len()).map(|child| (depth + 1, child)));
        ordered.push((depth, span.clone()));
    }
    ordered
}

/// Why it failed, and what else is known.
fn remarks(span: &Value) -> String {
    let failed = text(span, "failed");
    let failed = (!failed.is_empty()).then(|| format!("failed: {failed}"));
    let facts = span.get("facts").and_then(Value::as_object);
    let facts = facts.into_iter().flatten().map(|(name, value)| {
        let value = value.as_str().unwrap_or_default();
        format!("{name} {value}")
    });
    failed.into_iter().chain(facts).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_done_for_a_step_comes_below_it() {
        let span = |name: &str, parent: &str| json!({"name": name, "span": name, "parent": parent});
        let spans =
            vec![span("a", "client"), span("b", "a"), span("d", "a"), span("c", "b"), span("e", "gone")];
        let shown: Vec<(usize, String)> = in_order(spans)
            .into_iter()
            .map(|(depth, span)| (depth, text(&span, "name").to_owned()))
            .collect();
        let expected = [(0, "a"), (1, "b"), (2, "c"), (1, "d"), (0, "e")];
        assert_eq!(shown, expected.map(|(depth, name)| (depth, name.to_owned())));
    }

    #[test]
    fn remarks_say_first_why_it_failed() {
        let span = json!({"failed": "no_owner", "facts": {"status": "503"}});
        assert_eq!(remarks(&span), "failed: no_owner, status 503");
    }
}
