//! /v1/locks and /v1/lock-sessions: locks that clients hold.

use super::{Outcome, expect_json, json, no_content, read_json};
use crate::parts::{LockSession, Locks};
use crate::query::Query;
use crate::server::{Phase, next_phase};
use crate::service::Call;
use crate::{Code, Problem};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json as value;
use std::time::Duration;
use utoipa::ToSchema;

/// How many locks are listed if the request does not say.
const LOCKS: u64 = 1_000;
const LOCKS_MAX: u64 = 10_000;
/// How long a session lasts if the request does not say.
const TTL_MS: u64 = 30_000;

/// Which locks a new session is to hold.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockRequest {
    /// The names of the locks: all of them are taken, or none.
    #[schema(example = json!(["nightly-report"]))]
    names: Vec<String>,
    /// Who wants them, for others to see. Default `anonymous`.
    #[serde(default = "anonymous")]
    #[schema(example = "cron@db-1")]
    owner: String,
    /// How long the session lasts without a renewal, in milliseconds, from 1,000. Default 30,000.
    #[serde(default = "ttl_ms")]
    #[schema(example = 30000)]
    ttl_ms: u64,
    /// How long to wait for the locks, in milliseconds. Default 0.
    #[serde(default)]
    #[schema(example = 5000)]
    wait_ms: u64,
}

/// Which further locks a session is to hold.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MoreLocksRequest {
    /// The names of the locks: all of them are taken, or none.
    #[schema(example = json!(["monthly-report"]))]
    names: Vec<String>,
    /// How long to wait for them, in milliseconds. Default 0.
    #[serde(default)]
    #[schema(example = 5000)]
    wait_ms: u64,
}

fn anonymous() -> String {
    "anonymous".to_owned()
}

fn ttl_ms() -> u64 {
    TTL_MS
}

fn part(call: &Call) -> &dyn Locks {
    &*call.api.parts.locks
}

/// Lists locks.
pub(crate) async fn list(call: &Call) -> Outcome {
    let query = Query::read(call.uri.query(), &["after", "limit"])?;
    let limit = query.number("limit", 1..=LOCKS_MAX)?.unwrap_or(LOCKS) as usize;
    let after = query.text("after");
    let mut locks = part(call).list().await?;
    locks.retain(|lock| after.is_none_or(|after| lock.name.as_str() > after));
    let more = locks.len() > limit;
    locks.truncate(limit);
    let next = locks.last().filter(|_| more).map(|last| last.name.clone());
    json(&value!({ "locks": locks, "next": next }))
}

/// Shows one lock.
pub(crate) async fn show(call: &Call) -> Outcome {
    json(&part(call).show(&call.capture(0)?).await?)
}

/// Opens a session that holds locks.
pub(crate) async fn open(call: &Call, body: Incoming) -> Outcome {
    expect_json(call)?;
    let LockRequest { names, owner, ttl_ms, wait_ms } = read_json(call, body).await?;
    let (ttl, wait) = (Duration::from_millis(ttl_ms), Duration::from_millis(wait_ms));
    json(&while_serving(call, part(call).open(&owner, &names, ttl, wait)).await?)
}

/// Takes further locks in a session.
pub(crate) async fn take(call: &Call, body: Incoming) -> Outcome {
    expect_json(call)?;
    let MoreLocksRequest { names, wait_ms } = read_json(call, body).await?;
    let (session, wait) = (call.capture(0)?, Duration::from_millis(wait_ms));
    json(&while_serving(call, part(call).take(&session, &names, wait)).await?)
}

/// Renews a session.
pub(crate) async fn renew(call: &Call) -> Outcome {
    json(&part(call).renew(&call.capture(0)?).await?)
}

/// Ends a session.
pub(crate) async fn close(call: &Call) -> Outcome {
    part(call).close(&call.capture(0)?).await?;
    Ok(no_content())
}

/// Releases one lock of a session.
pub(crate) async fn release(call: &Call) -> Outcome {
    part(call).release(&call.capture(0)?, &call.capture(1)?).await?;
    Ok(no_content())
}

/// A wait ends when the server does: another node, or this one after its restart, is to be asked.
async fn while_serving(
    call: &Call,
    work: impl Future<Output = Result<LockSession, Problem>>,
) -> Result<LockSession, Problem> {
    let mut phases = call.api.phase.clone();
    let draining = async { while next_phase(&mut phases).await == Phase::Serving {} };
    tokio::select! {
        outcome = work => outcome,
        () = draining => Err(Problem::new(Code::ShuttingDown, "the node is shutting down, and nothing was locked")),
    }
}
