//! Claims: who has a unit.

use serde::{Deserialize, Serialize};
use tw_types::NodeId;

/// A node in one of its incarnations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The node.
    pub node: NodeId,
    /// The number of its registration: higher with each.
    pub incarnation: u64,
    /// The name in which it writes to the log, by which it can be fenced off. Best another one in each incarnation: whoever
    /// took a unit over from an earlier one fences that off, and may come late.
    pub writer: String,
}

/// Who has a unit, as coordination has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who has it; None: it was given up by a node that had shut it.
    pub holder: Option<Holder>,
    /// One higher than the claim's before: the fencing token of the unit.
    pub epoch: u64,
    /// Writers that may have written in an earlier epoch, and are to be fenced off before the unit opens.
    pub fence: Vec<String>,
    /// The revision of the record, which rises with every change of it.
    pub revision: u64,
}

impl Claim {
    /// The writers that are to be fenced off by whoever takes the unit over from this claim without its holder's doing.
    pub(super) fn suspects(&self) -> Vec<String> {
        let mut suspects = self.fence.clone();
        if let Some(holder) = &self.holder
            && !suspects.contains(&holder.writer)
        {
            suspects.push(holder.writer.clone());
        }
        suspects
    }
}
