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
    /// An option says something that it cannot say.
    #[error("depot option `{option}` is `{value}`: {reason}")]
    InvalidText {
        /// The option's name.
        option: &'static str,
        /// What was said.
        value: String,
        /// What is wrong with it, and what to do.
        reason: &'static str,
    },
    /// A bucket is named in a program that has no code for buckets.
    #[error(
        "depot option `place` is `{place}`, and this program was built without buckets: build it with `--features s3`, or name \
         a folder by its path"
    )]
    NotBuilt {
        /// What was said.
        place: String,
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
    #[error(
        "depot `{place}` has not answered within {request_ms_max} ms: see what holds it up, or raise `request_ms_max`"
    )]
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
    /// A file that an option names cannot be used.
    #[error("depot option `{option}` names `{path}`, and {reason}")]
    File {
        /// The option's name.
        option: &'static str,
        /// The file.
        path: String,
        /// What is wrong with it, without any of its content.
        reason: String,
    },
    /// Nobody says with which keys a bucket is asked.
    #[error("depot `{place}` has no keys: {reason}")]
    NoKeys {
        /// Where objects are kept.
        place: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The bucket is not there.
    #[error("depot `{place}` is not there: create its bucket, or name another one in `place`")]
    NoBucket {
        /// Where objects are kept.
        place: String,
    },
    /// The server of a bucket refuses what it is asked for.
    #[error("depot `{place}` refuses this with `{code}`: {remedy}")]
    Refused {
        /// Where objects are kept.
        place: String,
        /// The server's word for it, or the status of its answer.
        code: String,
        /// What to do.
        remedy: String,
    },
    /// The server of a bucket cannot be reached, or what answers there is not to be trusted.
    #[error("depot `{place}` cannot be reached at `{server}`, {cause}: {remedy}")]
    Unreachable {
        /// Where objects are kept.
        place: String,
        /// The host, and the port if it was said.
        server: String,
        /// The innermost cause; those around it only repeat it.
        cause: String,
        /// What to do.
        remedy: &'static str,
    },
}
