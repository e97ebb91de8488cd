//! Appends where partitions have owners: each owner stores its share.
//!
//! What goes to partitions of one owner is stored as a whole or not at all, there. A request for several owners is taken
//! apart, and its answers are put together; with an idempotency key, each partition is a share of its own, so that it is the
//! same one whoever owns it when the request comes again.

use super::{Request, in_time};
use crate::body::Body;
use crate::forward::{Forward, Tried, collect, not_owner, unknown};
use crate::headers::{self, SHARE};
use crate::options::ms;
use crate::parts::{Unanswered, Way};
use crate::{Code, Problem};
use futures_util::future::{Either, join_all, select};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use tw_log::store::{Appended, AppendedEvent, Write};
use tw_types::{ClientToken, Offset, PartitionId, Position, StreamPartition, Token, Version};

/// What became of an append.
pub(super) enum Done {
    /// It is durable.
    Appended(Appended),
    /// This is the answer: of another node, or to nothing.
    Answered(Response<Body>),
}

/// What became of one share.
enum Share {
    Appended(Appended),
    /// Another node's answer that is not a success.
    Refused(Response<Body>),
    /// Not here, not there: once more.
    Elsewhere,
    /// It may have been stored: once more, which stores nothing twice.
    Unknown(Unanswered),
}

/// What another node answers to an append.
#[derive(Deserialize)]
struct Answer {
    events: Vec<AnswerEvent>,
    token: ClientToken,
}

#[derive(Deserialize)]
struct AnswerEvent {
    position: String,
    #[serde(default)]
    version: u64,
    #[serde(default)]
    duplicate: bool,
}

/// Has each owner store its share.
pub(super) async fn append(request: &Request<'_>) -> Result<Done, Problem> {
    let call = request.call;
    let forward = Forward::new(call, ms(call.options.request_timeout_ms));
    if forward.is_hop() {
        return here(request, &forward).await;
    }
    let write = request.write(None).await?.0;
    if write.is_empty() {
        return Ok(Done::Answered(super::nothing()));
    }
    let mut progress = Progress::new(&write);
    let done = distribute(request, &forward, write, &mut progress).await;
    let status = match &done {
        Ok(Done::Answered(response)) => response.status(),
        Ok(Done::Appended(_)) => StatusCode::OK,
        Err(problem) => problem.code().status(),
    };
    // Who hears that the node cannot takes it that nothing was stored.
    match progress.doubt {
        Some(unanswered) if status.is_server_error() => Err(unknown(&unanswered)),
        None if status.is_server_error() && progress.has_stored => Err(partly(&progress.left)),
        _ => done,
    }
}

/// How far a request is whose shares go to several owners.
struct Progress {
    /// Where each event goes.
    places: Vec<PartitionId>,
    /// The partitions whose events are not stored yet.
    left: BTreeSet<PartitionId>,
    events: Vec<Option<AppendedEvent>>,
    token: Token,
    has_stored: bool,
    /// The last share that may have been stored without an answer.
    doubt: Option<Unanswered>,
    /// The last share that was refused.
    refused: Option<Result<Response<Body>, Problem>>,
}

impl Progress {
    fn new(write: &Write) -> Self {
        let places: Vec<PartitionId> = write.places().map(|at| at.partition).collect();
        let (left, events) = (places.iter().copied().collect(), vec![None; places.len()]);
        let token = Token::new();
        Self { places, left, events, token, has_stored: false, doubt: None, refused: None }
    }

    fn take(&mut self, only: &BTreeSet<PartitionId>, share: Result<Share, Problem>) {
        match share {
            Ok(Share::Elsewhere) => {}
            Ok(Share::Unknown(unanswered)) => self.doubt = Some(unanswered),
            Ok(Share::Refused(response)) => self.refused = Some(Ok(response)),
            Err(problem) => self.refused = Some(Err(problem)),
            Ok(Share::Appended(appended)) => {
                let indices = self.places.iter().enumerate().filter(|(_, at)| only.contains(at));
                for ((index, _), event) in indices.zip(appended.events) {
                    if let Some(slot) = self.events.get_mut(index) {
                        *slot = Some(event);
                    }
                }
                self.token.merge(&appended.token);
                self.left.retain(|at| !only.contains(at));
                self.has_stored = true;
            }
        }
    }

    /// What ends the request, if a refusal does. While a part of it is stored, who cannot at the moment is asked again: the client
    /// would send all of it once more.
    fn refusal(&mut self) -> Option<Result<Response<Body>, Problem>> {
        let refused = self.refused.take()?;
        let status = match &refused {
            Ok(response) => response.status(),
            Err(problem) => problem.code().status(),
        };
        (!self.has_stored || status != StatusCode::SERVICE_UNAVAILABLE).then_some(refused)
    }
}

/// Has each owner store its share.
async fn distribute(
    request: &Request<'_>,
    forward: &Forward<'_>,
    write: Write,
    progress: &mut Progress,
) -> Result<Done, Problem> {
    let can_repeat = write.can_repeat() || request.key.is_some();
    let mut whole = Some(write);
    loop {
        let groups = groups(request, &progress.left);
        let is_here = |way: &Way| *way == Way::Here;
        let all_here = groups.len() == 1 && groups.iter().all(|(way, _)| is_here(way));
        let ready = whole.take().filter(|_| all_here && request.key.is_none());
        let carried = groups.into_iter().zip(std::iter::once(ready).chain(std::iter::repeat_with(|| None)));
        let (own, others): (Vec<_>, Vec<_>) = carried.partition(|((way, _), _)| is_here(way));
        let start = |((way, only), ready)| carry(request, forward, way, only, ready, can_repeat);
        let (own, others) = (own.into_iter().map(start).collect(), others.into_iter().map(start).collect());
        for (only, share) in together(request, own, others).await {
            progress.take(&only, share);
        }
        if let Some(refused) = progress.refusal() {
            return refused.map(Done::Answered);
        }
        if progress.left.is_empty() {
            let events = std::mem::take(&mut progress.events).into_iter().flatten().collect();
            return Ok(Done::Appended(Appended { events, token: std::mem::take(&mut progress.token) }));
        }
        forward.pause(&name(request, &progress.left)).await?;
    }
}

/// Has shares carried out at the same time, here and elsewhere. The request keeps its room at the door until its own part is done.
async fn together<F: Future>(request: &Request<'_>, own: Vec<F>, others: Vec<F>) -> Vec<F::Output> {
    let ticket = &request.call.ticket;
    if own.is_empty() {
        return ticket.elsewhere(join_all(others)).await;
    }
    let (own, others) = (join_all(own), join_all(others));
    let mut done = match select(pin!(own), pin!(others)).await {
        Either::Left((own, others)) => (own, ticket.outside(others).await),
        Either::Right((others, own)) => (own.await, others),
    };
    done.0.append(&mut done.1);
    done.0
}

/// A share that another node has sent here, or a whole request that is for this node.
async fn here(request: &Request<'_>, forward: &Forward<'_>) -> Result<Done, Problem> {
    let call = request.call;
    let only = share(call)?;
    let (write, _) = request.write(only.as_ref()).await?;
    let places: BTreeSet<StreamPartition> = write.places().collect();
    let places: Vec<StreamPartition> = places.into_iter().collect();
    let routes = &call.api.parts.routes;
    let what = name(request, &places.iter().map(|at| at.partition).collect());
    forward.arrive(&what, || places.iter().all(|at| routes.partition(*at) == Way::Here)).await?;
    let Some(pass) = routes.enter(&places) else {
        return Err(not_owner(&what));
    };
    let appended = in_time(call, call.api.parts.events.append(write)).await;
    drop(pass);
    appended.map(Done::Appended)
}

/// Who takes which partitions.
fn groups(request: &Request<'_>, left: &BTreeSet<PartitionId>) -> Vec<(Way, BTreeSet<PartitionId>)> {
    let routes = &request.call.api.parts.routes;
    let way = |partition: &PartitionId| routes.partition(StreamPartition::new(request.stream.id, *partition));
    if request.key.is_some() {
        return left.iter().map(|partition| (way(partition), BTreeSet::from([*partition]))).collect();
    }
    let mut groups: BTreeMap<Way, BTreeSet<PartitionId>> = BTreeMap::new();
    for partition in left {
        groups.entry(way(partition)).or_default().insert(*partition);
    }
    groups.into_iter().collect()
}

/// Has one share stored. `ready` is the write, if it has been made already.
async fn carry(
    request: &Request<'_>,
    forward: &Forward<'_>,
    way: Way,
    only: BTreeSet<PartitionId>,
    ready: Option<Write>,
    can_repeat: bool,
) -> (BTreeSet<PartitionId>, Result<Share, Problem>) {
    let share = match way {
        Way::Nobody => Ok(Share::Elsewhere),
        Way::Here => store(request, &only, ready).await,
        Way::Node(node) => {
            let list: Vec<String> = only.iter().map(PartitionId::to_string).collect();
            let list = HeaderValue::from_str(&list.join(",")).unwrap_or(HeaderValue::from_static(""));
            // Each event's place is needed here.
            let prefer =
                (HeaderName::from_static("prefer"), HeaderValue::from_static("return=representation"));
            let body = request.body.bytes();
            let routes = &request.call.api.parts.routes;
            let has = |partition: &PartitionId| {
                let at = StreamPartition::new(request.stream.id, *partition);
                matches!(routes.partition(at), Way::Node(owner) if owner == node)
            };
            let is_there = || only.iter().any(has);
            match forward.send(&node, body, &[(SHARE, list), prefer], is_there).await {
                Tried::Elsewhere => Ok(Share::Elsewhere),
                Tried::Unknown(unanswered) if can_repeat => Ok(Share::Unknown(unanswered)),
                Tried::Unknown(unanswered) => Err(unknown(&unanswered)),
                Tried::Answered(answer) => match read(answer).await {
                    Err(unanswered) if can_repeat => Ok(Share::Unknown(unanswered)),
                    Err(unanswered) => Err(unknown(&unanswered)),
                    Ok(share) => Ok(share),
                },
            }
        }
    };
    (only, share)
}

async fn store(
    request: &Request<'_>,
    only: &BTreeSet<PartitionId>,
    ready: Option<Write>,
) -> Result<Share, Problem> {
    let parts = &request.call.api.parts;
    let places: Vec<StreamPartition> =
        only.iter().map(|partition| StreamPartition::new(request.stream.id, *partition)).collect();
    let write = match ready {
        Some(write) => write,
        None => request.write(Some(only)).await?.0,
    };
    let Some(_pass) = parts.routes.enter(&places) else { return Ok(Share::Elsewhere) };
    in_time(request.call, parts.events.append(write)).await.map(Share::Appended)
}

async fn read(answer: Response<crate::parts::Reply>) -> Result<Share, Unanswered> {
    let (head, body) = answer.into_parts();
    let bytes = collect(body).await?;
    if head.status != StatusCode::OK {
        return Ok(Share::Refused(Response::from_parts(head, Body::full(bytes))));
    }
    let malformed = |cause: String| Unanswered { was_sent: true, cause };
    let answer: Answer = serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
    let events = answer.events.iter().map(AnswerEvent::event).collect::<Option<_>>();
    let events = events.ok_or_else(|| malformed("a position does not read".into()))?;
    Ok(Share::Appended(Appended { events, token: answer.token.into_cut() }))
}

impl AnswerEvent {
    fn event(&self) -> Option<AppendedEvent> {
        let (partition, offset) = self.position.split_once(':')?;
        let (partition, offset) = (PartitionId(partition.parse().ok()?), Offset(offset.parse().ok()?));
        let position = Position { partition, offset };
        Some(AppendedEvent { position, version: Version(self.version), duplicate: self.duplicate })
    }
}

/// The partitions of a share that another node has sent; None: it is the whole request.
fn share(call: &crate::service::Call) -> Result<Option<BTreeSet<PartitionId>>, Problem> {
    let Some(list) = headers::text(&call.headers, &SHARE)? else { return Ok(None) };
    let partitions = list.split(',').map(|number| number.parse().map(PartitionId)).collect::<Result<_, _>>();
    partitions.map(Some).map_err(|_| {
        Problem::parameter(SHARE.as_str(), format!("`{list}` is not a list of partitions: use `0,3`"))
    })
}

/// What a client is told that must not send all of it again as if nothing had happened.
fn partly(left: &BTreeSet<PartitionId>) -> Problem {
    let list: Vec<String> = left.iter().map(PartitionId::to_string).collect();
    let detail = format!(
        "a part of the events is stored, those for partition {} are not: send all of them again with the same ids",
        list.join(", ")
    );
    Problem::new(Code::OutcomeUnknown, detail)
}

fn name(request: &Request<'_>, partitions: &BTreeSet<PartitionId>) -> String {
    let list: Vec<String> = partitions.iter().take(8).map(PartitionId::to_string).collect();
    let more = if partitions.len() > 8 { " and others" } else { "" };
    format!("partition {}{more} of stream `{}`", list.join(", "), request.stream.name)
}
