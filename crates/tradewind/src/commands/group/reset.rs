//! `tradewind group reset`: what would be done, whether it is wanted, and doing it.

use super::{number, objects, path, text};
use crate::cli::{Context, confirm};
use crate::client::{Client, Request};
use crate::error::Result;
use crate::output::{Align, Cell, Format, Listing, count, note, record};
use crate::units;
use serde_json::{Value, json};
use tw_types::Timestamp;

const HELP: &str = "\
Places are those of the stream, as `group show` prints them, and hold for each partition. What is
before the first event or after the last becomes the start or the end, and is marked. `--to -N`
goes back from what the group has committed, so it needs a commit. A group that the brokers do not
know is made, so that a program that is yet to start begins there.";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Reset {
    /// The group
    group: String,
    /// The stream
    #[arg(long)]
    stream: String,
    /// start, end, an offset, -N for N events back, a time such as 2026-01-31T09:30:00Z, or how long ago, such as 10m
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true, value_parser = to)]
    to: Value,
    /// Only this partition; several times for several
    #[arg(short, long = "partition", value_name = "NUMBER")]
    partitions: Vec<u32>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// A place, as the interface takes it.
fn to(text: &str) -> std::result::Result<Value, String> {
    to_at(text, units::now_ms())
}

fn to_at(text: &str, now_ms: u64) -> std::result::Result<Value, String> {
    let text = text.trim();
    let time = |ms: u64| {
        let time = Timestamp::from_millis(i64::try_from(ms).unwrap_or(i64::MAX / 1_000_000));
        json!({ "time": time.to_string() })
    };
    if matches!(text, "start" | "end") {
        return Ok(json!(text));
    }
    if let Some(events) = text.strip_prefix('-').and_then(|events| events.parse::<u64>().ok()) {
        return Ok(json!({ "back": events }));
    }
    if let Ok(offset) = text.parse::<u64>() {
        return Ok(json!({ "offset": offset }));
    }
    if text.parse::<Timestamp>().is_ok() {
        return Ok(json!({ "time": text }));
    }
    match units::duration(text) {
        Ok(ago) => Ok(time(now_ms.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)))),
        Err(_) => Err(format!(
            "`{text}` is no place to go on: use start, end, an offset, -N for N events back, a time such as 2026-01-31T09:30:00Z, or how long ago, such as 10m"
        )),
    }
}

/// Resets a group, or says what that would be.
///
/// # Errors
/// Those of the client, and when it is not wanted.
pub(super) async fn run(client: &Client, options: &Reset, context: &Context) -> Result<()> {
    let plan = send(client, options, true).await?;
    if options.dry_run {
        return print(&plan, context);
    }
    let Reset { group, stream, .. } = options;
    if plan.get("exists").and_then(Value::as_bool) == Some(false) {
        note(format_args!("the brokers do not know `{group}` yet: it is made"));
    }
    if !options.yes {
        objects(&plan, "partitions").iter().for_each(|step| note(line(stream, step)));
    }
    let partitions = objects(&plan, "partitions").len() as u64;
    let what = format!("have `{group}` go on elsewhere in {} partitions of `{stream}`", count(partitions));
    confirm(options.yes, &what)?;
    print(&send(client, options, false).await?, context)
}

async fn send(client: &Client, options: &Reset, dry_run: bool) -> Result<Value> {
    let mut body = json!({ "stream": options.stream, "to": options.to, "dry_run": dry_run });
    if !options.partitions.is_empty()
        && let Some(members) = body.as_object_mut()
    {
        members.insert("partitions".to_owned(), json!(options.partitions));
    }
    let request = Request::post(format!("{}/reset", path(&options.group))).json(&body);
    let outcome = client.send(request).await;
    super::super::suggest(client, &options.stream, outcome).await?.json().await
}

/// What becomes of a partition, in words.
fn line(stream: &str, step: &Value) -> String {
    let from = step.get("from").and_then(Value::as_u64).map_or("nowhere".to_owned(), |from| from.to_string());
    let to = number(step, "to");
    let remark = if is_clamped(step) { ", because there is nothing where it was to be" } else { "" };
    format!("{stream}/{}: from {from} to {to}{remark}", number(step, "partition"))
}

fn is_clamped(step: &Value) -> bool {
    step.get("clamped").and_then(Value::as_bool) == Some(true)
}

fn print(answer: &Value, context: &Context) -> Result<()> {
    let mut out = context.output();
    let steps = objects(answer, "partitions");
    if out.format != Format::Table {
        return record(&[], answer, &mut out);
    }
    let columns = [
        ("partition", "partition", Align::Right),
        ("from", "from", Align::Right),
        ("to", "to", Align::Right),
        ("", "clamped", Align::Left),
    ];
    let mut listing = Listing::new(&columns, "nothing is changed");
    for step in &steps {
        let from = step.get("from").and_then(Value::as_u64).map_or("-".to_owned(), |from| from.to_string());
        let row = vec![
            Cell::from(number(step, "partition").to_string()),
            Cell::from(from),
            Cell::from(number(step, "to").to_string()),
            Cell::from(if is_clamped(step) { "nothing is where it was to be" } else { "" }),
        ];
        listing.push(row, step.clone());
    }
    listing.print(&mut out)?;
    let (group, stream) = (text(answer, "group"), text(answer, "stream"));
    match answer.get("dry_run").and_then(Value::as_bool) {
        Some(true) => note(format_args!("nothing was done: `{group}` reads `{stream}` on as before")),
        _ => note(format_args!("`{group}` goes on from there in `{stream}`")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn places_are_read_as_people_write_them() {
        let read = |text: &str| to_at(text, 1_700_000_600_000).unwrap();
        assert_eq!(read("start"), json!("start"));
        assert_eq!(read(" end "), json!("end"));
        assert_eq!(read("120"), json!({"offset": 120}));
        assert_eq!(read("-100"), json!({"back": 100}));
        assert_eq!(read("2026-01-31T09:30:00+01:00"), json!({"time": "2026-01-31T09:30:00+01:00"}));
        assert_eq!(read("10m"), json!({"time": "2023-11-14T22:13:20Z"}));
        for text in ["", "middle", "-", "-x", "--1", "1.5"] {
            assert!(to_at(text, 0).unwrap_err().contains("is no place to go on"), "{text}");
        }
    }

    #[test]
    fn a_step_is_said_in_words() {
        let step = |from: Value, clamped: bool| {
            line("orders", &json!({"partition": 2, "from": from, "to": 7, "clamped": clamped}))
        };
        assert_eq!(step(json!(3), false), "orders/2: from 3 to 7");
        assert_eq!(
            step(Value::Null, true),
            "orders/2: from nowhere to 7, because there is nothing where it was to be"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_a_place_or_refused(text in ".{0,24}") {
            let _ = to_at(&text, 5);
        }
    }
}
