//! A whole node in this process, asked over HTTP: what holds only when all parts are together.
#![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

mod door;
mod sql;
mod streams;
mod support;
mod unique;
