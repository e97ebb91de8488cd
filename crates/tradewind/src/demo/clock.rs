//! How far a demo is, as events of one subject of a stream of its own: so it goes on where it was.

use crate::client::{Client, Request};
use crate::error::{Error, Result};
use http::header::ETAG;
use serde_json::{Value, json};

/// The tick after the last one of which everything has happened, as the events at `path` say; 0 if there are none.
///
/// # Errors
/// Those of the client.
pub(super) async fn next_tick(client: &Client, path: &str) -> Result<u64> {
    let newest = client.send(Request::get(path).query("limit", Some(1))).await?;
    let version = newest.header(&ETAG).and_then(|tag| tag.trim_matches('"').parse::<u64>().ok());
    newest.bytes().await?;
    let Some(version) = version.filter(|version| *version > 0) else { return Ok(0) };
    let request = Request::get(path).query("from_version", Some(version)).query("limit", Some(1));
    let answer: Value = client.send(request).await?.json().await?;
    let tick = answer.pointer("/events/0/data/next_tick").and_then(Value::as_u64);
    tick.ok_or_else(|| Error::Answer {
        url: client.url(),
        reason: "it does not say how far the demo is".to_owned(),
    })
}

/// Notes that everything before `next_tick` has happened.
///
/// # Errors
/// Those of the client.
pub(super) async fn note(client: &Client, path: &str, next_tick: u64) -> Result<()> {
    let event = json!({
        "specversion": "1.0", "id": format!("tick-{next_tick}"), "source": "/demo", "type": "demo.ticked",
        "subject": "demo", "data": { "next_tick": next_tick },
    });
    let noted = Request::post(path).body("application/cloudevents+json", event.to_string());
    client.send(noted).await?.bytes().await?;
    Ok(())
}
