//! Change capture: the committed changes of a database into the log, exactly once.
//!
//! A source reads what a database commits and appends it to one stream per table, as events in the Debezium envelope.
//! It promises:
//! - CAP-1: the database is told that a change may be forgotten only after the log has it on stable storage.
//! - CAP-2: every committed change of a captured table is in the log exactly once, in commit order per row, through
//!   crashes of either side.
//! - CAP-3: a gap that cannot be closed is an explicit event and a fresh snapshot, never a silent resume.
//!
//! [`check`] looks before anything is changed, [`start`] runs a source, its [`Handle`] tells how it is and stops it, and
//! [`remove`] takes away what it made in the database. This crate never parses SQL and never reads what it wrote, except
//! for its own cursor.

mod cursor;
mod error;
mod lsn;
mod options;
pub mod postgres;
mod secret;
mod service;
mod sink;
mod status;

pub use cursor::{CURSOR_TYPE, Cursor, GAP_TYPE, Gap, Phase, SOURCES_STREAM, TABLE_TYPE, TableCursor};
pub use error::{Error, ServerError};
pub use lsn::{InvalidLsn, Lsn};
pub use options::{Options, SnapshotMode};
pub use postgres::{Preflight, Problem, TablePlan, check, remove};
pub use secret::Secret;
pub use service::{Handle, Place, start};
pub use status::{
    Counters, Failure, SlotStatus, SnapshotPhase, SourcePhase, Status, TableIdentity, TableStatus,
};
