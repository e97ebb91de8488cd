//! The order of the regions for a user, before it is asked whether there is room.
//!
//! [`super::rank`] answers with it, and [`super::market`] computes with the same order what a change would do: what is checked is
//! what happens then.

use super::draw::Drawer;
use super::{Health, Observed, Options, Plan, Region, User};
use tw_types::RegionId;

/// How long a round trip to a region takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// In milliseconds; None: nothing is known, and the region comes after those of which something is.
    pub rtt_ms: Option<u32>,
    /// Where that is from.
    pub basis: Basis,
}

/// Where a latency is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// It was measured, lately enough.
    Measured,
    /// It was estimated from the distance.
    Distance,
    /// Neither was possible: capacities and the user's hash decide.
    Hash,
}

/// Why a region is where it is in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// By its latency, and it keeps the user.
    Latency,
    /// The user prefers region `by`, which gives it to this one.
    Given {
        /// The giver.
        by: RegionId,
    },
    /// Its weight keeps the user away: it comes after all others.
    Weight,
}

/// A region as one user sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing<'a> {
    pub(super) region: &'a Region,
    pub(super) latency: Latency,
    pub(super) health: Health,
    pub(super) lag_ms: Option<u32>,
    pub(super) reached: Reached,
    /// The latency by which it was reached: its own, or the giver's. The highest number if unknown.
    via_ms: u32,
}

/// The regions for a user.
#[derive(Debug)]
pub(super) struct Order<'a> {
    /// Those with the user's data as fresh as was asked for, the first choice first.
    pub(super) fresh: Vec<Standing<'a>>,
    /// Those without, the least stale first.
    pub(super) stale: Vec<Standing<'a>>,
    pub(super) down: Vec<Standing<'a>>,
    pub(super) drained: Vec<Standing<'a>>,
    /// All looked down, so none is taken for down.
    pub(super) fail_static: bool,
    pub(super) drawer: Drawer,
}

impl<'a> Order<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        observed: &Observed,
        user: &User,
        options: &Options,
        now_ms: u64,
    ) -> Self {
        let drawer = Drawer::new(&user.key);
        let mut standings: Vec<Standing<'a>> = plan
            .regions()
            .iter()
            .map(|region| {
                let latency = latency(region, user, options, now_ms);
                Standing {
                    region,
                    latency,
                    health: observed.health(region.id, options, now_ms),
                    lag_ms: user.lag_ms.get(&region.id).copied(),
                    reached: Reached::Weight,
                    via_ms: latency.rtt_ms.unwrap_or(u32::MAX),
                }
            })
            .collect();
        standings.sort_by(|a, b| {
            let by_hash = || drawer.dislike(a.region).total_cmp(&drawer.dislike(b.region));
            a.via_ms.cmp(&b.via_ms).then_with(by_hash).then(a.region.id.cmp(&b.region.id))
        });
        let fail_static = standings.iter().all(|one| one.region.drained || !one.health.up);
        let mut order = Self {
            fresh: Vec::new(),
            stale: Vec::new(),
            down: Vec::new(),
            drained: Vec::new(),
            fail_static,
            drawer,
        };
        for standing in walk(&standings, drawer) {
            order.sort_in(standing, user);
        }
        order.stale.sort_by_key(|standing| standing.lag_ms.unwrap_or(u32::MAX));
        order.stick(user.current, options.stick_ms);
        order
    }

    fn sort_in(&mut self, standing: Standing<'a>, user: &User) {
        let is_fresh =
            user.lag_ms_max.is_none_or(|max_ms| standing.lag_ms.is_some_and(|lag_ms| lag_ms <= max_ms));
        let list = if standing.region.drained {
            &mut self.drained
        } else if !standing.health.up && !self.fail_static {
            &mut self.down
        } else if is_fresh {
            &mut self.fresh
        } else {
            &mut self.stale
        };
        list.push(standing);
    }

    /// Puts the user's region before those that are not better by more than `stick_ms`. One whose weight keeps the user away stays behind those
    /// that would take it.
    fn stick(&mut self, current: Option<RegionId>, stick_ms: u32) {
        let place = self.fresh.iter().position(|one| Some(one.region.id) == current);
        let Some(here) = place.and_then(|place| self.fresh.get(place).copied()) else { return };
        let takes = |one: &Standing<'_>| one.reached != Reached::Weight;
        let no_better = |one: &Standing<'_>| {
            takes(one) == takes(&here) && one.via_ms.saturating_add(stick_ms) >= here.via_ms
        };
        if let (Some(to), Some(from)) = (self.fresh.iter().position(no_better), place)
            && let Some(passed) = self.fresh.get_mut(to..=from)
        {
            passed.rotate_right(1);
        }
    }
}

/// Goes through the regions from the nearest on: each one keeps the user, gives it to another one, or lets it pass. Those
/// that nobody named come last. Whether a region is down does not matter here: whom it gave away stays where it is.
fn walk<'a>(standings: &[Standing<'a>], drawer: Drawer) -> Vec<Standing<'a>> {
    let mut order: Vec<Standing<'a>> = Vec::with_capacity(standings.len());
    let add = |order: &mut Vec<Standing<'a>>, standing: Standing<'a>| {
        if !order.iter().any(|one| one.region.id == standing.region.id) {
            order.push(standing);
        }
    };
    for near in standings {
        let draw = drawer.weight(near.region.id);
        if draw < near.region.weight {
            add(&mut order, Standing { reached: Reached::Latency, ..*near });
        } else if let Some(to) = near.region.given_to(draw)
            && let Some(target) = standings.iter().find(|one| one.region.id == to)
        {
            let reached = Reached::Given { by: near.region.id };
            add(&mut order, Standing { reached, via_ms: near.via_ms, ..*target });
        }
    }
    for rest in standings {
        add(&mut order, *rest);
    }
    order
}

fn latency(region: &Region, user: &User, options: &Options, now_ms: u64) -> Latency {
    let measured = user.measured.get(&region.id);
    let measured = measured.filter(|one| now_ms.saturating_sub(one.at_ms) <= options.measured_ms_max);
    if let Some(measured) = measured {
        return Latency { rtt_ms: Some(measured.rtt_ms), basis: Basis::Measured };
    }
    match (&user.place, &region.place) {
        (Some(from), Some(to)) => Latency { rtt_ms: Some(from.rtt_ms_to(to)), basis: Basis::Distance },
        _ => Latency { rtt_ms: None, basis: Basis::Hash },
    }
}
