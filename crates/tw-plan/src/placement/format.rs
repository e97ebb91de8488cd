//! The stored form of a plan, format 1.
//!
//! ```text
//! {"format":1,"version":7,"made_ms":1700000000000,"nodes":["a","b"],"units":[UNIT, …]}
//!
//! UNIT: ["7/0",0,[1],7,1700000000000,0]
//!        │     │ │   │ │             └ moves
//!        │     │ │   │ └────────────── since_ms
//!        │     │ │   └──────────────── since_version
//!        │     │ └──────────────────── standbys ┐ places in `nodes`
//!        │     └────────────────────── owner    ┘
//!        └──────────────────────────── unit
//! ```

use super::{Assignment, NODES_MAX, Plan, UNITS_MAX, Unit};
use crate::Error;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tw_types::NodeId;

/// How many standbys a stored unit may have.
const STANDBYS_MAX: usize = 3;

/// See the module's text.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanV1 {
    format: u32,
    version: u64,
    made_ms: u64,
    nodes: Vec<NodeId>,
    units: Vec<(Unit, u32, Vec<u32>, u64, u64, u32)>,
}

impl From<Plan> for PlanV1 {
    fn from(plan: Plan) -> Self {
        let assignments = plan.assignments.values();
        let named: BTreeSet<&NodeId> =
            assignments.flat_map(|one| one.standbys.iter().chain([&one.owner])).collect();
        let places: BTreeMap<&NodeId, u32> = named.iter().copied().zip(0..).collect();
        let place = |node: &NodeId| places.get(node).copied().unwrap_or_default();
        let unit = |(unit, one): (&Unit, &Assignment)| {
            let standbys = one.standbys.iter().map(place).collect();
            (unit.clone(), place(&one.owner), standbys, one.since_version, one.since_ms, one.moves)
        };
        Self {
            format: 1,
            version: plan.version,
            made_ms: plan.made_ms,
            nodes: named.iter().copied().cloned().collect(),
            units: plan.assignments.iter().map(unit).collect(),
        }
    }
}

impl TryFrom<PlanV1> for Plan {
    type Error = Error;

    fn try_from(stored: PlanV1) -> Result<Self, Error> {
        let damaged = |rule| Error::StoredPlan { rule };
        if stored.format != 1 {
            return Err(Error::StoredFormat { format: stored.format });
        }
        if stored.units.len() > UNITS_MAX || stored.nodes.len() > NODES_MAX {
            return Err(damaged("it has too many units or nodes"));
        }
        if !stored.nodes.is_sorted_by(|a, b| a < b) {
            return Err(damaged("its nodes are not in order"));
        }
        let node = |place: u32| {
            let node = stored.nodes.get(place as usize).cloned();
            node.ok_or_else(|| damaged("it points to a node that it does not name"))
        };
        let mut assignments = BTreeMap::new();
        for (unit, owner, standbys, since_version, since_ms, moves) in stored.units {
            let distinct: BTreeSet<u32> = standbys.iter().copied().chain([owner]).collect();
            if distinct.len() != standbys.len() + 1 || standbys.len() > STANDBYS_MAX {
                return Err(damaged("a unit has too many standbys, or the same node twice"));
            }
            if since_version > stored.version {
                return Err(damaged("a unit's owner is newer than the plan"));
            }
            let standbys = standbys.into_iter().map(node).collect::<Result<_, _>>()?;
            let assignment = Assignment { owner: node(owner)?, standbys, since_version, since_ms, moves };
            if assignments.insert(unit, assignment).is_some() {
                return Err(damaged("it has a unit twice"));
            }
        }
        Ok(Self { version: stored.version, made_ms: stored.made_ms, assignments })
    }
}
