//! Asking another node, and taking its answer.

use super::frames::{Failure, Frame, FrameError, Frames, Head};
use super::peers::{PeerAnswer, Peers};
use super::request::{Ask, PeerRequest};
use crate::Error;
use crate::query::Bounds;
use bytes::Bytes;
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::time::Instant;
use tw_types::{NodeId, Token};

/// How nodes are asked for one query.
#[derive(Clone)]
pub(crate) struct Asking {
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) bounds: Bounds,
}

/// The answer of a node, as it comes.
pub(crate) struct Incoming {
    node: NodeId,
    answer: PeerAnswer,
    frames: Frames,
    deadline: Instant,
}

/// A moment that another node holds, until this is dropped.
pub(crate) struct Lease {
    pub(crate) number: u64,
    /// It has nothing more to say.
    _answer: Mutex<Incoming>,
}

/// Why a node has not answered, or not to the end.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It has said why.
    Failed(NodeId, Failure),
    /// It cannot be reached, or has broken off.
    Unreachable(Error),
    /// It says what this node does not understand, now and later: it is of another version, or does not follow the protocol.
    Broken(Error),
    Timeout,
    /// The answer is larger than the query's memory.
    Memory,
    /// This node is to read itself, and cannot.
    Here(Error),
}

/// A piece of an answer.
pub(crate) enum Piece {
    Groups(Bytes),
    Rows(Bytes),
}

impl Asking {
    /// Asks a node, as the owner of the partitions or as a standby, and takes the head of its answer.
    pub(crate) async fn ask(
        &self,
        node: &NodeId,
        standby: bool,
        token: Token,
        ask: Ask,
    ) -> Result<(Head, Incoming), Refusal> {
        let deadline = self.bounds.deadline;
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let mut request = PeerRequest::new(timeout_ms, token, ask);
        request.standby = standby;
        let read = self.peers.read(node, request.write(), left);
        let answer = tokio::time::timeout_at(deadline, read).await;
        let answer = answer.map_err(|_| Refusal::Timeout)?.map_err(Refusal::Unreachable)?;
        let frames = Frames::new(self.bounds.memory_bytes_max);
        let mut incoming = Incoming { node: node.clone(), answer, frames, deadline };
        match incoming.frame().await? {
            Frame::Head(head) => Ok((head, incoming)),
            Frame::Failure(failure) => Err(Refusal::Failed(node.clone(), failure)),
            _ => Err(incoming.broken("an answer does not start with its head".into())),
        }
    }
}

impl Lease {
    pub(crate) fn new(head: &Head, incoming: Incoming) -> Result<Self, Refusal> {
        match head.held {
            Some(number) => Ok(Self { number, _answer: Mutex::new(incoming) }),
            None => Err(incoming.broken("nothing is held".into())),
        }
    }
}

impl Incoming {
    fn broken(&self, why: Box<dyn std::error::Error + Send + Sync>) -> Refusal {
        Refusal::Broken(Error::Peer { node: self.node.clone(), source: why })
    }

    fn broken_off(&self) -> Refusal {
        Refusal::Unreachable(Error::Peer { node: self.node.clone(), source: "the answer has no end".into() })
    }

    async fn frame(&mut self) -> Result<Frame, Refusal> {
        loop {
            match self.frames.take() {
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => {}
                Err(FrameError::TooLong) => return Err(Refusal::Memory),
                Err(error) => return Err(self.broken(error.into())),
            }
            match tokio::time::timeout_at(self.deadline, self.answer.next()).await {
                Err(_) => return Err(Refusal::Timeout),
                Ok(None) => return Err(self.broken_off()),
                Ok(Some(Err(error))) => return Err(Refusal::Unreachable(error)),
                Ok(Some(Ok(bytes))) => self.frames.push(&bytes),
            }
        }
    }

    /// The next piece; None at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Piece>, Refusal> {
        match self.frame().await? {
            Frame::Groups(payload) => Ok(Some(Piece::Groups(payload))),
            Frame::Rows(payload) => Ok(Some(Piece::Rows(payload))),
            Frame::End => Ok(None),
            Frame::Failure(failure) => Err(Refusal::Failed(self.node.clone(), failure)),
            Frame::Head(_) => Err(self.broken("an answer has two heads".into())),
        }
    }
}

impl Refusal {
    /// The error of a query that reads `table`.
    pub(crate) fn error(self, table: &str, bounds: Bounds) -> Error {
        let name = table.to_owned();
        let timeout_ms = bounds.timeout_ms;
        match self {
            Self::Unreachable(error) | Self::Broken(error) | Self::Here(error) => error,
            Self::Timeout | Self::Failed(_, Failure::Timeout) => Error::Timeout { timeout_ms },
            Self::Failed(_, Failure::TokenTimeout) => Error::TokenTimeout { table: name, timeout_ms },
            Self::Memory => Error::Memory { bytes_max: bounds.memory_bytes_max },
            Self::Failed(_, Failure::NotReadable { reason }) => Error::NotReadable { name, reason },
            Self::Failed(_, Failure::OtherDefinition { .. }) => being_changed(table),
            Self::Failed(node, failure) => Error::Peer { node, source: failure.into() },
        }
    }

    /// Whether whoever has the partitions by now can be asked instead.
    pub(crate) fn may_have_moved(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Failed(_, Failure::NotHere | Failure::Gone))
    }

    /// Of which view another definition is read there, and which.
    pub(crate) fn other_definition(&self) -> Option<(&str, u64)> {
        match self {
            Self::Failed(_, Failure::OtherDefinition { view, reads }) => Some((view, *reads)),
            _ => None,
        }
    }
}

/// The nodes read different definitions.
pub(crate) fn being_changed(table: &str) -> Error {
    let reason = "it is being changed: try again later".to_owned();
    Error::NotReadable { name: table.to_owned(), reason }
}
