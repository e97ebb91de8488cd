//! `tradewind cluster plan` and `rebalance`: who is to have how much, and making that even.

use super::{number, objects, text};
use crate::cli::Context;
use crate::client::{Client, Request};
use crate::error::Result;
use crate::output::{Align, Cell, Format, Listing, Output, count, duration_ms, record};
use serde_json::Value;

pub(super) const REBALANCE: &str = "\
A plan leaves nodes alone that are near enough to their share (`epsilon_permille` of
[cluster.ownership.placement]), and units that were moved a short while ago (`cooldown_ms`). This
makes one that does not, once, with at most `moves_max` moves.";

/// Shows the plan in effect.
///
/// # Errors
/// Those of the client.
pub(super) async fn show(client: &Client, context: &Context) -> Result<()> {
    let view: Value = client.get("/v1/cluster/plan").await?;
    let mut out = context.output();
    let by = if view.get("leads").and_then(Value::as_bool) == Some(true) {
        format!("{}, which makes the plans", text(&view, "node"))
    } else {
        text(&view, "node").to_owned()
    };
    let moves = objects(&view, "moves");
    let lines = [
        ("plan", format!("version {}", number(&view, "version"))),
        ("made", format!("{} ago", duration_ms(number(&view, "age_ms")))),
        ("answered by", by),
        ("units", count(number(&view, "units"))),
        ("moving", count(moves.len() as u64)),
    ];
    record(&lines, &view, &mut out)?;
    if out.format != Format::Table {
        return Ok(());
    }
    let columns = [
        ("node", "name", Align::Left),
        ("state", "state", Align::Left),
        ("planned", "planned", Align::Right),
        ("has", "actual", Align::Right),
        ("standbys", "standbys", Align::Right),
    ];
    let mut listing = Listing::new(&columns, "no node is registered");
    for node in objects(&view, "nodes") {
        let number = |member: &str| count(number(&node, member));
        let row = [
            text(&node, "name").to_owned(),
            text(&node, "state").to_owned(),
            number("planned"),
            number("actual"),
            number("standbys"),
        ];
        listing.push(row.into_iter().map(Cell::from).collect(), node);
    }
    out.line("")?;
    listing.print(&mut out)?;
    if moves.is_empty() {
        return Ok(());
    }
    out.line("")?;
    print_moves(moves, &mut out)
}

/// Has the plan made even, or shows what that would move.
///
/// # Errors
/// Those of the client.
pub(super) async fn rebalance(client: &Client, context: &Context, dry_run: bool) -> Result<()> {
    const PATH: &str = "/v1/cluster/rebalance";
    let view: Value = if dry_run {
        client.get(PATH).await?
    } else {
        client.send(Request::post(PATH)).await?.json().await?
    };
    let mut out = context.output();
    let moves = objects(&view, "moves");
    let percent = |member: &str| format!("{:.0} %", number(&view, member) as f64 / 10.0);
    let (before, after) = (percent("peak_permille_before"), percent("peak_permille_after"));
    let what = match (moves.is_empty(), dry_run) {
        (true, _) => "nothing: it is as even as moves can make it".to_owned(),
        (false, true) => format!("{} units would move", count(moves.len() as u64)),
        (false, false) => format!("{} units move", count(moves.len() as u64)),
    };
    let fullest = match before == after {
        true => format!("{before} of its share"),
        false => format!("{before} of its share, then {after}"),
    };
    let mut lines = vec![
        ("plan", format!("version {}", number(&view, "plan_version"))),
        ("fullest node", fullest),
        ("moves", what),
    ];
    if view.get("postponed").and_then(Value::as_bool) == Some(true) {
        lines.push(("left", "more than one plan may move (`moves_max`): ask again after these".to_owned()));
    }
    record(&lines, &view, &mut out)?;
    if out.format != Format::Table || moves.is_empty() {
        return Ok(());
    }
    out.line("")?;
    print_moves(moves, &mut out)
}

fn print_moves(moves: Vec<Value>, out: &mut Output) -> Result<()> {
    let columns = [("unit", "name", Align::Left), ("from", "from", Align::Left), ("to", "to", Align::Left)];
    let mut listing = Listing::new(&columns, "nothing moves");
    for one in moves {
        let from = match text(&one, "from") {
            "" => "nobody",
            from => from,
        };
        let row = [text(&one, "name"), from, text(&one, "to")].map(str::to_owned);
        listing.push(row.into_iter().map(Cell::from).collect(), one);
    }
    listing.print(out)
}
