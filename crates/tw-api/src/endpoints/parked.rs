//! POST /v1/parked/retry and /v1/parked/drop: one decision about many parked events of a view. It lists and decides a bounded
//! number at a time; where it left off is told, so that no event is decided about twice.

use super::admin::parked_id;
use super::{Outcome, expect_json, json, read_json};
use crate::options::ms;
use crate::parts::{ParkedEvent, ParkedFilter, ParkedId};
use crate::service::Call;
use crate::{Code, Problem};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use tw_types::{Offset, PartitionId, StreamName};
use utoipa::ToSchema;

/// How many events one request decides about, if it does not say, and at most.
const LIMIT: u32 = 100;
const LIMIT_MAX: u32 = 1_000;
/// How many are listed at once.
const PAGE: usize = 1_000;

/// What becomes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Retry,
    Drop,
}

/// Which parked events a decision is about.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ParkedDecision {
    /// The view that could not process them.
    #[schema(example = "revenue")]
    view: String,
    /// Only those whose reason starts so.
    #[schema(example = "invalid input")]
    reason_prefix: Option<String>,
    /// At most so many, 1 to 1,000. Default 100.
    #[schema(example = 100)]
    limit: Option<u32>,
    /// Only those after this one: the `next` of the answer before.
    #[schema(example = "revenue/shop.orders/0/41")]
    after: Option<String>,
}

/// What a decision about many did.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct ParkedDecided {
    /// The events that it was done with, as view/stream/partition/offset.
    #[schema(example = json!(["revenue/shop.orders/0/41"]))]
    done: Vec<String>,
    /// Those with which it could not be done.
    failed: Vec<Undecided>,
    /// If there may be more: pass it as `after`.
    #[schema(example = "revenue/shop.orders/0/41")]
    next: Option<String>,
}

/// An event with which it could not be done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Undecided {
    /// The event, as view/stream/partition/offset.
    #[schema(example = "revenue/shop.orders/0/41")]
    id: String,
    /// The code of the problem.
    #[schema(example = "no_parked_event")]
    code: &'static str,
    /// What it says.
    #[schema(example = "no parked event is at `revenue/shop.orders/0/41`")]
    detail: String,
}

/// Decides about all that are meant.
pub(super) async fn all(call: &Call, body: Incoming, decision: Decision) -> Outcome {
    expect_json(call)?;
    let ParkedDecision { view, reason_prefix, limit, after } = read_json(call, body).await?;
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let detail = format!("`limit` is {limit}: it must be a whole number from 1 to {LIMIT_MAX}");
        return Err(Problem::parameter("limit", detail));
    }
    let mut after = after.as_deref().map(parked_id).transpose()?;
    let parked = &call.api.parts.parked;
    let clock = &call.api.parts.env.clock;
    let deadline = clock.monotonic() + ms(call.options.request_timeout_ms);
    let mut decided = ParkedDecided::default();
    loop {
        let filter = ParkedFilter { view: Some(view.clone()), after: after.clone(), limit: PAGE };
        let events = parked.list(filter).await?;
        let is_last = events.len() < PAGE;
        for event in &events {
            if decided.done.len() + decided.failed.len() >= limit as usize || clock.monotonic() > deadline {
                decided.next = after.map(|id| id.to_string());
                return json(&decided);
            }
            let id = id_of(event)?;
            let is_meant = reason_prefix.as_deref().is_none_or(|prefix| event.why.starts_with(prefix));
            if is_meant && (decision == Decision::Drop || event.state == "parked") {
                let outcome = match decision {
                    Decision::Retry => parked.retry(&id).await,
                    Decision::Drop => parked.skip(&id).await,
                };
                decided.note(&id, outcome);
            }
            after = Some(id);
        }
        if is_last {
            return json(&decided);
        }
    }
}

impl ParkedDecided {
    fn note(&mut self, id: &ParkedId, outcome: Result<(), Problem>) {
        match outcome {
            Ok(()) => self.done.push(id.to_string()),
            Err(problem) => self.failed.push(Undecided {
                id: id.to_string(),
                code: problem.code().as_str(),
                detail: problem.to_string(),
            }),
        }
    }
}

fn id_of(event: &ParkedEvent) -> Result<ParkedId, Problem> {
    let stream =
        StreamName::new(&event.stream).map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    let (partition, offset) = (PartitionId(event.partition), Offset(event.offset));
    Ok(ParkedId { view: event.view.clone(), stream, partition, offset })
}
