//! Who takes what, where a node is one of many.

use crate::Problem;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use http::{Request, Response};
use tw_types::{NodeId, StreamPartition};

/// Who takes a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// This node.
    Here,
    /// Another node.
    Node(NodeId),
    /// Nobody at the moment.
    Nobody,
}

/// The body of another node's answer, as it comes.
pub type Reply = BoxStream<'static, std::io::Result<Bytes>>;

/// Why a request did not come back from another node.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct Unanswered {
    /// Whether that node may have seen it.
    pub was_sent: bool,
    /// What happened.
    pub cause: String,
}

/// Writes to partitions may be under way until this is dropped.
pub struct Pass(Option<Box<dyn Held>>);

/// What a pass gives back when it is dropped.
pub trait Held: Send + 'static {
    /// Asked when the write is durable: whether it was certain all the time that nobody else writes the same.
    ///
    /// # Errors
    /// What whoever has written is told instead of an answer.
    fn check(&self) -> Result<(), Problem> {
        Ok(())
    }
}

/// Two passes as one.
struct Both(Pass, Pass);

impl Held for Both {
    fn check(&self) -> Result<(), Problem> {
        self.0.check().and_then(|()| self.1.check())
    }
}

impl Pass {
    /// A pass that gives back `held` when it is dropped.
    pub fn new(held: impl Held) -> Self {
        Self(Some(Box::new(held)))
    }

    /// A pass that gives back nothing.
    pub const fn free() -> Self {
        Self(None)
    }

    /// What gives back both, if there is any.
    pub fn both(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => Some(Self::new(Both(one, other))),
            (one, other) => one.or(other),
        }
    }

    /// See [`Held::check`].
    ///
    /// # Errors
    /// That of [`Held::check`].
    pub fn check(&self) -> Result<(), Problem> {
        self.0.as_ref().map_or(Ok(()), |held| held.check())
    }
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pass").field(&self.0.is_some()).finish()
    }
}

/// The nodes of a cluster, as far as requests are concerned.
pub trait Routes: Send + Sync + 'static {
    /// Whether there are no other nodes, so that nobody has to be asked.
    fn is_alone(&self) -> bool {
        false
    }

    /// Who takes writes to a partition, and knows the versions of its subjects.
    fn partition(&self, at: StreamPartition) -> Way;

    /// Who runs a source.
    fn source(&self, name: &str) -> Way;

    /// Lets a write to these partitions be under way; None if one of them is not here any more.
    fn enter(&self, at: &[StreamPartition]) -> Option<Pass>;

    /// Resolves when a way may have changed after this call.
    fn changed(&self) -> BoxFuture<'static, ()>;

    /// Sends a request to another node, as one that came by a hop ([`HOP`](super::HOP)).
    fn send<'a>(
        &'a self,
        node: &'a NodeId,
        request: Request<Bytes>,
    ) -> BoxFuture<'a, Result<Response<Reply>, Unanswered>>;
}

/// The routes of a node that is alone: everything is here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Routes for Alone {
    fn is_alone(&self) -> bool {
        true
    }

    fn partition(&self, _: StreamPartition) -> Way {
        Way::Here
    }

    fn source(&self, _: &str) -> Way {
        Way::Here
    }

    fn enter(&self, _: &[StreamPartition]) -> Option<Pass> {
        Some(Pass::free())
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn send<'a>(
        &'a self,
        node: &'a NodeId,
        _: Request<Bytes>,
    ) -> BoxFuture<'a, Result<Response<Reply>, Unanswered>> {
        Box::pin(async move {
            Err(Unanswered {
                was_sent: false,
                cause: format!("there is no node `{node}`: this one is alone"),
            })
        })
    }
}
