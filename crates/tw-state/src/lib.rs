//! Derived state: an embedded ordered key-value store behind a small trait.
//!
//! The log is the truth, so what is kept here can be thrown away and rebuilt by replay. That is why a commit is
//! atomic (all of a [`Batch`] or nothing, also through kill -9), but is not synced to the disk: after a power loss the
//! store may be older than it was, never half-way between two commits.
//!
//! [`DiskStore`] is the engine of a node, [`MemoryStore`] the reference model for cores' tests and simulations. The
//! suite in [`conformance`] (feature `conformance`) holds both to the same promises.

#[cfg(feature = "conformance")]
pub mod conformance;
mod disk;
mod error;
mod memory;
mod store;

pub use disk::{DiskStore, Options};
pub use error::Error;
pub use memory::MemoryStore;
pub use store::{
    Batch, Change, Entry, KEY_BYTES_MAX, Keyspace, NAME_BYTES_MAX, Range, Snapshot, Store, VALUE_BYTES_MAX,
};

/// The result of an operation on the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;
