//! Faults: what they do, and how they end.

use super::{Event, Over, World};
use crate::invariants::Checked;
use crate::node::Input;
use crate::profile::{Fault, unit};
use crate::stored::{About, Stored};
use tw_cluster::{Entry, Guard, Transaction};

impl World {
    pub(super) fn fault(&mut self, fault: Fault) -> Checked {
        self.trace.say(self.now_us, || format!("FAULT {fault:?}"));
        self.tally.faults += 1;
        match fault {
            Fault::Pause { node, us } => self.pause(node, us),
            Fault::Crash { node, is_machine, again_after_us } => {
                if self.machines[node].process.is_some() {
                    self.killed(node);
                    self.end(node);
                    self.machines[node].is_off = is_machine;
                    self.at(self.now_us + again_after_us, Event::Boot(node));
                }
            }
            Fault::Cut { node, from, to, us } => {
                self.network.cuts[node] = (from, to);
                self.over_after(us, Over::Cut(node));
            }
            Fault::Alone { node, us } => {
                self.network.is_alone[node] = true;
                self.over_after(us, Over::Alone(node));
            }
            Fault::Loss { permille, us } => {
                self.network.loss_permille = permille;
                self.over_after(us, Over::Loss);
            }
            Fault::Slow { us } => {
                self.network.is_slow = true;
                self.over_after(us, Over::Slow);
            }
            Fault::LateStores { us } => {
                self.network.stores_late = true;
                self.over_after(us, Over::LateStores);
            }
            Fault::SlowLog { us } => {
                self.network.is_log_slow = true;
                self.over_after(us, Over::SlowLog);
            }
            Fault::Twice { us } => {
                self.network.is_twice = true;
                self.over_after(us, Over::Twice);
            }
            Fault::Outage { us } => {
                self.server.go_away(self.now_us);
                self.over_after(us, Over::Outage);
            }
            Fault::Evict { node } => {
                if let Some(lease) = self.member(node).and_then(|entry| entry.lease) {
                    self.server.revoke(lease);
                    return self.changed(None);
                }
            }
            Fault::Drain { node, drains } => return self.drain(node, drains),
            Fault::Leave { node, again_after_us } => return self.leave(node, again_after_us),
            Fault::Compact => self.server.compact(),
            Fault::Shift => {
                let random = &mut self.random;
                self.shared.units.values_mut().for_each(|weight| *weight = random.within(1, 40) as u32);
            }
            Fault::Units => self.change_units(),
        }
        Ok(())
    }

    fn over_after(&mut self, us: u64, over: Over) {
        self.at(self.now_us + us, Event::Over(over));
    }

    pub(super) fn over(&mut self, over: Over) -> Checked {
        match over {
            Over::Pause(node) => self.wake(node),
            Over::Cut(node) => self.network.cuts[node] = (false, false),
            Over::Alone(node) => self.network.is_alone[node] = false,
            Over::Loss => self.network.loss_permille = 0,
            Over::Slow => self.network.is_slow = false,
            Over::LateStores => self.network.stores_late = false,
            Over::SlowLog => self.network.is_log_slow = false,
            Over::Twice => self.network.is_twice = false,
            Over::Outage => {
                self.server.come_back(self.now_us);
                return self.changed(None);
            }
        }
        Ok(())
    }

    fn pause(&mut self, node: usize, us: u64) {
        let machine = &mut self.machines[node];
        if machine.process.is_some() && machine.paused_until_us.is_none() {
            machine.paused_until_us = Some(self.now_us + us);
            self.over_after(us, Over::Pause(node));
        }
    }

    /// What has arrived meanwhile is dealt with in any order: threads wake up as they like.
    fn wake(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        // A pause of a process that has ended since.
        if machine.paused_until_us.is_none_or(|until_us| until_us > self.now_us && !self.is_calm) {
            return;
        }
        machine.paused_until_us = None;
        machine.in_touch_us = self.now_us;
        let Some(process) = machine.process.as_ref().map(|process| process.number) else { return };
        self.trace.say(self.now_us, || format!("{}-{process} goes on", machine.node));
        for input in std::mem::take(&mut machine.backlog) {
            let at_us = self.now_us + self.random.within(0, 5_000);
            self.at(at_us, Event::Input { node, process, input });
        }
    }

    fn member(&self, node: usize) -> Option<Entry> {
        let key = self.shared.keys.member(&self.machines[node].node);
        self.server.read(&key.alone()).entries.into_iter().next()
    }

    /// An operator says whether a node is to be given work.
    fn drain(&mut self, node: usize, drains: bool) -> Checked {
        let Some(entry) = self.member(node) else { return Ok(()) };
        let (Stored::Member { writer, .. }, Some(lease)) = (Stored::read(&entry), entry.lease) else {
            return Ok(());
        };
        // Somebody has to be left to own something.
        if drains && node == 0 {
            return Ok(());
        }
        let record = Stored::Member { writer, drains };
        let change = Transaction::new().when(Guard::Unchanged(entry.key.clone(), entry.modified));
        self.server.commit(change.put_under(lease, &entry.key, record.bytes()));
        self.changed(None)
    }

    fn leave(&mut self, node: usize, again_after_us: u64) -> Checked {
        let process = self.machines[node].process.as_ref().map(|process| process.number);
        let Some(process) = process.filter(|_| node > 0) else { return Ok(()) };
        self.at(self.now_us + again_after_us.max(6_000_000), Event::Boot(node));
        self.input(node, process, Input::Leave)
    }

    fn change_units(&mut self) {
        let count = self.shared.units.len() as u64;
        if self.random.chance(500) || count < 3 {
            self.shared.units.insert(unit(count), 10);
        } else {
            self.shared.units.remove(&unit(count - 1));
        }
    }

    /// Nothing goes wrong any more.
    pub(super) fn calm(&mut self) -> Checked {
        self.trace.say(self.now_us, || "CALM".to_owned());
        self.is_calm = true;
        self.network.calm();
        self.server.come_back(self.now_us);
        for node in 0..self.machines.len() {
            self.wake(node);
            if self.machines[node].process.is_none() {
                self.at(self.now_us + 10_000, Event::Boot(node));
            }
        }
        let members = self.server.read(&self.shared.keys.ranges()[0]).entries;
        for entry in members {
            if let About::Member(name) = self.shared.keys.about(&entry.key)
                && let Some(node) = self.machines.iter().position(|machine| machine.node == name)
            {
                self.drain(node, false)?;
            }
        }
        self.changed(None)
    }
}
