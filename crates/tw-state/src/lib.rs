//! Derived state: an embedded ordered key-value store behind a small trait.
//!
//! The log is the truth, so what is kept here can be thrown away and rebuilt by replay. That is why a commit is
//! atomic (all of a [`Batch`] or nothing, also through kill -9), but is not synced to the disk: after a power loss the
//! store may be older than it was, never half-way between two commits.

mod error;
mod store;

pub use error::Error;
pub use store::{
    Batch, Change, Entry, KEY_BYTES_MAX, Keyspace, NAME_BYTES_MAX, Range, Snapshot, Store, VALUE_BYTES_MAX,
};

/// The result of an operation on the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;
