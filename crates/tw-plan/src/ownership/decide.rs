//! The decision about one unit: what is the case, and what follows.

use super::{Act, Claim, Ownership, State};
use crate::placement::Unit;
use tw_types::NodeId;

impl Ownership {
    /// What this node is to do now; each is answered by [`Ownership::done`]. Nothing for a unit about which something is being
    /// done already. Ask again at [`Ownership::retry_at_ms`], too.
    pub fn step(&mut self, now_ms: u64) -> Vec<(Unit, Act)> {
        let mut acts = Vec::new();
        for unit in std::mem::take(&mut self.dirty) {
            let Some(state) = self.units.get(&unit) else { continue };
            if state.busy.is_some() {
                // Its outcome brings it back.
                continue;
            }
            match self.decide(&unit, state) {
                Some(act) if now_ms < state.retry_at_ms && act != Act::Shut => {
                    self.dirty.insert(unit);
                }
                Some(act) => {
                    if let Some(state) = self.units.get_mut(&unit) {
                        state.busy = Some(act.clone());
                    }
                    acts.push((unit, act));
                }
                None => self.forget(&unit),
            }
        }
        acts
    }

    /// When there is something to try again, if there is.
    pub fn retry_at_ms(&self) -> Option<u64> {
        let states = self.dirty.iter().filter_map(|unit| self.units.get(unit));
        states.filter(|state| state.busy.is_none()).map(|state| state.retry_at_ms).min()
    }

    fn decide(&self, unit: &Unit, state: &State) -> Option<Act> {
        let claim = state.claim.as_ref();
        let is_mine = self.is_mine(state);
        if let Some(epoch) = state.open {
            let is_held = is_mine && claim.is_some_and(|claim| claim.epoch == epoch);
            // Safety first.
            if !is_held {
                return Some(Act::Shut);
            }
        }
        if !self.is_registered {
            return None;
        }
        let planned = self.plan.get(unit).map(|one| &one.owner).filter(|_| !self.is_leaving);
        match claim {
            Some(claim) if is_mine => self.hold(state, claim, planned),
            _ if planned != Some(&self.me.node) => None,
            Some(claim) if self.is_in_force(claim) => {
                let is_to_be_said = state.is_warm && state.ready.as_ref() != Some(&self.me.node);
                is_to_be_said.then_some(Act::Announce)
            }
            found => Some(self.take(found)),
        }
    }

    /// A unit that is held here.
    fn hold(&self, state: &State, claim: &Claim, planned: Option<&NodeId>) -> Option<Act> {
        let successor = planned.filter(|node| **node != self.me.node);
        // Only to whom is alive and warm; until then it goes on here.
        let ready = successor.filter(|node| state.ready.as_ref() == Some(*node));
        let ready = ready.and_then(|node| Some((node, *self.members.get(node)?)));
        match (ready, planned) {
            (Some((to, incarnation)), _) => Some(match state.open {
                Some(_) => Act::Shut,
                None => Act::Transfer { claim: claim.clone(), to: to.clone(), incarnation },
            }),
            (None, None) => Some(match state.open {
                Some(_) => Act::Shut,
                None => Act::Release(claim.clone()),
            }),
            // A transaction that gives it away may still be on its way: from here on, that one fails.
            (None, Some(_)) if state.open.is_none() && state.offered == Some(claim.revision) => {
                let again = Claim { epoch: claim.epoch + 1, revision: 0, ..claim.clone() };
                Some(Act::Claim { claim: again, found: Some(claim.revision), gone: None })
            }
            (None, Some(_)) if state.open.is_none() => {
                Some(Act::Open { epoch: claim.epoch, fence: self.others(claim.fence.clone()) })
            }
            (None, Some(_)) if !claim.fence.is_empty() => {
                Some(Act::Confirm(Claim { fence: Vec::new(), ..claim.clone() }))
            }
            (None, Some(_)) => None,
        }
    }

    /// A unit that nobody holds and that the plan gives to this node.
    fn take(&self, found: Option<&Claim>) -> Act {
        let claim = Claim {
            holder: Some(self.me.clone()),
            epoch: found.map_or(0, |claim| claim.epoch) + 1,
            fence: self.others(found.map(Claim::suspects).unwrap_or_default()),
            revision: 0,
        };
        let holder = found.and_then(|claim| claim.holder.as_ref());
        let gone = holder.filter(|holder| holder.node != self.me.node);
        Act::Claim {
            claim,
            found: found.map(|claim| claim.revision),
            gone: gone.map(|holder| (holder.node.clone(), holder.incarnation)),
        }
    }

    /// Writers without this one, which does not have to fence itself off: what is not open here is shut here.
    fn others(&self, mut writers: Vec<String>) -> Vec<String> {
        writers.retain(|writer| *writer != self.me.writer);
        writers
    }

    /// What is not kept here is not warm any more. What the plan no longer has, and nobody has either, is not remembered.
    fn forget(&mut self, unit: &Unit) {
        let is_cold = self.units.get(unit).is_some_and(|state| !self.is_kept(unit, state));
        if let Some(state) = self.units.get_mut(unit).filter(|_| is_cold) {
            state.is_warm = false;
        }
        let is_unused = self.units.get(unit).is_some_and(|state| {
            let is_free = state.claim.is_none() && state.open.is_none() && state.ready.is_none();
            is_free && self.plan.get(unit).is_none()
        });
        if is_unused {
            self.units.remove(unit);
        }
    }
}
