//! Classes of conflicts: what a field's value is after changes that did not know of each other.
//!
//! A class is a fold over the changes that survive, in the order of their stamps. [`crate::subject`] keeps the changes, applies
//! deletes, and sees to it that the fold is the same whatever order they arrive in; a class says only what one operation does.
//! `class/README.md` has an example of each.
//!
//! Nothing here knows of streams, links or regions that are down.

mod counter;
mod custom;
mod extreme;
mod lww;
mod reserve;
mod set;
mod state;

pub use counter::Counter;
pub use custom::{Custom, Fold};
pub use extreme::{Extreme, Side};
pub use lww::Lww;
pub use reserve::{Consumption, Deletion, Reserve, ReserveOp};
pub use set::Set;
pub(crate) use state::{Arrival, State};
pub use tw_types::{Merge, MergeExpr, UnknownMerge};

use crate::FieldOp;
use std::sync::Arc;

/// The class of a field with all that is needed to apply it.
#[derive(Debug, Clone)]
pub enum Class<V> {
    /// The last writer wins.
    Lww,
    /// The greatest candidate.
    Max,
    /// The smallest candidate.
    Min,
    /// The sum of steps.
    Counter,
    /// A set of elements; who puts in wins over who takes out without having seen it.
    Set,
    /// A quantity that does not go below zero.
    Reserve,
    /// Written like [`Class::Lww`], with a value that was claimed before.
    Unique,
    /// The caller's function.
    Custom(Arc<dyn Fold<V>>),
}

impl<V> Class<V> {
    /// Whether the class takes this operation. One that does not fit changes nothing, in every region.
    pub const fn takes(&self, op: &FieldOp<V>) -> bool {
        matches!(
            (self, op),
            (Self::Lww | Self::Unique, FieldOp::Set(_))
                | (Self::Max | Self::Min, FieldOp::Offer(_))
                | (Self::Counter, FieldOp::Add(_))
                | (Self::Set, FieldOp::Insert(_) | FieldOp::Remove(_))
                | (Self::Reserve, FieldOp::Reserve(_))
                | (Self::Custom(_), FieldOp::Input(_))
        )
    }

    /// Its name, as a declaration says it.
    pub fn name(&self) -> Merge {
        match self {
            Self::Lww => Merge::Lww,
            Self::Max => Merge::Max,
            Self::Min => Merge::Min,
            Self::Counter => Merge::Counter,
            Self::Set => Merge::Set,
            Self::Reserve => Merge::Reserve,
            Self::Unique => Merge::Unique,
            Self::Custom(fold) => Merge::Custom(fold.expr().clone()),
        }
    }
}

/// What a field is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a, V> {
    /// No change says anything: `lww`, `unique`, `max`, `min`, `custom`.
    Absent,
    /// One value: the same classes.
    One(&'a V),
    /// In units of the field's scale: `counter`, `reserve`; 0 without a change.
    Number(i128),
    /// In their order: `set`; empty without a change.
    Elements(Vec<&'a V>),
}
