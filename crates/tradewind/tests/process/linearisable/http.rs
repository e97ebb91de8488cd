//! The least HTTP: one request, and whether anything is known of what became of it.

use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long a client waits for an answer before it gives up.
const PATIENCE: Duration = Duration::from_secs(5);

/// What became of a request.
pub(super) enum Answer {
    /// It was answered with this status and body.
    Told(u16, Value),
    /// Nobody has seen it.
    NotSent,
    /// Nobody knows.
    Nothing,
}

/// Sends a request to a node.
pub(super) fn send(url: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let address = url.strip_prefix("http://").unwrap();
    let Ok(connection) = TcpStream::connect(address) else { return Answer::NotSent };
    let mut head =
        format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {}\r\n", body.len());
    headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    exchange(connection, &format!("{head}\r\n{body}"))
        .and_then(|answer| read(&answer))
        .map_or(Answer::Nothing, |(status, body)| Answer::Told(status, body))
}

fn exchange(mut connection: TcpStream, request: &str) -> Option<String> {
    connection.write_all(request.as_bytes()).ok()?;
    let deadline = Instant::now() + PATIENCE;
    let mut answer = Vec::new();
    let mut piece = [0; 8192];
    loop {
        let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        connection.set_read_timeout(Some(left)).ok()?;
        match connection.read(&mut piece).ok()? {
            0 => return String::from_utf8(answer).ok(),
            count => answer.extend_from_slice(&piece[..count]),
        }
    }
}

/// Status and body, if the answer is whole: half of a JSON does not read.
fn read(answer: &str) -> Option<(u16, Value)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = if body.is_empty() { Value::Null } else { serde_json::from_str(body).ok()? };
    Some((status, body))
}
