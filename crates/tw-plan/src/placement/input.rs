//! What a plan is computed from: nodes and loads.

use super::Unit;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tw_types::NodeId;

/// How many nodes a plan may have.
pub const NODES_MAX: usize = 1_000;
/// How many units a plan may have.
pub const UNITS_MAX: usize = 100_000;
/// Of a node's capacity at least a tenth counts, whatever else it does.
pub const BACKGROUND_PERMILLE_MAX: u16 = 900;

/// A node that is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name.
    pub id: NodeId,
    /// What it can do next to others, in any unit that is the same for all: thousandths of a core, say. 0: it owns nothing.
    pub capacity: u32,
    /// How much of its capacity is taken by what no plan places (queries, other programs), in thousandths; more than
    /// [`BACKGROUND_PERMILLE_MAX`] counts as that. None: it has not told yet, so nothing is moved to it or away from it
    /// for balance.
    pub background_permille: Option<u16>,
    /// Its fault domain: a rack, a zone. A standby is in another domain than its owner if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<Arc<str>>,
    /// Whether it is to own nothing any more: its units move away, within the budget.
    #[serde(default)]
    pub drains: bool,
}

/// A unit and its measured load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// The unit.
    pub unit: Unit,
    /// Its load in any unit that is the same for all, with a constant for what it costs when idle; 0 counts as 1. None: it
    /// was not measured yet, so it counts as the mean of the others, and is not moved for balance.
    pub weight: Option<u32>,
}
