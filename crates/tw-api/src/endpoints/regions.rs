//! The region of this node, and its links with others.

use super::{Outcome, json};
use crate::parts::Regions;
use crate::query::Query;
use crate::service::Call;
use crate::{Code, Problem};

/// Shows the links.
pub(crate) async fn view(call: &Call) -> Outcome {
    json(&part(call)?.view().await?)
}

/// Tries what is parked of a region again.
pub(crate) async fn retry(call: &Call) -> Outcome {
    let done = part(call)?.retry(number(&call.capture(0)?)?).await?;
    json(&serde_json::json!({ "message": done }))
}

/// The number of a region that a path names.
pub(super) fn number(region: &str) -> Result<u16, Problem> {
    region.parse().map_err(|_| {
        let detail = format!("`{region}` is not the number of a region: use 1 to 65535");
        Problem::new(Code::InvalidParameter, detail)
    })
}

/// Hashes what is here.
pub(crate) async fn hashes(call: &Call) -> Outcome {
    let query = Query::read(call.uri.query(), &["stream"])?;
    let stream = query.text("stream").map(str::to_owned);
    json(&part(call)?.hashes(stream).await?)
}

pub(super) fn part(call: &Call) -> Result<&dyn Regions, Problem> {
    call.api.parts.regions.as_deref().ok_or_else(|| {
        let detail = "this installation is the only one: give it an `id` in [region] of its configuration to make it one of several \
                      regions";
        Problem::new(Code::WrongState, detail)
    })
}
