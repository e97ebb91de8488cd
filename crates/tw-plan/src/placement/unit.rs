//! What has an owner.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tw_types::StreamPartition;

/// The name of what has exactly one owner: a partition of a stream (`7/3`), a source, a part of the locks. 1 to 250 bytes
/// without control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Unit(Arc<str>);

tw_types::text_type!(Unit, Error);

impl Unit {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 250;

    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`Error::UnitName`] says which rule `name` breaks.
    pub fn new(name: &str) -> Result<Self, Error> {
        let wrong = |rule| Err(Error::UnitName { name: name.chars().take(80).collect(), rule });
        if name.is_empty() {
            return wrong("it is empty");
        }
        if name.len() > Self::BYTES_MAX {
            return wrong("it is longer than 250 bytes");
        }
        if name.chars().any(char::is_control) {
            return wrong("control characters are not allowed");
        }
        Ok(Self(Arc::from(name)))
    }
}

impl From<StreamPartition> for Unit {
    fn from(partition: StreamPartition) -> Self {
        Self(Arc::from(partition.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tw_types::{PartitionId, StreamId};

    #[test]
    fn a_partition_is_a_unit_by_its_numbers() {
        let unit = Unit::from(StreamPartition::new(StreamId(7), PartitionId(3)));
        assert_eq!(unit, Unit::new("7/3").unwrap());
    }

    #[test]
    fn names_that_would_hurt_are_refused_with_the_rule() {
        for name in ["", "a\nb", "x".repeat(251).as_str()] {
            assert!(Unit::new(name).is_err(), "{name:?}");
        }
        assert_eq!(Unit::new("").unwrap_err().to_string(), "`` cannot name a unit: it is empty");
    }
}
