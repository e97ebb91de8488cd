//! What the world sees, told to the invariants and counted.

use super::{Event, Machine, World};
use crate::invariants::{By, Checked};
use crate::node::{Process, Saw};
use std::collections::BTreeSet;
use tw_plan::placement::Unit;

/// What came of the node that was killed last.
#[derive(Debug, Default)]
pub(crate) struct Takeover {
    node: Option<usize>,
    incarnation: Option<u64>,
    pub(crate) killed_us: u64,
    /// When somebody ended its registration.
    pub(crate) decided_us: Option<u64>,
    /// What it had that nobody has opened yet.
    units: BTreeSet<Unit>,
    /// When all of that was open again.
    pub(crate) opened_us: Option<u64>,
    pub(crate) led: bool,
}

impl World {
    /// A process is about to be killed.
    pub(super) fn killed(&mut self, node: usize) {
        let machine = &self.machines[node];
        let truth = self.invariants.truth();
        let is_held =
            |unit: &&Unit| truth.holder(unit).is_some_and(|(holder, _)| holder.node == machine.node);
        self.takeover = Takeover {
            node: Some(node),
            incarnation: machine.incarnation,
            killed_us: self.now_us,
            units: self.shared.units.keys().filter(is_held).cloned().collect(),
            led: machine.process.as_ref().is_some_and(Process::leads),
            ..Takeover::default()
        };
    }

    fn take_over(&mut self, node: usize, saw: &Saw) {
        match saw {
            Saw::Evicts { node: evicted, incarnation } => {
                self.tally.evictions += 1;
                let lives = |machine: &Machine| {
                    machine.node == *evicted
                        && machine.process.is_some()
                        && machine.incarnation == Some(*incarnation)
                };
                if self.machines.iter().any(lives) {
                    self.tally.evicted_alive += 1;
                }
                let victim = self.takeover.node.map(|node| &self.machines[node].node);
                if victim == Some(evicted) && self.takeover.incarnation == Some(*incarnation) {
                    self.takeover.decided_us.get_or_insert(self.now_us);
                }
            }
            Saw::Opened { unit, .. } if self.takeover.node != Some(node) => {
                let was_missing = self.takeover.units.remove(unit);
                let now_us = (was_missing && self.takeover.units.is_empty()).then_some(self.now_us);
                self.takeover.opened_us = self.takeover.opened_us.or(now_us);
            }
            _ => {}
        }
    }

    /// Coordination may have changed, through a request of this process on this machine or by itself.
    pub(super) fn changed(&mut self, by: Option<(usize, u64)>) -> Checked {
        let (changes, answers) = self.server.progress(&self.shared.keys.ranges());
        if !changes.is_empty() {
            let by = by.map(|(node, process)| By { process, node: &self.machines[node].node });
            let stored = self.invariants.stored(&changes, by, &self.shared.keys, self.now_us);
            self.judged(stored)?;
        }
        for (process, id, reply) in answers {
            self.reply(process, id, reply);
        }
        if let Some(at_us) = self.server.next_expiry_us()
            && self.expires_us.is_none_or(|known| at_us < known)
        {
            self.expires_us = Some(at_us);
            self.at(at_us.max(self.now_us), Event::Expire);
        }
        Ok(())
    }

    pub(super) fn saw(&mut self, node: usize, process: u64, saw: Saw) -> Checked {
        let machine = &mut self.machines[node];
        if !matches!(saw, Saw::Acknowledged { .. } | Saw::Unowned(_)) {
            self.trace.say(self.now_us, || format!("{}-{process}: {saw:?}", machine.node));
        }
        match &saw {
            Saw::Registered { incarnation } => machine.incarnation = Some(*incarnation),
            Saw::LostLease => machine.incarnation = None,
            Saw::Unowned(_) => {
                let is_fine = !self.server.is_away() && self.network.is_fine(node);
                if !is_fine || machine.incarnation.is_none() {
                    machine.in_touch_us = self.now_us;
                }
            }
            _ => {}
        }
        self.count(&saw);
        self.take_over(node, &saw);
        let machine = &self.machines[node];
        let by = By { process, node: &machine.node };
        let checked = match saw {
            // What runs finds nothing where nothing is wrong.
            Saw::Broken(broken) => return broken.into_iter().next().map_or(Ok(()), |one| Err(one.into())),
            Saw::Opened { unit, epoch, .. } => self.invariants.opened(&unit, epoch, by),
            Saw::Shutting { unit, epoch, is_planned_here: true } => {
                self.invariants.shuts(&unit, epoch, machine.incarnation, by)
            }
            Saw::Acknowledged { unit, offset } => self.invariants.acknowledged(&unit, offset, by, &self.log),
            Saw::Unowned(units) => self.invariants.unowned(&units, by, machine.in_touch_us, self.now_us),
            _ => Ok(()),
        };
        self.judged(checked)
    }

    fn count(&mut self, saw: &Saw) {
        let tally = &mut self.tally;
        match saw {
            Saw::LostLease => tally.leases_lost += 1,
            Saw::Opened { .. } => tally.opened += 1,
            Saw::Offers { .. } => tally.offers += 1,
            Saw::Acknowledged { .. } => tally.acknowledged += 1,
            Saw::Planned { .. } => tally.plans += 1,
            _ => {}
        }
    }

    /// The log has refused an append of a process.
    pub(super) fn refused(
        &mut self,
        node: usize,
        process: u64,
        unit: &Unit,
        writer: &str,
        epoch: u64,
    ) -> Checked {
        self.tally.refused += 1;
        self.trace
            .say(self.now_us, || format!("the log refuses an append of {writer} to {unit} in epoch {epoch}"));
        let machine = &self.machines[node];
        let by = By { process, node: &machine.node };
        match self.shared.renews_writer {
            true => self.judged(self.invariants.refused(unit, epoch, machine.incarnation, by)),
            false => Ok(()),
        }
    }
}
