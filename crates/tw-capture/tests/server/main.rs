//! Sources against real PostgreSQL servers.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise")]

mod access;
mod basics;
mod crashes;
mod gaps;
mod large_values;
mod load;
mod model;
mod partitions;
mod rows;
mod schema;
mod snapshots;
mod store;
mod streamed;
mod support;
mod types;
