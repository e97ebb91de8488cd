//! Placement: which node owns each unit of work, and which nodes keep a warm copy of its state.
//!
//! [`plan`] is a pure function from the nodes, the measured loads and the current plan to the next plan. The elected leader
//! calls it and stores the result, compare-and-set; nodes carry the plan out and make no choices. The README in this
//! module's folder states the problem, the measure and the algorithm.

mod format;
mod home;
mod improve;
mod input;
mod options;
mod outcome;
mod plan;
mod restore;
mod standby;
mod table;
#[cfg(test)]
mod tests;
mod unit;

pub use input::{BACKGROUND_PERMILLE_MAX, Load, NODES_MAX, Node, UNITS_MAX};
pub use options::Options;
pub use outcome::{Move, Place, Planned, Reason};
pub use plan::{Assignment, Plan};
pub use unit::Unit;

use crate::Error;
use table::Table;

/// Computes the next plan. `now_ms` is wall-clock milliseconds since 1970.
///
/// `loads` lists every unit that there is: one that is missing there loses its owner, one that is new gets one. The order of
/// `nodes` and `loads` does not matter. A plan computed from an unchanged input is the same plan, with the same version.
///
/// # Errors
/// [`Error::NoNodes`], [`Error::Twice`], [`Error::TooMany`], [`Error::Option`]: the current plan stays in force.
pub fn plan(
    nodes: &[Node],
    loads: &[Load],
    current: &Plan,
    options: &Options,
    now_ms: u64,
) -> Result<Planned, Error> {
    options.check()?;
    make(nodes, loads, current, options, now_ms)
}

/// Computes the plan that is as even as its budget of moves allows: as [`plan`] does, but neither the distance that nodes may be
/// from their shares nor the cooldown of units holds anything back.
///
/// # Errors
/// Those of [`plan`].
pub fn rebalance(
    nodes: &[Node],
    loads: &[Load],
    current: &Plan,
    options: &Options,
    now_ms: u64,
) -> Result<Planned, Error> {
    options.check()?;
    let unheld = Options {
        epsilon_permille: 0,
        settle_permille: 0,
        urgent_permille: 0,
        cooldown_ms: 0,
        ..options.clone()
    };
    make(nodes, loads, current, &unheld, now_ms)
}

/// How much the fullest node has by a plan, in thousandths of its share: 1,000 when all are even. Nodes that drain, and units of
/// nodes that are gone, are not counted.
///
/// # Errors
/// Those of [`plan`].
pub fn peak_permille(nodes: &[Node], loads: &[Load], plan: &Plan, options: &Options) -> Result<u64, Error> {
    let table = Table::new(nodes, loads, plan, options, 0)?;
    let open = table.hosts.iter().filter(|host| host.is_open());
    Ok(open.map(|host| (host.fullness() * 1_000.0).round() as u64).max().unwrap_or_default())
}

fn make(
    nodes: &[Node],
    loads: &[Load],
    current: &Plan,
    options: &Options,
    now_ms: u64,
) -> Result<Planned, Error> {
    let mut table = Table::new(nodes, loads, current, options, now_ms)?;
    home::orphans(&mut table);
    home::drain(&mut table);
    restore::bounds(&mut table);
    while improve::overloaded(&mut table) {
        // One better node changes what is possible for the others.
        restore::bounds(&mut table);
    }
    let standby_moves = standby::choose(&mut table);
    Ok(table.finish(current, standby_moves))
}
