//! The workers as a whole, on a log and a store in memory.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, unreachable_pub, reason = "these are tests")]

mod assigned;
mod hold;
mod nodes;
mod parked;
mod rebuild;
mod snapshots;
mod support;
mod workers;
