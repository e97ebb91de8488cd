//! The gate: which blocks of other regions may be appended now, so that no effect is visible before its cause (REG-2).
//!
//! Between a link and the log. A link offers the first block of each partition of each region that [`crate::received`] calls new,
//! with what its writer had [`Seen`]; whatever comes after it stays with the sender. The gate says which may be appended, and what
//! each of the others waits for. It holds descriptors, never events; it neither sends nor stores nor knows the time. The
//! README in this module's folder states the problem, the rule, and what it costs.

mod frontier;
mod report;
#[cfg(test)]
mod tests;

pub use report::{Lost, Need, Waiting};

use crate::received::REGIONS_MAX;
use crate::span::before;
use crate::{Seen, Span};
use std::collections::BTreeMap;
use tw_types::{Epoch, Hlc, RegionId, Sequence, StreamPartition};

/// The most partitions of one region.
pub const PARTITIONS_MAX: usize = 100_000;

/// The first block of a partition that is not appended yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its events, without those that are known.
    pub span: Span,
    /// What its region had seen of others when it accepted it; every entry is before the block's first timestamp.
    pub seen: Seen,
}

/// What became of an offered head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// It is held until [`Delivery::ready`] names it.
    Held,
    /// The partition has a head already, maybe this one by another link: offer it again when that one is appended. The gate has
    /// learned from it what comes after the head.
    Busy,
}

/// Events that are to be appended now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portion {
    /// The partition.
    pub at: StreamPartition,
    /// Which events: those of the head, or those of its front that come before events of other partitions.
    pub span: Span,
}

/// Why something that was told cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A partition that was not added.
    #[error("partition `{at}` of region `{region}` is not known: add it before its blocks and heartbeats")]
    UnknownPartition {
        /// The region.
        region: RegionId,
        /// The partition.
        at: StreamPartition,
    },
    /// Something that should have been known before more was said of its region.
    #[error(
        "region `{region}` has something at {hlc} in `{at}`, after it had said that all up to {seen} was sent: it must go on under a new epoch with later timestamps"
    )]
    Late {
        /// The region.
        region: RegionId,
        /// The partition.
        at: StreamPartition,
        /// The timestamp.
        hlc: Hlc,
        /// Up to when everything was said to be there.
        seen: Hlc,
    },
    /// A block that names what is not before it. To wait for that could be to wait for each other.
    #[error(
        "a block of region `{region}` at {first} has seen region `{other}` up to {hlc}, which is not before it: the writer's clock must observe what it has seen"
    )]
    SeenTooLate {
        /// The region of the block.
        region: RegionId,
        /// Its first timestamp.
        first: Hlc,
        /// The region that it has seen.
        other: RegionId,
        /// Up to when.
        hlc: Hlc,
    },
    /// More regions than there may be.
    #[error(
        "region `{region}` is one more than the {max} that the gate takes: remove the partitions of regions that take part no more, and start anew"
    )]
    Regions {
        /// The region.
        region: RegionId,
        /// The bound.
        max: usize,
    },
    /// More partitions than there may be.
    #[error("region `{region}` has more than {max} partitions: share streams out over several gates")]
    Partitions {
        /// The region.
        region: RegionId,
        /// The bound.
        max: usize,
    },
}

/// The gate of one region. Not stored: after a start it is built from what each partition has received.
#[derive(Debug, Clone)]
pub struct Delivery {
    me: RegionId,
    regions: BTreeMap<RegionId, Region>,
}

/// What is known of one region.
#[derive(Debug, Clone, Default)]
struct Region {
    /// Everything up to here is here, whatever partitions there are: told by this region of itself.
    floor: Hlc,
    /// The last event of it that is here.
    latest: Hlc,
    /// Everything up to here is here.
    seen: Hlc,
    slots: BTreeMap<StreamPartition, Slot>,
}

/// What is known of one partition of a region.
#[derive(Debug, Clone, Default)]
struct Slot {
    /// Everything up to here is appended; there may be more.
    known: Hlc,
    head: Option<Held>,
}

/// A head with what is known of what follows it.
#[derive(Debug, Clone)]
struct Held {
    head: Head,
    /// Nothing follows it up to here.
    clear: Hlc,
    /// Something follows right after `clear`: no heartbeat can raise it.
    is_followed: bool,
}

impl Delivery {
    /// The gate of the region `me` at its start, with every partition that it has of each other region, and the timestamp of that
    /// partition's last event here. Partitions of `me` itself are among them while it fetches back what an older copy of it
    /// had written.
    ///
    /// # Errors
    /// [`Error::Regions`] and [`Error::Partitions`].
    pub fn start(
        me: RegionId,
        partitions: impl IntoIterator<Item = (RegionId, StreamPartition, Hlc)>,
    ) -> Result<Self, Error> {
        let mut delivery = Self { me, regions: BTreeMap::new() };
        for (region, at, appended) in partitions {
            let of = delivery.room_for(region)?;
            of.slots.insert(at, Slot { known: appended, head: None });
            of.latest = of.latest.max(appended);
        }
        delivery.regions.values_mut().for_each(Region::settle);
        Ok(delivery)
    }

    /// A partition that is new in another region, before anything else is told of it. It has nothing up to `since`, inclusive:
    /// when it was created there. Who creates one tells of it before any heartbeat that is later.
    ///
    /// # Errors
    /// [`Error::Late`] when the region has said more already; [`Error::Regions`], [`Error::Partitions`].
    pub fn add(&mut self, region: RegionId, at: StreamPartition, since: Hlc) -> Result<(), Error> {
        let of = self.room_for(region)?;
        if of.slots.contains_key(&at) {
            return Ok(());
        }
        if since < of.seen {
            return Err(Error::Late { region, at, hlc: since, seen: of.seen });
        }
        of.slots.insert(at, Slot { known: since, head: None });
        of.settle();
        Ok(())
    }

    /// What a step has stored of [`Delivery::latest`] in this region's log, told at the start: everything of those regions up to there is
    /// here, although no partition says so yet. Without it, what depends on a region that is cut off would wait for its next
    /// heartbeat. Regions of which there is no partition any more are among them: what they wrote stays. Of those that take part no more it
    /// is also told up to when all agreed to have heard them, once that is here: their heartbeats do not come again. Only for a log in
    /// which the blocks of a step and that vector are stored at once.
    ///
    /// # Errors
    /// [`Error::Regions`].
    pub fn resume(&mut self, stored: &Seen) -> Result<(), Error> {
        let me = self.me;
        for (region, until) in stored.iter().filter(|(region, _)| *region != me) {
            let of = self.room_for_region(region)?;
            of.floor = of.floor.max(until);
            of.latest = of.latest.max(until);
            of.settle();
        }
        Ok(())
    }

    /// A partition of a region that begins to be received only now, or again, although the region has said more already: all of it up
    /// to `since` (inclusive) is here. What was seen of the region falls back to that until the rest has come, so that whatever is
    /// appended from now on is in order again.
    ///
    /// # Errors
    /// [`Error::Regions`], [`Error::Partitions`].
    pub fn reopen(&mut self, region: RegionId, at: StreamPartition, since: Hlc) -> Result<(), Error> {
        let of = self.room_for(region)?;
        let floor = std::mem::take(&mut of.floor);
        of.slots.values_mut().for_each(|slot| slot.known = slot.known.max(floor));
        let slot = of.slots.entry(at).or_default();
        if slot.head.is_none() {
            slot.known = since;
        }
        of.settle();
        Ok(())
    }

    /// A partition is gone (its stream was removed, or a restored region has all of itself again): it holds nothing up any more.
    pub fn remove(&mut self, region: RegionId, at: StreamPartition) {
        if let Some(of) = self.regions.get_mut(&region) {
            // What was there stays seen.
            of.floor = of.floor.max(of.seen);
            of.slots.remove(&at);
            of.settle();
        }
    }

    /// Everything that this region itself accepted up to `until` is here. Not to be told by a restored copy that may have lost events
    /// that others hold, before it has them again.
    pub fn local(&mut self, until: Hlc) {
        let of = self.regions.entry(self.me).or_default();
        of.floor = of.floor.max(until);
        of.latest = of.latest.max(until);
        of.settle();
    }

    /// The first block of a partition that is new here.
    ///
    /// # Errors
    /// [`Error::UnknownPartition`]; [`Error::SeenTooLate`]; [`Error::Late`] when it begins before what was said to be all.
    pub fn offer(&mut self, at: StreamPartition, head: Head) -> Result<Placed, Error> {
        let (region, first) = (head.span.region(), head.span.first_hlc());
        let of = self.regions.get_mut(&region).ok_or(Error::UnknownPartition { region, at })?;
        let floor = of.floor;
        let slot = of.slots.get_mut(&at).ok_or(Error::UnknownPartition { region, at })?;
        if let Some(held) = &mut slot.head {
            held.look_ahead(&head.span);
            return Ok(Placed::Busy);
        }
        let seen = slot.known.max(floor);
        if first <= seen {
            return Err(Error::Late { region, at, hlc: first, seen });
        }
        if let Some((other, hlc)) = head.seen.iter().find(|(_, hlc)| *hlc >= first) {
            return Err(Error::SeenTooLate { region, first, other, hlc });
        }
        let clear = head.span.last_hlc();
        slot.head = Some(Held { head, clear, is_followed: false });
        of.settle();
        Ok(Placed::Held)
    }

    /// The held head of a partition is given back. To be done before this region tells a restored copy of another one what it has of
    /// it, since what it says is where the old epoch ends: a head that is appended later would lie beyond that.
    pub fn withdraw(&mut self, region: RegionId, at: StreamPartition) -> Option<Head> {
        let of = self.regions.get_mut(&region)?;
        let slot = of.slots.get_mut(&at)?;
        let held = slot.head.take()?;
        // That nothing comes before it was said by the copy of the region that sent it.
        slot.known = slot.known.max(of.seen);
        of.settle();
        Some(held.head)
    }

    /// In the log of who sent the held head, the next block of its region and partition begins at `first_hlc`, maybe in a later epoch or
    /// after events that compaction removed. A link looks as far ahead as that, else the head may wait for it for ever.
    pub fn followed(&mut self, region: RegionId, at: StreamPartition, first_hlc: Hlc) {
        let slot = self.regions.get_mut(&region).and_then(|of| of.slots.get_mut(&at));
        if let Some(held) = slot.and_then(|slot| slot.head.as_mut()) {
            held.is_followed_by(first_hlc);
        }
    }

    /// A region says that after what it `announced` in this partition (its epochs, each with its last sequence) nothing more comes up
    /// to `until`, inclusive. To be told when all of that is received or is the held head
    /// ([`crate::received::Received::announce`]). Returns whether that helped.
    ///
    /// # Errors
    /// [`Error::UnknownPartition`].
    pub fn heartbeat(
        &mut self,
        region: RegionId,
        at: StreamPartition,
        announced: &[(Epoch, Sequence)],
        until: Hlc,
    ) -> Result<bool, Error> {
        let of = self.regions.get_mut(&region).ok_or(Error::UnknownPartition { region, at })?;
        let slot = of.slots.get_mut(&at).ok_or(Error::UnknownPartition { region, at })?;
        let is_heard = slot.hear(announced, until);
        if is_heard {
            of.settle();
        }
        Ok(is_heard)
    }

    /// The same of many partitions of a region at once, which costs as much as of one. Those that are not known are left out.
    pub fn heartbeats<'a>(
        &mut self,
        region: RegionId,
        until: Hlc,
        partitions: impl IntoIterator<Item = (StreamPartition, &'a [(Epoch, Sequence)])>,
    ) {
        let Some(of) = self.regions.get_mut(&region) else { return };
        for (at, announced) in partitions {
            if let Some(slot) = of.slots.get_mut(&at) {
                slot.hear(announced, until);
            }
        }
        of.settle();
    }

    /// What was named by [`Delivery::ready`] is appended up to `through`, inclusive. The shell says so when it is visible and, with
    /// what was received, in one atomic step.
    pub fn appended(&mut self, region: RegionId, at: StreamPartition, through: Hlc) {
        let Some(of) = self.regions.get_mut(&region) else { return };
        let Some(slot) = of.slots.get_mut(&at) else { return };
        let Some(held) = &mut slot.head else { return };
        let through = through.min(held.head.span.last_hlc());
        let Some(done) = held.head.span.up_to(through) else { return };
        match held.head.span.without_front(done.count()) {
            Some(rest) => {
                slot.known = through;
                held.head.span = rest;
            }
            None => {
                slot.known = held.clear;
                slot.head = None;
            }
        }
        of.latest = of.latest.max(through);
        of.settle();
    }

    /// Of each region, up to when everything is here, inclusive, and nothing else will come: what is told with heartbeats. It
    /// never passes a block that is held back.
    pub fn seen(&self) -> Seen {
        self.regions.iter().map(|(region, of)| (*region, of.seen)).collect()
    }

    /// Of each other region, the last event that is here: what a change that is accepted now is told with. It names the same events
    /// as [`Delivery::seen`] does, but nobody needs a heartbeat to know that they are there. Only after a crash in the midst of a
    /// step may it be ahead of that, until the rest of the step has come again. The caller adds how far this region's earlier epochs
    /// went, and gives the change a timestamp after all of that.
    pub fn latest(&self) -> Seen {
        let others = self.regions.iter().filter(|(region, _)| **region != self.me);
        others.map(|(region, of)| (*region, of.latest)).collect()
    }

    /// Up to when everything of one partition is appended and nothing more comes: what a relay may say of it.
    pub fn known(&self, region: RegionId, at: StreamPartition) -> Option<Hlc> {
        let of = self.regions.get(&region)?;
        Some(of.limit(of.slots.get(&at)?))
    }

    fn seen_of(&self, region: RegionId) -> Hlc {
        self.regions.get(&region).map_or(Hlc::ZERO, |of| of.seen)
    }

    /// A region in which one partition more has room.
    fn room_for(&mut self, region: RegionId) -> Result<&mut Region, Error> {
        let of = self.room_for_region(region)?;
        if of.slots.len() >= PARTITIONS_MAX {
            return Err(Error::Partitions { region, max: PARTITIONS_MAX });
        }
        Ok(of)
    }

    fn room_for_region(&mut self, region: RegionId) -> Result<&mut Region, Error> {
        if !self.regions.contains_key(&region) && self.regions.len() >= REGIONS_MAX {
            return Err(Error::Regions { region, max: REGIONS_MAX });
        }
        Ok(self.regions.entry(region).or_default())
    }
}

impl Region {
    /// Up to when everything of a partition is here.
    fn limit(&self, slot: &Slot) -> Hlc {
        match &slot.head {
            Some(held) => before(held.head.span.first_hlc()),
            None => slot.known.max(self.floor),
        }
    }

    /// Computes anew what was seen, after anything was changed.
    fn settle(&mut self) {
        let least = self.slots.values().map(|slot| self.limit(slot)).min();
        self.seen = least.unwrap_or(self.floor);
    }
}

impl Slot {
    /// Nothing comes after what was announced up to `until`; returns whether that helps.
    fn hear(&mut self, announced: &[(Epoch, Sequence)], until: Hlc) -> bool {
        match &mut self.head {
            None => self.known = self.known.max(until),
            Some(held) if held.is_last_of(announced) && !held.is_followed => {
                held.clear = held.clear.max(until);
            }
            Some(_) => return false,
        }
        true
    }
}

impl Held {
    /// Learns from a block of the same partition where what comes after the head begins; by another link, the same events may come
    /// in other blocks.
    fn look_ahead(&mut self, span: &Span) {
        let next = Sequence(self.head.span.last().0 + 1);
        if let Some(hlc) = span.hlc_at(next).filter(|_| span.epoch() == self.head.span.epoch()) {
            self.is_followed_by(hlc);
        }
    }

    fn is_followed_by(&mut self, first_hlc: Hlc) {
        self.is_followed = true;
        self.clear = self.clear.max(before(first_hlc));
    }

    /// Whether nothing that was announced comes after it. An epoch that has just begun has no event yet.
    fn is_last_of(&self, announced: &[(Epoch, Sequence)]) -> bool {
        let last = announced.iter().rfind(|(_, sequence)| *sequence > Sequence(0));
        last == Some(&(self.head.span.epoch(), self.head.span.last()))
    }
}
