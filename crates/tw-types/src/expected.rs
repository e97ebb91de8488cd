//! What a writer believes about a subject.

use crate::Version;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The condition under which an append to a subject succeeds (LOG-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExpectedVersion {
    /// No condition.
    #[default]
    Any,
    /// The subject has no events.
    None,
    /// The subject's latest event has exactly this version.
    Exact(Version),
}

impl ExpectedVersion {
    /// Whether the condition holds when the subject's latest version is `current`.
    pub fn holds(self, current: Version) -> bool {
        match self {
            Self::Any => true,
            Self::None => current == Version::NONE,
            Self::Exact(version) => current == version,
        }
    }
}

impl fmt::Display for ExpectedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any version"),
            Self::None => f.write_str("no events"),
            Self::Exact(version) => write!(f, "version {version}"),
        }
    }
}
