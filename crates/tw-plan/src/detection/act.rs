//! What a node does about the others, and what it learns.

use std::collections::BTreeMap;
use tw_types::NodeId;

/// Nodes that are suspected to be dead, each in one of its incarnations.
pub type Suspects = BTreeMap<NodeId, u64>;

/// What came of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// There was an answer, after so many milliseconds. Any answer: a node that says that it is busy lives.
    Answered {
        /// From the question to the answer.
        rtt_ms: u32,
    },
    /// The machine is there, and nobody listens: the connection was refused or reset.
    Refused,
    /// There was none in time.
    Silent,
}

/// What a node does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Asks a node for a sign of life, and hands what came of it to [`super::Detection::probed`].
    Probe {
        /// Which node.
        node: NodeId,
        /// How long it waits for the answer, in milliseconds.
        limit_ms: u64,
    },
    /// Tells all nodes whom it suspects; this replaces what it has told before. If that fails:
    /// [`super::Detection::not_told`].
    Tell(Suspects),
    /// Ends a node's registration: revokes the lease under which it was registered in this incarnation.
    Evict {
        /// Which node.
        node: NodeId,
        /// Its incarnation. In a newer one, it is alive.
        incarnation: u64,
    },
}
