//! CLU-3: a unit that does not move does not pause.

use super::truth::{Owned, Truth};
use super::{By, Checked, broken};
use tw_plan::ownership::invariants::CLU_3 as ID;
use tw_plan::placement::Unit;

/// Nobody takes a unit from a node that is registered.
pub(super) fn claimed(
    unit: &Unit,
    before: Option<&Owned>,
    after: &Owned,
    by: Option<By<'_>>,
    truth: &Truth,
) -> Checked {
    let Some(holder) = before.and_then(|before| before.holder.as_ref()) else { return Ok(()) };
    let is_taken = by.is_none_or(|by| *by.node != holder.node) && after.holder.as_ref() != Some(holder);
    if is_taken && truth.is_registered(&holder.node, holder.incarnation) {
        return broken(
            ID,
            format!("{unit} is taken from {holder:?}, which is registered, by {:?}", after.holder),
        );
    }
    Ok(())
}

/// A node that keeps its lease does not shut what it holds and what the plan has there.
pub(super) fn shuts(unit: &Unit, epoch: u64, incarnation: Option<u64>, by: By<'_>, truth: &Truth) -> Checked {
    if is_held(unit, epoch, incarnation, by, truth) {
        return broken(ID, format!("{unit} is shut at {}-{}, which keeps it", by.node, by.process));
    }
    Ok(())
}

/// Nobody fences off who holds a unit.
pub(super) fn refused(
    unit: &Unit,
    epoch: u64,
    incarnation: Option<u64>,
    by: By<'_>,
    truth: &Truth,
) -> Checked {
    if is_held(unit, epoch, incarnation, by, truth) {
        return broken(ID, format!("{}-{} holds {unit} and is fenced off", by.node, by.process));
    }
    Ok(())
}

fn is_held(unit: &Unit, epoch: u64, incarnation: Option<u64>, by: By<'_>, truth: &Truth) -> bool {
    let held = truth.holder(unit).map(|(holder, epoch)| (&holder.node, Some(holder.incarnation), epoch));
    held == Some((by.node, incarnation, epoch))
}
