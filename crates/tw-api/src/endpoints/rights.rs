//! …/subjects/{subject}/rights: who may use how much of a row.

use super::{Outcome, expect_json, json, read_json};
use crate::parts::{GiveRights, Rights};
use crate::service::Call;
use crate::{Code, Problem};
use hyper::body::Incoming;
use std::sync::Arc;
use tw_types::{Merge, StreamDef};

/// Shows who may use how much.
pub(crate) async fn view(call: &Call) -> Outcome {
    let (rights, stream) = part(call).await?;
    json(&rights.view(&stream, &call.capture(1)?).await?)
}

/// Gives rights to another region.
pub(crate) async fn give(call: &Call, body: Incoming) -> Outcome {
    expect_json(call)?;
    let (rights, stream) = part(call).await?;
    let request: GiveRights = read_json(call, body).await?;
    json(&rights.give(&stream, &call.capture(1)?, request).await?)
}

async fn part(call: &Call) -> Result<(&dyn Rights, Arc<StreamDef>), Problem> {
    let stream = call.stream().await?;
    let rights = call.api.parts.rights.as_deref().filter(|_| stream.has_merge(&Merge::Reserve));
    let rights = rights.ok_or_else(|| {
        let detail = format!("stream `{}` has no column of the class `reserve`", stream.name);
        Problem::new(Code::WrongState, detail)
    })?;
    Ok((rights, stream))
}
