//! Places in a stream: partitions, offsets, versions.

use crate::StreamId;
use crate::origin::number;
use serde::{Deserialize, Serialize};
use std::fmt;

number! {
    /// A partition of a stream: 0 to (partition count − 1).
    PartitionId(u32)
}
number! {
    /// An event's place in its partition, from 0. Strictly increasing; gaps are allowed (compaction, Kafka's markers).
    Offset(u64)
}
number! {
    /// An event's place in its subject's history: dense from 1. 0 means "none": an event without a subject, or
    /// a subject without events.
    Version(u64)
}

impl Offset {
    /// The start of every partition.
    pub const ZERO: Self = Self(0);

    /// The offset after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The offset `n` further on.
    pub const fn plus(self, n: u64) -> Self {
        Self(self.0 + n)
    }
}

impl Version {
    /// No version: the subject has no events.
    pub const NONE: Self = Self(0);

    /// The version after this one; the largest number, which no event will ever have, has none after it.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// An event's place in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The partition.
    pub partition: PartitionId,
    /// The offset in it.
    pub offset: Offset,
}

impl fmt::Display for Position {
    /// `partition:offset`, the form of the `twposition` attribute.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

/// One partition of one stream: the unit of order and ownership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamPartition {
    /// The stream.
    pub stream: StreamId,
    /// Its partition.
    pub partition: PartitionId,
}

impl StreamPartition {
    /// The partition `partition` of `stream`.
    pub const fn new(stream: StreamId, partition: PartitionId) -> Self {
        Self { stream, partition }
    }
}

impl fmt::Display for StreamPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stream, self.partition)
    }
}
