//! What a change of a subject says.
//!
//! The shell decodes an event to one of these and hands it to [`crate::subject::Subject`]. Values are the caller's: anything that
//! is ordered the same everywhere, which floating point numbers are not. Nothing here decides.

use crate::Context;
use crate::class::ReserveOp;
use serde::{Deserialize, Serialize};

/// The largest step of a counter to either side, in units of the field's scale: 2^63 − 1. A sum of 2^64 of them fits in 128 bits,
/// and a region has 2^64 timestamps.
pub const DELTA_MAX: i128 = i64::MAX as i128;

/// The largest amount that one change may move in a reserve, in units of the field's scale.
pub const AMOUNT_MAX: u64 = i64::MAX as u64;

/// The most operations that one change may have.
pub const OPS_MAX: usize = 1_024;

/// A change of one subject, as the region that accepted it told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change<V> {
    /// Its place in the order, and what its region had seen.
    pub context: Context,
    /// What it does.
    pub kind: Kind<V>,
}

/// What a change does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind<V> {
    /// Operations on fields, by the fields' places in the declaration, which count from 0. A field is named once, that of a set once per element.
    /// Without any it says only that the subject exists.
    Put(Vec<(u16, FieldOp<V>)>),
    /// Takes away exactly the changes that it had seen.
    Delete,
}

/// An operation on one field. Which class takes which one is said with each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FieldOp<V> {
    /// The field is this: `lww` and `unique`.
    Set(V),
    /// A candidate: `max` and `min`.
    Offer(V),
    /// So much more or less, in units of the field's scale, at most [`DELTA_MAX`] to either side: `counter`.
    Add(i128),
    /// The element is in: `set`.
    Insert(V),
    /// The element is out, as far as the change had seen it put in: `set`.
    Remove(V),
    /// `reserve`.
    Reserve(ReserveOp),
    /// What the function is given: `custom`.
    Input(V),
}
