//! What the views say, asked for over and over.

use super::measure::Shared;
use crate::client::{Client, Request, TOKEN};
use crate::commands::{list, number, troubles};
use crate::error::Result;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How often the views are asked.
const EVERY: Duration = Duration::from_millis(250);
/// How often it is looked whether a view shows a commit.
const LOOK: Duration = Duration::from_millis(10);
/// How many rows of each are shown.
pub(super) const ROWS: usize = 8;

/// What the views said last.
#[derive(Debug, Default, Clone)]
pub(super) struct Seen {
    pub(super) tables: Vec<Rows>,
    /// Events that the views are behind, all of them together.
    pub(super) lag_events: u64,
    /// Events in the log, of the shop.
    pub(super) stored: u64,
    /// What is not as it should be.
    pub(super) problems: Vec<String>,
}

/// Rows of a view.
#[derive(Debug, Default, Clone)]
pub(super) struct Rows {
    pub(super) title: &'static str,
    pub(super) columns: &'static [&'static str],
    pub(super) rows: Vec<Vec<String>>,
}

struct View {
    title: &'static str,
    columns: &'static [&'static str],
    sql: &'static str,
}

const VIEWS: [View; 3] = [
    View {
        title: "revenue",
        columns: &["customer_id", "orders", "revenue"],
        sql: "SELECT customer_id, orders, revenue FROM revenue ORDER BY revenue DESC NULLS LAST LIMIT 8",
    },
    View {
        title: "orders_by_state",
        columns: &["state", "orders", "total"],
        sql: "SELECT state, orders, total FROM orders_by_state ORDER BY orders DESC LIMIT 8",
    },
    View {
        title: "clicks_by_page",
        columns: &["page", "clicks", "visitors"],
        sql: "SELECT page, clicks, visitors FROM clicks_by_page ORDER BY clicks DESC LIMIT 8",
    },
];

/// Asks until something fails.
pub(super) async fn watch(client: &Client, measured: Shared) -> Result<()> {
    let mut beats = tokio::time::interval(EVERY);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        let token = measured.borrow_mut().token.take();
        // The first view is asked for what was written last: so long it takes until a write is seen.
        let asked = Instant::now();
        let demanded = token.as_ref().map(ToString::to_string);
        let mut tables = Vec::new();
        for view in &VIEWS {
            let first = tables.is_empty();
            let rows = ask(client, view, demanded.as_deref().filter(|_| first)).await?;
            if first && demanded.is_some() {
                measured.borrow_mut().visible.add(asked.elapsed());
            }
            tables.push(rows);
        }
        let projections = list(client, "projections").await?;
        let lag_events = projections.iter().map(|projection| number(projection, "lag_events")).sum();
        let status: Value = client.get("/v1/status").await?;
        let problems = troubles(&status);
        let stored = stored(client).await?;
        measured.borrow_mut().seen = Seen { tables, lag_events, stored, problems };
    }
}

/// Measures how long it takes from a commit in a database until a view shows it: without a token, by asking until it does.
pub(super) async fn await_rows(client: &Client, measured: Shared) -> Result<()> {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some((orders, since)) = measured.borrow().awaited else { continue };
        let sql = "SELECT sum(orders)::bigint AS orders FROM orders_by_state";
        let request = Request::post("/v1/sql").accept("application/x-ndjson").json(&json!({ "sql": sql }));
        let answer = client.send(request).await?.bytes().await?;
        let row: Value = serde_json::from_slice(&answer).unwrap_or_default();
        if number(&row, "orders") >= orders {
            let mut measured = measured.borrow_mut();
            measured.visible.add(since.elapsed());
            measured.awaited = None;
        }
    }
}

async fn ask(client: &Client, view: &View, token: Option<&str>) -> Result<Rows> {
    let request = Request::post("/v1/sql").accept("application/x-ndjson").json(&json!({ "sql": view.sql }));
    let answer = client.send(request.header(TOKEN, token)?).await?.bytes().await?;
    let mut rows = Vec::new();
    for line in answer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let row: Value = serde_json::from_slice(line).unwrap_or_default();
        rows.push(view.columns.iter().map(|column| words(row.get(column))).collect());
    }
    Ok(Rows { title: view.title, columns: view.columns, rows })
}

fn words(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// How many events the streams of the shop hold.
async fn stored(client: &Client) -> Result<u64> {
    let mut sum = 0;
    for stream in ["shop.customers", "shop.orders", "shop.clicks"] {
        sum += stored_in(client, stream).await?;
    }
    Ok(sum)
}

/// How many events a stream holds.
///
/// # Errors
/// Those of the client.
pub(super) async fn stored_in(client: &Client, stream: &str) -> Result<u64> {
    let stream: Value = client.get(&format!("/v1/streams/{stream}")).await?;
    let offsets = stream.get("offsets").and_then(Value::as_array).cloned().unwrap_or_default();
    Ok(offsets.iter().map(|at| number(at, "end") - number(at, "start").min(number(at, "end"))).sum())
}
