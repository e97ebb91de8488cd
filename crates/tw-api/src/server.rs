//! The server: it listens, keeps its limits, and ends in order.

mod io;

use crate::body::Body;
use crate::options::{InvalidOption, Options, ms};
use crate::parts::Parts;
use crate::service::{self, Api};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use io::Guarded;
use std::convert::Infallible;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::task::JoinHandle;

/// How long to wait after the system refused a connection, typically for want of file descriptors.
const ACCEPT_BACKOFF_MS: u64 = 100;
/// How often histograms are folded when nobody asks for them, so that they take no memory without bound.
const UPKEEP_MS: u64 = 5_000;
/// What a client that speaks HTTP/2 says first has so many bytes (RFC 9113, section 3.4).
const HTTP2_PREFACE_BYTES: usize = 24;
/// How many requests of one HTTP/2 connection may be under way.
const STREAMS_PER_CONNECTION_MAX: u32 = 256;

/// Where a server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It serves.
    Serving,
    /// It takes no new requests, and ends those under way.
    Draining,
    /// Its time is over.
    Over,
}

/// A server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option is not accepted.
    #[error(transparent)]
    Options(#[from] InvalidOption),
    /// An option of overload protection is not accepted.
    #[error(transparent)]
    Overload(#[from] tw_plan::Error),
    /// The address cannot be listened on.
    #[error("cannot listen on `{address}`: choose another address or port, or end what uses it")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// A running server. [`Server::shutdown`] ends it in order, dropping it ends it at once.
pub struct Server {
    address: SocketAddr,
    phase: watch::Sender<Phase>,
    /// Closed when the last connection has ended.
    ended: mpsc::Receiver<Infallible>,
    tasks: [JoinHandle<()>; 2],
    api: Arc<Api>,
}

/// What can be done with a running server. Cheap to clone; it keeps neither the server nor its parts.
#[derive(Debug, Clone)]
pub struct Handle(Weak<Api>);

/// What an interface has done in a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Answers with a status of 500 and more.
    pub errors: u64,
    /// The time in which 99 of 100 appends were answered, to about a tenth, and how many there were; None without appends.
    pub append_p99: Option<(Duration, u64)>,
}

impl Handle {
    /// Puts other options into effect: for requests at once, for connections with the next one. Where it listens does not
    /// change, whatever they say. Of a server that has ended nothing changes. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// The first option that is not accepted; then nothing has changed.
    pub fn reconfigure(&self, options: Options) -> Result<(), InvalidOption> {
        options.check()?;
        if let Some(api) = self.0.upgrade() {
            api.reconfigure(options);
        }
        Ok(())
    }

    /// Serves the requests that come over a connection which somebody else has accepted, until it ends. They are HTTP/2 with prior
    /// knowledge, and the same limits hold as for any others.
    pub async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let Some(api) = self.0.upgrade() else { return };
        let Ok(_place) = api.connections.clone().acquire_owned().await else { return };
        api.telemetry.connections.increment(1);
        speak(stream, &api, true).await;
        api.telemetry.connections.decrement(1);
    }

    /// What has happened since it was asked last; one asks at a time. Nothing of a server that has ended.
    pub fn traffic(&self) -> Traffic {
        self.0.upgrade().map_or_else(Traffic::default, |api| Traffic {
            errors: api.telemetry.errors.swap(0, Ordering::Relaxed),
            append_p99: api.telemetry.append_times.take_p99(),
        })
    }

    /// How many requests of clients it has let in since it was started: not those that nodes send each other, nor those that only watch
    /// over it.
    pub fn served(&self) -> u64 {
        self.0.upgrade().map_or(0, |api| api.served())
    }

    /// How many requests are under way.
    pub fn in_flight(&self) -> u32 {
        self.0.upgrade().map_or(0, |api| api.in_flight())
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Starts to listen. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn start(options: Options, parts: Parts) -> Result<Self, Error> {
        options.check()?;
        let failed = |source| Error::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (phase, phases) = watch::channel(Phase::Serving);
        let (alive, ended) = mpsc::channel(1);
        let metrics = parts.metrics.clone();
        let api = Arc::new(Api::new(options, parts, phases)?);
        let upkeep = tokio::spawn(upkeep(metrics, api.phase.clone()));
        let accept = tokio::spawn(accept(listener, api.clone(), alive));
        tracing::info!(%address, "listening");
        Ok(Self { address, phase, ended, tasks: [upkeep, accept], api })
    }

    /// What can be done with it while it runs.
    pub fn handle(&self) -> Handle {
        Handle(Arc::downgrade(&self.api))
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the server: no new connections, live readers are told to come back, requests under way may end within
    /// `shutdown_ms_max`, then every connection is closed.
    pub async fn shutdown(mut self) {
        self.phase.send_replace(Phase::Draining);
        let shutdown_ms_max = self.api.options.get().shutdown_ms_max;
        if tokio::time::timeout(ms(shutdown_ms_max), self.ended.recv()).await.is_err() {
            tracing::warn!(shutdown_ms_max, "closing connections that did not end in time");
        }
        self.phase.send_replace(Phase::Over);
        let _nobody_is_left = self.ended.recv().await;
        for task in self.tasks {
            let _ended = task.await;
        }
    }
}

async fn upkeep(metrics: metrics_exporter_prometheus::PrometheusHandle, mut phases: watch::Receiver<Phase>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(UPKEEP_MS));
    loop {
        tokio::select! {
            _ = ticks.tick() => metrics.run_upkeep(),
            _ = phases.changed() => return,
        }
    }
}

async fn accept(listener: TcpListener, api: Arc<Api>, alive: mpsc::Sender<Infallible>) {
    let places = api.connections.clone();
    let mut phases = api.phase.clone();
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await.ok()?;
            Some((listener.accept().await, place))
        };
        let (stream, place) = tokio::select! {
            accepted = accepted => match accepted {
                Some((Ok((stream, _)), place)) => (stream, place),
                Some((Err(error), _)) => {
                    back_off(&error).await;
                    continue;
                }
                None => return,
            },
            _ = phases.changed() => return,
        };
        let (api, alive) = (api.clone(), alive.clone());
        tokio::spawn(async move {
            serve(stream, &api, place).await;
            drop(alive);
        });
    }
}

async fn back_off(error: &std::io::Error) {
    // A client that went away between its handshake and our accept is no reason to wait.
    if !matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) {
        tracing::warn!(%error, "cannot accept a connection");
        tokio::time::sleep(Duration::from_millis(ACCEPT_BACKOFF_MS)).await;
    }
}

/// Serves one connection until it ends.
async fn serve(stream: TcpStream, api: &Arc<Api>, _place: OwnedSemaphorePermit) {
    api.telemetry.connections.increment(1);
    let options = api.options.get();
    let mut phases = api.phase.clone();
    let speaks_http2 = tokio::select! {
        speaks = tokio::time::timeout(ms(options.header_timeout_ms), starts_http2(&stream)) => speaks.ok().flatten(),
        _ = phases.changed() => None,
    };
    if let Some(speaks_http2) = speaks_http2 {
        // Small answers are complete when they are written: waiting for more would only delay them.
        let _best_effort = stream.set_nodelay(true);
        speak(stream, api, speaks_http2).await;
    }
    api.telemetry.connections.decrement(1);
}

/// Answers what comes over a connection.
async fn speak(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    api: &Arc<Api>,
    speaks_http2: bool,
) {
    let (options, phases) = (api.options.get(), api.phase.clone());
    let mut guarded = Guarded::new(stream, ms(options.write_stall_ms_max), api.telemetry.stalled.clone());
    if speaks_http2 {
        // Before the preface is complete, nobody else looks at the time.
        guarded.expect(HTTP2_PREFACE_BYTES, ms(options.header_timeout_ms));
    }
    let io = TokioIo::new(guarded);
    let service = service_fn({
        let api = api.clone();
        move |request: Request<Incoming>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(service::answer(api, request).await) }
        }
    });
    if speaks_http2 {
        let connection = http2_builder(&options).serve_connection(io, service);
        drive(connection, phases, http2::Connection::graceful_shutdown).await;
    } else {
        let connection = http1_builder(&options).serve_connection(io, service);
        drive(connection, phases, http1::Connection::graceful_shutdown).await;
    }
}

/// Whether the client begins with the preface of HTTP/2; None if it says nothing and goes.
async fn starts_http2(stream: &TcpStream) -> Option<bool> {
    let mut start = [0; 3];
    let count = stream.peek(&mut start).await.ok()?;
    // No method of HTTP/1 starts like `PRI * HTTP/2.0`, and a client sends that in one go.
    (count > 0).then_some(start.get(..count) == Some(b"PRI"))
}

fn http1_builder(options: &Options) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(ms(options.header_timeout_ms))
        .max_headers(options.headers_max as usize)
        // A little more than we allow, so that it is usually we who refuse, and say why.
        .max_header_size(options.header_bytes_max as usize * 2);
    builder
}

fn http2_builder(options: &Options) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(ms(options.header_timeout_ms))
        .keep_alive_timeout(ms(options.header_timeout_ms))
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .max_header_list_size(options.header_bytes_max.saturating_mul(2));
    builder
}

/// Drives a connection to its end, which `close` brings near when the server ends.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    connection: C,
    mut phases: watch::Receiver<Phase>,
    close: impl Fn(std::pin::Pin<&mut C>),
) {
    let mut connection = pin!(connection);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended early");
                }
                return;
            }
            phase = next_phase(&mut phases) => match phase {
                Phase::Serving => {}
                Phase::Draining => close(connection.as_mut()),
                Phase::Over => return,
            },
        }
    }
}

/// The phase after the present one; a server that was dropped is over.
pub(crate) async fn next_phase(phases: &mut watch::Receiver<Phase>) -> Phase {
    match phases.changed().await {
        Ok(()) => *phases.borrow_and_update(),
        Err(_) => Phase::Over,
    }
}

/// Compile-time proof that an answer can be sent by any task.
const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<http::Response<Body>>();
};
