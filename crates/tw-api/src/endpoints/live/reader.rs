//! One who follows topics and streams: it takes what is new as fast as its client takes it, and waits otherwise.

use super::gone;
use super::hub::{Hub, State};
use super::topic::Topic;
use crate::Problem;
use crate::cursor::Cursor;
use crate::endpoints::events::live::{PIECE_BYTES, RETRY_MS, write_id};
use crate::options::ms;
use crate::server::{Phase, next_phase};
use crate::service::{Api, Call, Place};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{pending, select_all};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;
use tw_types::StreamId;
use tw_wire::cloudevents::write_event_on_one_line;

/// The streams that are followed.
pub(super) struct Tail {
    pub(super) cursor: Cursor,
    /// Their names.
    pub(super) names: BTreeMap<StreamId, String>,
}

/// A topic, and the version of it that was sent.
struct Followed {
    topic: Topic,
    state: watch::Receiver<Arc<State>>,
    seen: u64,
}

pub(super) struct Reader {
    api: Arc<Api>,
    topics: Vec<Followed>,
    tail: Option<Tail>,
    phase: watch::Receiver<Phase>,
    /// When the next sign of life is due.
    beat: Instant,
    /// What is said first, once.
    first: Option<Vec<u8>>,
    has_ended: bool,
    _place: Place,
}

impl Reader {
    pub(super) fn new(
        call: &Call,
        topics: &[Topic],
        left_out: &[Topic],
        tail: Option<Tail>,
    ) -> Result<Self, Problem> {
        let place = call.api.reader()?;
        let named = |topics: &[Topic]| topics.iter().map(|topic| topic.name()).collect::<Vec<_>>();
        let hello = json!({ "topics": named(topics), "left_out": named(left_out) });
        let mut first = format!("retry: {RETRY_MS}\n").into_bytes();
        if let Some(tail) = &tail {
            // Who is cut off before the first event knows where to go on.
            write_id(&mut first, &tail.cursor.token());
        }
        first.extend_from_slice(format!("event: topics\ndata: {hello}\n\n").as_bytes());
        let follow =
            |topic: &Topic| Followed { topic: *topic, state: Hub::follow(&call.api, *topic), seen: 0 };
        Ok(Self {
            topics: topics.iter().map(follow).collect(),
            tail,
            phase: call.api.phase.clone(),
            beat: Instant::now() + ms(call.options.heartbeat_ms),
            first: Some(first),
            has_ended: false,
            _place: place,
            api: call.api.clone(),
        })
    }

    /// The next piece; None at the end.
    pub(super) async fn piece(&mut self) -> Option<Bytes> {
        if self.has_ended {
            return None;
        }
        // The answer begins at once, so that the client knows that it is connected.
        let mut out = self.first.take().unwrap_or_default();
        while out.is_empty() {
            if *self.phase.borrow() != Phase::Serving {
                self.has_ended = true;
                out.extend_from_slice(format!("retry: {RETRY_MS}\n: the server shuts down\n").as_bytes());
                self.sign_of_life(&mut out);
                break;
            }
            self.topics(&mut out);
            if let Err(problem) = self.events(&mut out).await {
                self.has_ended = !self.goes_on(&mut out, &problem);
            } else if out.is_empty() {
                self.wait(&mut out).await;
            }
        }
        Some(Bytes::from(out))
    }

    /// Adds the topics that are new.
    fn topics(&mut self, out: &mut Vec<u8>) {
        for followed in &mut self.topics {
            let state = followed.state.borrow_and_update().clone();
            if let Some((event, data)) = state.since(followed.topic, followed.seen) {
                out.extend_from_slice(format!("event: {event}\ndata: {data}\n\n").as_bytes());
                followed.seen = state.version;
                self.beat = Instant::now() + ms(self.api.options.get().heartbeat_ms);
            }
        }
    }

    /// Adds the events of streams that are there.
    async fn events(&mut self, out: &mut Vec<u8>) -> Result<(), Problem> {
        let Some(Tail { cursor, names }) = &mut self.tail else { return Ok(()) };
        cursor.load().await?;
        let emitted = cursor.emit(|event, at, progress| {
            let name = names.get(&at.stream).map_or("", String::as_str);
            write_id(out, &progress.token());
            out.extend_from_slice(
                format!("event: tail\ndata: {{\"stream\":{},\"event\":", json!(name)).as_bytes(),
            );
            write_event_on_one_line(out, event, at.partition);
            out.extend_from_slice(b"}\n\n");
            out.len() < PIECE_BYTES
        })?;
        if emitted.events > 0 {
            self.api.telemetry.delivered.increment(emitted.events as u64);
            self.beat = Instant::now() + ms(self.api.options.get().heartbeat_ms);
        }
        Ok(())
    }

    /// Tells a problem of the streams that are followed; whether there is anything left to follow.
    fn goes_on(&mut self, out: &mut Vec<u8>, problem: &Problem) -> bool {
        let mut tell = |problem: &Problem| {
            out.extend_from_slice(b"event: tradewind.problem\ndata: ");
            out.extend_from_slice(&problem.to_json(None));
            out.extend_from_slice(b"\n\n");
        };
        let dropped = self.tail.as_mut().map(|tail| tail.cursor.without_gone()).unwrap_or_default();
        let Some(tail) = self.tail.as_mut().filter(|_| !dropped.is_empty()) else {
            tell(problem);
            self.tail = None;
            return false;
        };
        for stream in dropped {
            tell(&gone(&tail.names.remove(&stream).unwrap_or_default()));
        }
        if tail.names.is_empty() {
            self.tail = None;
        }
        self.tail.is_some() || !self.topics.is_empty()
    }

    /// Waits until there may be something new; adds a sign of life if one is due.
    async fn wait(&mut self, out: &mut Vec<u8>) {
        // It reads on at once if it is not at the end; what is wrong with it is found there.
        let tail = match &self.tail {
            Some(tail) if tail.cursor.at_end().unwrap_or(false) => tail.cursor.wait().map(drop).boxed(),
            Some(_) => return,
            None => pending().boxed(),
        };
        let topics = self.topics.iter_mut().map(|followed| {
            async {
                // Nobody looks any more when the server ends, which is noticed otherwise.
                if followed.state.changed().await.is_err() {
                    pending::<()>().await;
                }
            }
            .boxed()
        });
        let news = select_all(topics.chain([tail]));
        tokio::select! {
            _ = news => {}
            () = tokio::time::sleep_until(self.beat) => {}
            _ = next_phase(&mut self.phase) => return,
        }
        if Instant::now() >= self.beat {
            self.sign_of_life(out);
        }
    }

    fn sign_of_life(&mut self, out: &mut Vec<u8>) {
        self.beat = Instant::now() + ms(self.api.options.get().heartbeat_ms);
        out.extend_from_slice(b": alive\n");
        if let Some(tail) = &self.tail {
            // Without data this is no event for the client, but it remembers the id.
            write_id(out, &tail.cursor.token());
        }
        out.push(b'\n');
    }
}
