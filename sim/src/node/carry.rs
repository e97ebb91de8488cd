//! Carrying out what the core says about a unit.

use super::{Effect, Effects, Moment, Process, Purpose, Saw, Timer};
use crate::coordination::{Reply, Request};
use crate::defect::Defect;
use crate::log::LogRequest;
use crate::node::register::holder;
use crate::node::write::Writing;
use crate::stored::Stored;
use tw_cluster::{Guard, Key, Outcome as Committed, Revision, Transaction};
use tw_plan::ownership::{Act, Claim, Outcome};
use tw_plan::placement::Unit;
use tw_types::NodeId;

/// A unit that is about to take writes.
#[derive(Debug)]
pub(super) struct Opening {
    epoch: u64,
    /// How many writers are still to be fenced off.
    unfenced: usize,
}

impl Process {
    /// Asks the core until it has nothing more to do now.
    pub(super) fn step(&mut self, at: Moment<'_>, out: &mut Effects) {
        // Without a registration there is nothing to begin with.
        if self.core.me().incarnation == 0 {
            return;
        }
        loop {
            let acts = self.core.step(at.local_ms());
            if acts.is_empty() {
                break;
            }
            self.kept_is_old = true;
            for (unit, act) in acts {
                self.carry_out(unit, act, at, out);
            }
        }
        if std::mem::take(&mut self.kept_is_old) {
            self.keep(out);
        }
        if self.is_leaving && self.is_quiet() && self.core.is_idle() {
            self.unregister(out);
        }
        if let Some(at_ms) = self.core.retry_at_ms().map(|at_ms| at_ms.max(at.local_ms() + 1))
            && self.wakes_at_ms.is_none_or(|known| at_ms < known)
        {
            self.wakes += 1;
            self.wakes_at_ms = Some(at_ms);
            out.push(Effect::After(at_ms * 1000 - at.local_us, Timer::Wake(self.wakes)));
        }
    }

    /// Warms what is to be kept from now on.
    fn keep(&mut self, out: &mut Effects) {
        let kept = self.core.kept();
        for unit in kept.difference(&self.kept) {
            let warm_us = self.random.within(5_000, 300_000);
            out.push(Effect::After(warm_us, Timer::Warm(unit.clone())));
        }
        self.kept = kept;
    }

    fn carry_out(&mut self, unit: Unit, act: Act, at: Moment<'_>, out: &mut Effects) {
        match act {
            Act::Open { epoch, fence } => self.open(unit, epoch, fence, at, out),
            Act::Shut => self.shut(unit, at, out),
            stored => match self.transaction(&unit, stored, at, out) {
                Some((transaction, claim)) => {
                    self.ask_for(Purpose::Act { unit, claim }, Request::Commit(transaction), out);
                }
                None => self.core.done(&unit, Outcome::Failed, at.local_ms()),
            },
        }
    }

    /// What an act stores, and the claim that is in it.
    fn transaction(
        &self,
        unit: &Unit,
        act: Act,
        at: Moment<'_>,
        out: &mut Effects,
    ) -> Option<(Transaction, Option<Claim>)> {
        let keys = &at.shared.keys;
        let key = keys.claim(unit);
        let of = |claim: &Claim| Guard::Unchanged(key.clone(), Revision(claim.revision));
        // Whatever this node stores it stores only while it is registered.
        let here = Guard::Created(keys.member(&self.node), Revision(self.incarnation));
        let transaction = Transaction::new().when(here);
        Some(match act {
            Act::Claim { claim, found, gone } => {
                let mut transaction = transaction;
                if !at.has(Defect::ClaimsOverOthers) {
                    transaction = transaction.when(match found {
                        Some(revision) => Guard::Unchanged(key.clone(), Revision(revision)),
                        None => Guard::Absent(key.clone()),
                    });
                }
                if let Some((node, _)) = gone {
                    transaction = transaction.when(self.is_gone(&node, at));
                }
                put(transaction, &key, claim)
            }
            Act::Confirm(claim) => put(transaction.when(of(&claim)), &key, claim),
            Act::Transfer { claim, to, incarnation } => {
                let member = self.members.get(&to)?;
                out.push(Effect::Saw(Saw::Offers { unit: unit.clone() }));
                let there = Guard::Created(keys.member(&to), Revision(member.incarnation));
                let given = Claim {
                    holder: Some(holder(&to, incarnation, &member.writer)),
                    epoch: claim.epoch + 1,
                    fence: claim.fence.clone(),
                    revision: 0,
                };
                let transaction = transaction.when(of(&claim)).when(there);
                put(transaction.delete(&keys.ready(unit)), &key, given)
            }
            Act::Release(claim) => {
                out.push(Effect::Saw(Saw::Offers { unit: unit.clone() }));
                put(transaction.when(of(&claim)), &key, Claim { holder: None, ..claim })
            }
            Act::Announce => {
                let ready = Stored::Ready(self.node.clone());
                (transaction.put_under(self.lease_id()?, &keys.ready(unit), ready.bytes()), None)
            }
            Act::Open { .. } | Act::Shut => return None,
        })
    }

    /// That the node is not registered as it was: not at all, or in another incarnation.
    fn is_gone(&self, node: &NodeId, at: Moment<'_>) -> Guard {
        let key = at.shared.keys.member(node);
        match self.members.get(node) {
            Some(member) => Guard::Created(key, Revision(member.incarnation)),
            None => Guard::Absent(key),
        }
    }

    pub(super) fn acted(&mut self, unit: &Unit, claim: Option<Claim>, reply: Option<Reply>, at: Moment<'_>) {
        let outcome = match (reply, claim) {
            (Some(Reply::Committed(Committed::Done(revision))), Some(claim)) => {
                Outcome::Stored(Some(Claim { revision: revision.0, ..claim }))
            }
            (Some(Reply::Committed(Committed::Done(_))), None) => Outcome::Done,
            _ => Outcome::Failed,
        };
        self.core.done(unit, outcome, at.local_ms());
        self.kept_is_old = true;
    }

    fn open(&mut self, unit: Unit, epoch: u64, fence: Vec<String>, at: Moment<'_>, out: &mut Effects) {
        let fence = if at.has(Defect::OpensWithoutFencing) { Vec::new() } else { fence };
        self.opening.insert(unit.clone(), Opening { epoch, unfenced: fence.len() });
        if fence.is_empty() {
            out.push(Effect::AskLog(LogRequest::Refresh(unit)));
            return;
        }
        let requests = fence.into_iter().map(|writer| LogRequest::Fence { unit: unit.clone(), writer });
        out.extend(requests.map(Effect::AskLog));
    }

    /// One of the writers is fenced off.
    pub(super) fn fenced(&mut self, unit: Unit, at: Moment<'_>, out: &mut Effects) {
        let Some(opening) = self.opening.get_mut(&unit) else { return };
        opening.unfenced = opening.unfenced.saturating_sub(1);
        if opening.unfenced > 0 {
            return;
        }
        // Now and then the log is out of reach just now.
        if self.random.chance(30) {
            self.opening.remove(&unit);
            return self.core.done(&unit, Outcome::Failed, at.local_ms());
        }
        out.push(Effect::AskLog(LogRequest::Refresh(unit)));
    }

    /// Everything before this is known.
    pub(super) fn refreshed(&mut self, unit: Unit, end: u64, at: Moment<'_>, out: &mut Effects) {
        let Some(Opening { epoch, .. }) = self.opening.remove(&unit) else { return };
        let known = if at.has(Defect::OpensWithoutReading) { 0 } else { end };
        self.writing.insert(unit.clone(), Writing::new(epoch, known));
        out.push(Effect::Saw(Saw::Opened { unit: unit.clone(), epoch, end: known }));
        self.core.done(&unit, Outcome::Done, at.local_ms());
        self.kept_is_old = true;
    }

    fn shut(&mut self, unit: Unit, at: Moment<'_>, out: &mut Effects) {
        let is_planned_here = !self.is_leaving && self.core.plan().owner(&unit) == Some(&self.node);
        let epoch = self.writing.get(&unit).map_or(0, Writing::epoch);
        out.push(Effect::Saw(Saw::Shutting { unit: unit.clone(), epoch, is_planned_here }));
        self.shutting.insert(unit.clone());
        self.shut_if_still(unit, at, out);
    }

    /// The unit is shut when nothing of it is under way.
    pub(super) fn shut_if_still(&mut self, unit: Unit, at: Moment<'_>, out: &mut Effects) {
        let is_still = self.writing.get(&unit).is_none_or(Writing::is_still) || at.has(Defect::ShutsAtOnce);
        if is_still && self.shutting.remove(&unit) {
            self.writing.remove(&unit);
            out.push(Effect::Saw(Saw::Shut { unit: unit.clone() }));
            self.core.done(&unit, Outcome::Done, at.local_ms());
            self.kept_is_old = true;
        }
    }
}

fn put(transaction: Transaction, key: &Key, claim: Claim) -> (Transaction, Option<Claim>) {
    (transaction.put(key, Stored::claim(&claim).bytes()), Some(claim))
}
