//! One request on one connection: nothing that is kept can hide who has gone.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The media type of events that are lines.
const LINES: &str = "application/x-ndjson";

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Where a node serves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wire(pub(crate) SocketAddr);

impl Wire {
    /// Appends an event; gives its partition.
    pub(crate) async fn append(&self, subject: &str) -> anyhow::Result<u32> {
        self.append_of(subject, "order.placed").await
    }

    /// The same with an event of this type.
    pub(crate) async fn append_of(&self, subject: &str, ty: &str) -> anyhow::Result<u32> {
        let id = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
        let event = json!({
            "specversion": "1.0", "id": id, "source": "/bench", "type": ty, "subject": subject,
            "data": { "total": 42 },
        });
        let kind = "application/cloudevents+json";
        let answer = self.ask("POST", "/v1/streams/orders/events", kind, &event.to_string()).await?;
        let position = answer.pointer("/events/0/position").and_then(Value::as_str);
        let partition = position.and_then(|position| position.split(':').next()?.parse().ok());
        partition.with_context(|| format!("there is no position in {answer}"))
    }

    /// Appends events that are lines, all in one request.
    pub(crate) async fn lines(&self, lines: &str) -> anyhow::Result<()> {
        self.ask("POST", "/v1/streams/orders/events", LINES, lines).await.map(drop)
    }

    pub(crate) async fn sql(&self, sql: &str) -> anyhow::Result<Value> {
        self.ask("POST", "/v1/sql", "text/plain", sql).await
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask("GET", path, "application/json", "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> anyhow::Result<Value> {
        self.ask("POST", path, "application/json", body).await
    }

    async fn ask(&self, method: &str, path: &str, kind: &str, body: &str) -> anyhow::Result<Value> {
        let mut stream = TcpStream::connect(self.0).await?;
        stream.set_nodelay(true)?;
        // Nobody wants to know where each of a thousand events is.
        let prefer = if kind == LINES { "prefer: return=minimal\r\n" } else { "" };
        let request = format!(
            "{method} {path} HTTP/1.0\r\nhost: {}\r\ncontent-type: {kind}\r\n{prefer}content-length: {}\r\n\r\n{body}",
            self.0,
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer = String::from_utf8(answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("the connection was closed")?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        ensure!(status.starts_with('2'), "{method} {path}: {status} {body}");
        Ok(serde_json::from_str(body).unwrap_or(Value::Null))
    }
}
