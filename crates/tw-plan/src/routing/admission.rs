//! Spillover: how much of what wants to go to a region fits in.

use super::draw::Drawer;
use super::market::{Settled, check, settle};
use super::{Fill, Plan, Present};
use crate::Error;
use std::collections::BTreeMap;
use tw_types::RegionId;

/// How much each region admits: of the users that come to it, those whose draw is below its cutoff. The same for all routers of a
/// plan; the default admits everybody everywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    cutoffs: BTreeMap<RegionId, u32>,
}

/// An admission and what it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// What the routers are to use.
    pub admission: Admission,
    /// What the regions get.
    pub fills: Vec<Fill>,
    /// What has no place in any region, in thousandths of a request a second.
    pub beyond_milli_per_s: u64,
}

impl Admission {
    /// The part of users that a region admits, in thousandths; 1,000 is everybody.
    pub fn permille(&self, region: RegionId) -> u32 {
        let cutoff = self.cutoffs.get(&region).map_or(1 << 32, |cutoff| u64::from(*cutoff));
        ((cutoff * 1_000) >> 32) as u32
    }

    pub(super) fn cutoff(&self, region: RegionId) -> Option<u32> {
        self.cutoffs.get(&region).copied()
    }

    pub(super) fn admits(&self, user: Drawer, region: RegionId) -> bool {
        self.cutoff(region).is_none_or(|cutoff| user.room(region) < cutoff)
    }
}

/// Computes how much each region admits, so that none gets more than it may as long as another one has room. What is in force is taken from
/// `present.observed`, and kept where it is nearly right, so that users at the edge do not come and go.
///
/// Regions are filled up to `full_permille` of their capacity, and to the whole of it if that is not enough. Each region may stay below its
/// limit by what one sampled user stands for: rates that are small next to capacities make it exact.
///
/// # Errors
/// [`Error::Option`], [`Error::RouteLimit`]: what is in force stays.
pub fn admission(plan: &Plan, present: &Present<'_>) -> Result<Admitted, Error> {
    let options = present.options;
    check(options, present.sample)?;
    let open = Admission::default();
    let limits = [options.full_permille, 1_000];
    let mut best = settle(plan, present, limits[0], &open);
    let mut limit = limits[0];
    if best.beyond_milli_per_s > 0 {
        limit = limits[1];
        best = settle(plan, present, limit, &open);
    }
    let held = settle(plan, present, limit, &kept(&best, present));
    if held.beyond_milli_per_s <= best.beyond_milli_per_s {
        best = held;
    }
    Ok(Admitted {
        admission: Admission { cutoffs: best.cutoffs },
        fills: best.fills,
        beyond_milli_per_s: best.beyond_milli_per_s,
    })
}

/// The cutoffs in force that turn away only a little more than necessary, of regions that are nearly full.
fn kept(best: &Settled, present: &Present<'_>) -> Admission {
    let hold_permille = u64::from(present.options.hold_permille);
    let is_kept = |fill: &Fill, before: u32| {
        let possible = best.cutoffs.get(&fill.region).map_or(1 << 32, |cutoff| u64::from(*cutoff));
        let less = possible.checked_sub(u64::from(before));
        let nearly_full = fill.held_milli_per_s.saturating_mul(1_000)
            >= fill.limit_milli_per_s.saturating_mul(1_000 - hold_permille);
        nearly_full && less.is_some_and(|less| less * 1_000 <= hold_permille << 32)
    };
    let kept = best.fills.iter().filter_map(|fill| {
        let before = present.observed.admission.cutoff(fill.region)?;
        is_kept(fill, before).then_some((fill.region, before))
    });
    Admission { cutoffs: kept.collect() }
}
