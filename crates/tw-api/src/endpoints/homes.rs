//! Where streams with a home are written, and how that changes.

use super::regions::{number, part};
use super::{Outcome, expect_json, json, read_json};
use crate::body::Received;
use crate::forward::{self, Forward};
use crate::options::ms;
use crate::parts::{Closed, FailoverRequest, MoveHomes, Pass};
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
pub(super) fn enter(call: &Call, stream: &StreamDef) -> Result<Option<Pass>, Closed> {
    let mode = stream.options.mode;
    match call.api.parts.regions.as_deref() {
        _ if mode == StreamMode::Local => Ok(None),
        Some(regions) => regions.enter(stream).map(Some),
        None if mode == StreamMode::ActiveActive => Ok(None),
        None => {
            let detail = format!(
                "`{}` is written in its home region only, and this installation is no region: give it an `id` in [region] of its configuration",
                stream.name
            );
            Err(Closed { home: None, problem: Problem::new(Code::WrongState, detail) })
        }
    }
}

/// Has a write carried out by the home of its stream.
///
/// # Errors
/// Why it does not pass here, if that region is not reached or has sent it; `outcome_unknown` if its answer did not come.
pub(super) async fn send_on(call: &Call, closed: Closed, body: &Received) -> Outcome {
    let Closed { home, problem } = closed;
    let (Some(regions), Some(home)) = (call.api.parts.regions.as_deref(), home) else { return Err(problem) };
    let forward = Forward::new(call, ms(call.options.request_timeout_ms));
    if forward.is_hop() {
        return Err(problem);
    }
    match call.ticket.elsewhere(forward.send_to(regions, home, body.bytes())).await {
        Ok(answer) => Ok(forward::stream(answer)),
        Err(unanswered) if unanswered.was_sent => Err(forward::unknown(&unanswered)),
        Err(unanswered) => Err(Problem::new(
            problem.code(),
            format!("{}; it was not sent there: {unanswered}", problem.detail()),
        )),
    }
}
