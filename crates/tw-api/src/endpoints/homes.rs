//! Where streams with a home are written, and how that changes.

use super::regions::{number, part};
use super::{Outcome, expect_json, json, read_json};
use crate::parts::{FailoverRequest, MoveHomes, Pass};
use crate::service::Call;
use crate::{Code, Problem};
use hyper::body::Incoming;
use tw_types::{StreamDef, StreamMode};

/// Lists homes.
pub(crate) async fn list(call: &Call) -> Outcome {
    json(&part(call)?.homes().await?)
}

/// Gives streams to another region.
pub(crate) async fn give_away(call: &Call, body: Incoming) -> Outcome {
    expect_json(call)?;
    let request: MoveHomes = read_json(call, body).await?;
    json(&part(call)?.give_away(request).await?)
}

/// Takes over the streams of a region that is gone.
pub(crate) async fn failover(call: &Call, body: Incoming) -> Outcome {
    expect_json(call)?;
    let from = number(&call.capture(0)?)?;
    let request: FailoverRequest = read_json(call, body).await?;
    json(&part(call)?.failover(from, request).await?)
}

/// Lets a write to a stream pass, if it may be written here; None if it may be written everywhere.
pub(crate) fn enter(call: &Call, stream: &StreamDef) -> Result<Option<Pass>, Problem> {
    if stream.options.mode != StreamMode::HomeRegion {
        return Ok(None);
    }
    match call.api.parts.regions.as_deref() {
        Some(regions) => regions.enter(stream).map(Some),
        None => {
            let detail = format!(
                "`{}` is written in its home region only, and this installation is no region: give it an `id` in [region] of its configuration",
                stream.name
            );
            Err(Problem::new(Code::WrongState, detail))
        }
    }
}
