//! Regions that are evicted, because they are gone and keep the others from forgetting anything.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a region is to be evicted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EvictRequest {
    /// Whether it is evicted also if it was heard lately, or most other regions are not reached.
    #[serde(default)]
    pub force: bool,
    /// Whether to say only what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// What going on without a region means.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct EvictionView {
    /// Which one.
    #[schema(example = 3)]
    pub region: u16,
    /// The epoch in which it is evicted: it comes back under a later one.
    #[schema(example = 1)]
    pub epoch: u32,
    /// How long nobody has heard of it, as far as that is known here, in milliseconds.
    #[schema(example = 172_800_000)]
    pub silent_ms: u64,
    /// How long that must be, in milliseconds.
    #[schema(example = 86_400_000)]
    pub silent_ms_min: u64,
    /// What each of the other regions has of it, as far as it is reached; the one that answers is among them.
    pub has: Vec<HasOfEvicted>,
    /// The streams of which it is the home.
    pub homes: Vec<String>,
    /// The streams whose rows are merged: deletions in them, and what is kept to order late changes, wait for it until it is evicted.
    pub merged: Vec<String>,
    /// Those of them with columns of the class `reserve`: rights that it has stay its own, and are used by nobody until it is back.
    pub reserves: Vec<String>,
    /// Why it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Whether it is evicted.
    #[schema(example = true)]
    pub done: bool,
}

/// What a region has of one that is evicted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct HasOfEvicted {
    /// Who has it.
    #[schema(example = 2)]
    pub region: u16,
    /// Up to when it has everything, in milliseconds since the Unix epoch.
    #[schema(example = 1_780_000_000_000u64)]
    pub until_ms: u64,
}

/// A region that is evicted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct EvictedView {
    /// Which one.
    #[schema(example = 3)]
    pub region: u16,
    /// In which epoch: it comes back under a later one.
    #[schema(example = 1)]
    pub epoch: u32,
    /// The region that has evicted it.
    #[schema(example = 1)]
    pub by: u16,
    /// When, in milliseconds since the Unix epoch.
    #[schema(example = 1_780_000_000_000u64)]
    pub at_ms: u64,
    /// The regions that have not said yet that they take nothing more of it: until they have, it is waited for.
    pub lacking: Vec<u16>,
    /// Whether everything of it is here that any other region has: then nobody here waits for it.
    #[schema(example = true)]
    pub complete: bool,
}
