//! What planning results in, with the reasons.

use super::{Plan, Unit};
use serde::{Deserialize, Serialize};
use tw_types::NodeId;

/// The next plan, and why it differs from the current one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The plan; equal to the current one, version included, when nothing changes.
    pub plan: Plan,
    /// Every unit that gets an owner or another owner, in the order of their names.
    pub moves: Vec<Move>,
    /// How many standbys were exchanged for better ones.
    pub standby_moves: u32,
    /// Whether the budget ended before the work: the next plan, from this one, goes on.
    pub postponed: bool,
    /// Every live node, in the order of their names.
    pub places: Vec<Place>,
}

/// A unit's new owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The unit.
    pub unit: Unit,
    /// Its owner before, alive or gone; none for a new unit.
    pub from: Option<NodeId>,
    /// Its owner from now on.
    pub to: NodeId,
    /// Why.
    pub reason: Reason,
    /// Whether the new owner was its standby: then the state is warm already.
    pub warm: bool,
}

/// Why a unit moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It had no owner yet.
    New,
    /// Its owner is not alive, or can own nothing any more.
    OwnerGone,
    /// Its owner drains.
    Drain,
    /// Its owner was over its bound.
    Overloaded,
    /// Its new owner had too little.
    Underloaded,
    /// Its owner is over its bound, and cannot be brought below it, but lower.
    Improved,
}

/// What a node has in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The node.
    pub node: NodeId,
    /// How many units it owns.
    pub units: u32,
    /// Their weight.
    pub load: u64,
    /// The weight that it should have by its capacity, rounded down; 0 for one that drains.
    pub share: u64,
    /// The weight that it may have, ⌈(1 + ε) · share⌉.
    pub bound: u64,
    /// The weight of the units that it keeps warm.
    pub standby_load: u64,
}

impl Place {
    /// Whether it has more than it may have.
    pub fn is_over(&self) -> bool {
        self.load > self.bound
    }
}
