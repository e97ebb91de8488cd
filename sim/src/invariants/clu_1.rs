//! CLU-1: at most one owner; what a stale one writes is rejected.

use super::truth::Owned;
use super::{By, Checked, broken};
use crate::log::{Append, Log};
use std::collections::{BTreeMap, BTreeSet};
use tw_plan::ownership::invariants::{CLU_1 as ID, epoch_rises};
use tw_plan::placement::Unit;

/// Who has opened what, and what was acknowledged.
#[derive(Debug, Default)]
pub(super) struct Clu1 {
    /// By unit and epoch: which process.
    opened: BTreeMap<Unit, BTreeMap<u64, u64>>,
    acknowledged: BTreeMap<Unit, BTreeSet<u64>>,
}

impl Clu1 {
    pub(super) fn opened(&mut self, unit: &Unit, epoch: u64, by: By<'_>) -> Checked {
        let epochs = self.opened.entry(unit.clone()).or_default();
        match epochs.insert(epoch, by.process) {
            Some(other) if other != by.process => broken(
                ID,
                format!(
                    "{unit} is opened in epoch {epoch} by {}-{}, and was by process {other}",
                    by.node, by.process
                ),
            ),
            _ => Ok(()),
        }
    }

    pub(super) fn appends(&self, append: &Append, log: &Log) -> Checked {
        let Append { unit, epoch, writer, expected } = append;
        let newest = self.opened.get(unit).and_then(|epochs| epochs.keys().next_back()).copied().unwrap_or(0);
        if *epoch < newest {
            return broken(
                ID,
                format!("{unit} takes an append of {writer} in epoch {epoch}, epoch {newest} is open"),
            );
        }
        if let Some(last) = log.last(unit)
            && *epoch < last.epoch
        {
            return broken(
                ID,
                format!("{unit} takes an append of {writer} in epoch {epoch} after one of {}", last.epoch),
            );
        }
        let end = log.end(unit);
        if *expected != end {
            return broken(
                ID,
                format!("{unit} ends at {end}, but {writer} has known only {expected} in epoch {epoch}"),
            );
        }
        Ok(())
    }

    pub(super) fn acknowledged(&mut self, unit: &Unit, offset: u64, by: By<'_>, log: &Log) -> Checked {
        let is_new = self.acknowledged.entry(unit.clone()).or_default().insert(offset);
        if !is_new || offset >= log.end(unit) {
            return broken(
                ID,
                format!(
                    "{unit} acknowledges offset {offset} to {}-{}, twice or too early",
                    by.node, by.process
                ),
            );
        }
        Ok(())
    }
}

/// Epochs rise whenever a unit gets another holder.
pub(super) fn claimed(unit: &Unit, before: Option<&Owned>, after: &Owned) -> Checked {
    let Some(before) = before else { return Ok(()) };
    let (before, after) = ((before.holder.as_ref(), before.epoch), (after.holder.as_ref(), after.epoch));
    Ok(epoch_rises(unit, before, after)?)
}
