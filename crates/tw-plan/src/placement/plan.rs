//! The plan: who owns what.

use super::Unit;
use super::format::PlanV1;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tw_types::NodeId;

/// Who owns what, and who keeps it warm. Immutable: the next plan is computed from it, and has a higher version.
///
/// As JSON it is an object of format 1, about 40 bytes a unit: names of nodes once, then one short list a unit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "PlanV1", into = "PlanV1")]
pub struct Plan {
    pub(super) version: u64,
    pub(super) made_ms: u64,
    pub(super) assignments: BTreeMap<Unit, Assignment>,
}

/// What the plan says of one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The node that alone may write.
    pub owner: NodeId,
    /// The nodes that keep the state warm, the first one takes over first; never the owner.
    pub standbys: Vec<NodeId>,
    /// The version of the plan that made `owner` the owner: higher for every owner, so it can fence off the one before.
    pub since_version: u64,
    /// When that was, in wall-clock milliseconds since 1970.
    pub since_ms: u64,
    /// How often it was moved from one owner to another so far.
    pub moves: u32,
}

impl Plan {
    /// 0 for the empty plan before all others; then one more whenever something changes.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// When it was computed, in wall-clock milliseconds since 1970.
    pub fn made_ms(&self) -> u64 {
        self.made_ms
    }

    /// How many units it has.
    pub fn len(&self) -> usize {
        self.assignments.len()
    }

    /// Whether it has no units.
    pub fn is_empty(&self) -> bool {
        self.assignments.is_empty()
    }

    /// What it says of a unit.
    pub fn get(&self, unit: &Unit) -> Option<&Assignment> {
        self.assignments.get(unit)
    }

    /// The owner of a unit.
    pub fn owner(&self, unit: &Unit) -> Option<&NodeId> {
        self.get(unit).map(|assignment| &assignment.owner)
    }

    /// Every unit, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&Unit, &Assignment)> {
        self.assignments.iter()
    }

    /// The units that a node owns, in the order of their names.
    pub fn owned_by(&self, node: &NodeId) -> impl Iterator<Item = &Unit> {
        self.iter().filter(move |(_, assignment)| assignment.owner == *node).map(|(unit, _)| unit)
    }

    /// The units that a node keeps warm, in the order of their names.
    pub fn warm_at(&self, node: &NodeId) -> impl Iterator<Item = &Unit> {
        self.iter().filter(move |(_, assignment)| assignment.standbys.contains(node)).map(|(unit, _)| unit)
    }
}
