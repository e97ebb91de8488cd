//! Depots: objects with a name, kept outside of a node, in a folder that all nodes share or in a bucket.
//!
//! What is stored here is found by other nodes, and survives the loss of a node's disk: snapshots of state, and whatever else
//! is archived. A [`Depot`] knows names and bytes, nothing else: what they mean, which of them belong together and when one
//! is removed is for whoever stores them. No object is ever changed in part; a reader gets all of it or nothing.
//!
//! ```text
//! [depot] place ── Options ──▶ Objects ─┬─▶ a folder
//!                                       └─▶ a bucket of S3-compatible object storage (feature `s3`)
//! ```

mod error;
mod name;
mod objects;
mod options;
mod place;
#[cfg(feature = "s3")]
mod s3;

pub use error::{Error, Result};
pub use name::{NAME_BYTES_MAX, check_name};
pub use objects::Objects;
pub use options::Options;

use bytes::Bytes;
use futures_util::future::BoxFuture;

/// Where objects are kept, under names as [`check_name`] wants them.
///
/// The futures can be polled on any thread: an implementation that needs a runtime brings it along. Each comes to its end in
/// a bounded time.
pub trait Depot: Send + Sync + 'static {
    /// Stores an object, in the place of an earlier one of its name. Whoever reads at the same time gets all of the one or
    /// all of the other. After an error it is not known whether it is there.
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::Timeout`], the engine's.
    fn put<'a>(&'a self, name: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<()>>;

    /// The object of a name; None if there is none. No more than `bytes_max` bytes are held in memory.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::InvalidName`], [`Error::Timeout`], the engine's.
    fn get<'a>(&'a self, name: &'a str, bytes_max: u64) -> BoxFuture<'a, Result<Option<Bytes>>>;

    /// The names of all objects under a folder, at any depth, in ascending order; none if there is no such folder. A name is
    /// under the folder `a` if it starts with `a/`. What is stored or removed meanwhile may or may not be among them.
    ///
    /// # Errors
    /// [`Error::TooMany`], [`Error::InvalidName`], [`Error::Timeout`], the engine's.
    fn list<'a>(&'a self, folder: &'a str, names_max: usize) -> BoxFuture<'a, Result<Vec<String>>>;

    /// Removes an object; one that is not there is fine.
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::Timeout`], the engine's.
    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>>;
}
