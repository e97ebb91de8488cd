//! How messages fare: how long they take, whether they arrive, and whether twice.

use crate::random::Random;

/// The state of the network, for everybody or for one node.
#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) loss_permille: u64,
    pub(crate) is_slow: bool,
    pub(crate) stores_late: bool,
    pub(crate) is_log_slow: bool,
    pub(crate) is_twice: bool,
    /// By node: whether what it sends to coordination, and what it is sent from there, is lost.
    pub(crate) cuts: Vec<(bool, bool)>,
    /// By node: whether nothing passes between it and the other nodes.
    pub(crate) is_alone: Vec<bool>,
}

impl Network {
    pub(crate) fn new(nodes: usize) -> Self {
        Self { cuts: vec![(false, false); nodes], is_alone: vec![false; nodes], ..Self::default() }
    }

    pub(crate) fn calm(&mut self) {
        *self = Self::new(self.cuts.len());
    }

    /// How long a message takes, in microseconds.
    pub(crate) fn delay_us(&self, random: &mut Random) -> u64 {
        if self.is_slow && random.chance(200) {
            random.within(50_000, 4_000_000)
        } else {
            random.within(100, 4_000)
        }
    }

    /// How much longer it takes if it is to store something.
    pub(crate) fn late_us(&self, random: &mut Random) -> u64 {
        if self.stores_late && random.chance(500) { random.within(500_000, 4_000_000) } else { 0 }
    }

    /// The same between a node and the log.
    pub(crate) fn log_delay_us(&self, random: &mut Random) -> u64 {
        if self.is_log_slow && random.chance(200) {
            random.within(50_000, 3_000_000)
        } else {
            random.within(200, 6_000)
        }
    }

    /// Whether a message from this node to coordination is lost.
    pub(crate) fn loses_request(&self, node: usize, random: &mut Random) -> bool {
        self.cuts.get(node).is_some_and(|cut| cut.0) || random.chance(self.loss_permille)
    }

    /// Whether one from coordination to this node is.
    pub(crate) fn loses_reply(&self, node: usize, random: &mut Random) -> bool {
        self.cuts.get(node).is_some_and(|cut| cut.1) || random.chance(self.loss_permille)
    }

    /// Whether a message from one node to another is lost.
    pub(crate) fn loses_between(&self, one: usize, other: usize, random: &mut Random) -> bool {
        let is_alone = |node: usize| self.is_alone.get(node).copied().unwrap_or_default();
        is_alone(one) || is_alone(other) || random.chance(self.loss_permille)
    }

    /// Whether this node can be in touch with coordination as it should.
    pub(crate) fn is_fine(&self, node: usize) -> bool {
        let is_cut = self.cuts.get(node).is_some_and(|cut| cut.0 || cut.1);
        !is_cut && !self.is_slow && !self.stores_late && self.loss_permille == 0
    }
}
