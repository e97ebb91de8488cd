//! What is wrong with events that came in.

use std::fmt;

/// Which event of several it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// There is only one.
    Single,
    /// The one with this index in its batch; the first has 0.
    Index(u32),
    /// The one in this line; the first line is 1.
    Line(u32),
}

impl fmt::Display for Place {
    /// What a message starts with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single => Ok(()),
            Self::Index(index) => write!(f, "event [{index}]: "),
            Self::Line(line) => write!(f, "line {line}: "),
        }
    }
}

/// An event that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}{problem}")]
pub struct Error {
    /// Which event.
    pub place: Place,
    /// What is wrong with it.
    pub problem: Problem,
}

/// The rule that an event breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The bytes are not text.
    #[error("the text is not UTF-8 at byte {0}: send UTF-8")]
    NotUtf8(usize),
    /// The text is not JSON, or not a JSON object. The message ends with line and column.
    #[error("not an event in JSON: {0}")]
    NotJson(String),
    /// The data is not what its media type says.
    #[error("the data is not JSON: {0}; correct it, or say another content type")]
    DataNotJson(String),
    /// The data is deeper than allowed.
    #[error("the data is nested deeper than {depth_max} levels: make it flatter")]
    TooDeep {
        /// The limit.
        depth_max: u32,
    },
    /// A required attribute is not there.
    #[error("attribute `{attribute}` is missing: {remedy}")]
    Missing {
        /// Its name.
        attribute: &'static str,
        /// What to add.
        remedy: &'static str,
    },
    /// An attribute is there more than once.
    #[error("attribute `{0}` is there twice: keep one")]
    Twice(String),
    /// An attribute has a value that it may not have.
    #[error("attribute `{attribute}` is `{value}`: {rule}")]
    Value {
        /// Its name.
        attribute: String,
        /// The value, cut to 80 characters.
        value: String,
        /// The rule that it breaks, and what to do.
        rule: &'static str,
    },
    /// An attribute is longer than allowed.
    #[error(
        "attribute `{attribute}` has {bytes} bytes, over the limit of {bytes_max}: shorten it, or move it to the data"
    )]
    TooLong {
        /// Its name.
        attribute: String,
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: u32,
    },
    /// No attribute can have this name.
    #[error("`{0}` cannot name an attribute: {NAME_RULE}")]
    Name(String),
    /// The platform gives attributes with such names.
    #[error("attribute `{0}` is reserved: names that start with `tw` are the platform's, leave it out")]
    Reserved(String),
    /// More extension attributes than allowed.
    #[error("more than {extensions_max} extension attributes: move some to the data")]
    TooManyExtensions {
        /// The limit.
        extensions_max: u32,
    },
    /// Both members for data are there.
    #[error("both `data` and `data_base64` are there: keep one")]
    TwoData,
    /// More events than allowed.
    #[error("more than {events_max} events at once: split them")]
    TooManyEvents {
        /// The limit.
        events_max: u32,
    },
}

pub(super) const NAME_RULE: &str = "use 1 to 64 lower-case letters and digits";

impl Problem {
    /// The attribute that it is about, if it is about one.
    pub fn attribute(&self) -> Option<&str> {
        match self {
            Self::Missing { attribute, .. } => Some(attribute),
            Self::Twice(name) | Self::Name(name) | Self::Reserved(name) => Some(name),
            Self::Value { attribute, .. } | Self::TooLong { attribute, .. } => Some(attribute),
            _ => None,
        }
    }

    pub(super) fn value(attribute: &str, value: &str, rule: &'static str) -> Self {
        Self::Value { attribute: cut(attribute), value: cut(value), rule }
    }

    pub(super) fn at(self, place: Place) -> Error {
        Error { place, problem: self }
    }
}

/// As much of a text as a message shows.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}
