//! What a node checks of the promises itself, as one that really runs does: from what it is told, and from what it asks now and then.

use super::{Effects, Moment, Process, Purpose, Saw};
use crate::coordination::{Reply, Request};
use crate::stored::{About, Stored};
use std::collections::{BTreeMap, BTreeSet};
use tw_cluster::Revision;
use tw_plan::ownership::Claim;
use tw_plan::ownership::invariants::{Broken, Look, Told, Witness};
use tw_plan::placement::Unit;
use tw_types::NodeId;

/// How many looks at what nobody has go by from one audit to the next.
const EVERY: u64 = 8;

/// What it has seen, and what it has to say.
#[derive(Debug, Default)]
pub(super) struct Watching {
    witness: Witness,
    broken: Vec<Broken>,
    looks: u64,
    /// The units to which somebody else has written, with the epoch in which they were open here.
    meddled: BTreeMap<Unit, u64>,
}

/// What is known before coordination is asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    open: BTreeMap<Unit, u64>,
    meddled: BTreeSet<Unit>,
    unowned: BTreeSet<Unit>,
    claims: BTreeMap<Unit, Claim>,
}

impl Watching {
    pub(super) fn claimed(&mut self, unit: &Unit, claim: Option<&Claim>) {
        self.broken.extend(self.witness.claimed(unit, claim).err());
    }

    /// An append of this process went elsewhere than it had to.
    pub(super) fn meddled(&mut self, unit: &Unit, epoch: u64) {
        self.meddled.insert(unit.clone(), epoch);
    }

    pub(super) fn members(&mut self, at: Revision, members: &BTreeMap<NodeId, u64>) {
        self.broken.extend(self.witness.members(at.0, members));
    }
}

impl Process {
    /// Says what was found, and asks how it is now if it is time to.
    pub(super) fn watch_promises(&mut self, at: Moment<'_>, out: &mut Effects) {
        if !self.watching.broken.is_empty() {
            out.push(super::Effect::Saw(Saw::Broken(std::mem::take(&mut self.watching.broken))));
        }
        self.watching.looks += 1;
        if self.watching.looks.is_multiple_of(EVERY) {
            let open = self.open_here(at);
            let is_open = |(unit, epoch): &(&Unit, &u64)| open.get(*unit) == Some(*epoch);
            let meddled =
                self.watching.meddled.iter().filter(is_open).map(|(unit, _)| unit.clone()).collect();
            let unowned = self.told_unowned(at);
            let asked = Asked { open, meddled, unowned, claims: BTreeMap::new() };
            let range = at.shared.keys.ranges()[2].clone();
            self.ask_for(Purpose::LookAtClaims(asked), Request::Read(range), out);
        }
    }

    pub(super) fn claims_seen(
        &mut self,
        asked: Asked,
        reply: Option<Reply>,
        at: Moment<'_>,
        out: &mut Effects,
    ) {
        let Some(Reply::Read(read)) = reply else { return };
        let claim = |entry: &tw_cluster::Entry| match (at.shared.keys.about(&entry.key), Stored::read(entry))
        {
            (About::Claim(unit), Stored::Claim { holder, epoch, fence }) => {
                Some((unit, Claim { holder, epoch, fence, revision: entry.modified.0 }))
            }
            _ => None,
        };
        let asked = Asked { claims: read.entries.iter().filter_map(claim).collect(), ..asked };
        let range = at.shared.keys.ranges()[0].clone();
        self.ask_for(Purpose::LookAtMembers(asked), Request::Read(range), out);
    }

    pub(super) fn members_seen(&mut self, asked: Asked, reply: Option<Reply>, at: Moment<'_>) {
        let Some(Reply::Read(read)) = reply else { return };
        let member = |entry: &tw_cluster::Entry| match at.shared.keys.about(&entry.key) {
            About::Member(node) => Some((node, entry.created.0)),
            _ => None,
        };
        let members = read.entries.iter().filter_map(member).collect();
        let look = Look { claims: asked.claims, members, members_at: read.revision.0 };
        let now = self.open_here(at);
        let open: BTreeMap<Unit, u64> =
            asked.open.into_iter().filter(|(unit, epoch)| now.get(unit) == Some(epoch)).collect();
        let unowned = asked.unowned.union(&self.told_unowned(at)).cloned().collect();
        let told = Told {
            me: self.core.me(),
            open: &open,
            meddled: &asked.meddled,
            plan: self.core.plan(),
            unowned: &unowned,
        };
        let broken = self.watching.witness.looked(&look, told);
        self.watching.broken.extend(broken);
    }

    /// What takes writes here for certain: whoever does not look at the clock does not know.
    fn open_here(&self, at: Moment<'_>) -> BTreeMap<Unit, u64> {
        let is_held = self.lease.as_ref().is_some_and(|held| held.is_held(at.local_us));
        let units = at.shared.units.keys().filter(|_| is_held);
        units.filter_map(|unit| Some((unit.clone(), self.takes(unit, at)?))).collect()
    }
}
