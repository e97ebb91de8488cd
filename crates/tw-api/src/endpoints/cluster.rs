//! The cluster: who is in it, who has what, and what the nodes ask each other.

use super::{Outcome, json};
use crate::body::Body;
use crate::parts::Cluster;
use crate::service::Call;
use crate::{Code, Problem};
use futures_util::StreamExt as _;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use hyper::body::Incoming;

/// Shows the nodes, and who has what.
pub(crate) async fn view(call: &Call) -> Outcome {
    json(&part(call)?.view().await?)
}

/// Shows the plan, and what is under way to it.
pub(crate) async fn plan(call: &Call) -> Outcome {
    json(&part(call)?.plan().await?)
}

/// Shows what a rebalance would change, or has it carried out.
pub(crate) async fn rebalance(call: &Call, carry_out: bool) -> Outcome {
    json(&part(call)?.rebalance(carry_out).await?)
}

/// Has a node hand over what it has, or take its share again.
pub(crate) async fn drain(call: &Call, drains: bool) -> Outcome {
    let node = call.capture(0)?;
    let done = part(call)?.drain(&node, drains).await?;
    json(&serde_json::json!({ "message": done }))
}

/// Answers another node.
pub(crate) async fn read(call: &Call, body: Incoming) -> Outcome {
    let cluster = part(call)?;
    let request = call.body(body).await?;
    let pieces = cluster.read(request.bytes());
    let mut response = Response::new(Body::stream(pieces.map(Ok)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(response)
}

fn part(call: &Call) -> Result<&dyn Cluster, Problem> {
    call.api.parts.cluster.as_deref().ok_or_else(|| {
        let detail =
            "this node is alone: set `enabled` in [cluster] of its configuration to make it one of many";
        Problem::new(Code::WrongState, detail)
    })
}
