//! Depots: what each of them promises, a folder and a bucket alike.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, unreachable_pub, reason = "these are tests")]

#[cfg(feature = "s3")]
mod bucket;
mod conformance;
mod folder;
