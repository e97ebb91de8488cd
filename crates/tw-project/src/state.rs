//! What projections keep in the store: keys that sort, values that say what they are, both versioned.

pub(crate) mod key;
pub(crate) mod layout;
pub(crate) mod value;
pub(crate) mod varint;

/// Stored bytes that cannot be read: written by a later version, or damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored state cannot be read: {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);
