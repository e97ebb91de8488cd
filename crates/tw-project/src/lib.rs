//! The SQL catalogue, incremental projections, and queries over the log.
//!
//! A text becomes a [`Statement`], which [`Engine::decide`] turns into what is to be done, or which [`Engine::query`] answers.
//! Definitions are events of `$config`; the [`Catalog`] is their fold. [`Engine::views`] says which views the workers of
//! `tw-process` must drive; their state is what projections and the latest rows of captured tables are read from. [`RowCheck`]
//! stands at the door of streams with declared columns. Nothing here writes to the log.

mod answers;
mod catalog;
mod dialect;
mod engine;
mod error;
mod functions;
mod gather;
mod merged;
mod operators;
mod options;
mod plan;
mod query;
mod rows;
mod session;
mod sql;
mod state;
mod types;
mod values;
mod view;

pub use answers::KeptAnswers;
pub use catalog::{Catalog, Change, Follower, Projection, ProjectionDef, Source, SourceDef};
pub use datafusion::arrow;
pub use engine::{
    Action, Committed, Comparison, Engine, Held, Request, SourceStanding, ViewReading, ViewStanding, Views,
    WaitingConflict, WantedView,
};
pub use error::Error;
pub use functions::ValueError;
pub use gather::{Candidate, Heard, PeerAnswer, PeerRequest, Peers, Place};
pub use merged::{
    CONFLICTS_STREAM, ColumnRights, Knowledge, Lack, MergedRow, ToldConflict, UniqueValue, Verdict,
};
pub use options::{Options, ReadFrom};
pub use query::{Answer, text};
pub use rows::{RowCheck, RowError};
pub use sql::{
    Kind, Listing, Name, Param, Secret, Statement, StatementOptions, SyntaxError, bad_option, parse,
    parse_all, quoted,
};
pub use types::field_name as type_name;
pub use view::StateView;
