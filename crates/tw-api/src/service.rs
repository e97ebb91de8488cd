//! One request: let in, dispatched, answered, measured.

use crate::body::{Bodies, Body, Received};
use crate::door::{Doors, Kind, Ticket};
use crate::headers::{self, HOP, REQUEST_ID, ROUTE};
use crate::options::Options;
use crate::parts::Parts;
use crate::route::{self, Captures, Route};
use crate::server::Phase;
use crate::telemetry::Telemetry;
use crate::{Code, Problem, console, endpoints, proxy};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use metrics::Gauge;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tw_env::Live;
use tw_log::{CONFIG_PARTITION, Streams};
use tw_plan::overload::Outcome;
use tw_trace::Open;
use tw_types::StreamDef;

/// The longest request id that is taken from a client, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// What all requests share.
pub(crate) struct Api {
    pub(crate) options: Live<Options>,
    pub(crate) parts: Parts,
    pub(crate) telemetry: Telemetry,
    pub(crate) bodies: Bodies,
    /// Places for connections.
    pub(crate) connections: Arc<Semaphore>,
    /// What live readers follow.
    pub(crate) hub: endpoints::Hub,
    /// Whether the server is about to end.
    pub(crate) phase: watch::Receiver<Phase>,
    doors: Arc<Doors>,
    requests: Arc<Places>,
    /// Requests that other nodes have sent here. They have places of their own: nodes that are full of requests for each
    /// other would otherwise carry out none of them.
    hops: Arc<Places>,
    readers: Arc<Places>,
    /// How many requests of clients were let in since the start.
    served: AtomicU64,
    /// Request ids are this, mixed with a count.
    id_seed: u64,
    id_count: AtomicU64,
}

impl Api {
    /// # Errors
    /// An option is outside its bounds, which [`Options::check`] rules out.
    pub(crate) fn new(
        options: Options,
        parts: Parts,
        phase: watch::Receiver<Phase>,
    ) -> Result<Self, tw_plan::Error> {
        let doors = Arc::new(Doors::new(&options.overload, parts.env.clock.clone())?);
        let telemetry = Telemetry::new();
        let requests = Places::new(telemetry.requests_open.clone());
        let hops = Places::new(telemetry.requests_open.clone());
        let readers = Places::new(telemetry.readers.clone());
        let bodies = Bodies::new(&options);
        let connections = Arc::new(Semaphore::new(options.connections_max as usize));
        let (id_seed, id_count) = (parts.env.random.next_u64(), AtomicU64::new(0));
        let options = Live::new(options);
        Ok(Self {
            options,
            parts,
            telemetry,
            bodies,
            connections,
            hub: endpoints::Hub::default(),
            phase,
            doors,
            requests,
            hops,
            readers,
            served: AtomicU64::new(0),
            id_seed,
            id_count,
        })
    }

    /// Puts other options into effect: for what is read with each request at once, for what belongs to a connection with the
    /// next one.
    pub(crate) fn reconfigure(&self, options: Options) {
        self.bodies.reconfigure(&options);
        self.doors.reconfigure(&options.overload);
        let connections_max = options.connections_max;
        let before = self.options.set(options);
        resize(&self.connections, before.connections_max, connections_max);
    }

    /// A place among the readers of live streams.
    pub(crate) fn reader(&self) -> Result<Place, Problem> {
        let limit = self.options.get().readers_max;
        Places::take(&self.readers, limit).ok_or_else(|| {
            let detail = format!(
                "{limit} readers are connected, which is the limit: close some, or raise `readers_max`"
            );
            Problem::new(Code::TooManyReaders, detail).with(|members| members.limit = Some(u64::from(limit)))
        })
    }

    /// How many requests are under way.
    pub(crate) fn in_flight(&self) -> u32 {
        self.requests.taken.load(Ordering::Relaxed) + self.hops.taken.load(Ordering::Relaxed)
    }

    /// How many requests of clients were let in since the start, without those that watch over the node.
    pub(crate) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// A request that was let in is served by another region.
    pub(crate) fn was_carried_on(&self) {
        self.served.fetch_sub(1, Ordering::Relaxed);
    }

    /// Lets a request in, before anything of its body is read. Whoever watches over the node needs no place: it is to be seen
    /// when it is full.
    fn admit(&self, route: Option<Route>, headers: &HeaderMap) -> Result<Admission, Problem> {
        if matches!(route, Some(Route::Health | Route::Ready | Route::Metrics)) {
            return Ok(Admission { place: None, ticket: Ticket::free() });
        }
        let options = self.options.get();
        let limit = options.requests_max;
        let is_hop = headers.contains_key(&HOP);
        let places = if is_hop { &self.hops } else { &self.requests };
        let place = Places::take(places, limit).ok_or_else(|| {
            let detail = format!(
                "as many requests are under way as the limit allows ({limit}): try again in a moment, or raise `requests_max`"
            );
            Problem::new(Code::Overloaded, detail).with(|members| members.limit = Some(u64::from(limit)))
        })?;
        let kind = route.filter(|_| options.overload.enabled).and_then(|route| Kind::of(route, headers));
        let ticket = kind.map_or_else(|| Ok(Ticket::free()), |kind| Doors::admit(&self.doors, kind))?;
        // What another region carries on for a client is served here.
        if !is_hop || headers.contains_key(&ROUTE) {
            self.served.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Admission { place: Some(place), ticket })
    }

    /// The client's id of the request if it has a good one, otherwise a new one.
    fn request_id(&self, headers: &HeaderMap) -> HeaderValue {
        let good = |value: &&HeaderValue| {
            (1..=REQUEST_ID_BYTES_MAX).contains(&value.len())
                && value.as_bytes().iter().all(u8::is_ascii_graphic)
        };
        if let Some(id) = headers.get(&REQUEST_ID).filter(good) {
            return id.clone();
        }
        let count = self.id_count.fetch_add(1, Ordering::Relaxed);
        // An odd factor makes the ids of one server distinct, and far apart.
        let id = self.id_seed.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        HeaderValue::from_str(&format!("{id:016x}")).unwrap_or(HeaderValue::from_static("0"))
    }
}

/// What a request has that was let in.
struct Admission {
    place: Option<Place>,
    ticket: Ticket,
}

/// A request on its way through its endpoint.
pub(crate) struct Call {
    pub(crate) api: Arc<Api>,
    /// The options as they were when it came.
    pub(crate) options: Arc<Options>,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) route: Route,
    /// That it is worked on here.
    pub(crate) ticket: Ticket,
    captures: Captures,
}

impl Call {
    /// The n-th captured segment of the path.
    pub(crate) fn capture(&self, n: usize) -> Result<Cow<'_, str>, Problem> {
        self.captures.get(self.uri.path(), n)
    }

    /// Reads the whole body of the request.
    ///
    /// # Errors
    /// See [`Bodies::read`].
    pub(crate) async fn body(&self, body: Incoming) -> Result<Received, Problem> {
        self.ticket.outside(self.api.bodies.read(body)).await
    }

    /// The streams as they are defined now.
    pub(crate) fn streams(&self) -> Arc<Streams> {
        self.api.parts.log().streams()
    }

    /// The stream that the path names. Where there are other nodes, one that is not known is looked for in what they have
    /// defined until now.
    pub(crate) async fn stream(&self) -> Result<Arc<StreamDef>, Problem> {
        self.stream_called(&self.capture(0)?).await
    }

    /// The stream of a name, likewise.
    pub(crate) async fn stream_called(&self, name: &str) -> Result<Arc<StreamDef>, Problem> {
        if let Ok(stream) = self.streams().get(name) {
            return Ok(stream.clone());
        }
        if !self.api.parts.routes.is_alone() {
            self.api.parts.log().refresh(&[CONFIG_PARTITION]).await?;
        }
        Ok(self.streams().get(name)?.clone())
    }
}

/// Answers one request.
pub(crate) async fn answer(api: Arc<Api>, request: Request<Incoming>) -> Response<Body> {
    let clock = api.parts.env.clock.clone();
    let started = clock.monotonic();
    let (mut head, body) = request.into_parts();
    let id = api.request_id(&head.headers);
    let found = route::find(&head.method, head.uri.path());
    let route = found.as_ref().ok().map(|(route, _)| *route);
    let span = record(&api, route, &mut head.headers);
    let outcome = match (api.admit(route, &head.headers), found) {
        (Err(refused), _) => {
            api.bodies.forget(body, &head.headers).await;
            Err(refused)
        }
        (Ok(_), Err(refused)) => match console::answer(&api.options.get(), &head) {
            Some(outcome) => outcome,
            None => Err(refused),
        },
        (Ok(Admission { place, ticket }), Ok((route, captures))) => {
            let call = Call {
                options: api.options.get(),
                api: api.clone(),
                uri: head.uri.clone(),
                headers: head.headers,
                route,
                ticket,
                captures,
            };
            carry_out(call, place, body).await
        }
    };
    let problem = outcome.as_ref().err().map(Problem::code);
    let mut response =
        outcome.unwrap_or_else(|problem| problem.into_response(id.to_str().unwrap_or_default()));
    if let Some(mut span) = span {
        span.fact("status", response.status().as_u16());
        if let Some(code) = problem {
            span.fail(code.as_str());
        }
    }
    let elapsed = clock.monotonic().saturating_sub(started);
    api.telemetry.answered(route, response.status(), elapsed);
    tracing::debug!(
        request_id = id.to_str().unwrap_or_default(),
        method = head.method.as_str(),
        path = head.uri.path(),
        route = route.map_or("none", Route::name),
        status = response.status().as_u16(),
        problem = problem.map(Code::as_str),
        micros = elapsed.as_micros() as u64,
        "answered"
    );
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Begins to record a request whose client wants that, and puts what is done for it under its span.
fn record(api: &Api, route: Option<Route>, headers: &mut HeaderMap) -> Option<Open> {
    let context = headers::traceparent(headers)?;
    let span = api.parts.traces.begin(Some(&context), route.map_or("an unknown request", Route::name))?;
    headers::set_traceparent(headers, &span.context());
    Some(span)
}

/// Has a request answered that was let in.
async fn carry_out(call: Call, place: Option<Place>, body: Incoming) -> endpoints::Outcome {
    let outcome = match check(&call) {
        // Seldom, and large.
        Ok(()) if call.headers.contains_key(&ROUTE) => Box::pin(proxy::serve(&call, body)).await,
        Ok(()) => endpoints::dispatch(&call, body).await,
        Err(refused) => Err(refused),
    };
    call.ticket.done(went(&outcome));
    outcome.map(|mut response| {
        // A streamed answer is under way until its last byte; live readers have places of their own.
        if response.body().is_stream() && !is_live(&response) {
            response.body_mut().hold(place);
        }
        response
    })
}

/// What an outcome says about how busy the node is.
fn went(outcome: &endpoints::Outcome) -> Outcome {
    match outcome {
        Ok(response) if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED => {
            Outcome::Finished
        }
        Err(problem) if matches!(problem.code(), Code::OutcomeUnknown | Code::Busy) => Outcome::Overloaded,
        // What is wrong is refused sooner than it would be worked on; and clients say how long they wait, so that their
        // timeouts say nothing about the node.
        _ => Outcome::Ignored,
    }
}

fn check(call: &Call) -> Result<(), Problem> {
    let options = &call.options;
    let bytes: usize = call.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if bytes > options.header_bytes_max as usize {
        let detail =
            format!("the headers have {bytes} bytes, over the limit of {}", options.header_bytes_max);
        let limit = Some(u64::from(options.header_bytes_max));
        return Err(Problem::new(Code::HeadersTooLarge, detail).with(|members| members.limit = limit));
    }
    headers::check_host(&call.headers, &call.uri, &options.hosts)?;
    if call.route.changes() {
        headers::check_origin(&call.headers, &call.uri)?;
    }
    Ok(())
}

fn is_live(response: &Response<Body>) -> bool {
    response.headers().get(http::header::CONTENT_TYPE).is_some_and(|value| value == "text/event-stream")
}

/// Makes a semaphore of `from` permits one of `to`. Those that are taken stay so: if there are too many, nobody gets one before
/// enough are given back. Must be called within a Tokio runtime.
pub(crate) fn resize(semaphore: &Arc<Semaphore>, from: u32, to: u32) {
    if to > from {
        semaphore.add_permits((to - from) as usize);
    } else if to < from {
        // In its turn, so before whoever comes later.
        let fewer = semaphore.clone().acquire_many_owned(from - to);
        tokio::spawn(async move { fewer.await.map(OwnedSemaphorePermit::forget) });
    }
}

/// Places, of which only so many may be taken.
struct Places {
    taken: AtomicU32,
    gauge: Gauge,
}

impl Places {
    fn new(gauge: Gauge) -> Arc<Self> {
        Arc::new(Self { taken: AtomicU32::new(0), gauge })
    }

    /// A place, if fewer than `limit` are taken.
    fn take(places: &Arc<Self>, limit: u32) -> Option<Place> {
        let before = places.taken.fetch_add(1, Ordering::Relaxed);
        // Made before the look, so that it is given back either way.
        let place = Place(places.clone());
        places.gauge.increment(1);
        (before < limit).then_some(place)
    }
}

/// One of them; dropping it gives it back.
pub(crate) struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.gauge.decrement(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_says_how_busy_the_node_is_or_nothing() {
        let answer = |status: StatusCode| {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = status;
            went(&Ok(response))
        };
        let problem = |code| went(&Err(Problem::new(code, "no")));
        assert_eq!([answer(StatusCode::OK), answer(StatusCode::NOT_MODIFIED)], [Outcome::Finished; 2]);
        assert_eq!([problem(Code::Busy), problem(Code::OutcomeUnknown)], [Outcome::Overloaded; 2]);
        // A client that waits for a millisecond must not be able to lower the limit for everybody.
        for code in [Code::Timeout, Code::NoStream, Code::VersionConflict, Code::Internal] {
            assert_eq!(problem(code), Outcome::Ignored, "{code:?}");
        }
        assert_eq!(answer(StatusCode::SERVICE_UNAVAILABLE), Outcome::Ignored, "another node's");
    }

    #[tokio::test]
    async fn a_semaphore_grows_at_once_and_shrinks_as_permits_come_back() {
        let semaphore = Arc::new(Semaphore::new(4));
        let taken = semaphore.clone().acquire_many_owned(3).await.unwrap();
        resize(&semaphore, 4, 2);
        // Two have to come back before the next one is given.
        let next = tokio::spawn(semaphore.clone().acquire_owned());
        tokio::task::yield_now().await;
        let mut taken = taken;
        drop(taken.split(1));
        tokio::task::yield_now().await;
        assert!(!next.is_finished(), "more are given than there are to be");
        drop(taken.split(1));
        let next = next.await.unwrap().unwrap();
        assert_eq!(semaphore.available_permits(), 0);
        resize(&semaphore, 2, 5);
        assert_eq!(semaphore.available_permits(), 3);
        drop((next, taken));
        assert_eq!(semaphore.available_permits(), 5);
    }
}
