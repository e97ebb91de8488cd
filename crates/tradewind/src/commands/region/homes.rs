//! `tradewind region homes`, `move`, `failover`, `failback`, `at-risk`: where streams with a home are written.

use crate::cli::Context;
use crate::client::{Client, Request};
use crate::commands::{each_event, number, objects, text};
use crate::error::Result;
use crate::output::{Align, Cell, Listing, count, duration_ms, note};
use serde_json::{Value, json};

/// Which streams are to get another home.
#[derive(Debug, clap::Args)]
pub(super) struct MoveOptions {
    /// The streams; without any: all of which this region is the home
    streams: Vec<String>,
    /// The number of the region that is to be the home
    #[arg(long)]
    to: u16,
    /// Say only what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Which region is gone.
#[derive(Debug, clap::Args)]
pub(super) struct FailoverOptions {
    /// The number of the region that is gone
    region: u16,
    /// The streams; without any: all of which that region is the home
    streams: Vec<String>,
    /// Say only what would be done, and what is at risk
    #[arg(long)]
    dry_run: bool,
    /// Confirm that the region takes no writes any more, which cannot be seen from here
    #[arg(long)]
    is_stopped: bool,
}

/// To which region streams go back.
#[derive(Debug, clap::Args)]
pub(super) struct FailbackOptions {
    /// The number of the region that is back
    region: u16,
    /// Say only what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Lists homes.
pub(super) async fn homes(client: &Client, context: &Context) -> Result<()> {
    let view: Value = client.get("/v1/regions/homes").await?;
    let columns = [
        ("stream", "stream", Align::Left),
        ("home", "home", Align::Right),
        ("term", "term", Align::Right),
        ("before", "from", Align::Right),
        ("how", "how", Align::Left),
        ("here", "open", Align::Left),
    ];
    let mut listing =
        Listing::new(&columns, "no stream has a home: CREATE STREAM … WITH (mode = 'home-region', home = 1)");
    let here = number(&view, "region");
    for home in objects(&view, "homes") {
        let before = home.get("from").and_then(Value::as_u64);
        let how = match (before, home.get("planned").and_then(Value::as_bool)) {
            (None, _) => "first",
            (Some(_), Some(false)) => "taken over",
            (Some(_), _) => "given",
        };
        let is_open = home.get("open").and_then(Value::as_bool) == Some(true);
        let is_mine = number(&home, "home") == here;
        let row = [
            text(&home, "stream").to_owned(),
            number(&home, "home").to_string(),
            number(&home, "term").to_string(),
            before.map_or_else(String::new, |before| before.to_string()),
            how.to_owned(),
            match (is_mine, is_open) {
                (true, true) => "takes writes",
                (true, false) => "waits for what the home before had",
                (false, _) => "",
            }
            .to_owned(),
        ];
        listing.push(row.into_iter().map(Cell::from).collect(), home);
    }
    listing.print(&mut context.output())
}

/// Gives streams to another region.
pub(super) async fn give_away(client: &Client, context: &Context, options: &MoveOptions) -> Result<()> {
    send_move(client, context, &options.streams, options.to, options.dry_run).await
}

async fn send_move(
    client: &Client,
    context: &Context,
    streams: &[String],
    to: u16,
    dry_run: bool,
) -> Result<()> {
    let body = json!({ "streams": streams, "to": to, "dry_run": dry_run });
    let answer: Value =
        client.send(Request::post("/v1/regions/homes/move").json(&body)).await?.json().await?;
    let columns =
        [("stream", "stream", Align::Left), ("home", "home", Align::Right), ("term", "term", Align::Right)];
    let mut listing = Listing::new(&columns, "this region is the home of no stream");
    for moved in objects(&answer, "moved") {
        let row = [
            text(&moved, "stream").to_owned(),
            number(&moved, "home").to_string(),
            number(&moved, "term").to_string(),
        ];
        listing.push(row.into_iter().map(Cell::from).collect(), moved);
    }
    listing.print(&mut context.output())?;
    if dry_run {
        note("nothing was done: this is what would be");
    }
    Ok(())
}

/// Gives back what was taken over from a region.
pub(super) async fn failback(client: &Client, context: &Context, options: &FailbackOptions) -> Result<()> {
    let view: Value = client.get("/v1/regions/homes").await?;
    let here = number(&view, "region");
    let taken = objects(&view, "homes").into_iter().filter(|home| {
        number(home, "home") == here
            && home.get("from").and_then(Value::as_u64) == Some(options.region.into())
            && home.get("planned").and_then(Value::as_bool) == Some(false)
    });
    let streams: Vec<String> = taken.map(|home| text(&home, "stream").to_owned()).collect();
    if streams.is_empty() {
        return context
            .output()
            .done(&format!("this region has taken over no stream from region {}", options.region));
    }
    send_move(client, context, &streams, options.region, options.dry_run).await
}

/// Takes over the streams of a region that is gone.
pub(super) async fn failover(client: &Client, context: &Context, options: &FailoverOptions) -> Result<()> {
    let body =
        json!({ "streams": options.streams, "is_stopped": options.is_stopped, "dry_run": options.dry_run });
    let path = format!("/v1/regions/{}/failover", options.region);
    let answer: Value = client.send(Request::post(path).json(&body)).await?.json().await?;
    let columns = [
        ("stream", "stream", Align::Left),
        ("term", "term", Align::Right),
        ("known at risk", "known_at_risk", Align::Right),
        ("behind for", "lag_ms", Align::Right),
    ];
    let mut listing = Listing::new(&columns, "it is the home of no stream");
    for stream in objects(&answer, "streams") {
        let lag_ms = number(&stream, "lag_ms");
        let row = [
            text(&stream, "stream").to_owned(),
            number(&stream, "term").to_string(),
            count(number(&stream, "known_at_risk")),
            if lag_ms > 0 { duration_ms(lag_ms) } else { String::new() },
        ];
        listing.push(row.into_iter().map(Cell::from).collect(), stream);
    }
    listing.print(&mut context.output())?;
    let heard = match answer.get("silent_ms").and_then(Value::as_u64) {
        Some(silent_ms) => format!("was heard {} ago", duration_ms(silent_ms)),
        None => "was not heard since this node was started".to_owned(),
    };
    note(format!(
        "region {} is {} and {heard}; what it has accepted since is at risk, too",
        options.region,
        text(&answer, "link")
    ));
    if answer.get("done").and_then(Value::as_bool) == Some(true) {
        note(
            "this region takes the writes now; `tradewind region at-risk` lists what was lost sight of, when that region is back",
        );
    } else {
        note("nothing was done: this is what would be");
    }
    Ok(())
}

/// Lists events at risk.
pub(super) async fn at_risk(client: &Client, context: &Context) -> Result<()> {
    let columns = [
        ("stream", "stream", Align::Left),
        ("partition", "partition", Align::Right),
        ("origin", "origin", Align::Left),
        ("term", "term", Align::Right),
        ("subject", "subject", Align::Left),
        ("type", "type", Align::Left),
        ("id", "id", Align::Left),
    ];
    let mut listing = Listing::new(&columns, "no event is known to be at risk");
    let mut tails = Vec::new();
    each_event(client, "$at_risk", |event| {
        let data = event.get("data").cloned().unwrap_or_default();
        if text(&event, "type") == "tradewind.home.tail" {
            tails.push(format!(
                "region {} has told all that was at risk of `{}` in term {}: {}",
                number(&data, "region"),
                text(&data, "stream"),
                number(&data, "term"),
                number(&data, "events")
            ));
            return;
        }
        let row = [
            text(&data, "stream").to_owned(),
            number(&data, "partition").to_string(),
            text(&data, "origin").to_owned(),
            number(&data, "term").to_string(),
            text(&data, "subject").to_owned(),
            text(&data, "type").to_owned(),
            text(&data, "id").to_owned(),
        ];
        listing.push(row.into_iter().map(Cell::from).collect(), data);
    })
    .await?;
    listing.print(&mut context.output())?;
    for tail in tails {
        note(tail);
    }
    Ok(())
}
