//! What a region had of the others at a moment: one timestamp per region.
//!
//! Source: the dependency vector of Akkoorath et al., "Cure: Strong Semantics Meets High Availability and Low Latency",
//! ICDCS 2016, with one entry per region. `docs/adr/0017-what-a-region-has-seen.md` says how it comes about.

use crate::Stamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use tw_types::{Hlc, RegionId};

/// For each region the timestamp up to which (inclusive) everything that it accepted is there. A region that is not named
/// has [`Hlc::ZERO`]: nothing of it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seen(BTreeMap<RegionId, Hlc>);

impl Seen {
    /// Nothing of anybody.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Up to when everything of `region` is there, inclusive.
    pub fn of(&self, region: RegionId) -> Hlc {
        self.0.get(&region).copied().unwrap_or(Hlc::ZERO)
    }

    /// Everything of `region` up to `until` (inclusive) is there as well. An earlier time than the known one changes nothing.
    pub fn raise(&mut self, region: RegionId, until: Hlc) {
        if until > self.of(region) {
            self.0.insert(region, until);
        }
    }

    /// Whatever is in either of the two: the least upper bound.
    pub fn join(&mut self, other: &Self) {
        for (region, until) in other.iter() {
            self.raise(region, until);
        }
    }

    /// Whatever is in both: the greatest lower bound.
    pub fn meet(&mut self, other: &Self) {
        self.0.retain(|region, until| {
            *until = (*until).min(other.of(*region));
            *until > Hlc::ZERO
        });
    }

    /// Whether the change with this stamp is there.
    pub fn holds(&self, stamp: &Stamp) -> bool {
        stamp.hlc <= self.of(stamp.region())
    }

    /// Whether everything that `other` names is there.
    pub fn covers(&self, other: &Self) -> bool {
        other.iter().all(|(region, until)| until <= self.of(region))
    }

    /// Forgets a region that takes part no more.
    pub fn forget(&mut self, region: RegionId) {
        self.0.remove(&region);
    }

    /// The regions of which something is there, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (RegionId, Hlc)> + '_ {
        self.0.iter().map(|(region, until)| (*region, *until))
    }
}

impl FromIterator<(RegionId, Hlc)> for Seen {
    fn from_iter<I: IntoIterator<Item = (RegionId, Hlc)>>(entries: I) -> Self {
        let mut seen = Self::new();
        for (region, until) in entries {
            seen.raise(region, until);
        }
        seen
    }
}

impl fmt::Display for Seen {
    /// `1@1700000000000.0 3@1700000000007.2`; `nothing` when it is empty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (at, (region, until)) in self.iter().enumerate() {
            write!(f, "{}{region}@{until}", if at == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

/// What one change is told with: its stamp, and what its region had seen of others when it accepted it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Context {
    /// When and where the change was accepted.
    pub stamp: Stamp,
    /// What was there of the other regions; the entry of its own region speaks of its earlier epochs. Of its own epoch a region has
    /// seen all that it accepted before.
    pub seen: Seen,
}

impl Context {
    /// Whether whoever made this change knew of `other`.
    pub fn knew(&self, other: &Stamp) -> bool {
        let own = (self.stamp.origin.region, self.stamp.origin.epoch);
        if (other.origin.region, other.origin.epoch) == own {
            *other < self.stamp
        } else {
            self.seen.holds(other)
        }
    }

    /// Whether neither of the two changes knew of the other one.
    pub fn is_concurrent_with(&self, other: &Self) -> bool {
        self.stamp != other.stamp && !self.knew(&other.stamp) && !other.knew(&self.stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::context;
    use proptest::prelude::*;
    use tw_types::Epoch;

    fn seen() -> impl Strategy<Value = Seen> {
        proptest::collection::vec((0u16..4, 0u64..6), 0..6).prop_map(|entries| {
            entries.into_iter().map(|(region, until)| (RegionId(region), Hlc::from_u64(until))).collect()
        })
    }

    #[test]
    fn changes_that_did_not_know_of_each_other_are_concurrent() {
        let (first, blind, aware) =
            (context(1, 10, &[]), context(2, 12, &[(1, 9)]), context(2, 13, &[(1, 10)]));
        assert!(blind.is_concurrent_with(&first) && first.is_concurrent_with(&blind));
        assert!(aware.knew(&first.stamp) && !aware.is_concurrent_with(&first));
        assert!(!aware.is_concurrent_with(&blind), "a region knows what it accepted before");
        assert!(!first.is_concurrent_with(&first));
    }

    #[test]
    fn a_restored_region_has_not_seen_what_its_earlier_self_wrote_after_the_backup() {
        let lost = context(1, 10, &[]);
        let mut restored = context(1, 12, &[(1, 8)]);
        restored.stamp.origin.epoch = Epoch(2);
        assert!(restored.is_concurrent_with(&lost));
        restored.seen.raise(RegionId(1), Hlc::from_u64(10));
        assert!(restored.knew(&lost.stamp));
    }

    #[test]
    fn a_vector_reads_as_region_and_time() {
        assert_eq!(context(1, 1, &[(2, 3 << 16), (7, (5 << 16) + 1)]).seen.to_string(), "2@3.0 7@5.1");
        assert_eq!(Seen::new().to_string(), "nothing");
    }

    proptest! {
        #[test]
        fn join_and_meet_are_the_bounds_of_a_lattice(a in seen(), b in seen(), c in seen()) {
            let join = |a: &Seen, b: &Seen| { let mut joined = a.clone(); joined.join(b); joined };
            let meet = |a: &Seen, b: &Seen| { let mut met = a.clone(); met.meet(b); met };
            for bound in [&join, &meet as &dyn Fn(&Seen, &Seen) -> Seen] {
                prop_assert_eq!(bound(&a, &b), bound(&b, &a));
                prop_assert_eq!(bound(&bound(&a, &b), &c), bound(&a, &bound(&b, &c)));
                prop_assert_eq!(&bound(&a, &a), &a);
            }
            prop_assert_eq!(&join(&a, &meet(&a, &b)), &a);
            prop_assert!(join(&a, &b).covers(&a) && a.covers(&meet(&a, &b)));
            prop_assert_eq!(a.covers(&b), join(&a, &b) == a);
        }
    }
}
