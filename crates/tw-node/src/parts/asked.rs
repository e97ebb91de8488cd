//! Asking another region for something, as a request of its interface.

use super::NodeRegions;
use crate::core::Core;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tw_api::parts::{Regions as _, Reply};
use tw_api::{Code, Problem};
use tw_types::RegionId;

/// How large an answer may be.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Why there is no answer that helps.
pub(crate) enum Unasked {
    /// It says no.
    Refused(Problem),
    /// It does not answer, or not what was asked for; why.
    Unanswered(String),
}

impl fmt::Display for Unasked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused(problem) => problem.detail(),
            Self::Unanswered(why) => why,
        })
    }
}

/// A name as a part of a path.
pub(crate) fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

/// Asks a region for what is at a path, and reads what it answers within `wait`.
pub(crate) async fn get<A: DeserializeOwned>(
    core: &Arc<Core>,
    region: RegionId,
    path: &str,
    wait: Duration,
) -> Result<A, Unasked> {
    let request = Request::get(path).body(Bytes::new());
    let request = request.map_err(|error| Unasked::Unanswered(error.to_string()))?;
    answered(core, region, request, wait).await
}

/// Sends a request with a JSON body to a region, and reads what it answers within `wait`.
pub(crate) async fn ask<A: DeserializeOwned>(
    core: &Arc<Core>,
    region: RegionId,
    path: &str,
    body: &impl Serialize,
    wait: Duration,
) -> Result<A, Unasked> {
    let request = post(path, body).map_err(Unasked::Unanswered)?;
    answered(core, region, request, wait).await
}

/// Sends a request with a JSON body to a region, which answers that it was done.
pub(crate) async fn tell(
    core: &Arc<Core>,
    region: RegionId,
    path: &str,
    body: &impl Serialize,
    wait: Duration,
) -> Result<(), Unasked> {
    let request = post(path, body).map_err(Unasked::Unanswered)?;
    exchanged(core, region, request, wait).await.map(drop)
}

async fn answered<A: DeserializeOwned>(
    core: &Arc<Core>,
    region: RegionId,
    request: Request<Bytes>,
    wait: Duration,
) -> Result<A, Unasked> {
    let body = exchanged(core, region, request, wait).await?;
    serde_json::from_slice(&body).map_err(|error| Unasked::Unanswered(error.to_string()))
}

/// The body of an answer that says that something was done.
async fn exchanged(
    core: &Arc<Core>,
    region: RegionId,
    request: Request<Bytes>,
    wait: Duration,
) -> Result<Vec<u8>, Unasked> {
    let unanswered = |why: String| Unasked::Unanswered(why);
    let answered = async {
        let sent = NodeRegions(core.clone()).send(region.0, request).await;
        let (head, body) = sent.map_err(|why| why.to_string())?.into_parts();
        Ok::<_, String>((head.status, whole(body).await?))
    };
    let timed_out = |_| format!("no answer within {} ms", wait.as_millis());
    let answer = tokio::time::timeout(wait, answered).await.map_err(timed_out).and_then(|answer| answer);
    let (status, body) = answer.map_err(unanswered)?;
    if status.is_success() {
        return Ok(body);
    }
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let member = |name| problem.get(name).and_then(|text| text.as_str());
    match (member("code").and_then(Code::from_text), member("detail")) {
        (Some(code), Some(detail)) => Err(Unasked::Refused(Problem::new(code, detail))),
        _ => Err(unanswered(format!("it answered {status}"))),
    }
}

fn post(path: &str, body: &impl Serialize) -> Result<Request<Bytes>, String> {
    let body = serde_json::to_vec(body).map_err(|error| error.to_string())?;
    let request = Request::builder().method(Method::POST).uri(path).body(Bytes::from(body));
    let mut request = request.map_err(|error| error.to_string())?;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(request)
}

/// The whole of an answer.
pub(super) async fn whole(mut body: Reply) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| error.to_string())?;
        if all.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(format!("its answer has over {ANSWER_BYTES_MAX} bytes"));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all)
}
