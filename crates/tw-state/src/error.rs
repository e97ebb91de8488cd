//! What can go wrong with the store.

use crate::{KEY_BYTES_MAX, NAME_BYTES_MAX, VALUE_BYTES_MAX};
use std::path::PathBuf;

/// An operation on the store failed. The state behind it can be rebuilt by replay.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The keyspace was dropped.
    #[error("this part of the state was dropped")]
    NoKeyspace,
    /// A name breaks the rule for names.
    #[error(
        "`{0}` cannot name a part of the state: use 1 to {NAME_BYTES_MAX} bytes that do not start with a dot"
    )]
    InvalidName(String),
    /// A key or its value is outside the bounds.
    #[error(
        "a key of {key_bytes} bytes with a value of {value_bytes} bytes cannot be kept: keys have 1 to \
         {KEY_BYTES_MAX} bytes and do not start with 32 bytes of 0xff, values have up to {VALUE_BYTES_MAX} bytes"
    )]
    InvalidKey {
        /// The length of the key.
        key_bytes: usize,
        /// The length of its value.
        value_bytes: usize,
    },
    /// Entries to ingest were not in strictly ascending order.
    #[error("entries to add at once are not in ascending order of their keys")]
    OutOfOrder,
    /// An option is outside its bounds.
    #[error("state option `{option}` is {value}, outside {bounds}")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// The refused value.
        value: u64,
        /// What is allowed, with the unit.
        bounds: &'static str,
    },
    /// Another process has the folder.
    #[error("the state folder `{0}` is in use by another process")]
    Locked(PathBuf),
    /// The engine failed: an I/O error, no room, damaged files.
    #[error(
        "the state in `{folder}` cannot be used: remove that folder, and it will be rebuilt from the log"
    )]
    Engine {
        /// The folder of the store.
        folder: PathBuf,
        /// What the engine says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
