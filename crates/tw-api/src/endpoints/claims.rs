//! …/claims: values that only one row may have.

use super::{Outcome, expect_json, json, read_json};
use crate::options::ms;
use crate::parts::{ClaimQuery, ClaimRequest, Claims};
use crate::query::Query;
use crate::service::Call;
use crate::{Code, Problem};
use hyper::body::Incoming;
use std::sync::Arc;
use tw_types::StreamDef;

/// Claims a value for a row.
pub(crate) async fn claim(call: &Call, body: Incoming) -> Outcome {
    expect_json(call)?;
    let (claims, stream) = part(call).await?;
    let request: ClaimRequest = read_json(call, body).await?;
    let timeout = ms(call.options.request_timeout_ms);
    json(&call.ticket.elsewhere(claims.claim(&stream, request, timeout)).await?)
}

/// Shows which row has a value.
pub(crate) async fn view(call: &Call) -> Outcome {
    let (claims, stream) = part(call).await?;
    json(&claims.view(&stream, query(call)?).await?)
}

/// Waits for changes that were accepted by earlier claims.
pub(crate) async fn settled(call: &Call, body: Incoming) -> Outcome {
    expect_json(call)?;
    let (claims, stream) = part(call).await?;
    let subject = call.capture(1)?;
    let query: ClaimQuery = read_json(call, body).await?;
    let timeout = ms(call.options.request_timeout_ms);
    json(&call.ticket.elsewhere(claims.settled(&stream, &subject, query, timeout)).await?)
}

fn query(call: &Call) -> Result<ClaimQuery, Problem> {
    let query = Query::read(call.uri.query(), &["column", "value"])?;
    let text = |name: &str| {
        let missing = || {
            Problem::parameter(
                name,
                format!("parameter `{name}` is missing: name a value by `column` and `value`"),
            )
        };
        query.text(name).map(str::to_owned).ok_or_else(missing)
    };
    Ok(ClaimQuery { column: text("column")?, value: text("value")? })
}

async fn part(call: &Call) -> Result<(&dyn Claims, Arc<StreamDef>), Problem> {
    let stream = call.stream().await?;
    let claims = call.api.parts.claims.as_deref().filter(|claims| claims.claims(&stream));
    let claims = claims.ok_or_else(|| {
        let detail = format!("stream `{}` has no column of the class `unique`", stream.name);
        Problem::new(Code::WrongState, detail)
    })?;
    Ok((claims, stream))
}
