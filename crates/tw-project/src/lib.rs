//! The SQL catalogue, incremental projections, and queries over the log.

mod catalog;
mod dialect;
mod error;
mod functions;
mod operators;
mod plan;
mod rows;
mod session;
mod sql;
mod state;
mod types;
mod values;
mod view;

pub use catalog::{Catalog, Change, Projection, ProjectionDef, SourceDef};
pub use error::Error;
pub use functions::ValueError;
pub use rows::{RowCheck, RowError};
pub use sql::{Param, SyntaxError, parse, parse_all};
pub use view::StateView;
