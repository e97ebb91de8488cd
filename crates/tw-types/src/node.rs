//! Names of nodes.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The name of a node, unique in its cluster: 1 to 100 bytes of ASCII letters, digits, `_`, `-` and `.`, with a letter or
/// a digit at its start.
///
/// A host's name is one, and so is a Kubernetes pod's. A node that comes back with the same name is the same node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(Arc<str>);

crate::text_type!(NodeId, InvalidNodeId);

impl NodeId {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 100;

    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`InvalidNodeId`] says which rule `name` breaks.
    pub fn new(name: &str) -> Result<Self, InvalidNodeId> {
        let wrong = |rule| Err(InvalidNodeId { name: name.chars().take(80).collect(), rule });
        if name.len() > Self::BYTES_MAX {
            return wrong("it is longer than 100 bytes");
        }
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return wrong("it must start with a letter or a digit");
        }
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')) {
            return wrong("only ASCII letters, digits, `_`, `-` and `.` are allowed");
        }
        Ok(Self(Arc::from(name)))
    }
}

/// A text that cannot name a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` cannot name a node: {rule}")]
pub struct InvalidNodeId {
    /// The name, cut to 80 characters.
    pub name: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hosts_and_pods_are_allowed() {
        for name in ["tradewind-0", "db1.example.com", "7", "a_B", "n".repeat(100).as_str()] {
            assert_eq!(NodeId::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_would_hurt_are_refused_with_the_rule() {
        for name in ["", "-a", ".", "a/b", "größe", "a b", "n".repeat(101).as_str()] {
            assert!(NodeId::new(name).is_err(), "{name:?}");
            assert!(serde_json::from_str::<NodeId>(&format!("{name:?}")).is_err(), "{name:?}");
        }
        assert_eq!(
            NodeId::new("a/b").unwrap_err().to_string(),
            "`a/b` cannot name a node: only ASCII letters, digits, `_`, `-` and `.` are allowed"
        );
    }
}
