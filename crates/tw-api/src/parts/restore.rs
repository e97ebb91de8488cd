//! A region that comes back from an older copy of its log, or is new.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How far a region is in fetching what others have. Until it has all, it accepts nothing for streams that other regions have.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct RestoreView {
    /// Whether the region is new: its log was empty when it was started.
    pub new: bool,
    /// The epoch in which it goes on.
    #[schema(example = 2)]
    pub epoch: u32,
    /// The regions that are asked, by number.
    pub peers: Vec<RestorePeerView>,
    /// What it waits for once all of them have given everything back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
}

/// A region that is asked for what it has of this one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct RestorePeerView {
    /// Its number.
    #[schema(example = 3)]
    pub region: u16,
    /// Whether all that it has is here.
    pub done: bool,
    /// Whether this region goes on without it: what only that has is lost.
    pub left_out: bool,
    /// How many events are still to come, as far as it has said.
    pub lacking_events: u64,
    /// Why it has not given everything back yet, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Regions without which a restore is to go on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GoOnWithout {
    /// Their numbers, in place of those that were named before; none: wait for all.
    #[schema(example = json!([3]))]
    pub without: Vec<u16>,
}
