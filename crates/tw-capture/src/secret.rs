//! Passwords on their way to a server.

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
