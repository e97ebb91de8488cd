//! What must be true of claims, checked where nodes run and in simulation alike: by the same code, under the same ids.
//!
//! A [`Witness`] is told what coordination shows of claims and members, and says which promise is broken. It says so of what is
//! certain only: what several changes between two looks may explain is no breach.

use super::{Claim, Holder};
use crate::placement::{Plan, Unit};
use std::collections::{BTreeMap, BTreeSet};
use tw_types::NodeId;

/// At most one owner per unit and epoch; what a stale one writes is rejected.
pub const CLU_1: &str = "CLU-1";
/// What has no owner is told.
pub const CLU_2: &str = "CLU-2";
/// What does not move does not pause.
pub const CLU_3: &str = "CLU-3";
/// Those that can be checked here.
pub const CHECKED: [&str; 3] = [CLU_1, CLU_2, CLU_3];

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Broken {
    /// The promise: one of [`CHECKED`].
    pub invariant: &'static str,
    /// What it was broken for.
    pub unit: Unit,
    /// What was seen.
    pub what: String,
}

impl Broken {
    /// A breach of a promise.
    pub fn new(invariant: &'static str, unit: &Unit, what: String) -> Self {
        Self { invariant, unit: unit.clone(), what }
    }
}

/// CLU-1: the epoch of a claim rises whenever its unit gets another holder, and falls never.
///
/// # Errors
/// The breach.
pub fn epoch_rises(
    unit: &Unit,
    (before, epoch_before): (Option<&Holder>, u64),
    (after, epoch_after): (Option<&Holder>, u64),
) -> Result<(), Broken> {
    let rises = epoch_after > epoch_before;
    let stays = epoch_after == epoch_before && (after == before || after.is_none());
    if rises || stays {
        return Ok(());
    }
    let what = format!(
        "its claim goes from {} in epoch {epoch_before} to {} in epoch {epoch_after}",
        name(before),
        name(after)
    );
    Err(Broken::new(CLU_1, unit, what))
}

/// A node in an incarnation, as people read it.
fn name(holder: Option<&Holder>) -> String {
    holder.map_or_else(
        || "nobody".to_owned(),
        |holder| format!("node `{}` (registration {})", holder.node, holder.incarnation),
    )
}

/// At how many looks, one after the other, a unit that nobody has is to be told by whoever knows of it.
const TOLD_LOOKS: u32 = 2;
/// The same for whoever should know of it, and was not told: coordination may be away from time to time.
const LEARNT_LOOKS: u32 = 10;

/// What coordination has, read at one moment or at two of which the members are the later one.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// Every claim.
    pub claims: BTreeMap<Unit, Claim>,
    /// The nodes that are registered, with their incarnations.
    pub members: BTreeMap<NodeId, u64>,
    /// The revision at which these were all members.
    pub members_at: u64,
}

impl Look {
    /// Who holds a unit, and is registered.
    fn holder(&self, unit: &Unit) -> Option<&Holder> {
        let holder = self.claims.get(unit)?.holder.as_ref()?;
        self.is_registered(holder).then_some(holder)
    }

    fn is_registered(&self, holder: &Holder) -> bool {
        self.members.get(&holder.node) == Some(&holder.incarnation)
    }

    /// The revision of a unit's claim; 0 without one.
    fn revision(&self, unit: &Unit) -> u64 {
        self.claims.get(unit).map_or(0, |claim| claim.revision)
    }
}

/// What one node knows about itself and others, next to a [`Look`].
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// Who it is, in its incarnation.
    pub me: &'a Holder,
    /// The units whose writes it takes, with the epoch: before and after the look, and its lease was held all the while.
    pub open: &'a BTreeMap<Unit, u64>,
    /// Those of them whose log has events after the opening that this node did not write, as it was known before the look.
    pub meddled: &'a BTreeSet<Unit>,
    /// The plan that it carries out.
    pub plan: &'a Plan,
    /// The units that it tells to have no owner.
    pub unowned: &'a BTreeSet<Unit>,
}

/// A unit that somebody has taken from a holder that had not given it away.
#[derive(Debug, Clone)]
struct Taken {
    unit: Unit,
    from: Holder,
    by: Option<Holder>,
    /// The revision of the claim that did it.
    at: u64,
}

/// See the module's text.
#[derive(Debug, Clone, Default)]
pub struct Witness {
    claims: BTreeMap<Unit, Claim>,
    /// Of whom it is not known yet whether they were registered.
    taken: Vec<Taken>,
    /// Who is registered, as it was told last.
    members: BTreeMap<NodeId, u64>,
    /// The units of the plan that nobody had at the last look, and that were not told.
    quiet: BTreeMap<Unit, Quiet>,
}

/// A unit that nobody has, and that is not told.
#[derive(Debug, Clone, Copy)]
struct Quiet {
    /// The revision of its claim.
    revision: u64,
    /// At how many looks that was so.
    looks: u32,
    /// Whether that was said to be a breach.
    is_said: bool,
}

impl Witness {
    /// Coordination shows this claim of a unit now; None: none.
    ///
    /// # Errors
    /// CLU-1: its epoch does not rise with its holder.
    pub fn claimed(&mut self, unit: &Unit, claim: Option<&Claim>) -> Result<(), Broken> {
        let before = match self.claims.get(unit) {
            Some(before) if claim.is_some_and(|claim| claim.revision < before.revision) => return Ok(()),
            Some(before) => Some(before.clone()),
            None => None,
        };
        match claim {
            Some(claim) => self.claims.insert(unit.clone(), claim.clone()),
            None => self.claims.remove(unit),
        };
        let (Some(before), Some(claim)) = (before, claim) else { return Ok(()) };
        if let Some(from) = before.holder.as_ref().filter(|from| is_taken(from, claim)) {
            let (from, by) = (from.clone(), claim.holder.clone());
            self.taken.push(Taken { unit: unit.clone(), from, by, at: claim.revision });
        }
        epoch_rises(unit, (before.holder.as_ref(), before.epoch), (claim.holder.as_ref(), claim.epoch))
    }

    /// Coordination shows these members, with their incarnations, up to and including a revision.
    ///
    /// CLU-3: a unit was taken from a node that was registered then, and is so still. Whether one that has left since was registered
    /// cannot be told.
    pub fn members(&mut self, at: u64, members: &BTreeMap<NodeId, u64>) -> Vec<Broken> {
        self.members.clone_from(members);
        self.resolve(at, members)
    }

    /// Whether those from whom units were taken are registered.
    fn resolve(&mut self, at: u64, members: &BTreeMap<NodeId, u64>) -> Vec<Broken> {
        let taken = std::mem::take(&mut self.taken);
        let (known, later): (Vec<Taken>, Vec<Taken>) = taken.into_iter().partition(|taken| taken.at <= at);
        self.taken = later;
        let is_registered = |taken: &&Taken| members.get(&taken.from.node) == Some(&taken.from.incarnation);
        known.iter().filter(is_registered).map(Taken::broken).collect()
    }

    /// What was read at once, next to what a node knows: whether it writes under a claim that is there, and alone (CLU-1), and tells
    /// what it knows that nobody has (CLU-2).
    pub fn looked(&mut self, look: &Look, told: Told<'_>) -> Vec<Broken> {
        let mut broken = self.resolve(look.members_at, &look.members);
        // Whose registration was ended without its knowledge is fenced off, and need not know yet.
        if look.is_registered(told.me) {
            broken.extend(told.open.iter().filter_map(|(unit, epoch)| not_alone(look, told, unit, *epoch)));
        }
        let units = told.plan.iter().map(|(unit, _)| unit).filter(|unit| look.holder(unit).is_none());
        let quiet = units.filter(|unit| !told.unowned.contains(*unit));
        let quiet: BTreeMap<Unit, Quiet> =
            quiet.map(|unit| (unit.clone(), self.keeps_quiet(look, unit))).collect();
        let is_said = |unit: &Unit| self.quiet.get(unit).is_some_and(|before| before.is_said);
        broken.extend(quiet.iter().filter(|(unit, quiet)| quiet.is_said && !is_said(unit)).map(
            |(unit, _)| {
                let what = format!("nobody has it, and node `{}` does not tell", told.me.node);
                Broken::new(CLU_2, unit, what)
            },
        ));
        self.quiet = quiet;
        broken
    }

    /// A unit that nobody has is not told, once more or for the first time.
    fn keeps_quiet(&self, look: &Look, unit: &Unit) -> Quiet {
        let revision = look.revision(unit);
        let before = self.quiet.get(unit).filter(|before| before.revision == revision);
        let looks = before.map_or(0, |before| before.looks).saturating_add(1);
        let claim = self.claims.get(unit);
        let holder = claim.and_then(|claim| claim.holder.as_ref());
        let is_alive = |holder: &Holder| self.members.get(&holder.node) == Some(&holder.incarnation);
        let knows = claim.map_or(0, |claim| claim.revision) == revision && !holder.is_some_and(is_alive);
        let is_too_long = looks >= if knows { TOLD_LOOKS } else { LEARNT_LOOKS };
        Quiet { revision, looks, is_said: is_too_long || before.is_some_and(|before| before.is_said) }
    }
}

impl Taken {
    fn broken(&self) -> Broken {
        let (from, by) = (name(Some(&self.from)), name(self.by.as_ref()));
        Broken::new(CLU_3, &self.unit, format!("it was taken from {from}, which is registered, by {by}"))
    }
}

/// Whether a claim is that of somebody who does not count on the holder before to have shut the unit.
fn is_taken(from: &Holder, claim: &Claim) -> bool {
    let is_others = claim.holder.as_ref().is_none_or(|holder| holder.node != from.node);
    is_others && claim.fence.contains(&from.writer)
}

/// A node that is registered writes to this unit: the claim must be its own, and nobody else may write.
fn not_alone(look: &Look, told: Told<'_>, unit: &Unit, epoch: u64) -> Option<Broken> {
    let claim = look.claims.get(unit);
    let (holder, claimed) = claim.map_or((None, 0), |claim| (claim.holder.as_ref(), claim.epoch));
    let is_me = |holder: &Holder| (&holder.node, holder.incarnation) == (&told.me.node, told.me.incarnation);
    let me = name(Some(told.me));
    let what = if !holder.is_some_and(is_me) || claimed != epoch {
        format!(
            "{me} takes its writes in epoch {epoch}, and it is claimed by {} in epoch {claimed}",
            name(holder)
        )
    } else if told.meddled.contains(unit) {
        format!("{me} has it in epoch {epoch}, and its log has events since that somebody else has written")
    } else {
        return None;
    };
    Some(Broken::new(CLU_1, unit, what))
}

#[cfg(test)]
mod tests;
