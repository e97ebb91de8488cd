//! GET …/subjects/{subject}/events: the history of a subject.

use super::events::{FORMATS, Format, see};
use super::{JSON, NDJSON, Outcome, answer};
use crate::forward;
use crate::headers::{self, TOKEN, etag};
use crate::options::ms;
use crate::query::Query;
use crate::service::Call;
use crate::tokens;
use crate::{Code, Problem};
use http::header::ETAG;
use http::{HeaderValue, StatusCode};
use std::time::Duration;
use tw_types::{Stored, StoredRef, StreamDef, StreamPartition, Version};
use tw_wire::cloudevents::{BATCH, write_event, write_event_on_one_line};
use utoipa::ToSchema;

/// How many events there are if the request does not say.
const EVENTS: u64 = 1_000;

/// A part of the history of a subject.
#[derive(Debug, serde::Serialize, ToSchema)]
pub(crate) struct HistoryPage {
    /// Events as CloudEvents in JSON, in the order of their versions.
    events: Vec<serde_json::Value>,
    /// The version that the subject has now, which is the ETag too; 0 without events.
    #[schema(example = 5)]
    version: u64,
    /// The version from which to read on; absent at the end.
    #[schema(example = 4)]
    next_version: Option<u64>,
}

/// Reads the history of a subject.
pub(crate) async fn read(call: &Call) -> Outcome {
    let stream = call.stream().await?;
    let subject = call.capture(1)?;
    let at = StreamPartition::new(stream.id, call.api.parts.events.partition_of(&stream, &subject));
    let what = format!("partition {} of stream `{}`", at.partition, stream.name);
    if let Some(answer) = forward::read(call, &what, || call.api.parts.routes.partition(at)).await? {
        return Ok(answer);
    }
    let query = Query::read(call.uri.query(), &["from_version", "limit", "timeout_ms"])?;
    let options = &call.options;
    let from = Version(query.number("from_version", 1..=u64::MAX)?.unwrap_or(1));
    let limit = query.number("limit", 1..=options.page_events_max.into())?;
    let limit = limit.unwrap_or(EVENTS.min(options.page_events_max.into())) as usize;
    let timeout_ms = query.number("timeout_ms", 0..=options.request_timeout_ms.into())?;
    let timeout = timeout_ms.map_or(ms(options.request_timeout_ms), Duration::from_millis);
    let format = headers::accept(&call.headers, &FORMATS)?;
    if let Some(token) = headers::token(&call.headers)? {
        see(call, &stream, &token, timeout).await?;
    }
    let reading = look(call, &stream, &subject, from, limit);
    let (version, events) = tokio::time::timeout(timeout, reading).await.map_err(|_| {
        let detail = format!("the history was not read within {} ms: try again", timeout.as_millis());
        Problem::new(Code::Timeout, detail)
    })??;
    let mut response = if headers::has_version(&call.headers, version)? {
        let mut response = super::no_content();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        call.api.telemetry.delivered.increment(events.len() as u64);
        let next = events.last().map(|last| last.version.next());
        let next = next.filter(|next| *next <= version);
        render(format, &events, version, next)?
    };
    response.headers_mut().insert(ETAG, etag(version));
    // Not before what was read, and no more than what can be read now.
    let end = call.api.parts.log().bounds(at)?.end;
    let token = tokens::of_read(call, [(at, end)].into_iter().collect()).await;
    if let Some(token) = headers::token_value(&token.to_string()) {
        response.headers_mut().insert(TOKEN, token);
    }
    Ok(response)
}

/// The version of a subject and its events up to there: who appends with this version has seen all of them.
async fn look(
    call: &Call,
    stream: &StreamDef,
    subject: &str,
    from: Version,
    limit: usize,
) -> tw_log::store::Result<(Version, Vec<Stored>)> {
    let store = &call.api.parts.events;
    let version = store.version(stream.id, subject).await?;
    let mut events = store.history(stream.id, subject, from, limit).await?;
    events.retain(|event| event.version <= version);
    Ok((version, events))
}

fn render(format: Format, events: &[Stored], version: Version, next: Option<Version>) -> Outcome {
    let mut out = Vec::with_capacity(256 + 512 * events.len());
    let list = |out: &mut Vec<u8>| {
        for (index, event) in events.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_event(out, &borrow(event), event.position.partition);
        }
    };
    match format {
        Format::Json => {
            out.extend_from_slice(br#"{"events":["#);
            list(&mut out);
            out.extend_from_slice(format!(r#"],"version":{version}"#).as_bytes());
            if let Some(next) = next {
                out.extend_from_slice(format!(r#","next_version":{next}"#).as_bytes());
            }
            out.push(b'}');
            Ok(answer(JSON, out))
        }
        Format::Batch => {
            out.push(b'[');
            list(&mut out);
            out.push(b']');
            Ok(answer(HeaderValue::from_static(BATCH), out))
        }
        Format::Lines => {
            for event in events {
                write_event_on_one_line(&mut out, &borrow(event), event.position.partition);
                out.push(b'\n');
            }
            Ok(answer(NDJSON, out))
        }
        Format::Live => {
            let detail = "a history is not sent live: read the stream with the parameter `subject` instead";
            Err(Problem::new(Code::NotAcceptable, detail))
        }
    }
}

fn borrow(stored: &Stored) -> StoredRef<'_> {
    StoredRef {
        event: stored.event.as_ref(),
        offset: stored.position.offset,
        version: stored.version,
        hlc: stored.hlc,
        origin: stored.origin,
    }
}
