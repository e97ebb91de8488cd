//! Rows: from the JSON of events to Arrow columns.

pub(crate) mod builder;
mod check;
pub(crate) mod columns;
pub(crate) mod events;
pub(crate) mod reader;
pub(crate) mod slot;

pub use check::RowCheck;
pub use reader::RowError;
