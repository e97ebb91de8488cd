//! The plan by which users are spread over regions: it is read everywhere, and changed where it is decided.

use super::regions::part;
use super::{Outcome, json, read_json_of};
use crate::forward::{self, Forward};
use crate::options::ms;
use crate::parts::{ChangeRouting, Closed};
use crate::service::Call;
use crate::{Code, Problem};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

/// Shows the plan in effect.
pub(crate) async fn view(call: &Call) -> Outcome {
    json(&part(call)?.routing().await?)
}

/// How much this region serves, for others.
pub(crate) fn load(call: &Call) -> Outcome {
    json(&part(call)?.load())
}

/// Changes the plan, here or in the region that decides.
pub(crate) async fn change<R: DeserializeOwned + Into<ChangeRouting>>(
    call: &Call,
    body: Incoming,
) -> Outcome {
    let regions = part(call)?;
    super::expect_json(call)?;
    let received = call.body(body).await?;
    let request: R = read_json_of(&received)?;
    let Closed { home, problem } = match regions.change_routing(request.into()).await {
        Ok(changed) => return json(&changed),
        Err(closed) => closed,
    };
    let forward = Forward::new(call, ms(call.options.request_timeout_ms));
    let Some(home) = home.filter(|_| !forward.is_hop()) else { return Err(problem) };
    match call.ticket.elsewhere(forward.send_to(regions, home, received.bytes())).await {
        Ok(answer) => Ok(forward::stream(answer)),
        Err(unanswered) if unanswered.was_sent => {
            let detail = format!(
                "the plan may be changed, because the answer of region {home}, which decides, did not come ({unanswered}): look at \
                 `tradewind region routing` before you try again"
            );
            Err(Problem::new(Code::OutcomeUnknown, detail))
        }
        Err(unanswered) => {
            let detail = format!(
                "region {home} decides about the plan, and is not reached ({unanswered}); nothing was changed: try again when it is, or let another \
                 region decide, see `tradewind region failover`"
            );
            Err(Problem::new(Code::NotReady, detail))
        }
    }
}
