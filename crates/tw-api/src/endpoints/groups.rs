//! /v1/groups: consumer groups of Kafka that read streams.

use super::{Outcome, expect_json, json, read_json};
use crate::parts::{GroupFilter, Groups, ResetGroup};
use crate::query::Query;
use crate::service::Call;
use crate::{Code, Problem};
use hyper::body::Incoming;
use serde_json::json as value;

/// The most groups of a page.
const PAGE_MAX: u64 = 10_000;

/// Lists groups by name: all of them, or a page. A log that is not on Kafka has none.
pub(crate) async fn list(call: &Call) -> Outcome {
    let query = Query::read(call.uri.query(), &["limit", "after", "prefix", "stream"])?;
    let limit = query.number("limit", 1..=PAGE_MAX)?.map(|limit| limit as usize);
    let filter = GroupFilter {
        prefix: query.text("prefix").unwrap_or_default().to_owned(),
        after: query.text("after").map(str::to_owned),
        limit,
        stream: query.text("stream").map(str::to_owned),
    };
    let groups = call.api.parts.groups.as_deref();
    let page = match groups {
        Some(groups) => groups.list(filter).await?,
        None => Default::default(),
    };
    let mut answer = value!({ "kafka": groups.is_some(), "groups": page.groups });
    if let Some(members) = answer.as_object_mut().filter(|_| limit.is_some()) {
        members.insert("next".to_owned(), page.next.into());
    }
    json(&answer)
}

/// Shows a group.
pub(crate) async fn show(call: &Call) -> Outcome {
    json(&part(call)?.show(&call.capture(0)?).await?)
}

/// Has a group go on elsewhere.
pub(crate) async fn reset(call: &Call, body: Incoming) -> Outcome {
    expect_json(call)?;
    let groups = part(call)?;
    let request: ResetGroup = read_json(call, body).await?;
    if request.partitions.as_ref().is_some_and(Vec::is_empty) {
        let detail = "`partitions` is empty: name some, or leave it out for all";
        return Err(Problem::new(Code::InvalidBody, detail));
    }
    json(&groups.reset(&call.capture(0)?, request).await?)
}

fn part(call: &Call) -> Result<&dyn Groups, Problem> {
    call.api.parts.groups.as_deref().ok_or_else(|| {
        let detail = "this node keeps the log itself, and only a log on Kafka has consumer groups: read with a token, and keep it";
        Problem::new(Code::WrongState, detail)
    })
}
