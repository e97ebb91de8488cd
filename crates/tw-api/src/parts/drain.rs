//! A region that is drained, so that it can be ended without a loss.

use super::MovedHome;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether a region is to be drained.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// Whether it is to accept nothing more for streams that other regions have; false ends that.
    #[schema(example = true)]
    pub drained: bool,
    /// The region that is to be the home of streams of which this one is the home; needed if there are such streams.
    #[serde(default)]
    #[schema(example = 2)]
    pub to: Option<u16>,
    /// Whether to say only what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Drained {
    /// Whether it was done.
    #[schema(example = true)]
    pub done: bool,
    /// The streams that have another home now.
    pub moved: Vec<MovedHome>,
}

/// How far a region is that is drained.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct DrainView {
    /// The other regions that have not everything yet that this one has accepted; none: it can be ended.
    #[schema(example = json!([3]))]
    pub lacking: Vec<u16>,
}
