//! Names and numbers of streams.

use crate::origin::number;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

number! {
    /// The number of a stream in its installation: given at creation, never reused.
    StreamId(u32)
}

/// The name of a stream: 1 to 200 bytes of letters, digits, `_`, `-`, `.`, `$` and inner spaces.
///
/// `$` at the start marks the platform's own streams. Upper and lower case are different names. A captured table
/// is named `source.table`, or `source.schema.table` outside the schema `public`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamName(Arc<str>);

crate::text_type!(StreamName, InvalidName);

impl StreamName {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 200;

    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`InvalidName`] says which rule `name` breaks.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let wrong = |rule| Err(InvalidName { name: name.chars().take(80).collect(), rule });
        if name.is_empty() {
            return wrong("it is empty");
        }
        if name.len() > Self::BYTES_MAX {
            return wrong("it is longer than 200 bytes");
        }
        if name.trim() != name {
            return wrong("it starts or ends with a space");
        }
        if name == "." || name == ".." {
            return wrong("it is a folder's name");
        }
        if !name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$' | ' ')) {
            return wrong("only letters, digits, `_`, `-`, `.`, `$` and inner spaces are allowed");
        }
        Ok(Self(Arc::from(name)))
    }

    /// How the names of streams begin in which unique values of another stream are claimed; the name of that one follows.
    pub const OF_CLAIMS: &str = "$claims.";

    /// The name of the stream in which unique values of the stream of this name are claimed.
    ///
    /// # Errors
    /// It is too long.
    pub fn of_claims(&self) -> Result<Self, InvalidName> {
        Self::new(&format!("{}{self}", Self::OF_CLAIMS))
    }

    /// Whether it is one of the platform's own streams.
    pub fn is_system(&self) -> bool {
        self.0.starts_with('$')
    }
}

/// A text that cannot name a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` cannot name a stream: {rule}")]
pub struct InvalidName {
    /// The name, cut to 80 characters.
    pub name: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_captured_tables_are_allowed() {
        for name in ["shop.orders", "$config", "shop.sales.Order Lines", "größe", "a-b_c.9"] {
            assert_eq!(StreamName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_would_hurt_are_refused_with_the_rule() {
        for name in ["", "..", " a", "a/b", "a\nb", "a\"b", "x".repeat(201).as_str()] {
            assert!(StreamName::new(name).is_err(), "{name:?}");
        }
        assert_eq!(
            StreamName::new("a/b").unwrap_err().to_string(),
            "`a/b` cannot name a stream: only letters, digits, `_`, `-`, `.`, `$` and inner spaces are allowed"
        );
    }
}
