//! Failure detection: which node is dead, found out by asking, and agreed on by votes.
//!
//! The lease is for safety: a node that cannot renew it stops. [`Detection`] is for speed: nodes probe each other, tell whom they
//! suspect, and whoever leads ends the registration of a node that a majority of the others suspects. A false verdict costs a
//! pause, never an event: the node finds out, shuts what it has, and comes back. The README in this module's folder states the
//! problem, the rules and what they are measured by.

mod act;
mod options;
mod peer;
#[cfg(test)]
mod tests;
mod verdict;

pub use act::{Action, Probe, Suspects};
pub use options::Options;

use crate::Error;
use peer::Peer;
use std::collections::BTreeMap;
use tw_types::NodeId;
use verdict::Verdicts;

/// One node's part in detection. Times are milliseconds of any clock that only rises.
#[derive(Debug, Clone)]
pub struct Detection {
    me: NodeId,
    options: Options,
    /// Every registered node, this one included, with its incarnation.
    members: BTreeMap<NodeId, u64>,
    leader: Option<NodeId>,
    peers: BTreeMap<NodeId, Peer>,
    /// Whom the others suspect.
    votes: BTreeMap<NodeId, Suspects>,
    /// What this node has told last.
    told: Suspects,
    /// When this was looked at last.
    looked_ms: Option<u64>,
    verdicts: Verdicts,
}

impl Detection {
    /// The part of a node that knows of no other yet.
    ///
    /// # Errors
    /// [`Error::Option`].
    pub fn new(me: NodeId, options: Options) -> Result<Self, Error> {
        options.check()?;
        Ok(Self {
            me,
            options,
            members: BTreeMap::new(),
            leader: None,
            peers: BTreeMap::new(),
            votes: BTreeMap::new(),
            told: Suspects::new(),
            looked_ms: None,
            verdicts: Verdicts::default(),
        })
    }

    /// The nodes that are registered, with their incarnations. One that is new is given its time to answer.
    pub fn members(&mut self, members: BTreeMap<NodeId, u64>, now_ms: u64) {
        self.peers.retain(|node, peer| members.get(node) == Some(&peer.incarnation));
        self.votes.retain(|node, _| members.contains_key(node));
        for (node, incarnation) in &members {
            if *node != self.me && !self.peers.contains_key(node) {
                self.peers.insert(node.clone(), Peer::new(*incarnation, now_ms));
            }
        }
        self.verdicts.members(members.len(), now_ms, &self.options);
        self.members = members;
    }

    /// Who leads, as far as is known.
    pub fn leader(&mut self, leader: Option<NodeId>) {
        self.leader = leader;
    }

    /// What came of a probe.
    pub fn probed(&mut self, node: &NodeId, probe: Probe, now_ms: u64) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.probed(probe, now_ms);
        }
    }

    /// Whom another node suspects.
    pub fn voted(&mut self, voter: &NodeId, suspects: Suspects) {
        if *voter != self.me && self.members.contains_key(voter) {
            self.votes.insert(voter.clone(), suspects);
        }
    }

    /// What was to be told has not been: it is told again.
    pub fn not_told(&mut self) {
        self.told = Suspects::new();
    }

    /// What to do now. To be asked at [`Detection::wake_at_ms`], or earlier.
    pub fn step(&mut self, now_ms: u64) -> Vec<Action> {
        let away_ms = now_ms.saturating_sub(self.looked_ms.replace(now_ms).unwrap_or(now_ms));
        if away_ms > self.options.away_ms_max {
            // This node itself stood still: that nobody has answered since says nothing.
            self.peers.values_mut().for_each(|peer| peer.begin_anew(now_ms));
        }
        let mut actions = Vec::new();
        for (node, peer) in &mut self.peers {
            if peer.is_to_be_probed(now_ms, &self.options) {
                actions.push(Action::Probe { node: node.clone(), limit_ms: self.options.probe_ms_max });
            }
        }
        let suspects = self.suspects(now_ms);
        if suspects != self.told {
            self.told.clone_from(&suspects);
            actions.push(Action::Tell(suspects.clone()));
        }
        self.evict(&suspects, now_ms, &mut actions);
        actions
    }

    /// When there is something to look at next.
    pub fn wake_at_ms(&self, now_ms: u64) -> u64 {
        let peers = self.peers.values().map(|peer| peer.wake_at_ms(&self.options));
        let due = peers.chain(self.verdicts.wake_at_ms(&self.options));
        // A look that is late counts as an absence.
        let latest = now_ms + self.options.probe_ms;
        due.filter(|at_ms| *at_ms > now_ms).min().map_or(latest, |at_ms| at_ms.min(latest))
    }

    /// Whom this node suspects now.
    pub fn suspects(&self, now_ms: u64) -> Suspects {
        let suspected = self.peers.iter().filter(|(_, peer)| peer.is_suspected(now_ms, &self.options));
        suspected.map(|(node, peer)| (node.clone(), peer.incarnation)).collect()
    }

    /// How long a node's last answer took, in milliseconds.
    pub fn rtt_ms(&self, node: &NodeId) -> Option<u32> {
        self.peers.get(node)?.rtt_ms
    }

    /// Ends the registrations that are to be ended, if it is this node's turn to do so.
    fn evict(&mut self, suspects: &Suspects, now_ms: u64, actions: &mut Vec<Action>) {
        let condemned: Suspects =
            self.members.iter().filter(|one| self.is_condemned(*one, suspects)).map(cloned).collect();
        if self.judge(&condemned) != Some(&self.me) {
            self.verdicts.rest();
            return;
        }
        for (node, incarnation) in self.verdicts.due(condemned, now_ms, &self.options) {
            actions.push(Action::Evict { node, incarnation });
        }
    }

    /// Whether more than half of the other nodes suspect a node.
    fn is_condemned(&self, (node, incarnation): (&NodeId, &u64), suspects: &Suspects) -> bool {
        let others = self.members.len() - 1;
        let votes = self.votes.iter().filter(|(voter, _)| *voter != node).map(|(_, suspects)| suspects);
        let against = votes.chain([suspects]).filter(|votes| votes.get(node) == Some(incarnation)).count();
        *node != self.me && 2 * against > others
    }

    /// Who decides: the leader, or, if that one is condemned itself, whoever is registered longest and is not.
    fn judge(&self, condemned: &Suspects) -> Option<&NodeId> {
        let leader = self.leader.as_ref()?;
        if !condemned.contains_key(leader) {
            return Some(leader);
        }
        let heirs = self.members.iter().filter(|(node, _)| !condemned.contains_key(*node));
        heirs.min_by_key(|(_, incarnation)| **incarnation).map(|(node, _)| node)
    }
}

fn cloned((node, incarnation): (&NodeId, &u64)) -> (NodeId, u64) {
    (node.clone(), *incarnation)
}
