//! The plan in the words of the interface, and what a rebalance changes of it.

use super::{in_order, named, owner, state};
use std::collections::BTreeMap;
use tw_api::parts::{MoveView, PlanNodeView, PlanView, RebalanceView};
use tw_cluster::{Owners, Rebalance};
use tw_log::Streams;
use tw_plan::placement::Unit;
use tw_types::NodeId;

/// The plan in effect, next to what is so.
pub(super) fn view(owners: &Owners, streams: &Streams, now_ms: u64) -> PlanView {
    let (plan, members) = (owners.plan(), owners.members());
    let registered = members.iter().map(|(name, member)| (name.clone(), state(member)));
    let empty = |(name, state): (String, &str)| {
        let node = PlanNodeView { name: name.clone(), state: state.to_owned(), ..PlanNodeView::default() };
        (name, node)
    };
    let mut nodes: BTreeMap<String, PlanNodeView> = registered.map(empty).collect();
    let mut moves = Vec::new();
    let mut count = |name: &str, of: fn(&mut PlanNodeView) -> &mut u64| {
        let node = nodes.entry(name.to_owned()).or_insert_with(|| empty((name.to_owned(), "gone")).1);
        *of(node) += 1;
    };
    for (unit, one) in plan.iter() {
        count(one.owner.as_str(), |node| &mut node.planned);
        one.standbys.iter().for_each(|node| count(node.as_str(), |node| &mut node.standbys));
        let has = owner(owners, unit);
        if let Some(has) = &has {
            count(has, |node| &mut node.actual);
        }
        if has.as_deref() != Some(one.owner.as_str()) {
            moves.push(described(unit, streams, has, &one.owner));
        }
    }
    PlanView {
        node: owners.node().to_string(),
        leads: owners.leads(),
        version: plan.version(),
        age_ms: now_ms.saturating_sub(plan.made_ms()),
        units: plan.len() as u64,
        nodes: nodes.into_values().collect(),
        moves: in_order(moves.into_iter(), |one| &one.name),
    }
}

/// What a rebalance changes, or would.
pub(super) fn rebalance(changes: &Rebalance, streams: &Streams, carried_out: bool) -> RebalanceView {
    let Rebalance { before, after, peak_permille_before, peak_permille_after, postponed } = changes;
    let moved = after.iter().filter(|(unit, one)| before.owner(unit) != Some(&one.owner));
    let moves = moved.map(|(unit, one)| {
        let from = before.owner(unit).map(NodeId::to_string);
        described(unit, streams, from, &one.owner)
    });
    RebalanceView {
        carried_out,
        plan_version: if carried_out { after } else { before }.version(),
        peak_permille_before: *peak_permille_before,
        peak_permille_after: *peak_permille_after,
        postponed: *postponed,
        moves: in_order(moves, |one| &one.name),
    }
}

/// A unit that moves, and whether it is a source.
fn described(unit: &Unit, streams: &Streams, from: Option<String>, to: &NodeId) -> (bool, MoveView) {
    let (is_source, name) = named(unit, streams);
    (is_source, MoveView { name, unit: unit.to_string(), from, to: to.to_string() })
}
