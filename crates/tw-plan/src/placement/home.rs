//! Owners for units that need one: whose owner is gone, or drains, or that never had one.

use super::Reason;
use super::table::{Cap, Table};

/// Gives every unit without an owner a node, whatever the budget.
pub(super) fn orphans(table: &mut Table<'_>) {
    let orphans = in_order(table, |table, unit| table.items[unit].owner.is_none());
    let mut left: u64 = orphans.iter().map(|unit| table.items[*unit].weight).sum();
    for unit in orphans {
        if let Some(to) = target(table, unit, left) {
            let reason = match table.items[unit].before {
                Some(_) => Reason::OwnerGone,
                None => Reason::New,
            };
            table.give(unit, to, reason);
        }
        left -= table.items[unit].weight;
    }
}

/// Moves units away from nodes that drain, as far as the budget goes.
pub(super) fn drain(table: &mut Table<'_>) {
    let leaves = |table: &Table<'_>, unit: usize| {
        table.items[unit].owner.is_some_and(|owner| !table.hosts[owner].is_open())
    };
    let leaving = in_order(table, leaves);
    let mut left: u64 = leaving.iter().map(|unit| table.items[*unit].weight).sum();
    for unit in leaving {
        let Some(to) = target(table, unit, left) else { continue };
        if !table.spend(unit, to, Reason::Drain) {
            return;
        }
        left -= table.items[unit].weight;
    }
}

/// The units for which `wanted` holds, the heaviest first: it is easier to find places for light ones later.
fn in_order(table: &Table<'_>, wanted: impl Fn(&Table<'_>, usize) -> bool) -> Vec<usize> {
    let mut units: Vec<usize> = (0..table.items.len()).filter(|unit| wanted(table, *unit)).collect();
    units.sort_by_key(|unit| (std::cmp::Reverse(table.items[*unit].weight), *unit));
    units
}

/// The best node for a unit that has to go somewhere; `left` is the weight of all that has, this unit included.
fn target(table: &Table<'_>, unit: usize, left: u64) -> Option<usize> {
    let weight = table.items[unit].weight;
    if let Some(warm) = table.warm_choice(unit, |host| host.fits(weight, Cap::Bound)) {
        return Some(warm);
    }
    // Nodes that have too little go first when all that is left is needed there: otherwise others had to move for them.
    let missing = |load: u64, min: u64| min.saturating_sub(load);
    let gap: u64 = table
        .hosts
        .iter()
        .filter(|host| host.is_under())
        .map(|host| missing(host.load, host.bound_min))
        .sum();
    let to_gap = (gap >= left)
        .then(|| table.first_choice(unit, |_, host| host.is_under() && host.fits(weight, Cap::Settled)))
        .flatten();
    let within = |cap| table.first_choice(unit, move |_, host| host.reports && host.fits(weight, cap));
    to_gap
        .or_else(|| [Cap::Share, Cap::Even, Cap::Settled, Cap::Bound].into_iter().find_map(within))
        .or_else(|| table.first_choice(unit, |_, host| host.fits(weight, Cap::Bound)))
        .or_else(|| least_full(table, weight))
}

/// The node that is the least full with the unit.
fn least_full(table: &Table<'_>, weight: u64) -> Option<usize> {
    let open = table.hosts.iter().enumerate().filter(|(_, host)| host.is_open());
    open.map(|(place, host)| (host.fullness_of(host.load + weight), place))
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, place)| place)
}
