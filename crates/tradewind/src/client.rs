//! The client of a node: it speaks HTTP as `docs/http-api.md` describes it, and knows nothing else of the node.
//!
//! One connection is kept and used again. A request is repeated only when it is certain that nothing of it was done: because the node
//! never saw it, or because it was turned away at the door.

mod address;
mod answer;
mod problem;
pub(crate) mod sse;

pub(crate) use address::Address;
pub(crate) use answer::Answer;
pub(crate) use problem::Problem;

use crate::error::{Error, Result};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::io;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tw_trace::Context;

/// The cut that an answer reached, or that a read must see.
pub(crate) const TOKEN: HeaderName = HeaderName::from_static("tradewind-token");
/// To which trace a request belongs (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the node may take to begin an answer, unless a request says otherwise.
const ANSWER: Duration = Duration::from_secs(60);
/// After how long at rest a connection is not used again: the node may be closing it at that very moment.
const IDLE: Duration = Duration::from_secs(5);
/// How long a request that is turned away at the door is sent again and again.
const TURNED_AWAY: Duration = Duration::from_secs(30);
/// The longest answer that is read as a whole, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// What a path segment may contain as it is (RFC 3986, section 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A part of a path or of a query, percent-encoded.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: Method,
    path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    timeout: Duration,
}

impl Request {
    fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), body: Bytes::new(), timeout: ANSWER }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    pub(crate) fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    pub(crate) fn patch(path: impl Into<String>) -> Self {
        Self::new(Method::PATCH, path)
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Adds `name=value` to the query, if there is a value.
    pub(crate) fn query(mut self, name: &str, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            self.path.push(if self.path.contains('?') { '&' } else { '?' });
            self.path.push_str(name);
            self.path.push('=');
            self.path.push_str(&encode(&value.to_string()));
        }
        self
    }

    /// Adds a header, if there is a value.
    ///
    /// # Errors
    /// When the value cannot be in a header.
    pub(crate) fn header(mut self, name: HeaderName, value: Option<impl AsRef<str>>) -> Result<Self> {
        if let Some(value) = value {
            let text = value.as_ref();
            let value = HeaderValue::from_str(text).map_err(|_| {
                let shown: String = text.chars().take(80).collect();
                Error::Usage(format!("`{shown}` cannot be sent as `{name}`: use printable ASCII"))
            })?;
            self.headers.push((name, value));
        }
        Ok(self)
    }

    /// What the answer should be.
    pub(crate) fn accept(mut self, media_type: &'static str) -> Self {
        self.headers.push((ACCEPT, HeaderValue::from_static(media_type)));
        self
    }

    /// What is sent.
    pub(crate) fn body(mut self, media_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.headers.push((CONTENT_TYPE, HeaderValue::from_static(media_type)));
        self.body = body.into();
        self
    }

    /// A JSON value as the body.
    pub(crate) fn json(self, value: &serde_json::Value) -> Self {
        self.body("application/json", value.to_string())
    }

    /// How long the node may take to begin its answer.
    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// A client of one node. Not for use by several tasks at once: it has one connection.
#[derive(Debug)]
pub(crate) struct Client {
    address: Address,
    /// The connection, and since when it rests.
    connection: RefCell<Option<(SendRequest<Full<Bytes>>, Instant)>>,
    /// The trace of what is asked, if it is to be recorded.
    trace: Option<Context>,
}

impl Client {
    /// A client of the node at `url`. It connects when it is used.
    ///
    /// # Errors
    /// When `url` is none, or of a scheme that is not spoken.
    pub(crate) fn new(url: &str) -> Result<Self> {
        Ok(Self { address: Address::parse(url)?, connection: RefCell::new(None), trace: None })
    }

    /// The same client, whose requests belong to a trace.
    pub(crate) fn traced(self, trace: Option<Context>) -> Self {
        Self { trace, ..self }
    }

    /// Where the node is.
    pub(crate) fn url(&self) -> String {
        self.address.to_string()
    }

    /// Sends a request; an answer that says no is an error. Where the node has more to do than it can, the request waits for its turn, as long
    /// as it would wait for an answer, and half a minute at most.
    ///
    /// # Errors
    /// Those of [`Error`] that are about the node.
    pub(crate) async fn send(&self, request: Request) -> Result<Answer> {
        let begun = Instant::now();
        let patience = request.timeout.min(TURNED_AWAY);
        let mut tries = 1;
        loop {
            let answer = self.send_any(request.clone()).await?;
            if answer.status().is_success() {
                return Ok(answer);
            }
            let problem = answer.into_problem().await;
            match problem.turn() {
                Some(pause) if begun.elapsed() + pause < patience => tokio::time::sleep(pause).await,
                _ => return Err(problem.after(tries, begun.elapsed()).into()),
            }
            tries += 1;
        }
    }

    /// Sends a request; an answer that says no is an answer, too.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) async fn send_any(&self, request: Request) -> Result<Answer> {
        let waited = request.timeout;
        match tokio::time::timeout(waited, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => {
                let s = waited.as_secs_f64();
                Err(Error::Timeout(format!("`{}` has not answered for {s} s", self.address)))
            }
        }
    }

    /// The JSON value at `path`.
    ///
    /// # Errors
    /// Those of [`Client::send`], and [`Error::Answer`].
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.send(Request::get(path)).await?.json().await
    }

    async fn exchange(&self, request: Request) -> Result<Answer> {
        let kept = self.connection.borrow_mut().take();
        if let Some((mut kept, since)) = kept
            && since.elapsed() < IDLE
            && kept.ready().await.is_ok()
        {
            match kept.try_send_request(self.wire(&request)).await {
                Ok(response) => {
                    self.keep(kept);
                    return Ok(Answer::new(response, self.url()));
                }
                Err(mut error) => {
                    // The message comes back when nothing of it was sent.
                    if error.take_message().is_none() {
                        return Err(self.lost(error.into_error()));
                    }
                }
            }
        }
        let mut connection = self.connect().await?;
        let response = connection.send_request(self.wire(&request)).await;
        let response = response.map_err(|error| self.lost(error))?;
        self.keep(connection);
        Ok(Answer::new(response, self.url()))
    }

    fn keep(&self, connection: SendRequest<Full<Bytes>>) {
        self.connection.replace(Some((connection, Instant::now())));
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let failed = |source| Error::Connect { url: self.url(), source };
        let stream = TcpStream::connect((self.address.host.as_str(), self.address.port));
        let stream = match tokio::time::timeout(CONNECT, stream).await {
            Ok(stream) => stream.map_err(failed)?,
            Err(_) => return Err(failed(io::ErrorKind::TimedOut.into())),
        };
        let _best_effort = stream.set_nodelay(true);
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| self.lost(error))?;
        // It ends with the connection; what goes wrong is told to whoever waits for an answer.
        tokio::spawn(async move {
            let _told_elsewhere = connection.await;
        });
        Ok(sender)
    }

    fn wire(&self, request: &Request) -> http::Request<Full<Bytes>> {
        let mut wire = http::Request::new(Full::new(request.body.clone()));
        *wire.method_mut() = request.method.clone();
        // The path consists of fixed texts and encoded parts.
        let path = format!("{}{}", self.address.prefix, request.path);
        *wire.uri_mut() = path.parse().unwrap_or_default();
        let headers = wire.headers_mut();
        if let Ok(host) = HeaderValue::from_str(&self.address.authority()) {
            headers.insert(HOST, host);
        }
        headers
            .insert(USER_AGENT, HeaderValue::from_static(concat!("tradewind/", env!("CARGO_PKG_VERSION"))));
        let trace = self.trace.and_then(|trace| HeaderValue::from_str(&trace.to_string()).ok());
        headers.extend(trace.map(|trace| (TRACEPARENT, trace)));
        for (name, value) in &request.headers {
            headers.append(name, value.clone());
        }
        wire
    }

    fn lost(&self, error: hyper::Error) -> Error {
        Error::Lost { url: self.url(), source: Box::new(error) }
    }
}

/// Whether an answer of this status may be different in a moment, without anybody doing anything.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
}
