//! Detection, carried out: probes, suspicions that are told, and registrations that are ended.

use super::{Effect, Effects, Moment, Process, Purpose, Saw, Timer};
use crate::coordination::{Reply, Request};
use crate::stored::Stored;
use std::collections::BTreeMap;
use tw_cluster::{Guard, Outcome, Revision, Transaction};
use tw_plan::detection::{Action, Detection, Options, Probe, Suspects};
use tw_types::NodeId;

/// A node's part in detection.
#[derive(Debug)]
pub(super) struct Detector {
    core: Detection,
    /// The probes under way: whom, and since when.
    probes: BTreeMap<u64, (NodeId, u64)>,
    count: u64,
    looks: u64,
    looks_at_ms: Option<u64>,
}

impl Detector {
    pub(super) fn new(node: NodeId) -> Self {
        let core = Detection::new(node, Options::default()).unwrap_or_else(|error| unreachable!("{error}"));
        Self { core, probes: BTreeMap::new(), count: 0, looks: 0, looks_at_ms: None }
    }
}

impl Process {
    pub(super) fn detector_members(&mut self, at: Moment<'_>) {
        let members = self.members.iter().map(|(node, member)| (node.clone(), member.incarnation)).collect();
        self.detector.core.members(members, at.local_ms());
    }

    pub(super) fn leader_changed(&mut self) {
        let leader = self.leader().cloned();
        self.detector.core.leader(leader);
    }

    pub(super) fn voted(&mut self, voter: &NodeId, told: Option<Stored>) {
        let suspects = match told {
            Some(Stored::Suspects(suspects)) => suspects,
            _ => Suspects::new(),
        };
        self.detector.core.voted(voter, suspects);
    }

    pub(super) fn detect_at(&mut self, look: u64, at: Moment<'_>, out: &mut Effects) {
        if look == self.detector.looks {
            self.detector.looks_at_ms = None;
            self.detect(at, out);
        }
    }

    /// Asks the core what to do, and when to ask again.
    pub(super) fn detect(&mut self, at: Moment<'_>, out: &mut Effects) {
        if !at.shared.detects || self.core.me().incarnation == 0 {
            return;
        }
        for action in self.detector.core.step(at.local_ms()) {
            match action {
                Action::Probe { node, limit_ms } => {
                    self.detector.count += 1;
                    let id = self.detector.count;
                    self.detector.probes.insert(id, (node.clone(), at.local_us));
                    out.push(Effect::Probe { id, node });
                    out.push(Effect::After(limit_ms * 1000, Timer::ProbeLimit(id)));
                }
                Action::Tell(suspects) => self.tell_suspects(suspects, at, out),
                Action::Evict { node, incarnation } => self.evict(node, incarnation, out),
            }
        }
        let wake_at_ms = self.detector.core.wake_at_ms(at.local_ms());
        if self.detector.looks_at_ms == Some(wake_at_ms) {
            return;
        }
        self.detector.looks += 1;
        self.detector.looks_at_ms = Some(wake_at_ms);
        let after_us = (wake_at_ms * 1000).saturating_sub(at.local_us).max(1_000);
        out.push(Effect::After(after_us, Timer::Detect(self.detector.looks)));
    }

    fn tell_suspects(&mut self, suspects: Suspects, at: Moment<'_>, out: &mut Effects) {
        let Some(lease) = self.lease_id().filter(|_| self.is_registered()) else {
            return self.detector.core.not_told();
        };
        let keys = &at.shared.keys;
        let here = Guard::Created(keys.member(&self.node), Revision(self.incarnation));
        let told = Stored::Suspects(suspects).bytes();
        let tell = Transaction::new().when(here).put_under(lease, &keys.suspects(&self.node), told);
        self.ask_for(Purpose::Tell, Request::Commit(tell), out);
    }

    pub(super) fn suspects_told(&mut self, reply: Option<&Reply>) {
        if !matches!(reply, Some(Reply::Committed(Outcome::Done(_)))) {
            self.detector.core.not_told();
        }
    }

    fn evict(&mut self, node: NodeId, incarnation: u64, out: &mut Effects) {
        let member = self.members.get(&node).filter(|member| member.incarnation == incarnation);
        if let Some(lease) = member.and_then(|member| member.lease) {
            out.push(Effect::Saw(Saw::Evicts { node, incarnation }));
            self.ask_for(Purpose::GiveUp, Request::Revoke(lease), out);
        }
    }

    pub(super) fn probe_answered(&mut self, id: u64, is_refused: bool, at: Moment<'_>, out: &mut Effects) {
        let Some((node, asked_us)) = self.detector.probes.remove(&id) else { return };
        let rtt_ms = ((at.local_us - asked_us) / 1000) as u32;
        let probe = if is_refused { Probe::Refused } else { Probe::Answered { rtt_ms } };
        self.detector.core.probed(&node, probe, at.local_ms());
        self.detect(at, out);
    }

    pub(super) fn probe_silent(&mut self, id: u64, at: Moment<'_>, out: &mut Effects) {
        let Some((node, _)) = self.detector.probes.remove(&id) else { return };
        self.detector.core.probed(&node, Probe::Silent, at.local_ms());
        self.detect(at, out);
    }
}
