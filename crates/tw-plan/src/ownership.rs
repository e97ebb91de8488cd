//! Ownership: how one node carries a plan out, unit by unit, so that never two write the same.
//!
//! The plan says who *should* own a unit; a *claim* says who does. A claim is a record in coordination: a holder, in one of its
//! incarnations, and an epoch, which is one higher than that of the claim before. It is in force while that incarnation of the
//! holder is registered. [`Ownership`] looks at what is the case (plan, nodes, claims, who is warm) and says what this node
//! does next; it keeps no history, so an answer that is lost, late or wrong only means that it looks again.
//!
//! ```text
//!             the plan names B                 B is warm               transferred
//!  A holds ─────────────────────▶ B warms up ────────────▶ A shuts ─────────────────▶ B opens
//!  A dies  ──── its registration ends ──▶ B claims ──▶ B fences A's writer off ──▶ B opens
//! ```
//!
//! What this keeps, a simulation tests, and [`invariants`] checks where nodes run:
//! - CLU-1: a unit is open at one node per epoch, and before a node opens what another one held that did not shut it, that
//!   node's writer is fenced off by the log itself.
//! - CLU-2: a unit without an owner is told, with the time since when ([`Ownership::unowned`]).
//! - CLU-3: a unit that does not move is not touched.

mod act;
mod claim;
mod decide;
pub mod invariants;
#[cfg(test)]
mod tests;

pub use act::{Act, Outcome};
pub use claim::{Claim, Holder};

use crate::placement::{Assignment, Plan, Unit};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tw_types::NodeId;

/// How long a node waits before it tries again what did not work, in milliseconds.
pub const RETRY_MS: u64 = 200;

/// One node's view of who owns what, and its part in it. Times are milliseconds of any clock that only rises.
#[derive(Debug, Clone)]
pub struct Ownership {
    me: Holder,
    /// Whether this incarnation's lease is held.
    is_registered: bool,
    /// Whether everything is given up.
    is_leaving: bool,
    plan: Arc<Plan>,
    members: BTreeMap<NodeId, u64>,
    units: BTreeMap<Unit, State>,
    /// Units that are to be looked at.
    dirty: BTreeSet<Unit>,
}

/// What is known of a unit, and what is done about it here.
#[derive(Debug, Clone, Default)]
struct State {
    claim: Option<Claim>,
    /// Who has said that it is warm.
    ready: Option<NodeId>,
    /// Whether its state is warm here.
    is_warm: bool,
    /// The epoch in which it takes writes here.
    open: Option<u64>,
    /// What is being done about it.
    busy: Option<Act>,
    /// The revision of the record that was to be given away, when nobody knows whether it was, or still will be.
    offered: Option<u64>,
    /// Not before.
    retry_at_ms: u64,
    /// Since when nobody has had it open, as far as can be seen from here.
    unowned_since_ms: Option<u64>,
}

/// Who takes the writes of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// This node, in this epoch.
    Here(u64),
    /// Another node.
    Node(NodeId),
    /// This node soon, or whoever the plan names: nobody yet.
    Nobody,
}

impl Ownership {
    /// The part of a node that has just been registered, in this incarnation.
    pub fn new(me: Holder) -> Self {
        Self {
            me,
            is_registered: true,
            is_leaving: false,
            plan: Arc::default(),
            members: BTreeMap::new(),
            units: BTreeMap::new(),
            dirty: BTreeSet::new(),
        }
    }

    /// Who this node is.
    pub fn me(&self) -> &Holder {
        &self.me
    }

    /// The plan that is carried out.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The lease is held no longer: every unit is shut.
    pub fn lost(&mut self) {
        self.is_registered = false;
        self.touch_all();
    }

    /// The node is registered again, in a new incarnation, and writes under this name from now on: another one than before, or
    /// one that others may fence off at any time because they have taken units over meanwhile.
    pub fn registered(&mut self, incarnation: u64, writer: &str) {
        (self.me.incarnation, self.is_registered) = (incarnation, true);
        writer.clone_into(&mut self.me.writer);
        self.touch_all();
    }

    /// The node is about to end: it shuts and gives up all that it has.
    pub fn leave(&mut self) {
        self.is_leaving = true;
        self.touch_all();
    }

    /// Whether nothing is held here any more, nor anything under way.
    pub fn is_idle(&self) -> bool {
        self.units.values().all(|state| state.open.is_none() && state.busy.is_none() && !self.is_mine(state))
    }

    /// A plan has been made. An older one than the last changes nothing.
    pub fn planned(&mut self, plan: Arc<Plan>) {
        if plan.version() < self.plan.version() {
            return;
        }
        let named = plan.iter().filter(|(unit, one)| self.plan.get(unit) != Some(*one));
        let gone = self.plan.iter().filter(|(unit, _)| plan.get(unit).is_none());
        let changed: BTreeSet<Unit> = named.chain(gone).map(|(unit, _)| unit.clone()).collect();
        for unit in &changed {
            self.units.entry(unit.clone()).or_default();
        }
        self.plan = plan;
        self.dirty.extend(changed);
    }

    /// The nodes that are registered, with their incarnations.
    pub fn members(&mut self, members: BTreeMap<NodeId, u64>) {
        if members != self.members {
            self.members = members;
            // What failed may succeed now.
            self.units.values_mut().for_each(|state| state.retry_at_ms = 0);
            self.touch_all();
        }
    }

    /// What coordination says of a unit's claim.
    pub fn claimed(&mut self, unit: &Unit, claim: Option<Claim>) {
        let state = self.units.entry(unit.clone()).or_default();
        // A look that is older than what was done here since.
        if let (Some(known), Some(new)) = (&state.claim, &claim)
            && new.revision < known.revision
        {
            return;
        }
        (state.claim, state.retry_at_ms) = (claim, 0);
        self.dirty.insert(unit.clone());
    }

    /// Who says that it has a unit's state warm.
    pub fn ready(&mut self, unit: &Unit, node: Option<NodeId>) {
        let state = self.units.entry(unit.clone()).or_default();
        if state.ready != node {
            state.ready = node;
            self.dirty.insert(unit.clone());
        }
    }

    /// Whether a unit's state is warm here.
    pub fn warm(&mut self, unit: &Unit, is_warm: bool) {
        if let Some(state) = self.units.get_mut(unit)
            && state.is_warm != is_warm
        {
            state.is_warm = is_warm;
            self.dirty.insert(unit.clone());
        }
    }

    /// What became of something that was to be done.
    pub fn done(&mut self, unit: &Unit, outcome: Outcome, now_ms: u64) {
        let Some(state) = self.units.get_mut(unit) else { return };
        let Some(act) = state.busy.take() else { return };
        match outcome {
            Outcome::Failed => {
                state.retry_at_ms = now_ms + RETRY_MS;
                if let Act::Transfer { claim, .. } | Act::Release(claim) = act {
                    state.offered = Some(claim.revision);
                }
            }
            Outcome::Stored(claim) => state.store(claim),
            Outcome::Done => match act {
                Act::Open { epoch, .. } => state.open = Some(epoch),
                Act::Shut => state.open = None,
                // Seen when it is told like everything else; by now it may be over already. If it was not seen, once more.
                Act::Announce => state.retry_at_ms = now_ms + RETRY_MS,
                // Their outcome is a record.
                Act::Claim { .. } | Act::Confirm(_) | Act::Transfer { .. } | Act::Release(_) => {}
            },
        }
        self.dirty.insert(unit.clone());
    }

    /// The units whose state has to be kept warm here: those that this node owns, is to own, stands by for, or has said to have
    /// warm.
    pub fn kept(&self) -> BTreeSet<Unit> {
        let kept = self.units.iter().filter(|(unit, state)| self.is_kept(unit, state));
        kept.map(|(unit, _)| unit.clone()).collect()
    }

    /// The units that this node is to take over from another one, and has not said to be warm.
    pub fn awaited(&self) -> Vec<Unit> {
        let is_awaited = |(unit, state): &(&Unit, &State)| {
            let is_planned = self.plan.owner(unit) == Some(&self.me.node);
            let is_held = state.claim.as_ref().is_some_and(|claim| self.is_in_force(claim));
            is_planned && is_held && !self.is_mine(state) && state.ready.as_ref() != Some(&self.me.node)
        };
        self.units.iter().filter(is_awaited).map(|(unit, _)| unit.clone()).collect()
    }

    /// How many units are not where the plan has them.
    pub fn in_transit(&self) -> usize {
        let is_there = |unit: &Unit, one: &Assignment| {
            let claim = self.units.get(unit).and_then(|state| state.claim.as_ref());
            let holder =
                claim.filter(|claim| self.is_in_force(claim)).and_then(|claim| claim.holder.as_ref());
            holder.is_some_and(|holder| holder.node == one.owner)
        };
        self.plan.iter().filter(|(unit, one)| !is_there(unit, one)).count()
    }

    /// Who takes the writes of a unit.
    pub fn owner(&self, unit: &Unit) -> Owner {
        let Some(state) = self.units.get(unit) else { return Owner::Nobody };
        match (&state.claim, state.open) {
            (Some(claim), Some(epoch)) if self.is_mine(state) && claim.epoch == epoch => match state.busy {
                Some(Act::Shut) => Owner::Nobody,
                _ => Owner::Here(epoch),
            },
            (Some(claim), _) if self.is_in_force(claim) && !self.is_mine(state) => {
                claim.holder.as_ref().map_or(Owner::Nobody, |holder| Owner::Node(holder.node.clone()))
            }
            _ => Owner::Nobody,
        }
    }

    /// Who else keeps a unit's state warm: of the nodes that are registered those that the plan names, the first one takes over
    /// first, without the one that takes its writes.
    pub fn standbys(&self, unit: &Unit) -> Vec<NodeId> {
        let Some(Assignment { owner, standbys, .. }) = self.plan.get(unit) else { return Vec::new() };
        let writer = match self.owner(unit) {
            Owner::Here(_) => Some(self.me.node.clone()),
            Owner::Node(node) => Some(node),
            Owner::Nobody => None,
        };
        let named = std::iter::once(owner).chain(standbys);
        let stand_by =
            named.filter(|node| Some(*node) != writer.as_ref() && self.members.contains_key(*node));
        stand_by.cloned().collect()
    }

    /// The units that the plan has and nobody holds, and since when (CLU-2). Takes a look at all of them.
    pub fn unowned(&mut self, now_ms: u64) -> BTreeMap<Unit, u64> {
        let mut unowned = BTreeMap::new();
        let units: Vec<Unit> = self.units.keys().cloned().collect();
        for unit in units {
            let is_unowned = self.plan.get(&unit).is_some() && self.owner(&unit) == Owner::Nobody;
            let Some(state) = self.units.get_mut(&unit) else { continue };
            if is_unowned {
                let since = *state.unowned_since_ms.get_or_insert(now_ms);
                unowned.insert(unit, since);
            } else {
                state.unowned_since_ms = None;
            }
        }
        unowned
    }

    /// How many units are open here.
    pub fn open(&self) -> usize {
        self.units.values().filter(|state| state.open.is_some()).count()
    }

    fn touch_all(&mut self) {
        self.dirty.extend(self.units.keys().cloned());
    }

    /// Whether the claim's holder is registered still.
    fn is_in_force(&self, claim: &Claim) -> bool {
        claim.holder.as_ref().is_some_and(|holder| {
            if holder.node == self.me.node {
                return self.is_registered && holder.incarnation == self.me.incarnation;
            }
            self.members.get(&holder.node) == Some(&holder.incarnation)
        })
    }

    /// Whether its state has to be kept warm here.
    fn is_kept(&self, unit: &Unit, state: &State) -> bool {
        let is_planned = |one: &Assignment| one.owner == self.me.node || one.standbys.contains(&self.me.node);
        let is_said = state.ready.as_ref() == Some(&self.me.node);
        self.plan.get(unit).is_some_and(is_planned) || state.open.is_some() || self.is_mine(state) || is_said
    }

    /// Whether this node holds it.
    fn is_mine(&self, state: &State) -> bool {
        state.claim.as_ref().is_some_and(|claim| {
            let is_me = claim.holder.as_ref().is_some_and(|holder| holder.node == self.me.node);
            is_me && self.is_in_force(claim)
        })
    }
}

impl State {
    /// Takes what was stored; a later look may have come before.
    fn store(&mut self, claim: Option<Claim>) {
        let is_older =
            matches!((&self.claim, &claim), (Some(known), Some(new)) if new.revision < known.revision);
        if !is_older {
            self.claim = claim;
        }
    }
}
