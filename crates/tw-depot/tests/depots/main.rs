//! Depots: what each of them promises.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, unreachable_pub, reason = "these are tests")]

mod conformance;
mod folder;
