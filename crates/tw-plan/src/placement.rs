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
