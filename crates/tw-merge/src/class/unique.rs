//! `unique`: a key that only one subject may have is claimed at the key's home region before it is written.
//!
//! One region answers for a key at a time. Which one is decided by a table of homes, which has an epoch; when the table changes, a new home
//! answers only after the old one has handed over what it granted, so that never two grant. The shell carries questions and
//! hand-overs, makes each grant and release an event, and stores the registry with them. This state asks nobody.
//!
//! What a home granted and lost, because it was restored from an older copy, is not known here: the shell starts such a region's registry
//! from the log of grants, after its tail was fetched back.

mod homes;
#[cfg(test)]
mod tests;

pub use homes::Homes;

use std::collections::{BTreeMap, BTreeSet};
use tw_types::RegionId;

/// What the home of a key says to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<C> {
    /// The key is the claimant's, from now on or already.
    Granted,
    /// It is another one's.
    Taken {
        /// Whose.
        by: C,
    },
    /// Ask the home. Whoever has an older table takes this region's word.
    NotHome {
        /// The home, by this region's table.
        home: RegionId,
        /// The epoch of this region's table.
        epoch: u32,
    },
    /// This region becomes the home once the former one has handed over: ask again.
    Moving {
        /// The former home.
        from: RegionId,
    },
    /// Who asks has a newer table than this region: ask again.
    Behind {
        /// The epoch of this region's table.
        epoch: u32,
    },
}

/// What a region gives to another one when homes move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover<C> {
    /// Who was the home.
    pub from: RegionId,
    /// Who becomes it.
    pub to: RegionId,
    /// The epoch of the table by which it does.
    pub epoch: u32,
    /// The keys that are claimed, and by whom.
    pub claims: BTreeMap<Vec<u8>, C>,
}

/// Why a table or a hand-over is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A table without a region.
    #[error("a table of homes names no region: name at least one")]
    NoRegions,
    /// A key is sent to a region that the table does not name.
    #[error("region `{region}` is the home of a key but not in the table: add it, or choose another home")]
    UnknownHome {
        /// The region.
        region: RegionId,
    },
    /// A table was left out.
    #[error("table of homes `{epoch}` does not follow `{current}`: apply each table in its turn")]
    Epoch {
        /// Of the table.
        epoch: u32,
        /// Of the one in force.
        current: u32,
    },
    /// The table in force is not settled.
    #[error("region `{from}` has not handed over by table `{epoch}` yet: apply the next table after it has")]
    Unsettled {
        /// One of those that have not.
        from: RegionId,
        /// The table in force.
        epoch: u32,
    },
    /// A hand-over by a table that this region does not have yet.
    #[error("a hand-over belongs to table `{epoch}`, this region has `{current}`: apply that table first")]
    Early {
        /// Of the hand-over.
        epoch: u32,
        /// Of the table in force.
        current: u32,
    },
    /// A hand-over for somebody else.
    #[error("a hand-over is for region `{to}`: send it there")]
    Misdirected {
        /// Whom it is for.
        to: RegionId,
    },
}

/// The claims of the keys whose home is this region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UniqueRegistry<C> {
    region: RegionId,
    homes: Homes,
    /// The table before, while some region has not handed over by the one in force.
    before: Option<Homes>,
    waiting: BTreeSet<RegionId>,
    claims: BTreeMap<Vec<u8>, C>,
}

impl<C: Clone + PartialEq> UniqueRegistry<C> {
    /// A registry without claims, under the first table of an installation, or of a region that joins: its own first table is then the one
    /// before the table that names it.
    pub const fn new(region: RegionId, homes: Homes) -> Self {
        Self { region, homes, before: None, waiting: BTreeSet::new(), claims: BTreeMap::new() }
    }

    /// Claims a key by a table of `epoch`. The same claimant may ask again.
    pub fn ask(&mut self, key: &[u8], claimant: &C, epoch: u32) -> Answer<C> {
        if let Some(elsewhere) = self.elsewhere(key, epoch) {
            return elsewhere;
        }
        match self.claims.get(key) {
            Some(by) if by != claimant => Answer::Taken { by: by.clone() },
            Some(_) => Answer::Granted,
            None => {
                self.claims.insert(key.to_vec(), claimant.clone());
                Answer::Granted
            }
        }
    }

    /// Gives a key back, by a table of `epoch`: [`Answer::Granted`] when the key is not this claimant's any more, or never was and is
    /// nobody's; [`Answer::Taken`] when it is another one's, who keeps it.
    pub fn release(&mut self, key: &[u8], claimant: &C, epoch: u32) -> Answer<C> {
        if let Some(elsewhere) = self.elsewhere(key, epoch) {
            return elsewhere;
        }
        if let Some(by) = self.claims.get(key).filter(|by| *by != claimant) {
            return Answer::Taken { by: by.clone() };
        }
        self.claims.remove(key);
        Answer::Granted
    }

    /// Why this region does not answer for a key.
    fn elsewhere(&self, key: &[u8], epoch: u32) -> Option<Answer<C>> {
        if epoch > self.homes.epoch() {
            return Some(Answer::Behind { epoch: self.homes.epoch() });
        }
        let home = self.homes.home(key);
        if home != self.region {
            return Some(Answer::NotHome { home, epoch: self.homes.epoch() });
        }
        let from = self.before.as_ref()?.home(key);
        self.waiting.contains(&from).then_some(Answer::Moving { from })
    }

    /// Goes over to the next table. From now on this region does not answer for the keys that leave; what is returned carries their
    /// claims, and must reach every region that it is for, also where it is empty.
    ///
    /// # Errors
    /// [`Error::Epoch`] unless it is the very next table, [`Error::Unsettled`] while a hand-over by the present one is missing.
    pub fn advance(&mut self, next: Homes) -> Result<Vec<Handover<C>>, Error> {
        let (epoch, current) = (next.epoch(), self.homes.epoch());
        if current.checked_add(1) != Some(epoch) {
            return Err(Error::Epoch { epoch, current });
        }
        if let Some(from) = self.waiting.first() {
            return Err(Error::Unsettled { from: *from, epoch: current });
        }
        let others =
            |homes: &Homes| homes.regions().filter(|other| *other != self.region).collect::<Vec<_>>();
        let was_home = self.homes.regions().any(|region| region == self.region);
        let receivers = if was_home { others(&next) } else { Vec::new() };
        let is_home = next.regions().any(|region| region == self.region);
        self.waiting = if is_home { others(&self.homes).into_iter().collect() } else { BTreeSet::new() };
        let (stay, leave): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.claims).into_iter().partition(|(key, _)| next.home(key) == self.region);
        self.claims = stay;
        let handover = |to: RegionId| {
            let claims = leave.iter().filter(|(key, _)| next.home(key) == to);
            let claims = claims.map(|(key, claimant)| (key.clone(), claimant.clone())).collect();
            Handover { from: self.region, to, epoch, claims }
        };
        let handovers = receivers.into_iter().map(handover).collect();
        self.before = Some(std::mem::replace(&mut self.homes, next));
        self.settle();
        Ok(handovers)
    }

    /// Takes what another region has handed over. One that was taken before changes nothing. For a region that is lost for good, and
    /// fenced, the shell makes the hand-over from the log of its grants.
    ///
    /// # Errors
    /// [`Error::Misdirected`]; [`Error::Early`] before the table by which it was made.
    pub fn receive(&mut self, handover: Handover<C>) -> Result<(), Error> {
        let current = self.homes.epoch();
        if handover.to != self.region {
            return Err(Error::Misdirected { to: handover.to });
        }
        if handover.epoch > current {
            return Err(Error::Early { epoch: handover.epoch, current });
        }
        if handover.epoch == current && self.waiting.remove(&handover.from) {
            self.claims.extend(handover.claims);
            self.settle();
        }
        Ok(())
    }

    fn settle(&mut self) {
        if self.waiting.is_empty() {
            self.before = None;
        }
    }

    /// The regions that have not handed over yet, for an operator.
    pub fn waiting(&self) -> impl Iterator<Item = RegionId> + '_ {
        self.waiting.iter().copied()
    }

    /// The claims of the keys whose home this is.
    pub fn claims(&self) -> impl Iterator<Item = (&[u8], &C)> {
        self.claims.iter().map(|(key, claimant)| (key.as_slice(), claimant))
    }
}
