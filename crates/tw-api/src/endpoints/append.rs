//! POST …/events: events in.

mod asked;
mod format;
mod shares;

use super::{JSON, Outcome, answer, homes};
use crate::body::{Body, Received};
use crate::headers::{self, CHECKED_IN, TOKEN, etag};
use crate::options::ms;
use crate::parts::{Pass, RowChange};
use crate::query::Query;
use crate::service::Call;
use crate::tokens;
use crate::{Code, Problem};
use format::Format;
use http::header::ETAG;
use http::{HeaderValue, Response};
use hyper::body::Incoming;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use tw_log::store::{Appended, AppendedEvent, Write};
use tw_types::{Data, ExpectedVersion, Extension, ExtensionValue, PartitionId, StreamDef, StreamMode};
use tw_wire::cloudevents::{self, CloudEvent, Place};
use utoipa::ToSchema;

/// After how many bytes of a long body other requests get their turn.
const TURN_BYTES: usize = 256 << 10;

/// What an append answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AppendResult {
    /// Each event, in the order in which they were sent.
    events: Vec<AppendedPlace>,
    /// The cut after them: a read that sends it in `Tradewind-Token` sees them.
    #[schema(example = "tw1;7=0:121")]
    token: String,
}

/// Where an event went.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AppendedPlace {
    /// `partition:offset`
    #[schema(example = "0:120")]
    position: String,
    /// Its version in its subject's history; absent without a subject.
    #[schema(example = 5)]
    version: Option<u64>,
    /// True if it was there already, with the same id; otherwise absent.
    duplicate: Option<bool>,
}

/// What an append answers that was sent with `Prefer: return=minimal`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AppendedSummary {
    /// How many events there were.
    #[schema(example = 1000)]
    count: usize,
    /// The cut after them.
    #[schema(example = "tw1;7=0:1000")]
    token: String,
}

/// Appends the events of the body to a stream, or to one subject of it.
pub(crate) async fn append(call: &Call, body: Incoming, subject: Option<&str>) -> Outcome {
    let stream = call.stream().await?;
    let query = Query::read(call.uri.query(), &["dedup"])?;
    let dedup = query.flag("dedup")?.unwrap_or(true);
    if stream.name.is_system() {
        let detail = format!("`{}` is written by the platform alone", stream.name);
        return Err(Problem::new(Code::ReadOnlyStream, detail));
    }
    let expected = headers::expected(&call.headers)?;
    if subject.is_none() && expected.is_some() {
        let detail = format!(
            "versions belong to subjects: append to /v1/streams/{}/subjects/{{subject}}/events",
            stream.name
        );
        return Err(Problem::parameter("If-Match", detail));
    }
    let key = headers::idempotency_key(&call.headers)?;
    let format = Format::of(&call.headers)?;
    let body = call.body(body).await?;
    let request = Request { call, stream: &stream, subject, expected, key, dedup, format, body };
    let appended = if call.api.parts.routes.is_alone() {
        let (write, changes) = request.write(None).await?;
        if write.is_empty() {
            return Ok(nothing());
        }
        let rights = call.api.parts.rights.as_deref().filter(|_| !changes.is_empty());
        let stored = match rights {
            Some(rights) => Box::pin(asked::append(&request, rights, &changes, write)).await,
            None => match homes::enter(call, &stream) {
                Ok(pass) => Ok(store(call, pass, write).await?),
                Err(closed) => Err(asked::Stopped::Closed(closed)),
            },
        };
        match stored {
            Ok(appended) => appended,
            Err(asked::Stopped::Refused(problem)) => return Err(problem),
            Err(asked::Stopped::Closed(closed)) => {
                return homes::send_on(call, closed, &request.body).await;
            }
        }
    } else {
        match Box::pin(shares::append(&request)).await? {
            shares::Done::Appended(appended) => appended,
            shares::Done::Answered(response) => return Ok(response),
        }
    };
    call.api.telemetry.appended.increment(appended.events.len() as u64);
    let Appended { events, token } = appended;
    let token = tokens::of_write(call, token).await.to_string();
    let mut response = respond(call, &events, &token, subject.is_some())?;
    if request.expected.is_some() && stream.options.mode == StreamMode::ActiveActive {
        let region = call.api.parts.log().region().0;
        response.headers_mut().insert(CHECKED_IN, HeaderValue::from(region));
    }
    Ok(response)
}

/// Has the events stored here.
async fn store(call: &Call, pass: Option<Pass>, write: Write) -> Result<Appended, Problem> {
    let events = &call.api.parts.events;
    let Some(pass) = pass else { return in_time(call, events.append(write)).await };
    let events = events.clone();
    // It holds the pass until the write has an end, whoever still waits for that.
    let append = tokio::spawn(async move {
        let appended = events.append(write).await;
        (appended, pass.check())
    });
    let unknown = |ended| tw_log::Error::Unknown(Arc::new(std::io::Error::other(ended)));
    let mut checked = Ok(());
    let append = async {
        let (appended, check) = append.await.unwrap_or_else(|ended| (Err(unknown(ended).into()), Ok(())));
        checked = check;
        appended
    };
    let appended = in_time(call, append).await?;
    checked.map(|()| appended)
}

/// The answer to an append of no events.
fn nothing() -> Response<Body> {
    answer(JSON, r#"{"events":[],"token":"tw1"}"#.as_bytes())
}

/// An append as it was asked for.
struct Request<'r> {
    call: &'r Call,
    stream: &'r Arc<StreamDef>,
    subject: Option<&'r str>,
    expected: Option<ExpectedVersion>,
    key: Option<&'r str>,
    dedup: bool,
    format: Format,
    body: Received,
}

impl Request<'_> {
    /// Its events as one write: all of them, or those of some partitions; and those that may have to be asked for.
    async fn write(&self, only: Option<&BTreeSet<PartitionId>>) -> Result<(Write, Vec<RowChange>), Problem> {
        let Self { call, stream, subject, .. } = *self;
        let mut write = call.api.parts.events.write();
        if let (Some(expected), Some(subject)) = (self.expected, subject) {
            write.expect(stream, subject, expected);
        }
        match (self.key, only) {
            (None, _) => {}
            (Some(key), None) => write.idempotency_key(key),
            // Whoever has the other partitions keeps keys of its own.
            (Some(key), Some(only)) => write.idempotency_key(&key_of_share(key, only)),
        }
        write.dedup_by_id(self.dedup);
        let trace = headers::traceparent(&call.headers).map(|context| context.to_string());
        let trace = trace.as_deref();
        let asks = call.api.parts.rights.as_deref().is_some_and(|rights| rights.asks(stream));
        let changes = Vec::new();
        let mut door = Door { call, stream, subject, trace, write, only, count: 0, asks, changes };
        door.take_all(self.format, &self.body).await?;
        Ok((door.write, door.changes))
    }
}

/// The name of a write's share of some partitions.
fn key_of_share(key: &str, only: &BTreeSet<PartitionId>) -> String {
    let partitions: Vec<String> = only.iter().map(PartitionId::to_string).collect();
    format!("{key}\\{}", partitions.join(","))
}

/// Waits for an append, at most as long as a request may wait.
async fn in_time(
    call: &Call,
    append: impl Future<Output = tw_log::store::Result<Appended>>,
) -> Result<Appended, Problem> {
    let timeout_ms = call.options.request_timeout_ms;
    let outcome = tokio::time::timeout(ms(timeout_ms), append).await.map_err(|_| {
        let detail = format!(
            "the events were not confirmed within {timeout_ms} ms and may yet be stored: send them again with the same ids or the same Idempotency-Key"
        );
        Problem::new(Code::OutcomeUnknown, detail)
    })?;
    Ok(outcome?)
}

fn respond(call: &Call, events: &[AppendedEvent], token: &str, of_subject: bool) -> Outcome {
    let mut response = if headers::prefers_minimal(&call.headers) {
        super::json(&AppendedSummary { count: events.len(), token: token.to_owned() })?
    } else {
        answer(JSON, write_result(events, token))
    };
    // One that is too long for a header is only in the body.
    if let Some(header) = headers::token_value(token) {
        response.headers_mut().insert(TOKEN, header);
    }
    if let Some(last) = events.last().filter(|_| of_subject) {
        response.headers_mut().insert(ETAG, etag(last.version));
    }
    Ok(response)
}

fn write_result(events: &[AppendedEvent], token: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(40 + token.len() + 40 * events.len());
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(br#"{"events":["#);
    for (index, event) in events.iter().enumerate() {
        out.extend_from_slice(if index == 0 { br#"{"position":""# } else { br#",{"position":""# });
        out.extend_from_slice(digits.format(event.position.partition.0).as_bytes());
        out.push(b':');
        out.extend_from_slice(digits.format(event.position.offset.0).as_bytes());
        out.push(b'"');
        if event.version.0 > 0 {
            out.extend_from_slice(br#","version":"#);
            out.extend_from_slice(digits.format(event.version.0).as_bytes());
        }
        out.extend_from_slice(if event.duplicate { br#","duplicate":true}"# } else { b"}" });
    }
    out.extend_from_slice(br#"],"token":""#);
    out.extend_from_slice(token.as_bytes());
    out.extend_from_slice(b"\"}");
    out
}

/// Takes events one by one: completes them, checks that the stream takes them, and adds them to the append.
struct Door<'c> {
    call: &'c Call,
    stream: &'c Arc<StreamDef>,
    subject: Option<&'c str>,
    trace: Option<&'c str>,
    write: Write,
    /// The partitions of which events are taken; None: of all.
    only: Option<&'c BTreeSet<PartitionId>>,
    count: u32,
    /// Whether changes of the stream's rows may have to be asked for.
    asks: bool,
    changes: Vec<RowChange>,
}

impl<'c> Door<'c> {
    async fn take_all<'b>(&mut self, format: Format, body: &'b [u8]) -> Result<(), Problem>
    where
        'c: 'b,
    {
        let limits = self.call.options.limits();
        match format {
            Format::Binary => {
                let headers = self.call.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
                self.take(cloudevents::read_binary(headers, body, &limits)?, Place::Single)
            }
            Format::Event => self.take(cloudevents::read_event(body, &limits)?, Place::Single),
            Format::Batch => {
                cloudevents::read_batch(body, &limits, |event| self.take(event, Place::Index(self.count)))?;
                Ok(())
            }
            Format::Lines => {
                let mut lines = cloudevents::read_lines(body, &limits)?;
                let mut turn = lines.remaining_bytes();
                while let Some(event) = lines.next() {
                    let (line, event) = event?;
                    self.take(event, Place::Line(line))?;
                    if turn - lines.remaining_bytes() > TURN_BYTES {
                        turn = lines.remaining_bytes();
                        tokio::task::yield_now().await;
                    }
                }
                Ok(())
            }
        }
    }

    fn take<'e>(&mut self, mut event: CloudEvent<'e>, place: Place) -> Result<(), Problem>
    where
        'c: 'e,
    {
        self.complete(&mut event).and_then(|()| self.admit(&event)).map_err(|problem| problem.at(place))?;
        self.count += 1;
        Ok(())
    }

    /// Gives an event the subject of the path and the trace of the request where it has none.
    fn complete<'e>(&self, event: &mut CloudEvent<'e>) -> Result<(), Problem>
    where
        'c: 'e,
    {
        match (self.subject, event.subject.as_deref()) {
            (None, _) => {}
            (Some(subject), None) => event.subject = Some(Cow::Borrowed(subject)),
            (Some(subject), Some(own)) if own == subject => {}
            (Some(subject), Some(own)) => {
                let detail = format!(
                    "the event is about `{own}`, but the path names `{subject}`: leave the attribute out"
                );
                return Err(Problem::new(Code::SubjectMismatch, detail));
            }
        }
        if let Some(trace) = self.trace
            && !event.has_extension("traceparent")
        {
            let value = ExtensionValue::Text(Cow::Borrowed(trace));
            event.extensions.push(Extension { name: Cow::Borrowed("traceparent"), value });
        }
        Ok(())
    }

    fn admit(&mut self, event: &CloudEvent<'_>) -> Result<(), Problem> {
        let event = event.as_ref();
        if let Some(only) = self.only
            && !only.contains(&Write::partition_of(self.stream, &event))
        {
            return Ok(());
        }
        // The store first: it says at a glance that an event is too large, while columns take a look at all of the data.
        self.write.push(self.stream, &event)?;
        self.call.api.parts.control.admit(self.stream, &event)?;
        if let (true, Some(subject)) = (self.asks, event.subject) {
            let json = if let Data::Json(json) = event.data { Some(json.to_vec()) } else { None };
            self.changes.push(RowChange { subject: subject.to_owned(), json });
        }
        Ok(())
    }
}
