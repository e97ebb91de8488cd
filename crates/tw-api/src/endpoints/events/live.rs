//! Live: server-sent events (WHATWG HTML, section 9.2) that can be resumed without a gap or a repetition.
//!
//! Each event's id is the cut after it. A browser sends the last id it saw as `Last-Event-ID` when it connects again, so
//! it goes on exactly there, after a restart of this server too. While nothing comes, or nothing that the filter takes,
//! the id alone is sent: it moves on, and the connection shows that it is alive.

use super::EVENT_STREAM;
use crate::Problem;
use crate::body::{Body, CutOff};
use crate::cursor::Cursor;
use crate::endpoints::Outcome;
use crate::options::ms;
use crate::server::{Phase, next_phase};
use crate::service::{Api, Call, Place};
use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response};
use std::io::Write as _;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;
use tw_wire::cloudevents::write_event_on_one_line;

/// About how many bytes are written at once.
pub(in crate::endpoints) const PIECE_BYTES: usize = 64 << 10;
/// After how long a reader should come back, in milliseconds.
pub(in crate::endpoints) const RETRY_MS: u32 = 1_000;

struct Live {
    api: Arc<Api>,
    cursor: Cursor,
    phase: watch::Receiver<Phase>,
    left: u64,
    /// When the next sign of life is due.
    beat: Instant,
    state: State,
    _place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Running,
    Ended,
}

pub(super) fn answer(call: &Call, cursor: Cursor, limit: Option<u64>) -> Outcome {
    let live = Live {
        cursor,
        phase: call.api.phase.clone(),
        left: limit.unwrap_or(u64::MAX),
        beat: Instant::now() + ms(call.options.heartbeat_ms),
        state: State::Starting,
        _place: call.api.reader()?,
        api: call.api.clone(),
    };
    let pieces = stream::unfold(live, |mut live| async move {
        let piece = live.piece().await?;
        Some((Ok::<_, CutOff>(piece), live))
    });
    Ok(sent_as_they_come(Body::stream(pieces)))
}

/// An answer of server-sent events.
pub(in crate::endpoints) fn sent_as_they_come(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, EVENT_STREAM);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that collect answers would hold events back.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

impl Live {
    /// The next piece; None at the end.
    async fn piece(&mut self) -> Option<Bytes> {
        let mut out = Vec::new();
        match self.state {
            State::Ended => return None,
            // The answer begins at once, so that the client knows that it is connected.
            State::Starting => {
                self.state = State::Running;
                out.extend_from_slice(format!("retry: {RETRY_MS}\n").as_bytes());
                self.sign_of_life(&mut out);
                return Some(Bytes::from(out));
            }
            State::Running => {}
        }
        while out.is_empty() {
            if *self.phase.borrow() != Phase::Serving {
                self.state = State::Ended;
                out.extend_from_slice(format!("retry: {RETRY_MS}\n: the server shuts down\n").as_bytes());
                self.sign_of_life(&mut out);
            } else if let Err(problem) = self.fill(&mut out).await {
                self.state = State::Ended;
                out.extend_from_slice(b"event: tradewind.problem\ndata: ");
                out.extend_from_slice(&problem.to_json(None));
                out.extend_from_slice(b"\n\n");
            }
        }
        Some(Bytes::from(out))
    }

    /// Adds the events that are there, or waits for some; adds a sign of life if one is due.
    async fn fill(&mut self, out: &mut Vec<u8>) -> Result<(), Problem> {
        self.cursor.load().await?;
        let left = &mut self.left;
        let emitted = self.cursor.emit(|event, at, progress| {
            write_id(out, &progress.token());
            out.extend_from_slice(b"data: ");
            write_event_on_one_line(out, event, at.partition);
            out.extend_from_slice(b"\n\n");
            *left -= 1;
            *left > 0 && out.len() < PIECE_BYTES
        })?;
        if self.left == 0 {
            self.state = State::Ended;
        }
        if emitted.events > 0 {
            self.api.telemetry.delivered.increment(emitted.events as u64);
            self.beat = Instant::now() + ms(self.api.options.get().heartbeat_ms);
            return Ok(());
        }
        if self.cursor.at_end()? {
            tokio::select! {
                outcome = self.cursor.wait() => outcome?,
                () = tokio::time::sleep_until(self.beat) => {}
                _ = next_phase(&mut self.phase) => return Ok(()),
            }
        }
        if Instant::now() >= self.beat {
            self.sign_of_life(out);
        }
        Ok(())
    }

    fn sign_of_life(&mut self, out: &mut Vec<u8>) {
        self.beat = Instant::now() + ms(self.api.options.get().heartbeat_ms);
        // Without data this is no event for the client, but it remembers the id.
        out.extend_from_slice(b": alive\n");
        write_id(out, &self.cursor.token());
        out.push(b'\n');
    }
}

/// Writes the id of an event, or of none.
pub(in crate::endpoints) fn write_id(out: &mut Vec<u8>, token: &tw_types::ClientToken) {
    // Writing to memory does not fail.
    let _infallible = writeln!(out, "id: {token}");
}
