//! Data classes: how sensitive a field is.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The sensitivity of a field. Ordered: a value of a higher class never goes where only a lower one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataClass {
    /// May be shown to anybody.
    Public,
    /// May be shown to whoever works with the installation. The default.
    #[default]
    Internal,
    /// Business secrets: shown to those who need them, never logged.
    Confidential,
    /// About a person: subject to access, erasure and retention rules.
    Personal,
    /// Credentials and keys: never shown, never logged.
    Secret,
}

impl DataClass {
    /// The class as it is written in SQL and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Confidential => "confidential",
            Self::Personal => "personal",
            Self::Secret => "secret",
        }
    }

    /// Whether a value of this class may appear in a log line or an error message.
    pub const fn may_be_logged(self) -> bool {
        matches!(self, Self::Public | Self::Internal)
    }
}

impl fmt::Display for DataClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A class name that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown data class `{0}`: use public, internal, confidential, personal or secret")]
pub struct UnknownClass(pub String);

impl FromStr for DataClass {
    type Err = UnknownClass;

    fn from_str(s: &str) -> Result<Self, UnknownClass> {
        [Self::Public, Self::Internal, Self::Confidential, Self::Personal, Self::Secret]
            .into_iter()
            .find(|class| class.as_str().eq_ignore_ascii_case(s))
            .ok_or_else(|| UnknownClass(s.to_owned()))
    }
}
