//! Pure core of regions: what was received, what may be seen, what conflicts, and what is the same everywhere in the end.
//!
//! Each region accepts changes on its own and learns of the others' later. Two values are all that a change needs for that:
//! a [`Stamp`], which orders all changes the same everywhere, and what its region had [`Seen`] of the others.
//! `docs/adr/0017-what-a-region-has-seen.md` says why that is enough.
//!
//! A core decides from its arguments alone: it is told the time, and it neither sends nor stores.

mod change;
pub mod class;
pub mod declare;
pub mod delivery;
pub mod received;
mod seen;
pub mod skew;
pub mod span;
pub mod stability;
mod stamp;
pub mod subject;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod world;

pub use change::{AMOUNT_MAX, Change, DELTA_MAX, FieldOp, Kind, OPS_MAX};
pub use seen::{Context, Seen};
pub use span::Span;
pub use stamp::Stamp;
