//! GET …/events: events out, as a page, as lines, or live.

mod backward;
mod lines;
pub(super) mod live;
pub(super) mod start;

use super::{JSON, NDJSON, Outcome, answer};
use crate::cursor::{Cursor, Filter, filter};
use crate::headers::{self, TOKEN};
use crate::options::ms;
use crate::query::Query;
use crate::service::Call;
use crate::tokens;
use crate::{Code, Problem};
use backward::Backward;
use http::HeaderValue;
use start::{From, Way};
use std::sync::Arc;
use std::time::Duration;
use tw_types::{ClientToken, Offset, PartitionId, StreamDef, StreamPartition};
use tw_wire::cloudevents::{BATCH, LINES, write_event};
use utoipa::ToSchema;

/// How many events a page has if the request does not say.
pub(crate) const PAGE_EVENTS: u64 = 100;
pub(crate) const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const BATCH_TYPE: HeaderValue = HeaderValue::from_static(BATCH);

/// A page of events.
#[derive(Debug, serde::Serialize, ToSchema)]
pub(crate) struct Page {
    /// Events as CloudEvents in JSON, with their place: `twposition`, `twversion`, `twhlc`, `tworigin`.
    events: Vec<serde_json::Value>,
    /// The cut after them: pass it as `from` to read on.
    #[schema(example = "tw1;7=0:121")]
    next: String,
    /// Whether the stream ends there for now. A page may have fewer events than asked for although it does not.
    #[schema(example = true)]
    end: bool,
}

/// The formats in which events go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A page, with where to read on.
    Json,
    /// The same page as a CloudEvents batch.
    Batch,
    /// One event a line, to the present end of the stream.
    Lines,
    /// Live.
    Live,
}

pub(crate) const FORMATS: [(&str, Format); 4] = [
    ("application/json", Format::Json),
    (LINES, Format::Lines),
    ("text/event-stream", Format::Live),
    (BATCH, Format::Batch),
];

/// What is to be read.
struct Request {
    from: From,
    partition: Option<u32>,
    limit: Option<u64>,
    filter: Filter,
    timeout: Duration,
    way: Way,
}

impl Request {
    fn of(call: &Call) -> Result<Self, Problem> {
        let known =
            [&["partition", "from", "limit", "timeout_ms", "order"][..], &filter::PARAMETERS].concat();
        let query = Query::with_lists(call.uri.query(), &known, &filter::LISTS)?;
        let options = &call.options;
        let timeout_ms = query.number("timeout_ms", 0..=options.request_timeout_ms.into())?;
        let way = match query.text("order").unwrap_or("asc") {
            "asc" => Way::Onwards,
            "desc" => Way::Back,
            other => {
                let detail = format!("parameter `order` is `{other}`: use asc or desc");
                return Err(Problem::parameter("order", detail));
            }
        };
        let begin = if way == Way::Back { "latest" } else { "earliest" };
        Ok(Self {
            way,
            from: From::read(query.text("from").filter(|from| !from.is_empty()).or(Some(begin)))?,
            partition: query.number("partition", 0..=u32::MAX.into())?.map(|number| number as u32),
            limit: query.number("limit", 1..=u64::MAX)?,
            filter: Filter::read(&query)?,
            timeout: timeout_ms.map_or(ms(options.request_timeout_ms), Duration::from_millis),
        })
    }
}

/// Reads events of a stream.
pub(crate) async fn read(call: &Call) -> Outcome {
    let stream = call.stream().await?;
    let mut request = Request::of(call)?;
    let format = headers::accept(&call.headers, &FORMATS)?;
    if request.way == Way::Back && !matches!(format, Format::Json | Format::Batch) {
        let detail =
            "the newest events first come in pages: ask for application/json, and read on from `next`";
        return Err(Problem::parameter("order", detail));
    }
    if let Some(id) = headers::text(&call.headers, &headers::LAST_EVENT_ID)?.filter(|id| !id.is_empty()) {
        // A reader that comes back says by this where it left off; what it said first does not count any more.
        request.from = From::Token(id.parse()?);
    }
    if let From::Token(token) = request.from {
        request.from = From::Token(tokens::place(call, token)?);
    }
    if let Some(token) = headers::token(&call.headers)? {
        see(call, &stream, &token, request.timeout).await?;
    }
    let starts = start::offsets(call, &stream, &request.from, request.partition, request.way).await?;
    if request.way == Way::Back {
        return back(call, &stream, starts, &request, format == Format::Batch).await;
    }
    let came_with = if let From::Token(token) = &request.from { Some(token) } else { None };
    let seen = tokens::begun(call, &stream, came_with);
    let cursor = Cursor::new(call.api.parts.log().clone(), &stream, starts, request.filter.clone(), seen);
    match format {
        Format::Json => page(call, cursor, &request, false).await,
        Format::Batch => page(call, cursor, &request, true).await,
        Format::Lines => lines::answer(call, cursor, request.limit).await,
        Format::Live => live::answer(call, cursor, request.limit),
    }
}

/// Waits until the stream holds everything that `token` demands of it.
pub(super) async fn see(
    call: &Call,
    stream: &Arc<StreamDef>,
    token: &ClientToken,
    timeout: Duration,
) -> Result<(), Problem> {
    let token = tokens::demanded(call, token, || Ok(vec![stream.clone()]), timeout).await?;
    let wait = async {
        for (at, end) in token.iter().filter(|(at, _)| at.stream == stream.id) {
            let signal = call.api.parts.log().end_signal(at)?;
            if let Some(before) = end.0.checked_sub(1) {
                signal.over(before).await;
            }
        }
        Ok(())
    };
    let seen = call.ticket.outside(tokio::time::timeout(timeout, wait)).await;
    seen.unwrap_or_else(|_| Err(unseen(timeout)))
}

/// The answer when a token was not reached in time.
pub(super) fn unseen(timeout: Duration) -> Problem {
    let ms = timeout.as_millis();
    let detail = format!(
        "what the token demands is not visible here after {ms} ms: try again, or allow more with `timeout_ms`"
    );
    Problem::new(Code::Timeout, detail)
}

/// One page. It ends early when it is large enough, or when looking for events takes too long.
async fn page(call: &Call, mut cursor: Cursor, request: &Request, batch: bool) -> Outcome {
    let events_max = page_events(call, request)?;
    let bytes_max = call.options.page_bytes_max as usize;
    let clock = &call.api.parts.env.clock;
    let deadline = clock.monotonic() + request.timeout;
    let mut out = Vec::with_capacity(4 << 10);
    out.extend_from_slice(if batch { b"[" } else { br#"{"events":["# });
    let mut count = 0;
    let end = loop {
        cursor.load().await?;
        let emitted = cursor.emit(|event, at, _| {
            if count > 0 {
                out.push(b',');
            }
            write_event(&mut out, event, at.partition);
            count += 1;
            count < events_max && out.len() < bytes_max
        })?;
        let end = cursor.at_end()?;
        if emitted.enough || end || clock.monotonic() > deadline {
            break end;
        }
        tokio::task::yield_now().await;
    };
    call.api.telemetry.delivered.increment(count);
    Ok(end_page(out, &cursor.token(), end, batch))
}

/// How many events a page may have.
fn page_events(call: &Call, request: &Request) -> Result<u64, Problem> {
    let (wanted, most) = (request.limit.unwrap_or(PAGE_EVENTS), call.options.page_events_max);
    if wanted > u64::from(most) {
        let detail = format!(
            "limit is {wanted}, but a page has at most {most}: ask for application/x-ndjson, or read on from `next`"
        );
        return Err(Problem::parameter("limit", detail));
    }
    Ok(wanted)
}

/// One page, the newest events first.
async fn back(
    call: &Call,
    stream: &Arc<StreamDef>,
    places: Vec<(PartitionId, Offset)>,
    request: &Request,
    batch: bool,
) -> Outcome {
    let events_max = page_events(call, request)?;
    let bytes_max = call.options.page_bytes_max as usize;
    let clock = &call.api.parts.env.clock;
    let deadline = clock.monotonic() + request.timeout;
    let places = places.into_iter().map(|(partition, end)| (StreamPartition::new(stream.id, partition), end));
    let mut backward = Backward::new(call.api.parts.log().clone(), places, request.filter.clone())?;
    let mut out = Vec::with_capacity(4 << 10);
    out.extend_from_slice(if batch { b"[" } else { br#"{"events":["# });
    let mut count = 0;
    while count < events_max && out.len() < bytes_max && clock.monotonic() <= deadline {
        let Some(event) = backward.next().await? else { break };
        if count > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&event);
        count += 1;
    }
    call.api.telemetry.delivered.increment(count);
    let token = tokens::begun(call, stream, None).with_cut(backward.cut());
    Ok(end_page(out, &token, backward.is_done(), batch))
}

/// The end of a page: where to read on, and whether there is nothing more for now.
fn end_page(
    mut out: Vec<u8>,
    token: &ClientToken,
    end: bool,
    batch: bool,
) -> http::Response<crate::body::Body> {
    let token = token.to_string();
    if batch {
        out.push(b']');
    } else {
        out.extend_from_slice(format!(r#"],"next":"{token}","end":{end}}}"#).as_bytes());
    }
    let mut response = answer(if batch { BATCH_TYPE } else { JSON }, out);
    if let Some(token) = headers::token_value(&token) {
        response.headers_mut().insert(TOKEN, token);
    }
    response
}

/// The partition `number` of a stream.
pub(super) fn partition(stream: &StreamDef, number: u32) -> Result<StreamPartition, Problem> {
    let at = StreamPartition::new(stream.id, tw_types::PartitionId(number));
    if number < stream.partitions {
        return Ok(at);
    }
    let detail = format!(
        "`{}` has {} partitions, from 0: there is no partition {number}",
        stream.name, stream.partitions
    );
    Err(Problem::new(Code::NoPartition, detail))
}
