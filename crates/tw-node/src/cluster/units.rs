//! What units are about.

use tw_plan::placement::Unit;
use tw_types::{PartitionId, StreamId, StreamPartition};

const SOURCE: &str = "source/";

/// What a unit is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A partition of a stream.
    Partition(StreamPartition),
    /// A source, by its name.
    Source(String),
}

impl Subject {
    /// What the unit of this name is; None for one of a later version.
    pub(crate) fn of(unit: &Unit) -> Option<Self> {
        let text = unit.as_str();
        if let Some(name) = text.strip_prefix(SOURCE) {
            return Some(Self::Source(name.to_owned()));
        }
        let (stream, partition) = text.split_once('/')?;
        let (stream, partition) = (StreamId(stream.parse().ok()?), PartitionId(partition.parse().ok()?));
        Some(Self::Partition(StreamPartition::new(stream, partition)))
    }

    /// The unit of a source; None if its name is too long to be placed.
    pub(crate) fn source(name: &str) -> Option<Unit> {
        Unit::new(&format!("{SOURCE}{name}")).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_say_what_they_are() {
        let at = StreamPartition::new(StreamId(7), PartitionId(3));
        assert_eq!(Subject::of(&Unit::from(at)), Some(Subject::Partition(at)));
        let shop = Subject::source("7/3").unwrap();
        assert_eq!(Subject::of(&shop), Some(Subject::Source("7/3".into())));
        assert_eq!(Subject::of(&Unit::new("locks-3").unwrap()), None);
    }
}
