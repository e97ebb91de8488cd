//! The least movement that restores the bounds.
//!
//! Only a node out of bounds is touched. The units that are moved are those that need the fewest moves; among equals those
//! whose target has their state warm or prefers them by hash. A tenth of the necessary moves is spent on top, to bring the
//! node close to its share, so that the next small change of load moves nothing.

use super::Reason;
use super::table::{Cap, Table};
use crate::hash::{FRACTION_BITS, neg_log2};
use std::cmp::Ordering;

/// Brings every node into its bounds, as far as units can be moved and the budget goes.
pub(super) fn bounds(table: &mut Table<'_>) {
    let mut extra = Extra::default();
    loop {
        let before = table.budget;
        for host in by_fullness(table, |table, host| table.hosts[host].is_over()).into_iter().rev() {
            shed(table, host, &mut extra);
        }
        for host in by_fullness(table, |table, host| table.hosts[host].is_under()) {
            fill(table, host, &mut extra);
        }
        // With nothing left of the budget, too: whether more would be moved is told, and what was moved last decides that.
        if table.budget == before {
            return;
        }
    }
}

/// How many moves were necessary, and how many were made on top.
#[derive(Default)]
struct Extra {
    necessary: u32,
    extra: u32,
}

impl Extra {
    /// Whether another move may be made, and counts it.
    fn allows(&mut self, necessary: bool) -> bool {
        if necessary {
            self.necessary += 1;
        } else if self.extra < self.necessary / 10 {
            self.extra += 1;
        } else {
            return false;
        }
        true
    }
}

/// The nodes for which `wanted` holds, the emptiest first.
pub(super) fn by_fullness(table: &Table<'_>, wanted: impl Fn(&Table<'_>, usize) -> bool) -> Vec<usize> {
    let mut hosts: Vec<usize> = (0..table.hosts.len()).filter(|host| wanted(table, *host)).collect();
    hosts.sort_by(|a, b| table.hosts[*a].fullness().total_cmp(&table.hosts[*b].fullness()).then(a.cmp(b)));
    hosts
}

/// Moves units away from a node that is over its bound.
fn shed(table: &mut Table<'_>, from: usize, extra: &mut Extra) {
    loop {
        let host = &table.hosts[from];
        if host.load <= host.settled_max {
            return;
        }
        let necessary = host.load > host.bound_max;
        let need = host.load.saturating_sub(host.bound_max);
        let goal = host.load - host.settled_max;
        let urgent = host.load > host.urgent_max;
        let min = gain_min(table, from);
        let mut units: Vec<usize> =
            host.units.iter().copied().filter(|u| table.may_move(*u, urgent)).collect();
        units.retain(|unit| table.items[*unit].weight >= min);
        let class = |unit: usize| class(table.items[unit].weight, need, goal);
        units.sort_by_key(|unit| (class(*unit), *unit));
        let best = units.chunk_by(|a, b| class(*a) == class(*b)).find_map(|equal| {
            let targets = equal.iter().filter_map(|unit| target(table, from, *unit));
            targets.min_by(|a, b| a.rank.cmp(&b.rank).then(a.dislike.total_cmp(&b.dislike)))
        });
        let Some(best) = best else { return };
        if !extra.allows(necessary) || !table.spend(best.unit, best.to, Reason::Overloaded) {
            return;
        }
    }
}

/// How heavy a unit has to be so that moving it away is worth it: anything, unless the node cannot be brought below its
/// bound, because one unit alone is above it and above that of every node with room.
fn gain_min(table: &Table<'_>, from: usize) -> u64 {
    let host = &table.hosts[from];
    let Some(heaviest) = host.units.iter().map(|unit| table.items[*unit].weight).max() else { return 0 };
    let fits_elsewhere =
        || table.hosts.iter().any(|other| other.is_balanced() && other.fits(heaviest, Cap::Bound));
    if heaviest <= host.bound_max || fits_elsewhere() {
        return 0;
    }
    (host.share * f64::from(table.options.gain_permille_min) / 1_000.0) as u64
}

/// Sorts weights into classes, the best first: those that do it alone, by how close they come to the goal; then the heavier
/// ones. Weights of one class differ by less than a fifth.
fn class(weight: u64, need: u64, goal: u64) -> (bool, u64) {
    let fourth_octave = |n: u64| neg_log2(n) >> (FRACTION_BITS - 2);
    if weight >= need {
        (false, 4 * weight.abs_diff(goal) / goal.max(1))
    } else {
        (true, fourth_octave(weight))
    }
}

/// Where a unit could go.
struct Target {
    unit: usize,
    to: usize,
    /// How good the place is: 0 is best.
    rank: u8,
    dislike: f64,
}

fn target(table: &Table<'_>, from: usize, unit: usize) -> Option<Target> {
    let weight = table.items[unit].weight;
    let within = |cap| {
        table.first_choice(unit, move |place, host| place != from && host.reports && host.fits(weight, cap))
    };
    let ranked = None
        .or_else(|| {
            let poor = table.first_choice(unit, |_, host| host.is_under() && host.fits(weight, Cap::Settled));
            Some((poor?, 0))
        })
        .or_else(|| {
            Some((table.warm_choice(unit, |host| host.reports && host.fits(weight, Cap::Settled))?, 1))
        })
        .or_else(|| Some((within(Cap::Even)?, 2)))
        .or_else(|| Some((within(Cap::Settled)?, 3)))
        .or_else(|| Some((within(Cap::Bound)?, 4)));
    let (to, rank) = ranked?;
    Some(Target { unit, to, rank, dislike: table.dislike(unit, to) })
}

/// Moves units to a node that has too little.
fn fill(table: &mut Table<'_>, to: usize, extra: &mut Extra) {
    loop {
        let host = &table.hosts[to];
        if host.load >= host.settled_min {
            return;
        }
        let necessary = host.load < host.bound_min;
        let need = host.bound_min.saturating_sub(host.load);
        let goal = host.settled_min - host.load;
        let Some(unit) = gift(table, to, need, goal) else { return };
        if !extra.allows(necessary) || !table.spend(unit, to, Reason::Underloaded) {
            return;
        }
    }
}

/// The best unit to give to `to`: from nodes above their share first, then from any that can spare it.
fn gift(table: &Table<'_>, to: usize, need: u64, goal: u64) -> Option<usize> {
    let host = &table.hosts[to];
    let room = host.settled_max - host.load;
    let urgent = host.load < host.urgent_min;
    [true, false].into_iter().find_map(|above_share| {
        let spares = |unit: usize| {
            let donor = table.items[unit].owner.filter(|owner| *owner != to).map(|owner| &table.hosts[owner]);
            donor.is_some_and(|donor| {
                let keeps = if above_share { donor.share_min } else { donor.settled_min };
                donor.is_balanced() && donor.load - table.items[unit].weight >= keeps
            })
        };
        let units = (0..table.items.len()).filter(|unit| {
            table.items[*unit].weight <= room && spares(*unit) && table.may_move(*unit, urgent)
        });
        let ranked = units.map(|unit| {
            let item = &table.items[unit];
            let cold = !item.standbys.contains(&to);
            // How much better it likes this node than its owner.
            let owner = item.owner.map_or(f64::MAX, |owner| table.dislike(unit, owner));
            ((class(item.weight, need, goal), cold), table.dislike(unit, to) / owner, unit)
        });
        let order = |a: &(_, f64, usize), b: &(_, f64, usize)| -> Ordering {
            Ord::cmp(&a.0, &b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2))
        };
        ranked.min_by(order).map(|(.., unit)| unit)
    })
}
