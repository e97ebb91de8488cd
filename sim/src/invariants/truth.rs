//! What coordination really has, which no node sees without delay.

use crate::stored::{About, Keys, Stored};
use std::collections::BTreeMap;
use tw_cluster::Change;
use tw_plan::ownership::Holder;
use tw_plan::placement::{Plan, Unit};
use tw_types::NodeId;

/// Who has a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) holder: Option<Holder>,
    pub(crate) epoch: u64,
}

/// A claim that was stored.
#[derive(Debug)]
pub(super) struct ClaimChange {
    pub(super) unit: Unit,
    pub(super) before: Option<Owned>,
    pub(super) after: Owned,
}

/// What there is.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    members: BTreeMap<NodeId, u64>,
    claims: BTreeMap<Unit, Owned>,
    plan: Plan,
}

impl Truth {
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Takes a change; the claim that it is, if it is one.
    pub(super) fn apply(&mut self, change: &Change, keys: &Keys) -> Option<ClaimChange> {
        let entry = match change {
            Change::Put(entry) => Some(entry),
            Change::Delete { .. } => None,
        };
        match (keys.about(change.key()), entry) {
            (About::Member(node), Some(entry)) => drop(self.members.insert(node, entry.created.0)),
            (About::Member(node), None) => drop(self.members.remove(&node)),
            (About::Plan, Some(entry)) => {
                if let Stored::Plan(plan) = Stored::read(entry) {
                    self.plan = plan;
                }
            }
            (About::Claim(unit), Some(entry)) => {
                if let Stored::Claim { holder, epoch, .. } = Stored::read(entry) {
                    let after = Owned { holder, epoch };
                    let before = self.claims.insert(unit.clone(), after.clone());
                    return Some(ClaimChange { unit, before, after });
                }
            }
            _ => {}
        }
        None
    }

    pub(crate) fn is_registered(&self, node: &NodeId, incarnation: u64) -> bool {
        self.members.get(node) == Some(&incarnation)
    }

    /// Who holds a unit, if it is registered.
    pub(crate) fn holder(&self, unit: &Unit) -> Option<(&Holder, u64)> {
        let claim = self.claims.get(unit)?;
        let holder = claim.holder.as_ref()?;
        self.is_registered(&holder.node, holder.incarnation).then_some((holder, claim.epoch))
    }

    /// The units of the plan that nobody has.
    pub(super) fn unowned(&self) -> impl Iterator<Item = &Unit> {
        self.plan.iter().map(|(unit, _)| unit).filter(|unit| self.holder(unit).is_none())
    }
}
