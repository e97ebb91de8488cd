//! /v1/config: options that change while nodes run.

use super::{Outcome, expect_json, json, read_json};
use crate::parts::{Setting, Settings};
use crate::query::Query;
use crate::service::Call;
use crate::{Problem, headers};
use http::header::ETAG;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json as value};
use tw_types::{ExpectedVersion, Version};
use utoipa::ToSchema;

/// How many changes are shown if the request does not say.
const CHANGES: u64 = 20;
const CHANGES_MAX: u64 = 1_000;

/// What an option is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettingRequest {
    /// The value, as `tradewind.toml` would have it.
    #[schema(example = 8192)]
    value: Value,
    /// Who sets it, for others to see. Default `anonymous`.
    #[serde(default = "anonymous")]
    #[schema(example = "ann@db-1")]
    author: String,
}

/// Which version of an option is to come back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollbackRequest {
    /// The version.
    #[schema(example = 1)]
    version: u64,
    /// Who wants it, for others to see. Default `anonymous`.
    #[serde(default = "anonymous")]
    #[schema(example = "ann@db-1")]
    author: String,
}

fn anonymous() -> String {
    "anonymous".to_owned()
}

fn part(call: &Call) -> &dyn Settings {
    &*call.api.parts.settings
}

/// Lists all options.
pub(crate) async fn list(call: &Call) -> Outcome {
    json(&value!({ "options": part(call).list().await? }))
}

/// Shows one option.
pub(crate) async fn show(call: &Call) -> Outcome {
    tagged(&part(call).show(&call.capture(0)?).await?)
}

/// Sets an option.
pub(crate) async fn set(call: &Call, body: Incoming) -> Outcome {
    expect_json(call)?;
    let expected = expected(call)?;
    let SettingRequest { value, author } = read_json(call, body).await?;
    // What is null in JSON is not set.
    let value = Some(value).filter(|value| !value.is_null());
    tagged(&part(call).set(&call.capture(0)?, value, expected, &author).await?)
}

/// Unsets an option.
pub(crate) async fn unset(call: &Call) -> Outcome {
    let query = Query::read(call.uri.query(), &["author"])?;
    let author = query.text("author").unwrap_or("anonymous");
    tagged(&part(call).set(&call.capture(0)?, None, expected(call)?, author).await?)
}

/// Brings an earlier value of an option back.
pub(crate) async fn rollback(call: &Call, body: Incoming) -> Outcome {
    expect_json(call)?;
    let expected = expected(call)?;
    let RollbackRequest { version, author } = read_json(call, body).await?;
    tagged(&part(call).rollback(&call.capture(0)?, Version(version), expected, &author).await?)
}

/// Shows the changes of an option.
pub(crate) async fn history(call: &Call) -> Outcome {
    let query = Query::read(call.uri.query(), &["limit"])?;
    let limit = query.number("limit", 1..=CHANGES_MAX)?.unwrap_or(CHANGES) as usize;
    json(&value!({ "history": part(call).history(&call.capture(0)?, limit).await? }))
}

/// The version that the option must have.
fn expected(call: &Call) -> Result<ExpectedVersion, Problem> {
    Ok(headers::expected(&call.headers)?.unwrap_or_default())
}

fn tagged(setting: &Setting) -> Outcome {
    let mut response = json(setting)?;
    response.headers_mut().insert(ETAG, headers::etag(Version(setting.version)));
    Ok(response)
}
