//! POST /v1/sql: statements, and rows while they are computed.

use super::{Outcome, json};
use crate::body::{Body, CutOff};
use crate::headers;
use crate::options::ms;
use crate::parts::{Answer, Param, Rows, Statement};
use crate::query::Query;
use crate::rows::{Encoder, Format};
use crate::service::Call;
use crate::tokens;
use crate::{Code, Problem};
use arrow_array::RecordBatch;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Fuse, StreamExt};
use http::Response;
use http::header::CONTENT_TYPE;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::Duration;
use utoipa::ToSchema;

/// How long the reason of a failure has to leave before the answer is cut off: what has not left by then is forgotten.
const FLUSH_MS: u64 = 100;

/// A statement.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SqlRequest<'a> {
    /// The text of one statement.
    #[schema(example = "SELECT * FROM revenue WHERE customer_id = $1")]
    sql: String,
    /// The values of `$1`, `$2` and so on.
    #[serde(borrow, default)]
    #[schema(value_type = Vec<serde_json::Value>, example = json!([7]))]
    params: Vec<&'a RawValue>,
}

/// Carries out a statement.
pub(crate) async fn execute(call: &Call, body: Incoming) -> Outcome {
    let query = Query::read(call.uri.query(), &["timeout_ms"])?;
    let timeout_ms = query.number("timeout_ms", 1..=call.options.sql_timeout_ms.into())?;
    let timeout = timeout_ms.map_or(ms(call.options.sql_timeout_ms), Duration::from_millis);
    let token = headers::token(&call.headers)?;
    let format = headers::accept(&call.headers, &Format::OFFERS)?;
    let content_type = headers::content_type(&call.headers)?.to_ascii_lowercase();
    let body = call.body(body).await?;
    let (sql, params) = match content_type.as_str() {
        "application/json" => from_json(&body)?,
        "text/plain" => (utf8(&body)?.to_owned(), Vec::new()),
        other => {
            let detail = format!(
                "the content type is `{other}`: send the statement as text/plain, or as application/json with `sql` and `params`"
            );
            return Err(Problem::new(Code::UnsupportedMediaType, detail));
        }
    };
    let (clock, parts) = (&call.api.parts.env.clock, &call.api.parts);
    let came = clock.monotonic();
    let token = match &token {
        Some(token) => Some(tokens::demanded(call, token, || parts.sql.streams(&sql), timeout).await?),
        None => None,
    };
    let timeout = timeout.saturating_sub(clock.monotonic().saturating_sub(came));
    match parts.sql.execute(Statement { sql, params, token, timeout }).await? {
        Answer::Done { message } => json(&serde_json::json!({ "message": message })),
        Answer::Rows(rows) => respond(rows, format).await,
    }
}

fn utf8(body: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|error| {
        let detail = format!("the statement is not UTF-8 at byte {}: send UTF-8", error.valid_up_to());
        Problem::new(Code::InvalidBody, detail)
    })
}

fn from_json(body: &[u8]) -> Result<(String, Vec<Param>), Problem> {
    let request: SqlRequest<'_> = serde_json::from_slice(body).map_err(|error| {
        let detail = format!(r#"the body is not {{"sql":"…","params":[…]}}: {error}"#);
        Problem::new(Code::InvalidBody, detail)
    })?;
    Ok((request.sql, request.params.into_iter().map(|value| param(value.get())).collect()))
}

/// A parameter from its JSON text; numbers stay as they are written.
fn param(json: &str) -> Param {
    match json.as_bytes().first() {
        Some(b'n') => Param::Null,
        Some(b't' | b'f') => Param::Bool(json == "true"),
        Some(b'"') => match serde_json::from_str(json) {
            Ok(text) => Param::Text(text),
            // Only a lone surrogate is a JSON string without being a text.
            Err(_) => Param::Json(json.to_owned()),
        },
        Some(b'[' | b'{') => Param::Json(json.to_owned()),
        _ => Param::Number(json.to_owned()),
    }
}

/// Rows that are being sent.
struct Sending {
    batches: Fuse<BoxStream<'static, Result<RecordBatch, Problem>>>,
    first: Option<RecordBatch>,
    encoder: Encoder,
    state: State,
}

enum State {
    Starting,
    Running,
    /// The reason is sent already; now the answer is cut off, so that nobody takes it for complete.
    Failed(Problem),
    Ended,
}

/// Answers with rows. The first ones are awaited, so that what is wrong from the start is told by the status.
async fn respond(rows: Rows, format: Format) -> Outcome {
    let Rows { schema, token, batches } = rows;
    let mut batches = batches.fuse();
    let first = batches.next().await.transpose()?;
    let encoder = Encoder::new(format, &schema)?;
    let sending = Sending { batches, first, encoder, state: State::Starting };
    let pieces = stream::unfold(sending, |mut sending| async move {
        let piece = sending.piece().await?;
        Some((piece, sending))
    });
    let mut response = Response::new(Body::stream(pieces));
    response.headers_mut().insert(CONTENT_TYPE, format.media_type());
    if let Some(token) = token.and_then(|token| headers::token_value(&token.to_string())) {
        response.headers_mut().insert(headers::TOKEN, token);
    }
    Ok(response)
}

impl Sending {
    async fn piece(&mut self) -> Option<Result<Bytes, CutOff>> {
        let mut out = Vec::new();
        while out.is_empty() {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return None,
                State::Failed(problem) => {
                    tokio::time::sleep(Duration::from_millis(FLUSH_MS)).await;
                    return Some(Err(CutOff(problem)));
                }
                State::Starting => {
                    self.encoder.begin(&mut out);
                    self.state = State::Running;
                }
                State::Running => {}
            }
            let batch = match self.first.take() {
                Some(first) => Some(Ok(first)),
                None => self.batches.next().await,
            };
            let outcome = match batch {
                Some(batch) => {
                    batch.and_then(|batch| self.encoder.batch(&batch, &mut out)).map(|()| State::Running)
                }
                None => self.encoder.end(&mut out).map(|()| State::Ended),
            };
            self.state = outcome.unwrap_or_else(|problem| {
                self.encoder.fail(&problem, &mut out);
                State::Failed(problem)
            });
            if matches!(self.state, State::Ended) {
                break;
            }
        }
        (!out.is_empty()).then(|| Ok(Bytes::from(out)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_keep_every_digit() {
        let (sql, params) = from_json(
            br#"{"sql":"SELECT $1","params":[null,true,12345678901234567890.10,"a\u00e9", {"a": 1.50},[1], -0e5]}"#,
        )
        .unwrap();
        assert_eq!(sql, "SELECT $1");
        assert_eq!(
            params,
            [
                Param::Null,
                Param::Bool(true),
                Param::Number("12345678901234567890.10".into()),
                Param::Text("aé".into()),
                Param::Json(r#"{"a": 1.50}"#.into()),
                Param::Json("[1]".into()),
                Param::Number("-0e5".into()),
            ]
        );
    }

    #[test]
    fn bodies_of_another_form_are_refused() {
        for body in [&b"SELECT 1"[..], b"{}", br#"{"sql":1}"#, br#"{"sql":"x","param":[]}"#, b"\xff"] {
            assert_eq!(from_json(body).unwrap_err().code(), Code::InvalidBody);
        }
    }
}
