//! What can go wrong with a depot.

use std::sync::Arc;

/// Short for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An operation on a depot failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// An option is outside its bounds.
    #[error("depot option `{option}` is {value}, outside {bounds}")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// The refused value.
        value: u64,
        /// What is allowed, with the unit.
        bounds: &'static str,
    },
    /// A place is not one.
    #[error("depot option `place` is `{place}`: {reason}")]
    InvalidPlace {
        /// What was said.
        place: String,
        /// What is wrong with it, and what to do.
        reason: &'static str,
    },
    /// A name of an object breaks a rule.
    #[error(
        "`{0}` cannot name an object: it must have 1 to 900 bytes, of letters, digits, `-`, `_` and `.`, with `/` between its parts, \
         none of which may be empty or start with `.`"
    )]
    InvalidName(String),
    /// An object is larger than whoever reads it can use.
    #[error("object `{name}` has {bytes} bytes, over the {bytes_max} that it may have")]
    TooLarge {
        /// Its name.
        name: String,
        /// Its size.
        bytes: u64,
        /// The bound.
        bytes_max: u64,
    },
    /// There are more objects than whoever lists them can use.
    #[error("there are over {names_max} objects under `{folder}`")]
    TooMany {
        /// The folder.
        folder: String,
        /// The bound.
        names_max: usize,
    },
    /// It took too long.
    #[error("depot `{place}` has not answered within {request_ms_max} ms")]
    Timeout {
        /// Where objects are kept.
        place: String,
        /// The bound.
        request_ms_max: u64,
    },
    /// The runtime that requests run on has ended.
    #[error("the depot is shutting down")]
    Closed,
    /// The engine failed.
    #[error("depot `{place}` failed")]
    Engine {
        /// Where objects are kept.
        place: String,
        /// What it says.
        #[source]
        source: Arc<object_store::Error>,
    },
    /// A folder cannot be used.
    #[error("depot `{place}` cannot be used")]
    Folder {
        /// The folder.
        place: String,
        /// Why.
        #[source]
        source: Arc<std::io::Error>,
    },
}
