//! The state of the node and of the interface itself.

use super::{JSON, Outcome, answer, json};
use crate::body::Body;
use crate::headers::LOG_SILENT;
use crate::service::Call;
use bytes::Bytes;
use http::{HeaderValue, Response};
use std::sync::LazyLock;

/// The page that explains the codes of problems, as it is in the documentation.
const ERRORS_PAGE: &str = include_str!("../../../../docs/errors.md");

/// Shows the state of the node.
pub(crate) async fn status(call: &Call) -> Outcome {
    json(&call.api.parts.control.status().await?)
}

/// Whether the node serves requests.
pub(crate) fn ready(call: &Call) -> Outcome {
    call.api.parts.control.ready()?;
    Ok(text("ready\n"))
}

/// That the process lives; and whether it hears of the log, for the other nodes.
pub(crate) fn health(call: &Call) -> Response<Body> {
    let mut answer = text("ok\n");
    if let Some(silent_ms) = call.api.parts.control.log_silent_ms() {
        answer.headers_mut().insert(LOG_SILENT, silent_ms.into());
    }
    answer
}

/// The metrics of the process, as Prometheus reads them.
pub(crate) fn metrics(call: &Call) -> Response<Body> {
    let media_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer(media_type, call.api.parts.metrics.render())
}

/// The description of this interface.
pub(crate) fn openapi() -> Response<Body> {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(crate::openapi::json()));
    answer(JSON, DOCUMENT.clone())
}

/// The page that explains the codes of problems.
pub(crate) fn errors() -> Response<Body> {
    answer(HeaderValue::from_static("text/markdown; charset=utf-8"), ERRORS_PAGE)
}

/// A short text.
pub(crate) fn text(text: &'static str) -> Response<Body> {
    answer(HeaderValue::from_static("text/plain; charset=utf-8"), text)
}
