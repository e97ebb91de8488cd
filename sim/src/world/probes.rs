//! Signs of life, from machine to machine.

use super::{Event, World};
use crate::invariants::Checked;
use crate::node::Input;
use tw_types::NodeId;

impl World {
    /// A process asks a node.
    pub(super) fn probe(&mut self, from: usize, by: u64, id: u64, other: &NodeId) {
        let Some(node) = self.machines.iter().position(|machine| machine.node == *other) else { return };
        if !self.network.loses_between(from, node, &mut self.random) {
            let at_us = self.now_us + self.network.delay_us(&mut self.random);
            self.at(at_us, Event::Probe { node, by, id });
        }
    }

    /// The question arrives: at a process, at a machine on which nobody listens, or nowhere.
    pub(super) fn probed(&mut self, node: usize, by: u64, id: u64) -> Checked {
        let machine = &self.machines[node];
        match machine.process.as_ref().map(|process| process.number) {
            Some(process) => self.input(node, process, Input::Probed { by, id }),
            None if machine.is_off => Ok(()),
            None => {
                self.answer_probe(node, by, id, true);
                Ok(())
            }
        }
    }

    pub(super) fn answer_probe(&mut self, from: usize, to: u64, id: u64, is_refused: bool) {
        let Some(node) = self.processes.get(&to).copied() else { return };
        if !self.network.loses_between(from, node, &mut self.random) {
            let at_us = self.now_us + self.network.delay_us(&mut self.random);
            let input = Input::ProbeAnswered { id, is_refused };
            self.at(at_us, Event::Input { node, process: to, input });
        }
    }
}
