//! What waits for the writer.

use super::record::Record;
use super::segment::Segment;
use crate::{AckSender, Append, Definition, Error, Permit, Result};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tw_types::{Offset, StreamDef, StreamPartition};

/// What a request without data takes in a frame at most, about.
const SMALL_BYTES: u64 = 1024;

/// What the writer is asked for.
#[derive(Debug)]
pub(crate) enum Request {
    /// Events.
    Append { parts: Vec<Append>, bytes: u64, permit: Permit, ack: AckSender },
    /// A change of a definition.
    Define { change: Definition, reply: Reply<Arc<StreamDef>> },
    /// Removal of the events before an offset.
    Trim { at: StreamPartition, before: Offset, reply: Reply<()> },
    /// A record of the cleaner's, and the segment that it brings in.
    Record { record: Record, segment: Option<Arc<Segment>>, reply: Reply<()> },
}

/// Where the outcome of a request goes. If it is dropped unused, the outcome is unknown.
#[derive(Debug)]
pub(crate) struct Reply<T>(oneshot::Sender<Result<T>>);

/// The other end of a [`Reply`].
#[derive(Debug)]
pub(crate) struct Outcome<T>(oneshot::Receiver<Result<T>>);

/// How many bytes a definition takes.
fn bytes_of(change: &Definition) -> u64 {
    match change {
        Definition::Create(stream) | Definition::Alter(stream) => {
            serde_json::to_vec(stream).map_or(u64::MAX, |json| json.len() as u64)
        }
        // The event repeats the whole definition, which is not known here: it goes alone.
        Definition::Drop(_) => u64::MAX,
    }
}

impl<T> Reply<T> {
    pub(crate) fn channel() -> (Self, Outcome<T>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), Outcome(receiver))
    }

    pub(crate) fn send(self, outcome: Result<T>) {
        let _nobody_listens = self.0.send(outcome);
    }
}

impl<T> Outcome<T> {
    pub(crate) async fn get(self) -> Result<T> {
        self.0.await.unwrap_or_else(|_| Err(writer_gone()))
    }

    pub(crate) fn wait(self) -> Result<T> {
        self.0.blocking_recv().unwrap_or_else(|_| Err(writer_gone()))
    }
}

/// What is known when the writer went away with a request in its hands.
pub(crate) fn writer_gone() -> Error {
    Error::Unknown(Arc::new(io::Error::other("the log's writer has ended")))
}

impl Request {
    /// What it counts in a group, in bytes: about as many as it takes in a frame.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Append { bytes, .. } => *bytes,
            Self::Define { change, .. } => SMALL_BYTES.saturating_add(bytes_of(change)),
            Self::Trim { .. } | Self::Record { .. } => SMALL_BYTES,
        }
    }

    /// Whether it makes room, and is let through when there is hardly any left.
    pub(crate) fn makes_room(&self) -> bool {
        match self {
            Self::Append { .. } => false,
            Self::Define { change, .. } => matches!(change, Definition::Drop(_)),
            Self::Trim { .. } | Self::Record { .. } => true,
        }
    }

    /// Tells whoever asked that it failed.
    pub(crate) fn fail(self, error: Error) {
        match self {
            Self::Append { ack, .. } => ack.resolve(Err(error)),
            Self::Define { reply, .. } => reply.send(Err(error)),
            Self::Trim { reply, .. } | Self::Record { reply, .. } => reply.send(Err(error)),
        }
    }
}

/// The requests that wait, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Request>,
    /// How many there must be before the writer is woken.
    wake_at: usize,
    asleep: bool,
    closed: Option<Error>,
}

impl Queue {
    /// Adds a request, or fails it when the queue is closed.
    pub(crate) fn push(&self, request: Request) {
        let mut state = self.state.lock();
        if let Some(error) = state.closed.clone() {
            drop(state);
            request.fail(error);
            return;
        }
        state.waiting.push_back(request);
        if state.asleep && state.waiting.len() >= state.wake_at {
            state.asleep = false;
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Lets no more in: whoever asks is told `error`. What waits already is still served.
    pub(crate) fn close(&self, error: Error) {
        let mut state = self.state.lock();
        state.closed.get_or_insert(error);
        state.asleep = false;
        drop(state);
        self.changed.notify_all();
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Fails everything that waits.
    pub(crate) fn fail_all(&self, error: &Error) {
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        for request in waiting {
            request.fail(error.clone());
        }
    }

    /// The next requests, up to `bytes_max` bytes, but at least one; none when nothing waits.
    #[cfg(test)]
    pub(crate) fn take(&self, bytes_max: u64) -> Vec<Request> {
        take(&mut self.state.lock(), bytes_max)
    }

    /// Waits for requests: until there is one, and then until there are `wanted` or `patience` has passed. None
    /// when the queue is closed and empty.
    pub(crate) fn wait(&self, bytes_max: u64, wanted: usize, patience: Duration) -> Option<Vec<Request>> {
        let mut state = self.state.lock();
        while state.waiting.is_empty() {
            if state.closed.is_some() {
                return None;
            }
            (state.asleep, state.wake_at) = (true, 1);
            self.changed.wait(&mut state);
        }
        let deadline = Instant::now() + patience;
        while state.waiting.len() < wanted && state.closed.is_none() {
            (state.asleep, state.wake_at) = (true, wanted);
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        state.asleep = false;
        Some(take(&mut state, bytes_max))
    }
}

fn take(state: &mut State, bytes_max: u64) -> Vec<Request> {
    let mut bytes = 0u64;
    let fitting = state
        .waiting
        .iter()
        .take_while(|request| {
            bytes = bytes.saturating_add(request.bytes());
            bytes <= bytes_max
        })
        .count();
    let count = fitting.max(1).min(state.waiting.len());
    state.waiting.drain(..count).collect()
}
