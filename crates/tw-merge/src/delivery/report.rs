//! What waits, and for what: for an operator, and for the decision to declare something lost.

use super::{Delivery, Error};
use tw_types::{Epoch, Hlc, Origin, RegionId, Sequence, StreamPartition};

/// Something that has to be here before a block may be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Of which region.
    pub region: RegionId,
    /// Of one partition of it, if it is the block's own region that is waited for.
    pub at: Option<StreamPartition>,
    /// Everything up to here, inclusive.
    pub until: Hlc,
    /// How far it is here.
    pub here: Hlc,
}

/// A block that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its partition.
    pub at: StreamPartition,
    /// Its first event.
    pub first: Origin,
    /// That event's timestamp.
    pub hlc: Hlc,
    /// What it waits for; empty when it only waits for an earlier block of its region that waits.
    pub needs: Vec<Need>,
}

/// What was given up by declaring it lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The region whose events are given up.
    pub region: RegionId,
    /// The partition.
    pub at: StreamPartition,
    /// What is lost comes after this timestamp.
    pub after: Hlc,
    /// Up to here, inclusive.
    pub until: Hlc,
    /// The blocks that waited for it and need not any more: they may have effects whose cause is lost.
    pub released: Vec<Waiting>,
}

impl Delivery {
    /// The blocks that may not be appended now, with what each waits for, by region and partition.
    pub fn waiting(&self) -> Vec<Waiting> {
        let ready = self.ready();
        let held = self.regions.values().flat_map(|of| &of.slots);
        let held = held.filter_map(|(at, slot)| Some((*at, slot.head.as_ref()?)));
        let waiting = held.filter(|(at, held)| {
            let first = held.head.span.first();
            !ready.iter().any(|portion| portion.at == *at && portion.span.first() == first)
        });
        let report = waiting.map(|(at, held)| {
            let (span, mut needs) = (&held.head.span, Vec::new());
            for (region, until) in held.head.seen.iter().filter(|(region, _)| *region != span.region()) {
                let here = self.seen_of(region);
                if here < until {
                    needs.push(Need { region, at: None, until, here });
                }
            }
            needs.extend(self.siblings(span.region(), span.last_hlc()));
            Waiting { at, first: span.first(), hlc: span.first_hlc(), needs }
        });
        report.collect()
    }

    /// What a region accepted in one partition after what was `announced`, up to `until`, is given up, because that region was lost and
    /// nobody has it any more. To be told like a heartbeat, and of every partition: once everything that live regions hold of the region
    /// is received or is the held head. All regions declare the same. What comes later all the same is refused as late.
    ///
    /// Returns what is given up and what is released by that; None if nothing is, because the region itself had said so.
    ///
    /// # Errors
    /// [`Error::UnknownPartition`].
    pub fn declare_lost(
        &mut self,
        region: RegionId,
        at: StreamPartition,
        announced: &[(Epoch, Sequence)],
        until: Hlc,
    ) -> Result<Option<Lost>, Error> {
        let known = self.hears(region, at).ok_or(Error::UnknownPartition { region, at })?;
        let waited = self.waiting();
        if !self.heartbeat(region, at, announced, until)? || known >= until {
            return Ok(None);
        }
        let waits = self.waiting();
        let is_released = |one: &Waiting| {
            one.needs.iter().any(|need| need.region == region && need.here < until)
                && !waits.iter().any(|still| (still.at, still.first) == (one.at, one.first))
        };
        let released = waited.into_iter().filter(is_released).collect();
        Ok(Some(Lost { region, at, after: known, until, released }))
    }

    /// The partitions of a region of which it is not known whether something comes up to `until`.
    fn siblings(&self, region: RegionId, until: Hlc) -> Vec<Need> {
        let slots = self.regions.get(&region).into_iter().flat_map(|of| of.slots.keys());
        let known = slots.filter_map(|at| Some((*at, self.hears(region, *at)?)));
        let short = known.filter(|(_, here)| *here < until);
        short.map(|(at, here)| Need { region, at: Some(at), until, here }).collect()
    }

    /// Up to when it is known what a partition has, appended or held. One whose next block is there is heard to the end.
    fn hears(&self, region: RegionId, at: StreamPartition) -> Option<Hlc> {
        let of = self.regions.get(&region)?;
        let slot = of.slots.get(&at)?;
        Some(match &slot.head {
            None => slot.known.max(of.floor),
            Some(held) if held.is_followed => Hlc::from_u64(u64::MAX),
            Some(held) => held.clear,
        })
    }
}
