//! The seam to the other nodes.

use crate::Error;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use std::time::Duration;
use tw_types::{NodeId, StreamPartition};

/// Where a partition of a view is read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Here: the workers of this node keep it up to date.
    Here,
    /// On another node.
    Node(NodeId),
    /// On no node at the moment.
    Nowhere,
}

/// Who can be asked for a partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// Where it is, which is never [`Place::Nowhere`].
    pub place: Place,
    /// Whether it is the owner; otherwise it stands by.
    pub owns: bool,
}

/// What became of asking somebody for a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It began to answer after so long.
    Answered(Duration),
    /// It did not answer, or not to the end, or another one that was asked later was sooner; so long was waited.
    Failed(Duration),
    /// It does not have the partition, or not as it is needed.
    Declined,
    /// Nobody waits for it any more.
    Dropped,
}

/// What a node answers: the bytes of [`crate::Engine::serve`], cut anywhere. One that breaks off says so, or just ends. To drop it
/// tells the node that nothing more is wanted.
pub type PeerAnswer = BoxStream<'static, Result<Bytes, Error>>;

/// The other nodes: who keeps what, and how to ask them.
pub trait Peers: Send + Sync + 'static {
    /// Who keeps a partition up to date now.
    fn place(&self, at: StreamPartition) -> Place;

    /// Who keeps a partition up to date as well, without the one that [`Peers::place`] says: here, or other nodes.
    fn standbys(&self, at: StreamPartition) -> Vec<Place> {
        let _nobody = at;
        Vec::new()
    }

    /// Which of the candidates is asked for a partition: its number among them. There is one at least. Reads that are `about` the same may
    /// be sent to the same node.
    fn choose(&self, candidates: &[Candidate], about: Option<&str>) -> usize {
        let _first = (candidates, about);
        0
    }

    /// What became of so many choices of [`Peers::choose`]: said once for each, when the answer is not needed any more.
    fn heard(&self, asked: &Candidate, choices: usize, heard: Heard) {
        let _unused = (asked, choices, heard);
    }

    /// Asks a node, which hands `request` to its [`crate::Engine::serve`]. The answer to a request that holds a snapshot says something
    /// at once and ends with the query, up to `timeout` later: the connection must not be cut because nothing comes.
    ///
    /// # Errors
    /// [`Error::Peer`] when the node cannot be reached: it is asked again, or whoever has its partitions by then.
    fn read<'a>(
        &'a self,
        node: &'a NodeId,
        request: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<PeerAnswer, Error>>;
}

/// A node that has everything itself.
pub(crate) struct AllHere;

impl Peers for AllHere {
    fn place(&self, _: StreamPartition) -> Place {
        Place::Here
    }

    fn read<'a>(
        &'a self,
        node: &'a NodeId,
        _: Bytes,
        _: Duration,
    ) -> BoxFuture<'a, Result<PeerAnswer, Error>> {
        Box::pin(async { Err(Error::Peer { node: node.clone(), source: "this node is on its own".into() }) })
    }
}
