//! What every live region has seen, and which regions are still waited for.
//!
//! A change that every live region has seen cannot meet a change that does not know of it: a deletion may be forgotten then, and what
//! was kept to order late arrivals may be folded. Beside links: they hand over what regions say with their heartbeats.
//! A region that says nothing holds that up for ever, and with it all that others keep for it; so [`Stability::decide`]
//! proposes to go on without it. That is a proposal: somebody with a quorum carries it out, in all regions. Nothing here sends,
//! stores or reads a clock.
//!
//! Source: the matrix clock of Wuu, Bernstein, *Efficient Solutions to the Replicated Log and Dictionary Problems*, PODC 1984;
//! `docs/adr/0017-what-a-region-has-seen.md`.

mod options;
#[cfg(test)]
mod tests;

pub use options::{Error, Options};

use crate::received::REGIONS_MAX;
use crate::{Seen, Stamp};
use std::collections::BTreeMap;
use tw_types::{Epoch, Hlc, RegionId};

/// What a region says of itself with a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Every change that it had accepted then has a stamp up to here, inclusive; every later one has a greater stamp, on
    /// all of its nodes.
    pub at: Hlc,
    /// What is known to every change that it accepts later ([`crate::delivery::Delivery::seen`]), even if it crashes: of what is on
    /// stable storage. Of itself it has seen all up to `at`.
    pub seen: Seen,
}

/// What is proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proposal {
    /// To go on without a region; what it has not sent is lost or has to be accepted anew, and it must be seeded anew under a new epoch.
    Evict {
        /// The region.
        region: RegionId,
        /// Why.
        reason: Reason,
    },
    /// A region that was drained has nothing left that somebody lacks: it may leave.
    Leave {
        /// The region.
        region: RegionId,
    },
}

/// Why a region should be evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It has said nothing for so long, in milliseconds.
    Silent {
        /// For how long.
        ms: u64,
    },
    /// So many bytes are kept only because it has not seen them.
    Retained {
        /// How many.
        bytes: u64,
    },
}

/// Who takes part, what each has seen, and since when nothing was heard of it.
#[derive(Debug, Clone)]
pub struct Stability {
    me: RegionId,
    options: Options,
    members: BTreeMap<RegionId, Member>,
    /// Regions that were evicted, with the epoch that they were in.
    evicted: BTreeMap<RegionId, Epoch>,
    stable: Seen,
    looked_ms: Option<u64>,
}

#[derive(Debug, Clone)]
struct Member {
    epoch: Epoch,
    /// What is known to every change of it that is not here yet; nothing before it has said anything.
    seen: Option<Seen>,
    /// What it has said and what counts when everything that it accepted before is here; the next one waits for the first.
    said: Vec<Said>,
    heard_ms: u64,
    retained_bytes: u64,
    /// The last stamp that it will ever have given, if it is on its way out.
    drained: Option<Hlc>,
}

impl Stability {
    /// The view of the region `me`, which is a member.
    ///
    /// # Errors
    /// [`Error::Option`].
    pub fn new(me: RegionId, epoch: Epoch, options: Options, now_ms: u64) -> Result<Self, Error> {
        options.check()?;
        let members = BTreeMap::from([(me, Member::new(epoch, now_ms))]);
        Ok(Self { me, options, members, evicted: BTreeMap::new(), stable: Seen::new(), looked_ms: None })
    }

    /// What was stable before a restart, which is still so. A region stores it when it forgets something.
    pub fn restore(&mut self, stable: &Seen) {
        self.stable.join(stable);
    }

    /// A region takes part, in every region's view before it is seeded: until it says what it has seen, nothing more becomes
    /// stable. Also for a member under a new epoch.
    ///
    /// # Errors
    /// [`Error::Evicted`] under an epoch in which it was evicted, [`Error::OldEpoch`], [`Error::Regions`].
    pub fn join(&mut self, region: RegionId, epoch: Epoch, now_ms: u64) -> Result<(), Error> {
        self.refuse_evicted(region, epoch)?;
        if let Some(member) = self.members.get(&region).filter(|member| member.epoch >= epoch) {
            return if member.epoch == epoch {
                Ok(())
            } else {
                Err(Error::OldEpoch { region, epoch, known: member.epoch })
            };
        }
        if self.members.len() >= REGIONS_MAX {
            return Err(Error::Regions { region, max: REGIONS_MAX });
        }
        self.evicted.remove(&region);
        self.members.insert(region, Member::new(epoch, now_ms));
        Ok(())
    }

    /// A region says what it has seen.
    ///
    /// # Errors
    /// [`Error::Evicted`], [`Error::Unknown`], [`Error::OldEpoch`]; [`Error::SeenLess`] when it knows less than what is stable (of
    /// itself, when it speaks of an earlier time): an older copy, or one that was seeded from before it had joined. It must not accept changes.
    pub fn heard(&mut self, region: RegionId, epoch: Epoch, said: Said, now_ms: u64) -> Result<(), Error> {
        self.refuse_evicted(region, epoch)?;
        let member = self.members.get_mut(&region).ok_or(Error::Unknown { region })?;
        if member.epoch != epoch {
            return Err(Error::OldEpoch { region, epoch, known: member.epoch });
        }
        // What it says with `at` counts of itself: in what it has seen, a restarted region may find no more than its last event.
        if member.seen.is_none() && !said.row_of(region).covers(&self.stable) {
            return Err(Error::SeenLess { region });
        }
        member.heard_ms = member.heard_ms.max(now_ms);
        // The first is kept until it counts, else none ever would; of the others the latest.
        member.said.truncate(1);
        member.said.push(said);
        Ok(())
    }

    /// How many bytes are kept only because this region has not seen them.
    pub fn retained(&mut self, region: RegionId, bytes: u64) {
        if let Some(member) = self.members.get_mut(&region) {
            member.retained_bytes = bytes;
        }
    }

    /// A region is on its way out: it accepts nothing after `last` (inclusive).
    pub fn drain(&mut self, region: RegionId, last: Hlc) {
        if let Some(member) = self.members.get_mut(&region) {
            member.drained = Some(last);
        }
    }

    /// A drained region has left: it is not waited for.
    pub fn left(&mut self, region: RegionId) {
        self.members.remove(&region);
    }

    /// A region was evicted by whoever may decide that; it comes back under a later epoch only.
    pub fn evicted(&mut self, region: RegionId) {
        if let Some(member) = self.members.remove(&region) {
            self.evicted.insert(region, member.epoch);
        }
    }

    /// What this region can say of itself by now, and what it tells others. What they said counts as far as everything that they
    /// had accepted before is here.
    pub fn here(&mut self, said: &Said) {
        for (region, member) in &mut self.members {
            if *region == self.me {
                member.seen = Some(said.row_of(*region));
                continue;
            }
            while let Some(first) = member.said.first().filter(|first| first.at <= said.seen.of(*region)) {
                member.seen = Some(first.row_of(*region));
                member.said.remove(0);
            }
        }
        let mut met: Option<Seen> = None;
        for member in self.members.values() {
            // Who has not said anything yet may know of nothing.
            let Some(row) = &member.seen else { return };
            match &mut met {
                Some(met) => met.meet(row),
                None => met = Some(row.clone()),
            }
        }
        if let Some(met) = met {
            self.stable.join(&met);
        }
    }

    /// Up to when every region's changes are known to whatever may still come. A copy of a region that was restored accepts
    /// nothing before it has seen as much again, by what each of the others has here after it joined there under its new epoch.
    pub const fn stable(&self) -> &Seen {
        &self.stable
    }

    /// Whether no change can still come that does not know of this one.
    pub fn is_stable(&self, stamp: &Stamp) -> bool {
        self.stable.holds(stamp)
    }

    /// What is proposed at `now_ms` (milliseconds of any clock that only rises). Never are more regions proposed for eviction than a
    /// minority of all members, or one of two: a network that is down is not many lost regions. Those whose data is too much come first, then
    /// those that are silent longest.
    pub fn decide(&mut self, now_ms: u64) -> Vec<Proposal> {
        let away_ms = now_ms.saturating_sub(self.looked_ms.replace(now_ms).unwrap_or(now_ms));
        if away_ms > self.options.silent_ms_max / 2 {
            // This region stood still itself: that nobody was heard of since says nothing.
            self.members.values_mut().for_each(|member| member.heard_ms = now_ms);
        }
        let others = || self.members.iter().filter(|(region, _)| **region != self.me);
        let mut reasons: Vec<(Reason, RegionId)> =
            others().filter_map(|(region, member)| Some((self.reason(member, now_ms)?, *region))).collect();
        reasons.sort_by_key(|(reason, region)| match reason {
            Reason::Retained { bytes } => (0, u64::MAX - bytes, *region),
            Reason::Silent { ms } => (1, u64::MAX - ms, *region),
        });
        reasons.truncate((self.members.len().saturating_sub(1) / 2).max(1));
        let evict = reasons.into_iter().map(|(reason, region)| Proposal::Evict { region, reason });
        let leave = others().filter(|(region, member)| self.may_leave(**region, member));
        let leave: Vec<Proposal> = leave.map(|(region, _)| Proposal::Leave { region: *region }).collect();
        evict.chain(leave).collect()
    }

    fn reason(&self, member: &Member, now_ms: u64) -> Option<Reason> {
        let (bytes, ms) = (member.retained_bytes, now_ms.saturating_sub(member.heard_ms));
        if bytes > self.options.retained_bytes_max {
            Some(Reason::Retained { bytes })
        } else {
            (ms > self.options.silent_ms_max).then_some(Reason::Silent { ms })
        }
    }

    /// Whether every other member has all that a drained region has accepted.
    fn may_leave(&self, region: RegionId, member: &Member) -> bool {
        let others = self.members.iter().filter(|(other, _)| **other != region);
        let mut rows = others.map(|(_, other)| other.seen.as_ref().map(|seen| seen.of(region)));
        member.drained.is_some_and(|last| rows.all(|seen| seen.is_some_and(|seen| seen >= last)))
    }

    fn refuse_evicted(&self, region: RegionId, epoch: Epoch) -> Result<(), Error> {
        match self.evicted.get(&region) {
            Some(last) if epoch <= *last => Err(Error::Evicted { region, epoch }),
            _ => Ok(()),
        }
    }
}

impl Said {
    /// What every later change of the region that says this knows of. How far its own nodes have come it says with `at` alone.
    fn row_of(&self, region: RegionId) -> Seen {
        let mut row = self.seen.clone();
        row.forget(region);
        row.raise(region, self.at);
        row
    }
}

impl Member {
    const fn new(epoch: Epoch, now_ms: u64) -> Self {
        Self { epoch, seen: None, said: Vec::new(), heard_ms: now_ms, retained_bytes: 0, drained: None }
    }
}
