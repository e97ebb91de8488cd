//! Forwarding: a request that another node has to carry out goes there, in one hop, and its answer comes back.
//!
//! ```text
//! client ──▶ any node ──▶ the owner, by what this node knows ──▶ answer
//!               ▲   `not_owner`: it has just moved │
//!               └──── waits for news, tries again ◀┘   until the deadline
//! ```
//!
//! A request that came by a hop is never sent on: who asked knows more by then. What can be said twice without harm is
//! repeated when a connection breaks; what cannot ends as `outcome_unknown`.

use crate::body::{Body, CutOff};
use crate::headers::{self, DEADLINE, HOP};
use crate::options::ms;
use crate::parts::{Regions, Reply, Unanswered, Way};
use crate::server::Phase;
use crate::service::Call;
use crate::{Code, Problem};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, ORIGIN, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Request, Response};
use std::time::Duration;
use tw_trace::Open;
use tw_types::NodeId;

/// The pause before a node is asked again, if nothing is heard meanwhile.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a request that came by a hop waits for what has just been given to this node.
const HOP_WAIT: Duration = Duration::from_millis(500);
/// The largest answer to a part of a request, in bytes.
const PART_BYTES_MAX: usize = 64 << 20;

/// A request on its way to whoever has to carry it out.
pub(crate) struct Forward<'c> {
    call: &'c Call,
    /// On the clock that only rises.
    deadline: Duration,
}

/// What became of one try.
pub(crate) enum Tried<T> {
    /// It was answered.
    Answered(T),
    /// It was not carried out there: somebody else has to, or the same node later.
    Elsewhere,
    /// It may have been carried out.
    Unknown(Unanswered),
}

impl<'c> Forward<'c> {
    /// Gives a request as long as it may take, and no longer than who forwarded it gives it.
    pub(crate) fn new(call: &'c Call, timeout: Duration) -> Self {
        let left = call.headers.get(&DEADLINE).and_then(|value| value.to_str().ok()?.parse().ok());
        let timeout = left.map_or(timeout, |left_ms| timeout.min(Duration::from_millis(left_ms)));
        Self { call, deadline: call.api.parts.env.clock.monotonic() + timeout }
    }

    /// How long it may take still.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_sub(self.call.api.parts.env.clock.monotonic())
    }

    /// Whether another node has sent it here.
    pub(crate) fn is_hop(&self) -> bool {
        self.call.headers.contains_key(&HOP)
    }

    /// Waits for news about who has what, and no longer than a moment.
    ///
    /// # Errors
    /// `no_owner` when the time is over; `shutting_down` when this node is about to end.
    pub(crate) async fn pause(&self, what: &str) -> Result<(), Problem> {
        if *self.call.api.phase.borrow() != Phase::Serving {
            let detail = format!("the node is shutting down, and {what} has no owner here: ask another node");
            return Err(Problem::new(Code::ShuttingDown, detail));
        }
        let left = self.left();
        if left.is_zero() {
            return Err(no_owner(what));
        }
        let news = self.call.api.parts.routes.changed();
        let _either = self.call.ticket.elsewhere(tokio::time::timeout(PAUSE.min(left), news)).await;
        Ok(())
    }

    /// For a request that came by a hop: waits a moment until it is for this node.
    ///
    /// # Errors
    /// `not_owner`.
    pub(crate) async fn arrive(&self, what: &str, is_here: impl Fn() -> bool) -> Result<(), Problem> {
        let limit = HOP_WAIT.min(self.left());
        let arrived = tokio::time::timeout(limit, self.until(is_here));
        self.call.ticket.outside(arrived).await.map_err(|_| not_owner(what))
    }

    /// Waits until that is so; looks when there is news about who has what, and now and then.
    async fn until(&self, is_so: impl Fn() -> bool) {
        while !is_so() {
            let news = self.call.api.parts.routes.changed();
            let _either = tokio::time::timeout(PAUSE, news).await;
        }
    }

    /// Sends the request to a node, with this body and these headers besides its own. Whoever has nothing of it any more is not
    /// waited for: a node that stands still answers nobody.
    pub(crate) async fn send(
        &self,
        node: &NodeId,
        body: Bytes,
        more: &[(HeaderName, HeaderValue)],
        is_there: impl Fn() -> bool,
    ) -> Tried<Response<Reply>> {
        let mut request = self.request(body, more);
        let span = self.record(&format!("hop to node {node}"), &mut request);
        let gone = self.until(|| !is_there());
        let unanswered = |cause: String| Tried::Unknown(Unanswered { was_sent: true, cause });
        let tried = tokio::select! {
            biased;
            sent = self.call.api.parts.routes.send(node, request) => match sent {
                Ok(answer) if is_elsewhere(&answer) => Tried::Elsewhere,
                Ok(answer) => Tried::Answered(answer),
                Err(unanswered) if !unanswered.was_sent => Tried::Elsewhere,
                Err(unanswered) => Tried::Unknown(unanswered),
            },
            () = gone => unanswered(format!("node `{node}` was replaced before it answered")),
            () = tokio::time::sleep(self.left()) => unanswered(format!("node `{node}` did not answer in time")),
        };
        if let Some(mut span) = span {
            match &tried {
                Tried::Answered(answer) => span.fact("status", answer.status().as_u16()),
                Tried::Elsewhere => span.fail("the partition is not there"),
                Tried::Unknown(unanswered) => span.fail(unanswered),
            }
        }
        tried
    }

    /// Begins to record a hop, and puts what is done there under its span.
    fn record(&self, name: &str, request: &mut Request<Bytes>) -> Option<Open> {
        let context = headers::traceparent(request.headers())?;
        let span = self.call.api.parts.traces.begin(Some(&context), name)?;
        headers::set_traceparent(request.headers_mut(), &span.context());
        Some(span)
    }

    /// Sends the request to another region, with this body.
    pub(crate) async fn send_to(
        &self,
        regions: &dyn Regions,
        region: u16,
        body: Bytes,
    ) -> Result<Response<Reply>, Unanswered> {
        let mut request = self.request(body, &[]);
        let span = self.record(&format!("hop to region {region}"), &mut request);
        let sent = tokio::time::timeout(self.left(), regions.send(region, request)).await;
        let sent = sent.unwrap_or_else(|_| {
            Err(Unanswered { was_sent: true, cause: format!("region {region} did not answer in time") })
        });
        if let Some(mut span) = span {
            match &sent {
                Ok(answer) => span.fact("status", answer.status().as_u16()),
                Err(unanswered) => span.fail(unanswered),
            }
        }
        sent
    }

    fn request(&self, body: Bytes, more: &[(HeaderName, HeaderValue)]) -> Request<Bytes> {
        let Call { uri, headers, route, .. } = self.call;
        let mut request = Request::new(body);
        *request.method_mut() = route.method();
        *request.uri_mut() = uri.clone();
        for (name, value) in headers {
            // The origin of a page was compared with the name of this server.
            if ![HOST, ORIGIN, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
                request.headers_mut().append(name, value.clone());
            }
        }
        let left = HeaderValue::from(u64::try_from(self.left().as_millis()).unwrap_or(u64::MAX));
        request.headers_mut().insert(DEADLINE, left);
        for (name, value) in more {
            request.headers_mut().insert(name, value.clone());
        }
        request
    }
}

/// Has a request that changes nothing answered by whoever `way` names; None if that is this node.
///
/// # Errors
/// `no_owner` when nobody takes it in time, `not_owner`.
pub(crate) async fn read(
    call: &Call,
    what: &str,
    way: impl Fn() -> Way,
) -> Result<Option<Response<Body>>, Problem> {
    carry(call, what, Bytes::new(), true, way).await
}

/// Has a request carried out by whoever `way` names; None if that is this node. One that `can_repeat` is sent again when a
/// connection breaks.
///
/// # Errors
/// `no_owner` when nobody takes it in time, `not_owner`, `outcome_unknown`.
pub(crate) async fn carry(
    call: &Call,
    what: &str,
    body: Bytes,
    can_repeat: bool,
    way: impl Fn() -> Way,
) -> Result<Option<Response<Body>>, Problem> {
    if call.api.parts.routes.is_alone() {
        return Ok(None);
    }
    let forward = Forward::new(call, ms(call.options.request_timeout_ms));
    if forward.is_hop() {
        return forward.arrive(what, || way() == Way::Here).await.map(|()| None);
    }
    loop {
        match way() {
            Way::Here => return Ok(None),
            Way::Nobody => {}
            Way::Node(node) => {
                let is_there = || way() == Way::Node(node.clone());
                let sent = forward.send(&node, body.clone(), &[], is_there);
                match call.ticket.elsewhere(sent).await {
                    Tried::Answered(answer) => return Ok(Some(stream(answer))),
                    Tried::Elsewhere => {}
                    Tried::Unknown(_) if can_repeat => {}
                    Tried::Unknown(unanswered) => {
                        let detail = format!(
                            "it may have been done, because the answer of the node that has {what} did not come ({unanswered}): look before you try again"
                        );
                        return Err(Problem::new(Code::OutcomeUnknown, detail));
                    }
                }
            }
        }
        forward.pause(what).await?;
    }
}

/// An answer of another node as this node's own.
pub(crate) fn stream(answer: Response<Reply>) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    for name in [CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH] {
        head.headers.remove(name);
    }
    let broken = |error| CutOff(Problem::new(Code::Internal, format!("another node broke off: {error}")));
    Response::from_parts(head, Body::stream(body.map_err(broken)))
}

/// The whole body of another node's answer.
pub(crate) async fn collect(mut reply: Reply) -> Result<Bytes, Unanswered> {
    let broken = |cause: String| Unanswered { was_sent: true, cause };
    let mut whole = BytesMut::new();
    while let Some(piece) = reply.next().await {
        let piece = piece.map_err(|error| broken(error.to_string()))?;
        if whole.len() + piece.len() > PART_BYTES_MAX {
            return Err(broken(format!("the answer has over {PART_BYTES_MAX} bytes")));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// Whether a node says that it is not its business.
fn is_elsewhere(answer: &Response<Reply>) -> bool {
    answer.headers().get(&HOP).is_some_and(|value| value == "not-owner")
}

/// That nobody knows whether an owner has stored its share of an append.
pub(crate) fn unknown(unanswered: &Unanswered) -> Problem {
    let detail = format!(
        "the events may be stored, because the answer of their owner did not come ({unanswered}): send them again with the same ids"
    );
    Problem::new(Code::OutcomeUnknown, detail)
}

fn no_owner(what: &str) -> Problem {
    let detail = format!("{what} has no owner at the moment: try again; `tradewind cluster status` says why");
    Problem::new(Code::NoOwner, detail)
}

/// That another node sent a request to the wrong one. Only nodes see it.
pub(crate) fn not_owner(what: &str) -> Problem {
    Problem::new(Code::NoOwner, format!("{what} is not here: it has moved")).header(HOP, "not-owner")
}
