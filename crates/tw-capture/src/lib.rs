//! Change capture: the committed changes of a database into the log, exactly once.
//!
//! A source reads what a database commits and appends it to one stream per table, as events in the Debezium envelope.
//! It promises:
//! - CAP-1: the database is told that a change may be forgotten only after the log has it on stable storage.
//! - CAP-2: every committed change of a captured table is in the log exactly once, in commit order per row, through
//!   crashes of either side.
//! - CAP-3: a gap that cannot be closed is an explicit event and a fresh snapshot, never a silent resume.
//!
//! This crate never parses SQL and never reads what it wrote, except for its own cursor.
//!
//! A source's life, as a node leads it:
//!
//! ```no_run
//! # async fn life(store: tw_log::store::EventStore) -> Result<(), tw_capture::Error> {
//! use tw_capture::{Options, Place, Secret, Ungated};
//! let a_minute = std::time::Duration::from_secs(60);
//!
//! // CREATE SOURCE shop FROM POSTGRES 'postgres://app@db/shop' TABLES (public.orders)
//! let mut options = Options::new("shop", "postgres://app@db/shop", vec!["public.orders".into()]);
//! options.password = Secret::new("from the environment"); // written options never hold it
//!
//! // Look before anything is changed, and define the streams (`shop.orders`), so that they can be queried at once.
//! let found = tw_capture::check(&options, a_minute).await?;
//! for problem in &found.problems {
//!     println!("{}: {}", problem.problem, problem.remedy);
//! }
//! tw_capture::define(&options, &found, store.log().as_ref()).await?;
//!
//! // A thread of its own connects, makes publication and slot, reads the tables, and streams changes.
//! let gate = std::sync::Arc::new(Ungated);
//! let place = Place { store, env: tw_env::Env::real(), scratch: "data/scratch".into(), gate };
//! let source = tw_capture::start(options.clone(), place)?;
//! let status = source.status(); // phase, lag, slot, tables with their snapshots, last error
//! println!("{:?}, {} bytes behind", status.phase, status.lag_bytes);
//!
//! source.stop(); // blocks until what has arrived is durable and confirmed
//!
//! // DROP SOURCE shop: takes away slot and publication; streams stay until somebody drops them.
//! tw_capture::remove(&options, a_minute).await.map_err(|left| left.reason)?;
//! # Ok(()) }
//! ```

mod commands;
mod cursor;
mod error;
mod gate;
mod lsn;
mod options;
mod pace;
pub mod postgres;
mod secret;
mod service;
mod sink;
mod status;

pub use cursor::{
    CURSOR_TYPE, Columns, Cursor, GAP_TYPE, Gap, Phase, SOURCES_STREAM, TABLE_TYPE, TableCursor,
};
pub use error::{Error, ServerError};
pub use gate::{Gate, Ungated};
pub use lsn::{InvalidLsn, Lsn};
pub use options::{Options, SnapshotMode};
pub use postgres::{CapturedName, Left, Preflight, Problem, TablePlan, check, define, remove};
pub use secret::Secret;
pub use service::{Handle, Place, start};
pub use status::{
    Counters, Failure, SlotStatus, SnapshotPhase, SourcePhase, Status, TableIdentity, TableStatus,
};
