//! What was observed of the regions: who is up, and how much each one admits.

use super::{Admission, Options};
use std::collections::BTreeMap;
use tw_types::RegionId;

/// What one router knows of the regions. At most one entry a region.
///
/// What is known holds until there is something newer: a region of which nothing was heard for a while is as it was last, one of
/// which nothing was ever heard is up, because the plan says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    seen: BTreeMap<RegionId, Seen>,
    /// How much each region admits; from [`super::admission`]. The default admits everybody.
    pub admission: Admission,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    up: bool,
    at_ms: u64,
}

/// What is known of a region's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Whether it is taken for up.
    pub up: bool,
    /// How old that is, in milliseconds; None: nothing was ever heard of it.
    pub age_ms: Option<u64>,
    /// Whether it is a state that is held because there is nothing newer, and not an observation.
    pub held: bool,
}

impl Observed {
    /// Takes an observation of `at_ms`, in milliseconds of the observer's clock. An older one than the one that is known changes
    /// nothing.
    pub fn tell(&mut self, region: RegionId, up: bool, at_ms: u64) {
        let known = self.seen.get(&region);
        if known.is_none_or(|known| known.at_ms <= at_ms) {
            self.seen.insert(region, Seen { up, at_ms });
        }
    }

    /// Forgets what is not about a region for which `keep` holds.
    pub fn retain(&mut self, keep: impl Fn(RegionId) -> bool) {
        self.seen.retain(|region, _| keep(*region));
    }

    /// What is known of a region.
    pub fn health(&self, region: RegionId, options: &Options, now_ms: u64) -> Health {
        let age_ms = self.seen.get(&region).map(|seen| now_ms.saturating_sub(seen.at_ms));
        let held = age_ms.is_none_or(|age_ms| age_ms > options.health_ms_max);
        Health { up: self.is_up(region), age_ms, held }
    }

    /// Whether a region is taken for up.
    pub fn is_up(&self, region: RegionId) -> bool {
        self.seen.get(&region).is_none_or(|seen| seen.up)
    }
}
