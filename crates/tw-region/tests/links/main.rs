//! Links between regions over real sockets, with real certificates, on logs on disk.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

mod arbiter;
mod contexts;
mod evictions;
mod faults;
mod homes;
mod limit;
mod reached;
mod region;
mod relays;
mod replication;
mod restore;
mod three;
