//! Sources against real PostgreSQL servers.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise")]

mod basics;
mod model;
mod support;
mod types;
