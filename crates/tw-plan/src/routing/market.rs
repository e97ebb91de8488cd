//! Who gets a place where: the users of a sample, each with its order of regions, and regions with limits.
//!
//! This is the student-proposing deferred acceptance of Gale and Shapley (College Admissions and the Stability of Marriage, 1962),
//! with regions that prefer users by hash. Each user asks its regions in order; a region with more than its limit turns away those with the
//! highest draws, who ask their next one. What comes out is described by one number for each region, the lowest draw that it turned away:
//! users go to the first region whose cutoff is above their draw (Azevedo, Leshno: A Supply and Demand Framework for Two-Sided Matching
//! Markets, 2016). So every router decides for users that were never in the sample, without asking anybody.

use super::order::Order;
use super::{Admission, Options, Plan, Present, Reached, Sampled};
use crate::Error;
use std::collections::{BTreeMap, BinaryHeap};
use tw_types::RegionId;

/// How many users a sample may have.
pub const SAMPLE_MAX: usize = 20_000;

/// What a region gets, in thousandths of a request a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// The region.
    pub region: RegionId,
    /// Of how much it is the first choice.
    pub wanted_milli_per_s: u64,
    /// How much it gets after what does not fit went on.
    pub held_milli_per_s: u64,
    /// How much it may get.
    pub limit_milli_per_s: u64,
}

/// Who got what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settled {
    /// In the order of the plan's regions.
    pub(super) fills: Vec<Fill>,
    /// Of the regions that turned somebody away.
    pub(super) cutoffs: BTreeMap<RegionId, u32>,
    /// What found no place.
    pub(super) beyond_milli_per_s: u64,
    /// What found a place only in a region whose weight keeps it away.
    pub(super) unwelcome_milli_per_s: u64,
}

impl Settled {
    pub(super) fn fill(&self, region: RegionId) -> Option<&Fill> {
        self.fills.iter().find(|fill| fill.region == region)
    }
}

/// A region with those whom it holds, the highest draw on top.
struct Desk {
    limit: u64,
    held: u64,
    queue: BinaryHeap<(u32, usize)>,
    cutoff: Option<u32>,
}

/// A user with the regions that it asks.
struct Asker {
    asks: Vec<Ask>,
    next: usize,
    rate: u64,
}

#[derive(Clone, Copy)]
struct Ask {
    /// Where the region is in the plan.
    place: usize,
    /// What the user draws there.
    draw: u32,
    /// Whether the region's weight lets the user in.
    welcome: bool,
}

/// Settles the sample. `limit_permille` is how much of its capacity a region may use, `caps` are cutoffs from the start.
pub(super) fn settle(plan: &Plan, present: &Present<'_>, limit_permille: u32, caps: &Admission) -> Settled {
    let mut desks: Vec<Desk> = plan
        .regions()
        .iter()
        .map(|region| Desk {
            limit: u64::from(region.capacity_per_s) * u64::from(limit_permille),
            held: 0,
            queue: BinaryHeap::new(),
            cutoff: caps.cutoff(region.id),
        })
        .collect();
    let mut wanted = vec![0u64; desks.len()];
    let mut askers: Vec<Asker> = present.sample.iter().map(|one| asker(plan, present, one)).collect();
    for asker in &askers {
        if let Some(first) = asker.asks.first().and_then(|ask| wanted.get_mut(ask.place)) {
            *first = first.saturating_add(asker.rate);
        }
    }
    let mut beyond = 0u64;
    let mut waiting: Vec<usize> = (0..askers.len()).collect();
    while let Some(number) = waiting.pop() {
        match ask(number, &mut askers, &mut desks) {
            Some(turned_away) => waiting.extend(turned_away),
            None => beyond = beyond.saturating_add(askers[number].rate),
        }
    }
    let unwelcome = |(_, number): &(u32, usize)| {
        let asker = &askers[*number];
        let at = asker.next.checked_sub(1).and_then(|last| asker.asks.get(last));
        if at.is_some_and(|ask| !ask.welcome) { asker.rate } else { 0 }
    };
    let unwelcome = desks.iter().flat_map(|desk| desk.queue.iter().map(unwelcome));
    let unwelcome_milli_per_s = unwelcome.fold(0, u64::saturating_add);
    let fills = plan.regions().iter().zip(&desks).zip(wanted).map(|((region, desk), wanted)| Fill {
        region: region.id,
        wanted_milli_per_s: wanted,
        held_milli_per_s: desk.held,
        limit_milli_per_s: desk.limit,
    });
    let cutoffs = plan.regions().iter().zip(&desks).filter_map(|(one, desk)| Some((one.id, desk.cutoff?)));
    Settled {
        fills: fills.collect(),
        cutoffs: cutoffs.collect(),
        beyond_milli_per_s: beyond,
        unwelcome_milli_per_s,
    }
}

fn asker(plan: &Plan, present: &Present<'_>, one: &Sampled) -> Asker {
    let order = Order::new(plan, present.observed, &one.user, present.options, present.now_ms);
    let asks = order.fresh.iter().chain(&order.stale).filter_map(|standing| {
        let id = standing.region.id;
        let welcome = standing.reached != Reached::Weight;
        Some(Ask { place: plan.place(id)?, draw: order.drawer.room(id), welcome })
    });
    Asker { asks: asks.collect(), next: 0, rate: one.rate_milli_per_s }
}

/// A user asks until a region takes it; those come back whom the region turned away for it. None: no region is left.
fn ask(number: usize, askers: &mut [Asker], desks: &mut [Desk]) -> Option<Vec<usize>> {
    let asker = askers.get_mut(number)?;
    while let Some(Ask { place, draw, .. }) = asker.asks.get(asker.next).copied() {
        asker.next += 1;
        let desk = desks.get_mut(place)?;
        if desk.cutoff.is_some_and(|cutoff| draw >= cutoff) {
            continue;
        }
        desk.held = desk.held.saturating_add(asker.rate);
        desk.queue.push((draw, number));
        let mut turned_away = Vec::new();
        while desk.held > desk.limit
            && let Some((draw, number)) = desk.queue.pop()
        {
            desk.held -= askers.get(number).map_or(0, |asker| asker.rate);
            desk.cutoff = Some(draw);
            turned_away.push(number);
        }
        return Some(turned_away);
    }
    None
}

/// Checks the options and the size of a sample.
pub(super) fn check(options: &Options, sample: &[Sampled]) -> Result<(), Error> {
    options.check()?;
    if sample.len() > SAMPLE_MAX {
        return Err(Error::RouteLimit { what: "users of a sample", count: sample.len(), max: SAMPLE_MAX });
    }
    Ok(())
}
