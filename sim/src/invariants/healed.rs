//! When the faults have ended, everything is as it should be within the bound.

use super::truth::Truth;
use super::{Checked, broken};
use crate::node::{Moment, Process};
use std::collections::BTreeMap;
use tw_plan::ownership::Owner;
use tw_plan::placement::Unit;
use tw_types::NodeId;

const ID: &str = "healing";

/// The processes that run, each with its moment, and the units that there are.
pub(crate) fn check<'a>(
    truth: &Truth,
    processes: &BTreeMap<NodeId, (&'a Process, Moment<'a>)>,
    units: &BTreeMap<Unit, u32>,
) -> Checked {
    for (node, (process, _)) in processes {
        if !process.is_registered() || !process.is_quiet() {
            return broken(ID, format!("something is still under way at {node}: {process:?}"));
        }
    }
    for unit in units.keys() {
        let Some((holder, epoch)) = truth.holder(unit) else {
            return broken(ID, format!("{unit} has no owner, planned {:?}", truth.plan().get(unit)));
        };
        if truth.plan().owner(unit) != Some(&holder.node) {
            return broken(ID, format!("{unit} is at {}, planned {:?}", holder.node, truth.plan().get(unit)));
        }
        for (node, (process, at)) in processes {
            let is_there = match *node == holder.node {
                true => process.takes(unit, *at) == Some(epoch),
                false => process.core().owner(unit) == Owner::Node(holder.node.clone()),
            };
            if !is_there {
                let owner = process.core().owner(unit);
                return broken(ID, format!("{unit} is held by {holder:?}, and {node} thinks: {owner:?}"));
            }
        }
    }
    Ok(())
}
