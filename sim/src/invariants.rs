//! What must be true, by id, whatever goes wrong.
//!
//! - CLU-1 (`clu_1`): at most one owner per unit and epoch; what a stale one writes is not accepted once the next one has
//!   opened, and nothing that was acknowledged is lost or moved.
//! - CLU-2 (`clu_2`): a unit that nobody has is told.
//! - CLU-3 (`clu_3`): what does not move does not pause.
//! - And when the faults have ended, the cluster heals (`healed`).

mod clu_1;
mod clu_2;
mod clu_3;
pub(crate) mod healed;
mod truth;

use crate::log::{Append, Log};
use crate::stored::Keys;
use clu_1::Clu1;
use clu_2::Clu2;
use std::collections::BTreeSet;
use truth::{ClaimChange, Truth};
use tw_cluster::Change;
use tw_plan::ownership::invariants::Broken;
use tw_plan::placement::Unit;
use tw_types::NodeId;

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The promise, such as `CLU-1`.
    pub invariant: &'static str,
    /// What happened.
    pub what: String,
}

impl From<Broken> for Violation {
    fn from(Broken { invariant, unit, what }: Broken) -> Self {
        Self { invariant, what: format!("{unit}: {what}") }
    }
}

pub(crate) type Checked = Result<(), Violation>;

pub(crate) fn broken(invariant: &'static str, what: String) -> Checked {
    Err(Violation { invariant, what })
}

/// A process, by its number, and its node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct By<'a> {
    pub(crate) process: u64,
    pub(crate) node: &'a NodeId,
}

/// All of them, and what they have seen.
#[derive(Debug, Default)]
pub(crate) struct Invariants {
    truth: Truth,
    clu_1: Clu1,
    clu_2: Clu2,
}

impl Invariants {
    pub(crate) fn truth(&self) -> &Truth {
        &self.truth
    }

    /// Coordination has changed, through a request of this process or by itself.
    pub(crate) fn stored(
        &mut self,
        changes: &[Change],
        by: Option<By<'_>>,
        keys: &Keys,
        now_us: u64,
    ) -> Checked {
        let mut checked = Ok(());
        for change in changes {
            if let Some(ClaimChange { unit, before, after }) = self.truth.apply(change, keys) {
                checked = checked
                    .and_then(|()| clu_1::claimed(&unit, before.as_ref(), &after))
                    .and_then(|()| clu_3::claimed(&unit, before.as_ref(), &after, by, &self.truth));
            }
        }
        self.clu_2.look(&self.truth, now_us);
        checked
    }

    pub(crate) fn opened(&mut self, unit: &Unit, epoch: u64, by: By<'_>) -> Checked {
        self.clu_1.opened(unit, epoch, by)
    }

    /// The log is about to take an append, which goes to its end.
    pub(crate) fn appends(&self, append: &Append, log: &Log) -> Checked {
        self.clu_1.appends(append, log)
    }

    pub(crate) fn acknowledged(&mut self, unit: &Unit, offset: u64, by: By<'_>, log: &Log) -> Checked {
        self.clu_1.acknowledged(unit, offset, by, log)
    }

    /// A process shuts a unit that the plan has there; the epoch in which it is open, and the process's incarnation, if it holds
    /// its lease for all it knows.
    pub(crate) fn shuts(&self, unit: &Unit, epoch: u64, incarnation: Option<u64>, by: By<'_>) -> Checked {
        clu_3::shuts(unit, epoch, incarnation, by, &self.truth)
    }

    /// The log refuses an append in this epoch, because its writer is fenced off.
    pub(crate) fn refused(&self, unit: &Unit, epoch: u64, incarnation: Option<u64>, by: By<'_>) -> Checked {
        clu_3::refused(unit, epoch, incarnation, by, &self.truth)
    }

    /// A node, which has been in touch since then, says which units nobody has.
    pub(crate) fn unowned(
        &self,
        told: &BTreeSet<Unit>,
        by: By<'_>,
        in_touch_us: u64,
        now_us: u64,
    ) -> Checked {
        self.clu_2.told(told, by, in_touch_us, now_us)
    }
}
