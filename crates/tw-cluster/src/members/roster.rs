//! The nodes, followed.

use super::record::members;
use super::{Load, Member, kind};
use crate::mirror::Mirror;
use crate::{Coordination, Range, Result, Revision};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

/// What has happened to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberEvent {
    /// It has joined: it is new, or its epoch is.
    Joined(Member),
    /// It says something else of itself, or is to be given work, or not.
    Changed(Member),
    /// It has told how busy it is.
    Reported {
        /// Which node.
        node: String,
        /// How busy it is.
        load: Load,
    },
    /// It has left, or its lease has ended.
    Left {
        /// The node as it was last.
        member: Member,
        /// By which change, or after it.
        revision: Revision,
    },
}

/// The nodes of a cluster, followed: what they are now, and what happens to them.
pub struct Roster {
    mirror: Mirror,
    members: BTreeMap<String, Member>,
    events: VecDeque<MemberEvent>,
}

impl Roster {
    pub(super) fn new(coordination: Arc<dyn Coordination>, range: Range) -> Self {
        let mirror = Mirror::new(coordination, range);
        Self { mirror, members: BTreeMap::new(), events: VecDeque::new() }
    }

    /// The nodes, by name, with everything that was told so far and what is about to be.
    pub fn members(&self) -> &BTreeMap<String, Member> {
        &self.members
    }

    /// What that shows: every change up to and including this one.
    pub fn revision(&self) -> Revision {
        self.mirror.revision()
    }

    /// The next event: at first, every node that is there has joined. Cancel-safe.
    ///
    /// After an interruption some events in between may be left out, but never a change of epoch: a node that has joined anew
    /// has left before.
    ///
    /// # Errors
    /// Those of [`Coordination::read`]; it can be called again.
    pub async fn next(&mut self) -> Result<MemberEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let changes = self.mirror.next().await?;
            let nodes: BTreeSet<String> =
                changes.iter().filter_map(|change| Some(kind(change.key())?.0)).collect();
            let entries = self.mirror.entries().values();
            let mut now = members(
                entries.filter(|entry| kind(&entry.key).is_some_and(|(node, _)| nodes.contains(&node))),
            );
            let revision = self.mirror.revision();
            for node in nodes {
                let (old, new) = (self.members.remove(&node), now.remove(&node));
                compare(old, new.as_ref(), revision, &mut self.events);
                if let Some(member) = new {
                    self.members.insert(node, member);
                }
            }
        }
    }
}

/// What has happened between two states of a node.
fn compare(
    old: Option<Member>,
    new: Option<&Member>,
    revision: Revision,
    events: &mut VecDeque<MemberEvent>,
) {
    let is_same = matches!((&old, new), (Some(old), Some(new)) if old.epoch == new.epoch);
    if !is_same {
        events.extend(old.map(|member| MemberEvent::Left { member, revision }));
        events.extend(new.cloned().map(MemberEvent::Joined));
        return;
    }
    let (Some(old), Some(new)) = (old, new) else { return };
    if (&old.registration, old.standing) != (&new.registration, new.standing) {
        events.push_back(MemberEvent::Changed(new.clone()));
    }
    if let Some(load) = new.load.filter(|load| old.load != Some(*load)) {
        events.push_back(MemberEvent::Reported { node: new.registration.node.clone(), load });
    }
}

impl fmt::Debug for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roster").field("members", &self.members).finish_non_exhaustive()
    }
}
