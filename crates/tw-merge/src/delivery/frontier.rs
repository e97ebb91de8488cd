//! How far each region's events may be appended: always all of them up to one timestamp, in the order of timestamps.

use super::{Delivery, Held, Portion, Region};
use tw_types::{Hlc, RegionId};

/// A limit of how far a region may be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Limit {
    /// Up to here, inclusive.
    until: Hlc,
    /// Whether hearing more of the partition can raise it. Of equal limits the one that cannot be raised counts.
    is_raised_by_hearing: bool,
}

impl Delivery {
    /// What may be appended now, in this order. What is named for one region counts as one step: when all of it is appended, all
    /// events of that region up to some timestamp are here and none after it. Ask again when it is, and whenever something was
    /// told; an empty answer means that everything held waits.
    pub fn ready(&self) -> Vec<Portion> {
        self.regions.keys().flat_map(|region| self.ready_of(*region)).collect()
    }

    fn ready_of(&self, region: RegionId) -> Vec<Portion> {
        let Some(of) = self.regions.get(&region) else { return Vec::new() };
        let limits = of.slots.values().map(|slot| match &slot.head {
            None => Limit { until: slot.known.max(of.floor), is_raised_by_hearing: true },
            Some(held) if !self.is_covered(held) => {
                Limit { until: of.limit(slot), is_raised_by_hearing: false }
            }
            Some(held) => Limit { until: held.clear, is_raised_by_hearing: !held.is_followed },
        });
        let Some(limit) = limits.min() else { return Vec::new() };
        of.portions(of.cut(limit))
    }

    /// Whether everything that the writer had seen is here. Of its own region a block needs what comes before it, which is what
    /// the order of timestamps sees to.
    pub(super) fn is_covered(&self, held: &Held) -> bool {
        let region = held.head.span.region();
        held.head.seen.iter().all(|(other, until)| other == region || until <= self.seen_of(other))
    }
}

impl Region {
    /// Up to where to append within the limit: blocks are kept whole if there is any way. They overlap when several nodes of a
    /// region accept events at the same time.
    fn cut(&self, limit: Limit) -> Hlc {
        let splits = |at: Hlc| self.heads().any(|(first, last)| first <= at && at < last);
        if !splits(limit.until) {
            return limit.until;
        }
        let ends = self.heads().map(|(_, last)| last).filter(|last| *last <= limit.until && !splits(*last));
        match ends.max() {
            Some(end) => end,
            // The next heartbeat takes the limit beyond the block.
            None if limit.is_raised_by_hearing => Hlc::ZERO,
            // Each of two partitions has something that comes before the end of what the other one has.
            None => limit.until,
        }
    }

    fn portions(&self, until: Hlc) -> Vec<Portion> {
        let held = self.slots.iter().filter_map(|(at, slot)| Some((at, slot.head.as_ref()?)));
        let portion = |(at, held): (_, &Held)| Some(Portion { at, span: held.head.span.up_to(until)? });
        let mut portions: Vec<Portion> = held.filter_map(|(at, held)| portion((*at, held))).collect();
        // Who knew of a block of its own region has the later timestamp.
        portions.sort_by_key(|portion| (portion.span.first_hlc(), portion.at));
        portions
    }

    /// First and last timestamp of each head.
    fn heads(&self) -> impl Iterator<Item = (Hlc, Hlc)> + '_ {
        let held = self.slots.values().filter_map(|slot| slot.head.as_ref());
        held.map(|held| (held.head.span.first_hlc(), held.head.span.last_hlc()))
    }
}
