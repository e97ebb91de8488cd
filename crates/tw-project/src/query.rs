//! Queries: tables of what the log and the views hold, and the answers.

mod answer;
pub(crate) mod history;
mod json;
pub(crate) mod point;
mod prune;
pub(crate) mod state;

pub use answer::Answer;
pub(crate) use answer::{Bounds, bounded, client_batch, client_schema, query_error};
pub use json::{JsonWriter, text};
