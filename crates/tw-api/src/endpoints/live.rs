//! GET /v1/live: one stream of server-sent events for everything that somebody looks at: topics, and the events of streams.
//!
//! Topics are sent as they are first, and then when they have changed. Events of streams have ids, and are resumed by `Last-Event-ID` without
//! a gap or a repetition, as those of `GET …/events` are; topics have none, and begin anew. What a topic costs, it costs once for all.

mod hub;
mod reader;
mod topic;

pub(crate) use hub::Hub;

use super::Outcome;
use super::events::start::{self, From, Way};
use crate::body::Body;
use crate::body::CutOff;
use crate::cursor::{Cursor, Filter, filter};
use crate::headers;
use crate::query::Query;
use crate::service::Call;
use crate::tokens;
use crate::{Code, Problem};
use futures_util::stream;
use reader::{Reader, Tail};
use std::collections::BTreeMap;
use topic::Topic;
use tw_types::{ClientToken, StreamId, StreamPartition, Token};

/// How many streams one connection can follow.
const TAILS_MAX: usize = 16;

/// Follows topics and streams.
pub(crate) async fn answer(call: &Call) -> Outcome {
    let known = [&["topics", "tail", "from"][..], &filter::PARAMETERS].concat();
    let lists = [&["tail"][..], &filter::LISTS].concat();
    let query = Query::with_lists(call.uri.query(), &known, &lists)?;
    let (topics, left_out) = topics(call, query.text("topics").unwrap_or_default())?;
    let tail = tail(call, &query).await?;
    if topics.is_empty() && left_out.is_empty() && tail.is_none() {
        let detail =
            format!("nothing is to be followed: name some of {} in `topics`, or a stream in `tail`", names());
        return Err(Problem::parameter("topics", detail));
    }
    let reader = Reader::new(call, &topics, &left_out, tail)?;
    let pieces = stream::unfold(reader, |mut reader| async move {
        let piece = reader.piece().await?;
        Some((Ok::<_, CutOff>(piece), reader))
    });
    Ok(super::events::live::sent_as_they_come(Body::stream(pieces)))
}

/// The topics that are asked for and are here, and those that are not on this node.
fn topics(call: &Call, text: &str) -> Result<(Vec<Topic>, Vec<Topic>), Problem> {
    let mut wanted = Vec::new();
    for name in text.split(',').filter(|name| !name.is_empty()) {
        let topic = Topic::ALL.into_iter().find(|topic| topic.name() == name).ok_or_else(|| {
            let shown: String = name.chars().take(80).collect();
            Problem::parameter("topics", format!("there is no topic `{shown}`: use some of {}", names()))
        })?;
        if !wanted.contains(&topic) {
            wanted.push(topic);
        }
    }
    Ok(wanted.into_iter().partition(|topic| topic.is_here(&call.api)))
}

fn names() -> String {
    Topic::ALL.map(Topic::name).join(", ")
}

/// The streams to follow, from where on is asked for, or from where they were left off.
async fn tail(call: &Call, query: &Query<'_>) -> Result<Option<Tail>, Problem> {
    let mut streams = BTreeMap::new();
    for name in query.texts("tail") {
        let stream = call.stream_called(name).await?;
        streams.insert(stream.id, stream);
    }
    if streams.is_empty() {
        return Ok(None);
    }
    if streams.len() > TAILS_MAX {
        let detail = format!("{} streams are to be followed, over the limit of {TAILS_MAX}", streams.len());
        return Err(Problem::parameter("tail", detail));
    }
    let from = From::read(Some(query.text("from").filter(|from| !from.is_empty()).unwrap_or("latest")))?;
    if matches!(from, From::Offset(_)) {
        let detail = "an offset is a place in one partition: use earliest, latest, a token or a time";
        return Err(Problem::parameter("from", detail));
    }
    let left_off = headers::text(&call.headers, &headers::LAST_EVENT_ID)?.filter(|id| !id.is_empty());
    let left_off: Option<ClientToken> = left_off.map(str::parse).transpose()?;
    let log = call.api.parts.log();
    let mut seen = ClientToken::new(log.region(), Token::new());
    let mut places = Vec::new();
    for stream in streams.values() {
        // A stream that was not followed before begins where it is asked for.
        let knows = |token: &ClientToken| token.cut().iter().any(|(at, _)| at.stream == stream.id);
        let begin = match left_off.clone().filter(knows) {
            Some(token) => From::Token(tokens::place(call, token)?),
            None => match &from {
                From::Token(token) => From::Token(tokens::place(call, token.clone())?),
                from => from.clone(),
            },
        };
        let came_with = if let From::Token(token) = &begin { Some(token) } else { None };
        seen.merge(&tokens::begun(call, stream, came_with));
        let offsets = start::offsets(call, stream, &begin, None, Way::Onwards).await?;
        places.extend(
            offsets
                .into_iter()
                .map(|(partition, offset)| (StreamPartition::new(stream.id, partition), offset)),
        );
    }
    let filter = Filter::read(query)?;
    let names: BTreeMap<StreamId, String> =
        streams.values().map(|stream| (stream.id, stream.name.to_string())).collect();
    Ok(Some(Tail { cursor: Cursor::over(log.clone(), places, filter, seen), names }))
}

/// The problem of a stream that was followed and is dropped.
fn gone(name: &str) -> Problem {
    Problem::new(Code::NoStream, format!("stream `{name}` was dropped: nothing more comes of it"))
}
