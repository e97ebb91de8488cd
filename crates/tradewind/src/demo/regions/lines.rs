//! The demo of regions without a screen: a line a second, and what happens in between.

use super::world::{Shared, World, link_name};
use crate::error::Result;
use crate::output::{count, duration_ms};
use std::io::Write as _;
use std::time::Duration;

/// Prints until the output cannot be written.
pub(super) async fn show(world: &Shared) -> Result<()> {
    print(&format!("try next, in another terminal:\n{}", try_next(&world.borrow())))?;
    let mut beats = tokio::time::interval(Duration::from_secs(1));
    beats.tick().await;
    loop {
        beats.tick().await;
        let line = line(&world.borrow());
        print(&line)?;
    }
}

pub(super) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Everything in one line.
fn line(world: &World) -> String {
    let mut parts = Vec::new();
    for (number, region) in &world.regions {
        let seen = &region.seen;
        let mut part = format!(
            "region {number}: {} accepted, {} here, {} rows",
            count(region.accepted),
            count(seen.events),
            count(seen.rows)
        );
        if let Some(problem) = &region.problem {
            part += &format!(" ! {problem}");
        }
        parts.push(part);
    }
    let links = world.mesh.links().iter().map(|(pair, is_cut)| {
        let ways = [world.pulled(pair.1, pair.0), world.pulled(pair.0, pair.1)];
        let state = if *is_cut { "cut".to_owned() } else { state(&ways[0].link, &ways[1].link) };
        let lag_events: u64 = ways.iter().map(|way| way.lag_events).sum();
        let lag_ms = ways.iter().map(|way| way.lag_ms).max().unwrap_or_default();
        let behind = format!(", {} events {} behind", count(lag_events), duration_ms(lag_ms));
        format!("{} {state}{}", link_name(*pair), if lag_events > 0 { behind.as_str() } else { "" })
    });
    parts.extend(links);
    format!("{:>4} s  {}", world.since.elapsed().as_secs(), parts.join(" | "))
}

/// Both ways of a link in one word, if one is enough.
pub(super) fn state(there: &str, back: &str) -> String {
    match (there, back) {
        ("", "") => "starting".to_owned(),
        (there, back) if there == back => there.to_owned(),
        (there, back) => format!("{there}/{back}"),
    }
}

/// What a person may try while the demo runs.
pub(super) fn try_next(world: &World) -> String {
    let urls: Vec<&str> = world.regions.values().map(|region| region.url.as_str()).collect();
    let first = urls.first().copied().unwrap_or_default();
    format!(
        "  tradewind --url {first} region status\n  \
           tradewind --url {first} sql \"SELECT * FROM revenue ORDER BY revenue DESC LIMIT 5\"\n  \
           tradewind region compare {}",
        urls.join(" ")
    )
}
