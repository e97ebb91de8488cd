//! What a node does about a unit, and what came of it.

use super::Claim;
use tw_types::NodeId;

/// What a node does about one unit. At a time, one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Stores this claim, if this node is registered still and the record is as it was: at revision `found`, or absent.
    Claim {
        /// What is stored.
        claim: Claim,
        /// The revision of the record that it replaces.
        found: Option<u64>,
        /// The holder before, which must not be registered in that incarnation any more.
        gone: Option<(NodeId, u64)>,
    },
    /// Takes writes from now on: first fences these writers off, and reads up to where they came.
    Open {
        /// The epoch.
        epoch: u64,
        /// Who may have written until now without having shut the unit.
        fence: Vec<String>,
    },
    /// Says in the record that nobody is left to be fenced off.
    Confirm(Claim),
    /// Takes no more writes, and lets those under way end.
    Shut,
    /// Says that the state is warm here.
    Announce,
    /// Gives the unit, which is shut, to the node that the plan names: in the next epoch, with the same writers to be fenced
    /// off.
    Transfer {
        /// The record as it is.
        claim: Claim,
        /// Who gets it, and in which incarnation.
        to: NodeId,
        /// That node's incarnation, which must be registered still.
        incarnation: u64,
    },
    /// Gives the unit, which is shut, to nobody, and leaves the rest of the record as it is.
    Release(Claim),
}

/// What came of an [`Act`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It is stored, and this is the record now; None: there is none.
    Stored(Option<Claim>),
    /// It is not done, or nobody knows: the node looks again.
    Failed,
}
