//! Queries: tables of what the log and the views hold, and the answers.

mod answer;
mod gather;
pub(crate) mod history;
pub(crate) mod partials;
pub(crate) mod point;
mod produce;
pub(crate) mod prune;
pub(crate) mod state;
mod text;

pub use answer::Answer;
pub(crate) use answer::{Bounds, bounded, client_batch, client_schema, query_error};
pub use text::text;
