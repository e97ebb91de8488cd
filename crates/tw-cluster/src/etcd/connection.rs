//! Requests to whichever server answers: which one, for how long, and what a failure means.

use super::protocol::{Answer, Header, Method};
use super::{tls, unsigned};
use crate::{Error, EtcdOptions, Outage, Result, Revision, Time};
use futures_util::StreamExt;
use futures_util::stream;
use http::Uri;
use std::error::Error as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// What repeating a request would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It changes nothing.
    Read,
    /// It changes something, but twice does no more harm than once.
    Repeatable,
    /// It must not happen twice.
    Once,
}

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Its lease does not exist.
    NoLease,
    /// Its revision is compacted.
    Compacted,
    /// Its revision is in the future.
    NotYet,
    /// Anything else.
    Other(Error),
}

/// The servers of one etcd cluster.
#[derive(Debug)]
pub(super) struct Connection {
    servers: Vec<Server>,
    /// The server that is asked first, modulo their number.
    current: AtomicUsize,
    cluster: OnceLock<u64>,
    /// The highest revision of any answer.
    seen: AtomicU64,
    pub(super) options: EtcdOptions,
    pub(super) time: Arc<dyn Time>,
}

#[derive(Debug)]
struct Server {
    endpoint: String,
    channel: Channel,
}

impl Connection {
    /// Prepares connections, and makes none yet.
    pub(super) fn new(time: Arc<dyn Time>, options: &EtcdOptions) -> Result<Self> {
        options.check()?;
        let servers = options.endpoints.iter().map(|endpoint| Server::new(endpoint, options));
        let servers = servers.collect::<Result<_>>()?;
        let (current, cluster, seen) = (AtomicUsize::new(0), OnceLock::new(), AtomicU64::new(0));
        Ok(Self { servers, current, cluster, seen, options: options.clone(), time })
    }

    /// The server to ask, and its number for [`Connection::turn_from`].
    fn server(&self) -> Result<(usize, &Server)> {
        let number = self.current.load(Ordering::Relaxed);
        let server = self.numbered(number);
        let rule = "1 to 32 URLs";
        let none = || Error::InvalidOption { option: "endpoints", value: String::new(), rule };
        server.map(|server| (number, server)).ok_or_else(none)
    }

    /// Numbers go round.
    fn numbered(&self, number: usize) -> Option<&Server> {
        number.checked_rem(self.servers.len()).and_then(|index| self.servers.get(index))
    }

    /// Goes on to the next server, unless somebody else did so meanwhile.
    fn turn_from(&self, number: usize) {
        let next = number.wrapping_add(1);
        let _turned_already =
            self.current.compare_exchange(number, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Asks until there is an answer; also tells the moment before the answered request was sent.
    pub(super) async fn call<M: Method>(
        &self,
        request: M,
        effect: Effect,
        action: impl Fn() -> String,
    ) -> Result<(M::Answer, Duration), Failure> {
        let deadline = Instant::now() + Duration::from_millis(self.options.request_ms_max);
        let mut retry = self.backoff();
        let mut is_unknown = false;
        loop {
            let (number, server) = self.server()?;
            let left = deadline.saturating_duration_since(Instant::now());
            let attempt = Duration::from_millis(self.options.attempt_ms_max);
            let patience = if effect == Effect::Once { left } else { left.min(attempt) };
            let (sent, seen) = (self.time.now(), self.seen.load(Ordering::Relaxed));
            let failed = match timeout(patience, server.ask(request.clone(), &self.options)).await {
                Ok(Ok(answer)) => {
                    let found = self.check_cluster(server, answer.header())?;
                    if M::IS_LINEARISABLE && found.0 < seen {
                        let (endpoint, seen) = (server.endpoint.clone(), Revision(seen));
                        return Err(Error::WentBack { endpoint, seen, found }.into());
                    }
                    return Ok((answer, sent));
                }
                Ok(Err(status)) => Failed::from(&status),
                Err(_elapsed) => Failed::unknown(format!("no answer within {} ms", patience.as_millis())),
            };
            let outage = |cause, remedy| {
                let (action, endpoint) = (action(), server.endpoint.clone());
                Outage { action, endpoint, cause, remedy }
            };
            let (cause, may_have_happened) = match failed {
                Failed::Answered(failure) => return Err(failure),
                Failed::Refused { cause, remedy } => return Err(Error::Refused(outage(cause, remedy)).into()),
                Failed::Nobody { cause, may_have_happened } => (cause, may_have_happened),
            };
            is_unknown |= may_have_happened && effect != Effect::Read;
            self.turn_from(number);
            let pause = retry.next();
            if (effect == Effect::Once && is_unknown) || Instant::now() + pause >= deadline {
                let outage = outage(cause, REACHABLE);
                let error = if is_unknown { Error::Unknown(outage) } else { Error::Unavailable(outage) };
                return Err(error.into());
            }
            sleep(pause).await;
        }
    }

    /// Opens a stream of answers at one server, whose number comes along; the request's half stays open.
    pub(super) async fn open<M: Method>(&self, request: M) -> (usize, Result<Streaming<M::Answer>, Status>) {
        let (number, server) = match self.server() {
            Ok(server) => server,
            Err(error) => return (0, Err(Status::invalid_argument(error.to_string()))),
        };
        let attempt = Duration::from_millis(self.options.attempt_ms_max);
        let late = || Status::deadline_exceeded(format!("no answer within {} ms", attempt.as_millis()));
        let opened = timeout(attempt, server.open(request, &self.options)).await;
        (number, opened.unwrap_or_else(|_elapsed| Err(late())))
    }

    /// Takes note of an answer of a stream.
    pub(super) fn note(&self, number: usize, header: Option<&Header>) -> Result<()> {
        self.numbered(number).map_or(Ok(()), |server| self.check_cluster(server, header).map(drop))
    }

    /// What it means that a stream of the server of this number failed, and who is asked next: an error if trying again is of
    /// no use, otherwise only where and why.
    pub(super) fn failed(&self, number: usize, status: &Status, action: String) -> Result<Outage, Failure> {
        self.turn_from(number);
        let endpoint = self.numbered(number).map(|server| server.endpoint.clone()).unwrap_or_default();
        let outage = |cause, remedy| Outage { action, endpoint, cause, remedy };
        match Failed::from(status) {
            Failed::Answered(failure) => Err(failure),
            Failed::Refused { cause, remedy } => Err(Error::Refused(outage(cause, remedy)).into()),
            Failed::Nobody { cause, .. } => Ok(outage(cause, REACHABLE)),
        }
    }

    pub(super) fn backoff(&self) -> Backoff {
        let of = Duration::from_millis;
        Backoff { next: of(self.options.retry_ms_min), max: of(self.options.retry_ms_max) }
    }

    /// The revision of an answer, which must be of the cluster that answered first: revisions are fencing tokens, and
    /// must not start over.
    fn check_cluster(&self, server: &Server, header: Option<&Header>) -> Result<Revision> {
        let Some(header) = header else { return Ok(Revision(0)) };
        let expected = *self.cluster.get_or_init(|| header.cluster_id);
        if header.cluster_id != expected {
            let (endpoint, found) = (server.endpoint.clone(), header.cluster_id);
            return Err(Error::OtherCluster { endpoint, expected, found });
        }
        let revision = unsigned(header.revision);
        self.seen.fetch_max(revision, Ordering::Relaxed);
        Ok(Revision(revision))
    }
}

/// Pauses that double.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    /// The next pause.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.max);
        pause
    }
}

/// What to do when nobody answers.
const REACHABLE: &str = "see that etcd runs, and that it can be reached from here";

impl Server {
    fn new(endpoint: &str, options: &EtcdOptions) -> Result<Self> {
        let of = Duration::from_millis;
        let uri = endpoint.parse::<Uri>().ok();
        let is_known =
            |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some();
        let rule = "a URL such as `http://10.0.0.1:2379` or `https://etcd-1.example:2379`";
        let invalid = || Error::InvalidOption { option: "endpoints", value: endpoint.to_owned(), rule };
        let uri = uri.filter(is_known).ok_or_else(invalid)?;
        let mut way = Endpoint::from(uri.clone());
        if uri.scheme_str() == Some("https") {
            way = way
                .tls_config(tls::config(&options.tls)?)
                .map_err(|error| tls::unusable(&options.tls, &error))?;
        }
        let channel = way
            .connect_timeout(of(options.connect_ms_max))
            .tcp_nodelay(true)
            // Only while something is under way: etcd closes idle connections that are probed.
            .http2_keep_alive_interval(of(options.probe_interval_ms))
            .keep_alive_timeout(of(options.probe_ms_max))
            .connect_lazy();
        Ok(Self { endpoint: endpoint.to_owned(), channel })
    }

    fn client(&self, options: &EtcdOptions) -> Grpc<Channel> {
        let bytes_max = usize::try_from(options.answer_bytes_max).unwrap_or(usize::MAX);
        Grpc::new(self.channel.clone()).max_decoding_message_size(bytes_max)
    }

    /// One request, one answer. A method that streams is asked once, which looks the same on the wire.
    async fn ask<M: Method>(&self, request: M, options: &EtcdOptions) -> Result<M::Answer, Status> {
        let mut client = self.client(options);
        client.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let codec = ProstCodec::<M, M::Answer>::default();
        Ok(client.unary(with_leader(Request::new(request)), M::path(), codec).await?.into_inner())
    }

    async fn open<M: Method>(
        &self,
        request: M,
        options: &EtcdOptions,
    ) -> Result<Streaming<M::Answer>, Status> {
        let mut client = self.client(options);
        client.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let requests = stream::iter([request]).chain(stream::pending());
        let codec = ProstCodec::<M, M::Answer>::default();
        Ok(client.streaming(with_leader(Request::new(requests)), M::path(), codec).await?.into_inner())
    }
}

/// Makes a server that has lost touch with its leader say so, instead of being silent.
/// Source: etcd, `api/v3rpc/rpctypes/metadatafields.go`.
fn with_leader<T>(mut request: Request<T>) -> Request<T> {
    let wanted: MetadataValue<Ascii> = MetadataValue::from_static("true");
    request.metadata_mut().insert("hasleader", wanted);
    request
}

/// What a failed attempt means.
enum Failed {
    /// It is an answer that the caller expects.
    Answered(Failure),
    /// Repeating it is of no use.
    Refused { cause: String, remedy: &'static str },
    /// Another server, or a later moment, may do better.
    Nobody { cause: String, may_have_happened: bool },
}

impl Failed {
    fn unknown(cause: String) -> Self {
        Self::Nobody { cause, may_have_happened: true }
    }
}

impl From<&Status> for Failed {
    /// By the texts of etcd (`api/v3rpc/rpctypes/error.go`), which are more precise than its codes.
    fn from(status: &Status) -> Self {
        let said = status.message();
        let is = |text: &str| said.contains(text);
        let refused = |remedy| Self::Refused { cause: said.to_owned(), remedy };
        let not_done = || Self::Nobody { cause: cause(status), may_have_happened: false };
        if is("requested lease not found") {
            return Self::Answered(Failure::NoLease);
        }
        if is("required revision has been compacted") {
            return Self::Answered(Failure::Compacted);
        }
        if is("required revision is a future revision") {
            return Self::Answered(Failure::NotYet);
        }
        if is("database space exceeded") {
            return refused(
                "compact and defragment etcd, or raise `--quota-backend-bytes`, then `etcdctl alarm disarm`",
            );
        }
        if is("too many requests") || is("etcdserver: no leader") {
            return not_done();
        }
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => {
                refused("see that etcd lets this client read and write the namespace")
            }
            Code::InvalidArgument | Code::Unimplemented | Code::FailedPrecondition => {
                refused("see that the server is etcd 3.4 or newer, with its default limits")
            }
            Code::ResourceExhausted | Code::OutOfRange => {
                refused("store less below one key, or raise `answer_bytes_max`")
            }
            _ if never_connected(status) => not_done(),
            _ => Self::unknown(cause(status)),
        }
    }
}

fn never_connected(status: &Status) -> bool {
    chain(status).any(<dyn std::error::Error>::is::<tonic::ConnectError>)
}

/// The status and the causes beneath it.
fn chain(status: &Status) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    let mut next = status.source();
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// The last cause says what the matter is; those above it say that there is one.
fn cause(status: &Status) -> String {
    chain(status).last().map_or_else(|| status.message().to_owned(), ToString::to_string)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}
