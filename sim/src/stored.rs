//! What the nodes store in coordination, and where.
//!
//! ```text
//! members/NODE            who is registered, under its lease
//! elections/PLACE         who stands for election, under its lease: who has stood longest leads
//! suspects/NODE           whom it suspects, under its lease
//! placement/plan          the plan
//! placement/claims/UNIT   who has the unit
//! placement/ready/UNIT    who has its state warm, under its lease
//! ```

use serde::{Deserialize, Serialize};
use tw_cluster::{Entry, Key, Range};
use tw_plan::detection::Suspects;
use tw_plan::ownership::{Claim, Holder};
use tw_plan::placement::{Plan, Unit};
use tw_types::NodeId;

/// A value, as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Stored {
    Member { writer: String, drains: bool },
    Place(NodeId),
    Plan(Plan),
    Claim { holder: Option<Holder>, epoch: u64, fence: Vec<String> },
    Ready(NodeId),
    Suspects(Suspects),
}

impl Stored {
    pub(crate) fn claim(claim: &Claim) -> Self {
        let Claim { holder, epoch, fence, revision: _ } = claim.clone();
        Self::Claim { holder, epoch, fence }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_else(|error| unreachable!("{error}"))
    }

    pub(crate) fn read(entry: &Entry) -> Self {
        serde_json::from_slice(&entry.value).unwrap_or_else(|error| unreachable!("{error}"))
    }
}

/// What a key is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum About {
    Member(NodeId),
    Place,
    Plan,
    Claim(Unit),
    Ready(Unit),
    Suspects(NodeId),
}

/// The keys.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    members: Key,
    pub(crate) elections: Key,
    suspects: Key,
    placement: Key,
    pub(crate) plan: Key,
    claims: Key,
    ready: Key,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let root = |name: &str| Key::new([name]).unwrap_or_else(|error| unreachable!("{error}"));
        let placement = root("placement");
        Self {
            members: root("members"),
            elections: root("elections"),
            suspects: root("suspects"),
            plan: child(&placement, "plan"),
            claims: child(&placement, "claims"),
            ready: child(&placement, "ready"),
            placement,
        }
    }

    pub(crate) fn member(&self, node: &NodeId) -> Key {
        child(&self.members, node.as_str())
    }

    pub(crate) fn suspects(&self, node: &NodeId) -> Key {
        child(&self.suspects, node.as_str())
    }

    pub(crate) fn place(&self, name: &str) -> Key {
        child(&self.elections, name)
    }

    pub(crate) fn claim(&self, unit: &Unit) -> Key {
        child(&self.claims, unit.as_str())
    }

    pub(crate) fn ready(&self, unit: &Unit) -> Key {
        child(&self.ready, unit.as_str())
    }

    /// What each node follows, each by a watch of its own: one may be far behind another.
    pub(crate) fn ranges(&self) -> [Range; 4] {
        [self.members.below(), self.elections.below(), self.placement.below(), self.suspects.below()]
    }

    pub(crate) fn about(&self, key: &Key) -> About {
        let name = key.name();
        let unit = || Unit::new(&name).unwrap_or_else(|error| unreachable!("{error}"));
        let node = || NodeId::new(&name).unwrap_or_else(|error| unreachable!("{error}"));
        if self.members.below().contains(key) {
            About::Member(node())
        } else if self.suspects.below().contains(key) {
            About::Suspects(node())
        } else if self.elections.below().contains(key) {
            About::Place
        } else if *key == self.plan {
            About::Plan
        } else if self.claims.below().contains(key) {
            About::Claim(unit())
        } else {
            About::Ready(unit())
        }
    }
}

fn child(parent: &Key, name: &str) -> Key {
    parent.child(name).unwrap_or_else(|error| unreachable!("{error}"))
}
