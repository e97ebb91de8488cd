//! What was done for a request.

use super::{Outcome, json};
use crate::Problem;
use crate::headers::HOP;
use crate::service::Call;
use tw_trace::TraceId;

/// Shows a trace: what is known here, and, unless another node asks, everywhere.
pub(crate) async fn show(call: &Call) -> Outcome {
    let text = call.capture(0)?;
    let trace: TraceId = text.parse().map_err(|error| {
        let shown: String = text.chars().take(80).collect();
        Problem::parameter("trace", format!("trace `{shown}`: {error}"))
    })?;
    json(&call.api.parts.trails.of(trace, !call.headers.contains_key(&HOP)).await?)
}
