//! Clients: one request on a connection of its own, a stream of server-sent events, and bytes as they are.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No test waits longer than this for anything: a bound, never a measure of time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub(crate) struct Client {
    address: SocketAddr,
}

/// A request that is being put together.
pub(crate) struct Call {
    address: SocketAddr,
    request: Request<Full<Bytes>>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether the connection was closed before the end of the answer.
    pub(crate) cut_off: bool,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> Call {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .body(Full::default())
            .unwrap();
        Call { address: self.address, request }
    }
}

impl Call {
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        self.request.headers_mut().append(HeaderName::from_static(name), value);
        self
    }

    /// Instead of the one that is there.
    pub(crate) fn set(mut self, name: &'static str, value: &str) -> Self {
        self.request.headers_mut().remove(name);
        self.header(name, value)
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        *self.request.body_mut() = Full::new(body.into());
        self
    }

    pub(crate) fn json(self, body: &str) -> Self {
        self.header("content-type", "application/json").body(body.to_owned())
    }

    /// Sends it as one event in JSON.
    pub(crate) fn event(self, body: &str) -> Self {
        self.header("content-type", "application/cloudevents+json").body(body.to_owned())
    }

    pub(crate) async fn open(self) -> http::Response<Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        tokio::time::timeout(PATIENCE, sender.send_request(self.request)).await.unwrap().unwrap()
    }

    pub(crate) async fn send(self) -> Reply {
        collect(self.open().await).await
    }

    /// Over HTTP/2 without TLS.
    pub(crate) async fn send_http2(mut self) -> Reply {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let path = self.request.uri().path_and_query().unwrap().as_str().to_owned();
        *self.request.uri_mut() = format!("http://{}{path}", self.address).parse().unwrap();
        self.request.headers_mut().remove("host");
        let response =
            tokio::time::timeout(PATIENCE, sender.send_request(self.request)).await.unwrap().unwrap();
        collect(response).await
    }

    /// Reads the answer as server-sent events.
    pub(crate) async fn listen(self) -> Listener {
        let response = self.header("accept", "text/event-stream").open().await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Listener { body: response.into_body(), buffer: String::new(), last_id: String::new() }
    }
}

async fn collect(response: http::Response<Incoming>) -> Reply {
    let (head, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    let mut cut_off = false;
    while let Some(frame) = tokio::time::timeout(PATIENCE, body.frame()).await.unwrap() {
        match frame {
            Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Err(_) => cut_off = true,
        }
    }
    Reply { status: head.status.as_u16(), headers: head.headers, body: bytes.into(), cut_off }
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The code of a problem, whose form is checked.
    pub(crate) fn code(&self) -> String {
        let problem = self.json();
        assert_eq!(self.header("content-type"), "application/problem+json", "{problem}");
        let code = tw_api::Code::from_text(problem["code"].as_str().unwrap()).unwrap();
        assert_eq!(problem["status"], self.status);
        assert_eq!(code.status().as_u16(), self.status);
        assert_eq!(problem["type"], format!("{}#{}", tw_api::DOCS_PATH, code.as_str()));
        assert_eq!(problem["title"], code.title());
        assert_eq!(problem["request_id"], self.header("x-request-id"));
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
        code.as_str().to_owned()
    }

    /// What a problem says.
    pub(crate) fn detail(&self) -> String {
        self.code();
        self.json()["detail"].as_str().unwrap().to_owned()
    }
}

/// A reader of server-sent events.
pub(crate) struct Listener {
    body: Incoming,
    buffer: String,
    pub(crate) last_id: String,
}

/// A server-sent event, or a sign of life without data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Sent {
    pub(crate) id: String,
    pub(crate) event: String,
    pub(crate) data: String,
    pub(crate) retry: String,
    pub(crate) comment: String,
}

impl Listener {
    /// The next block; None at the end.
    pub(crate) async fn block(&mut self) -> Option<Sent> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let sent = parse(block);
                self.buffer = rest.to_owned();
                if !sent.id.is_empty() {
                    self.last_id.clone_from(&sent.id);
                }
                return Some(sent);
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.unwrap()?;
            let bytes = frame.ok()?.into_data().unwrap_or_default();
            self.buffer.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// The next event with data; None at the end.
    pub(crate) async fn next(&mut self) -> Option<Sent> {
        loop {
            let block = self.block().await?;
            if !block.data.is_empty() {
                return Some(block);
            }
        }
    }

    /// The ids of the next events.
    pub(crate) async fn ids(&mut self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..count {
            let event: serde_json::Value = serde_json::from_str(&self.next().await.unwrap().data).unwrap();
            ids.push(event["id"].as_str().unwrap().to_owned());
        }
        ids
    }
}

fn parse(block: &str) -> Sent {
    let mut sent = Sent::default();
    for line in block.lines() {
        let (field, value) = line.split_once(": ").unwrap();
        let target = match field {
            "id" => &mut sent.id,
            "event" => &mut sent.event,
            "data" => &mut sent.data,
            "retry" => &mut sent.retry,
            "" => &mut sent.comment,
            other => panic!("unexpected field `{other}`"),
        };
        target.push_str(value);
    }
    sent
}

/// Sends `bytes` and returns whatever comes back until the connection ends.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
