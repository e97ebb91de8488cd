//! What a region says of itself, asked for over and over.

use super::world::{Pulled, Seen, Shared};
use super::writer::{STREAM, VIEW};
use crate::client::{Client, Request};
use crate::commands::{is_missing, number, objects, text};
use crate::demo::views::stored_in;
use crate::error::Result;
use serde_json::{Value, json};
use std::time::Duration;

/// How often a region is asked.
const EVERY: Duration = Duration::from_millis(500);

/// Asks for ever; a region that does not answer is shown, and asked again.
///
/// # Errors
/// When the region's address is none, or nothing can be told.
pub(super) async fn watch(region: u16, world: Shared) -> Result<()> {
    let client = Client::new(&world.borrow().url(region))?;
    let mut beats = tokio::time::interval(EVERY);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        let seen = look(&client).await;
        world.borrow_mut().saw(region, seen)?;
    }
}

async fn look(client: &Client) -> Result<Seen> {
    let events = stored_in(client, STREAM).await?;
    let sql = json!({ "sql": format!("SELECT count(*) AS n FROM {VIEW}") });
    let rows = client.send(Request::post("/v1/sql").accept("application/x-ndjson").json(&sql)).await?;
    let rows: Value = serde_json::from_slice(&rows.bytes().await?).unwrap_or_default();
    let (conflicts, conflict) = conflicts(client).await?;
    let regions: Value = client.get("/v1/regions").await?;
    let link = |peer: &Value| {
        let pulled = Pulled {
            link: text(peer, "link").to_owned(),
            lag_events: number(peer, "lag_events"),
            lag_ms: number(peer, "lag_ms"),
        };
        Some((u16::try_from(number(peer, "region")).ok()?, pulled))
    };
    let links = objects(&regions, "peers").iter().filter_map(link).collect();
    Ok(Seen { events, rows: number(&rows, "n"), conflicts, conflict, links })
}

/// How many conflicts a region has told, and the last one in words.
async fn conflicts(client: &Client) -> Result<(u64, String)> {
    let told = match stored_in(client, "%24conflicts").await {
        // It is made with the first one.
        Err(error) if is_missing(&error, "no_stream") => 0,
        told => told?,
    };
    let Some(last) = told.checked_sub(1) else { return Ok((0, String::new())) };
    let sql = format!(
        "SELECT data->>'subject' AS subject, data->>'column' AS field, data->'winner'->>'value' AS won, data->'loser'->>'value' AS lost \
         FROM events.\"$conflicts\" WHERE _offset = {last}"
    );
    let sql = json!({ "sql": sql });
    let row = client.send(Request::post("/v1/sql").accept("application/x-ndjson").json(&sql)).await?;
    let row: Value = serde_json::from_slice(&row.bytes().await?).unwrap_or_default();
    let [subject, field, won, lost] = ["subject", "field", "won", "lost"].map(|name| text(&row, name));
    Ok((told, format!("{subject}: {field} = {won} has overwritten {lost}, which did not know of it")))
}
