//! What a region holds, in short: a hash of each stream that is written in every region, and of each projection of one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Hashes of what a region holds. Those of two regions that have received the same events are the same.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct RegionHashes {
    /// The region's number.
    #[schema(example = 1)]
    pub region: u16,
    /// Its name, as its certificate says it.
    #[schema(example = "eu")]
    pub name: String,
    /// The streams that are written in every region, by name.
    pub streams: Vec<StreamHash>,
    /// The projections of these streams, by name.
    pub projections: Vec<ProjectionHash>,
}

/// A hash of the events of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct StreamHash {
    /// The stream.
    #[schema(example = "orders")]
    pub stream: String,
    /// How many events there are.
    #[schema(example = 1200)]
    pub events: u64,
    /// A hash of where they come from, when they were accepted and what they say, 32 hexadecimal digits. It does not depend on
    /// the order in which they came, nor on offsets and versions. It finds accidents, not forgeries.
    #[schema(example = "52b7edbe6e3c8e9c3b2f5d0f6a1f8c11")]
    pub hash: String,
    /// How many of them were accepted where, by region and epoch.
    pub origins: Vec<OriginCount>,
}

/// How many events were accepted in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct OriginCount {
    /// The region.
    #[schema(example = 2)]
    pub region: u16,
    /// Its epoch.
    #[schema(example = 1)]
    pub epoch: u32,
    /// How many events.
    #[schema(example = 400)]
    pub events: u64,
}

/// A hash of the rows of a projection.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct ProjectionHash {
    /// The projection.
    #[schema(example = "revenue")]
    pub projection: String,
    /// The stream that it is made of.
    #[schema(example = "orders")]
    pub stream: String,
    /// How many rows there are; absent if they could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 7)]
    pub rows: Option<u64>,
    /// A hash of the rows, 32 hexadecimal digits, which does not depend on their order. They have processed at least the
    /// events that were hashed; absent if they could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "0d9c0a1c6cf0f1f9e2dca6b3a4a7f1d2")]
    pub hash: Option<String>,
    /// Why the rows could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
