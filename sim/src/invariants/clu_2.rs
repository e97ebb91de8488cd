//! CLU-2: a unit that nobody has is told, by everybody who is in touch with coordination.

use super::truth::Truth;
use super::{By, Checked, broken};
use std::collections::{BTreeMap, BTreeSet};
use tw_plan::ownership::invariants::CLU_2;
use tw_plan::placement::Unit;

/// How long it may take until it is told: a watch that was lost is asked again after at most two seconds, and so are reads.
const TOLD_US_MAX: u64 = 5_000_000;

/// Since when nobody has what.
#[derive(Debug, Default)]
pub(super) struct Clu2 {
    since_us: BTreeMap<Unit, u64>,
}

impl Clu2 {
    pub(super) fn look(&mut self, truth: &Truth, now_us: u64) {
        let unowned: BTreeSet<&Unit> = truth.unowned().collect();
        self.since_us.retain(|unit, _| unowned.contains(unit));
        for unit in unowned {
            if !self.since_us.contains_key(unit) {
                self.since_us.insert(unit.clone(), now_us);
            }
        }
    }

    pub(super) fn told(&self, told: &BTreeSet<Unit>, by: By<'_>, in_touch_us: u64, now_us: u64) -> Checked {
        let is_late = |since_us: u64| now_us.saturating_sub(since_us.max(in_touch_us)) > TOLD_US_MAX;
        let missed =
            self.since_us.iter().find(|(unit, since_us)| is_late(**since_us) && !told.contains(*unit));
        match missed {
            Some((unit, since_us)) => broken(
                CLU_2,
                format!("nobody has had {unit} since {} ms, and {} does not tell", since_us / 1000, by.node),
            ),
            None => Ok(()),
        }
    }
}
