//! What can still be done for a node over its bound that [`restore`](super::restore) could not help: nothing that it has
//! fits anywhere within the bounds. A move, or an exchange of two units, that lowers the peak is made if it gains enough.

use super::Reason;
use super::restore::by_fullness;
use super::table::Table;
use std::cmp::Reverse;

/// Of a node's units so many, the heaviest, are tried in exchanges.
const EXCHANGED_MAX: usize = 16;

/// Lowers the load of an overloaded node where that gains enough, as far as the budget goes; says whether it could.
pub(super) fn overloaded(table: &mut Table<'_>) -> bool {
    let over = by_fullness(table, |table, host| table.hosts[host].is_over());
    over.into_iter().rev().any(|host| improve(table, host))
}

/// A change and the fullness of the fuller of its two nodes afterwards.
#[derive(Debug, Clone, Copy)]
struct Change {
    peak: f64,
    unit: usize,
    to: usize,
    back: Option<usize>,
}

fn improve(table: &mut Table<'_>, from: usize) -> bool {
    let host = &table.hosts[from];
    let urgent = host.load > host.urgent_max;
    let peak_max = host.fullness() - f64::from(table.options.gain_permille_min) / 1_000.0;
    let mut units: Vec<usize> = host.units.iter().copied().filter(|u| table.may_move(*u, urgent)).collect();
    units.sort_by_key(|unit| (Reverse(table.items[*unit].weight), *unit));
    let single = units.iter().flat_map(|unit| moves(table, from, *unit));
    let best = |changes: &mut dyn Iterator<Item = Change>| {
        changes.filter(|change| change.peak <= peak_max).min_by(|a, b| {
            a.peak.total_cmp(&b.peak).then((a.unit, a.to, a.back).cmp(&(b.unit, b.to, b.back)))
        })
    };
    let change = best(&mut { single }).or_else(|| {
        let tried = units.iter().take(EXCHANGED_MAX);
        best(&mut tried.flat_map(|unit| exchanges(table, from, *unit, urgent)))
    });
    let Some(Change { unit, to, back, .. }) = change else { return false };
    if back.is_some() && table.budget < 2 {
        table.postponed = true;
        return false;
    }
    let done = table.spend(unit, to, Reason::Improved);
    done && back.is_none_or(|back| table.spend(back, from, Reason::Improved))
}

/// What moving a unit to each other node results in.
fn moves<'t>(table: &'t Table<'_>, from: usize, unit: usize) -> impl Iterator<Item = Change> + 't {
    let weight = table.items[unit].weight;
    let left = table.hosts[from].fullness_of(table.hosts[from].load - weight);
    let others = table.hosts.iter().enumerate().filter(move |(to, host)| *to != from && host.is_balanced());
    others.map(move |(to, host)| {
        let peak = left.max(host.fullness_of(host.load + weight));
        Change { peak, unit, to, back: None }
    })
}

/// What exchanging a unit for each lighter one of another node results in.
fn exchanges<'t>(
    table: &'t Table<'_>,
    from: usize,
    unit: usize,
    urgent: bool,
) -> impl Iterator<Item = Change> + 't {
    let weight = table.items[unit].weight;
    let host = &table.hosts[from];
    let backs = table.items.iter().enumerate().filter(move |(_, back)| back.weight < weight);
    backs.filter_map(move |(back, item)| {
        let to = item.owner.filter(|to| *to != from && table.hosts[*to].is_balanced())?;
        let difference = weight - item.weight;
        let other = &table.hosts[to];
        let peak = host.fullness_of(host.load - difference).max(other.fullness_of(other.load + difference));
        table.may_move(back, urgent).then_some(Change { peak, unit, to, back: Some(back) })
    })
}
