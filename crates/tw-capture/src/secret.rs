//! Passwords on their way to a server.

use crate::Error;
use serde::Deserialize;
use std::fmt;

/// A password. It reads from configuration and goes to the server; nothing ever shows it.
///
/// ```
/// let secret = tw_capture::Secret::new("hunter2");
/// assert_eq!(format!("{secret:?}"), "Secret");
/// ```
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes a password.
    pub fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }

    /// Takes a password as it stands in an address, where `%41` and the like stand for bytes.
    ///
    /// ```
    /// let secret = tw_capture::Secret::of_address("p%40ss%2Fword").unwrap();
    /// assert!(secret == tw_capture::Secret::new("p@ss/word"));
    /// ```
    ///
    /// # Errors
    /// [`Error::Option`] when it does not decode; the error does not show it.
    pub fn of_address(encoded: &str) -> Result<Self, Error> {
        crate::postgres::percent_decoded(encoded).map(Self).map_err(|rule| Error::Option {
            option: "password",
            value: "…".into(),
            rule,
        })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
