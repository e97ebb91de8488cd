//! /v1/sources, /v1/projections, /v1/parked: state, and what can be done about it.

use super::{Outcome, expect_json, json, no_content, read_json};
use crate::body::Body;
use crate::forward::carry;
use crate::headers::HOP;
use crate::parts::{Action, Control, Extent, ParkedFilter, ParkedId, Target, Way};
use crate::query::Query;
use crate::service::{Api, Call};
use crate::{Code, Problem};
use bytes::Bytes;
use http::{Response, StatusCode};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json as value};
use tw_types::{Offset, PartitionId, StreamName};
use utoipa::ToSchema;

/// How many parked events are listed if the request does not say.
const PARKED: u64 = 100;
const PARKED_MAX: u64 = 1_000;

/// Which tables to copy again.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResnapshotRequest {
    /// Their names in the source; none: all of them.
    #[serde(default)]
    #[schema(example = json!(["public.orders"]))]
    tables: Vec<String>,
}

fn control(call: &Call) -> &dyn Control {
    &*call.api.parts.control
}

/// Lists all sources.
pub(crate) async fn sources(call: &Call) -> Outcome {
    json(&value!({ "sources": control(call).sources().await? }))
}

/// Shows one source.
pub(crate) async fn source(call: &Call) -> Outcome {
    let name = call.capture(0)?;
    let source = control(call).source(&name).await?;
    // Otherwise it runs here, or nobody runs it, which is said here.
    if !matches!(call.api.parts.routes.source(&name), Way::Node(_)) {
        return json(&source);
    }
    match at_source(call, &name, Bytes::new(), true).await? {
        Some(answer) => Ok(answer),
        // It has come here meanwhile.
        None => json(&control(call).source(&name).await?),
    }
}

/// Has the node that runs a source answer; None if that is this one.
async fn at_source(
    call: &Call,
    name: &str,
    body: Bytes,
    can_repeat: bool,
) -> Result<Option<Response<Body>>, Problem> {
    let routes = &call.api.parts.routes;
    carry(call, &format!("source `{name}`"), body, can_repeat, || routes.source(name)).await
}

/// Another node that asks puts together what all say.
fn extent(call: &Call) -> Extent {
    if call.headers.contains_key(&HOP) { Extent::Own } else { Extent::Everywhere }
}

/// Lists all projections.
pub(crate) async fn projections(call: &Call) -> Outcome {
    json(&value!({ "projections": control(call).projections(extent(call)).await? }))
}

/// Shows one projection.
pub(crate) async fn projection(call: &Call) -> Outcome {
    let name = call.capture(0)?;
    let projections = control(call).projections(extent(call)).await?;
    let projection = projections.iter().find(|projection| projection.name == name);
    let missing = || Problem::new(Code::NoProjection, format!("there is no projection `{name}`"));
    json(projection.ok_or_else(missing)?)
}

/// Does something with a source or a projection. What takes its time has begun.
pub(crate) async fn act(call: &Call, target: Target<'_>, action: Action) -> Outcome {
    let goes_on = matches!(action, Action::Rebuild | Action::Resnapshot(_));
    // What a source leaves in its database must be told.
    let leaves = matches!((&target, &action), (Target::Source(_), Action::Drop));
    let done = control(call).act(target, action).await?;
    if leaves {
        return json(&value!({ "message": done }));
    }
    let mut response = no_content();
    if goes_on {
        *response.status_mut() = StatusCode::ACCEPTED;
    }
    Ok(response)
}

/// Copies tables of a source again.
pub(crate) async fn resnapshot(call: &Call, body: Incoming) -> Outcome {
    expect_json(call)?;
    let name = call.capture(0)?;
    let request: ResnapshotRequest = read_json(call, body).await?;
    control(call).source(&name).await?;
    let body =
        serde_json::to_vec(&request).map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    match at_source(call, &name, body.into(), true).await? {
        Some(answer) => Ok(answer),
        None => act(call, Target::Source(&name), Action::Resnapshot(request.tables)).await,
    }
}

/// Removes a source, and what it made in its database.
pub(crate) async fn drop_source(call: &Call) -> Outcome {
    let name = call.capture(0)?;
    control(call).source(&name).await?;
    match at_source(call, &name, Bytes::new(), false).await? {
        Some(answer) => Ok(answer),
        None => act(call, Target::Source(&name), Action::Drop).await,
    }
}

/// Lists parked events.
pub(crate) async fn parked(call: &Call) -> Outcome {
    let query = Query::read(call.uri.query(), &["view", "after", "limit"])?;
    let limit = query.number("limit", 1..=PARKED_MAX)?.unwrap_or(PARKED) as usize;
    let after = query.text("after").map(parked_id).transpose()?;
    let view = query.text("view").map(str::to_owned);
    json(&parked_page(&call.api, view, after, limit).await?)
}

/// The first parked events, as they are listed to whoever asks for nothing else.
pub(super) async fn parked_first(api: &Api) -> Result<Value, Problem> {
    parked_page(api, None, None, PARKED as usize).await
}

async fn parked_page(
    api: &Api,
    view: Option<String>,
    after: Option<ParkedId>,
    limit: usize,
) -> Result<Value, Problem> {
    // One more than asked for tells whether there are more.
    let filter = ParkedFilter { view, after, limit: limit + 1 };
    let mut events = api.parts.parked.list(filter).await?;
    let more = events.len() > limit;
    events.truncate(limit);
    let next = events
        .last()
        .filter(|_| more)
        .map(|last| format!("{}/{}/{}/{}", last.view, last.stream, last.partition, last.offset));
    Ok(value!({ "parked": events, "next": next }))
}

/// Shows one parked event.
pub(crate) async fn parked_one(call: &Call) -> Outcome {
    json(&call.api.parts.parked.show(&id_of(call)?).await?)
}

/// Tries a parked event again.
pub(crate) async fn parked_retry(call: &Call) -> Outcome {
    call.api.parts.parked.retry(&id_of(call)?).await?;
    let mut response = no_content();
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

/// Skips a parked event for good.
pub(crate) async fn parked_drop(call: &Call) -> Outcome {
    call.api.parts.parked.skip(&id_of(call)?).await?;
    Ok(no_content())
}

fn id_of(call: &Call) -> Result<ParkedId, Problem> {
    let part = |n| call.capture(n);
    id("path", &part(0)?, &part(1)?, &part(2)?, &part(3)?)
}

/// `view/stream/partition/offset`; the view may contain slashes.
pub(super) fn parked_id(text: &str) -> Result<ParkedId, Problem> {
    let mut parts = text.rsplitn(4, '/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(offset), Some(partition), Some(stream), Some(view)) => {
            id("after", view, stream, partition, offset)
        }
        _ => Err(not_an_id("after", text)),
    }
}

fn id(parameter: &str, view: &str, stream: &str, partition: &str, offset: &str) -> Result<ParkedId, Problem> {
    let wrong = || not_an_id(parameter, &format!("{view}/{stream}/{partition}/{offset}"));
    Ok(ParkedId {
        view: view.to_owned(),
        stream: StreamName::new(stream)?,
        partition: PartitionId(partition.parse().map_err(|_| wrong())?),
        offset: Offset(offset.parse().map_err(|_| wrong())?),
    })
}

fn not_an_id(parameter: &str, text: &str) -> Problem {
    let shown: String = text.chars().take(300).collect();
    Problem::parameter(
        parameter,
        format!("`{shown}` does not name a parked event: use view/stream/partition/offset"),
    )
}
