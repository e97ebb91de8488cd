//! What waits for the writer.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::oneshot;
use tw_log::{AckSender, Append, Error, Permit, Result};
use tw_types::{Offset, StreamPartition};

/// How long the writer waits for requests before it looks after its clients.
const LONG: Duration = Duration::from_secs(5);

/// What the writer is asked for.
#[derive(Debug)]
pub(crate) enum Request {
    /// Events.
    Append { parts: Vec<Append>, bytes: u64, permit: Permit, ack: AckSender },
    /// A record that says that the partition was emptied, if it ends where expected; answered with the record's offset.
    Empty { at: StreamPartition, expected_end: Option<Offset>, reply: oneshot::Sender<Result<u64>> },
}

impl Request {
    pub(crate) fn fail(self, error: Error) {
        match self {
            Self::Append { ack, .. } => ack.resolve(Err(error)),
            Self::Empty { reply, .. } => {
                let _nobody_listens = reply.send(Err(error));
            }
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Append { bytes, .. } => *bytes,
            Self::Empty { .. } => 0,
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
        drop(state);
        self.changed.notify_one();
    }

    /// Lets no more in: whoever asks is told `error`. What waits already is still served.
    pub(crate) fn close(&self, error: Error) {
        self.state.lock().closed.get_or_insert(error);
        self.changed.notify_all();
    }

    /// Why it is closed, if it is.
    pub(crate) fn closed(&self) -> Option<Error> {
        self.state.lock().closed.clone()
    }

    /// Fails everything that waits.
    pub(crate) fn fail_all(&self, error: &Error) {
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        for request in waiting {
            request.fail(error.clone());
        }
    }

    /// Waits for requests, and takes as many as fit in one transaction, at least one; none when that takes long. None when
    /// the queue is closed and empty.
    pub(crate) fn take(&self, bytes_max: u64, requests_max: usize) -> Option<Vec<Request>> {
        let mut state = self.state.lock();
        while state.waiting.is_empty() {
            if state.closed.is_some() {
                return None;
            }
            if self.changed.wait_for(&mut state, LONG).timed_out() {
                return Some(Vec::new());
            }
        }
        let mut bytes = 0u64;
        let fitting = state.waiting.iter().take(requests_max).take_while(|request| {
            bytes = bytes.saturating_add(request.bytes());
            bytes <= bytes_max
        });
        let count = fitting.count().max(1);
        Some(state.waiting.drain(..count).collect())
    }
}
