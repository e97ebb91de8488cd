//! Which regions are not waited for any more: the stream `$evictions`.
//!
//! A region that says nothing keeps the others from forgetting anything. Somebody evicts it, in the epoch in which it is. Each of the others
//! takes nothing more of that epoch then, and says so: it has closed it, and has everything of it up to a time. When all have said that, and one
//! of them has as much as any, nothing more of the region can come there, and it goes on without it. The region comes back under a later epoch
//! only, as one that is seeded; whoever gives back to it what it has of it readmits it first, and waits for it from then on.
//!
//! All of that is told in events, and counts from where it stands among all others of their authors: so what is stable at a cut of the log
//! follows from the log alone. Nothing here reads or appends.
//!
//! ```json
//! {"type": "tradewind.region.closed", "data": {"v": 1, "region": 3, "epoch": 1, "has": 111411200000000000}}
//! ```

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tw_merge::Seen;
use tw_types::{Data, Epoch, Event, EventRef, Hlc, RegionId};

/// The name of the stream. It has one partition, and is in every region.
pub const EVICTIONS_STREAM: &str = "$evictions";
const EVICTED: &str = "tradewind.region.evicted";
const CLOSED: &str = "tradewind.region.closed";
const READMITTED: &str = "tradewind.region.readmitted";

/// What an event of `$evictions` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saying {
    /// The region is not waited for in this epoch or an earlier one.
    Evicted {
        /// Which one.
        region: RegionId,
        /// The last epoch that is meant.
        epoch: Epoch,
    },
    /// Its author takes nothing more of these epochs from the region itself.
    Closed {
        /// Which one.
        region: RegionId,
        /// The last epoch that is meant.
        epoch: Epoch,
        /// The last event of it that is there; [`Hlc::ZERO`] if there is none.
        has: Hlc,
    },
    /// The region comes back in this epoch: its author waits for it from here on.
    Readmitted {
        /// Which one.
        region: RegionId,
        /// The epoch in which it comes back.
        epoch: Epoch,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Body {
    v: u32,
    region: u16,
    epoch: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    has: Option<u64>,
}

impl Saying {
    /// The region that it is about.
    pub const fn region(self) -> RegionId {
        match self {
            Self::Evicted { region, .. } | Self::Closed { region, .. } | Self::Readmitted { region, .. } => {
                region
            }
        }
    }

    /// The event that says it. `id` is unique among the events of `$evictions`.
    pub fn event(self, id: String) -> Event {
        let (ty, epoch, has) = match self {
            Self::Evicted { epoch, .. } => (EVICTED, epoch, None),
            Self::Closed { epoch, has, .. } => (CLOSED, epoch, Some(has.as_u64())),
            Self::Readmitted { epoch, .. } => (READMITTED, epoch, None),
        };
        let body = Body { v: 1, region: self.region().0, epoch: epoch.0, has };
        Event {
            id,
            source: "tradewind:region".into(),
            ty: ty.into(),
            subject: Some(self.region().to_string()),
            // Numbers always have a JSON form.
            data: Data::Json(serde_json::to_vec(&body).unwrap_or_default()),
            ..Event::default()
        }
    }

    /// Reads an event of `$evictions`; None if it says nothing that is known here.
    pub fn read(event: &EventRef<'_>) -> Option<Self> {
        let body: Body = serde_json::from_slice(event.data.bytes()).ok()?;
        if body.v != 1 || body.region == 0 {
            return None;
        }
        let (region, epoch) = (RegionId(body.region), Epoch(body.epoch));
        match event.ty {
            EVICTED => Some(Self::Evicted { region, epoch }),
            CLOSED => Some(Self::Closed { region, epoch, has: Hlc::from_u64(body.has?) }),
            READMITTED => Some(Self::Readmitted { region, epoch }),
            _ => None,
        }
    }
}

/// Everything that was said, in the order in which it came here.
#[derive(Debug, Clone, Default)]
pub struct Evictions {
    said: Vec<Said>,
}

#[derive(Debug, Clone, Copy)]
struct Said {
    author: RegionId,
    hlc: Hlc,
    saying: Saying,
}

/// A region that is evicted, and not readmitted yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Out {
    /// The last epoch that is meant.
    pub epoch: Epoch,
    /// Who said so first, and when.
    pub by: RegionId,
    /// See [`Out::by`].
    pub at: Hlc,
    /// Who has closed it, and has everything of it up to when.
    pub closed: BTreeMap<RegionId, Hlc>,
}

impl Out {
    /// The last event of the region that any of these regions has; None while one of them has not closed it yet.
    pub fn end(&self, members: &BTreeSet<RegionId>) -> Option<Hlc> {
        members.iter().map(|member| self.closed.get(member).copied()).try_fold(Hlc::ZERO, |end, has| {
            let has = has?;
            Some(end.max(has))
        })
    }
}

impl Evictions {
    /// Takes note of what an event says.
    pub fn learn(&mut self, author: RegionId, hlc: Hlc, saying: Saying) {
        self.said.push(Said { author, hlc, saying });
    }

    /// Of each region that was ever evicted the last epoch that was: under it or an earlier one it never comes back.
    pub fn evicted(&self) -> BTreeMap<RegionId, Epoch> {
        let mut evicted: BTreeMap<RegionId, Epoch> = BTreeMap::new();
        for said in &self.said {
            if let Saying::Evicted { region, epoch } = said.saying {
                let last = evicted.entry(region).or_default();
                *last = epoch.max(*last);
            }
        }
        evicted
    }

    /// The regions that are evicted and not readmitted, by what was said within a cut: of each author up to a time. None: by all that was said.
    pub fn out(&self, cut: Option<&Seen>) -> BTreeMap<RegionId, Out> {
        let is_within = |said: &&Said| cut.is_none_or(|cut| said.hlc <= cut.of(said.author));
        let within: Vec<&Said> = self.said.iter().filter(is_within).collect();
        let mut out: BTreeMap<RegionId, Out> = BTreeMap::new();
        for said in &within {
            if let Saying::Evicted { region, epoch } = said.saying
                && out
                    .get(&region)
                    .is_none_or(|known| known.epoch < epoch || known.epoch == epoch && said.hlc < known.at)
            {
                let closed = BTreeMap::new();
                out.insert(region, Out { epoch, by: said.author, at: said.hlc, closed });
            }
        }
        for said in &within {
            match said.saying {
                Saying::Closed { region, epoch, has } => {
                    if let Some(out) = out.get_mut(&region).filter(|out| out.epoch == epoch) {
                        out.closed.insert(said.author, has);
                    }
                }
                Saying::Readmitted { region, epoch } => {
                    out.remove(&region)
                        .filter(|out| out.epoch >= epoch)
                        .map(|known| out.insert(region, known));
                }
                Saying::Evicted { .. } => {}
            }
        }
        out
    }

    /// The last epoch in which a region was readmitted.
    pub fn readmitted(&self, region: RegionId) -> Option<Epoch> {
        let readmitted = self.said.iter().filter_map(|said| match said.saying {
            Saying::Readmitted { region: of, epoch } if of == region => Some(epoch),
            _ => None,
        });
        readmitted.max()
    }

    /// The last event of a region in an epoch in which it was evicted that any other one had when it closed it.
    pub fn had(&self, region: RegionId, epoch: Epoch) -> Hlc {
        let closed = self.said.iter().filter_map(|said| match said.saying {
            Saying::Closed { region: of, epoch: last, has } if (of, last) == (region, epoch) => Some(has),
            _ => None,
        });
        closed.max().unwrap_or_default()
    }

    /// The regions of which nothing more can come, by what was said within a cut, each with the last event of it that any of `members` has that is not
    /// evicted itself. Where that is, nobody waits for the region.
    pub fn ended(&self, members: &[RegionId], cut: Option<&Seen>) -> BTreeMap<RegionId, Hlc> {
        if self.said.is_empty() {
            return BTreeMap::new();
        }
        let out = self.out(cut);
        let left: BTreeSet<RegionId> =
            members.iter().copied().filter(|member| !out.contains_key(member)).collect();
        out.iter().filter_map(|(region, out)| Some((*region, out.end(&left)?))).collect()
    }
}
