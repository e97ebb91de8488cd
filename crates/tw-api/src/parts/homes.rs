//! Where streams with a home are written.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The homes of streams, as a region knows them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct HomesView {
    /// The region that answers.
    #[schema(example = 1)]
    pub region: u16,
    /// The streams, by name.
    pub homes: Vec<HomeView>,
}

/// The home of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct HomeView {
    /// The stream.
    #[schema(example = "orders")]
    pub stream: String,
    /// The region in which it is written.
    #[schema(example = 1)]
    pub home: u16,
    /// How many homes it had before.
    #[schema(example = 0)]
    pub term: u64,
    /// The home before; absent for the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u16>,
    /// Whether the home before has agreed: false after a failover.
    #[schema(example = true)]
    pub planned: bool,
    /// Whether the region that answers takes writes of it now.
    #[schema(example = true)]
    pub open: bool,
}

/// Streams that are to get another home.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveHomes {
    /// Which streams; absent or empty: all of which the region that is asked is the home.
    #[serde(default)]
    #[schema(example = json!(["orders"]))]
    pub streams: Vec<String>,
    /// The region that is to be the home.
    #[schema(example = 2)]
    pub to: u16,
    /// Whether to say only what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// Streams that have another home.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct MovedHomes {
    /// Whether it was done.
    #[schema(example = true)]
    pub done: bool,
    /// The streams.
    pub moved: Vec<MovedHome>,
}

/// A stream that has another home.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct MovedHome {
    /// The stream.
    #[schema(example = "orders")]
    pub stream: String,
    /// Its new home.
    #[schema(example = 2)]
    pub home: u16,
    /// The term of that.
    #[schema(example = 1)]
    pub term: u64,
}

/// The taking over of the streams of a region that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FailoverRequest {
    /// Which streams; absent or empty: all of which that region is the home.
    #[serde(default)]
    #[schema(example = json!(["orders"]))]
    pub streams: Vec<String>,
    /// That whoever asks has made sure that the region takes no writes any more.
    #[serde(default)]
    #[schema(example = true)]
    pub is_stopped: bool,
    /// Whether to say only what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a failover has done, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct FailoverView {
    /// The region that is gone.
    #[schema(example = 1)]
    pub from: u16,
    /// How the link with it is.
    #[schema(example = "down")]
    pub link: String,
    /// How long ago it was heard last, in milliseconds; absent if it was not since this node was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 4_200)]
    pub silent_ms: Option<u64>,
    /// Whether it was done.
    #[schema(example = true)]
    pub done: bool,
    /// The streams that are taken over.
    pub streams: Vec<FailoverStreamView>,
}

/// A stream that is taken over.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct FailoverStreamView {
    /// The stream.
    #[schema(example = "orders")]
    pub stream: String,
    /// The term of the new home.
    #[schema(example = 1)]
    pub term: u64,
    /// How many events the old home has said to have that are not here. They are at risk; it may have accepted more since, and says so in `$at_risk`
    /// when it is back.
    #[schema(example = 12)]
    pub known_at_risk: u64,
    /// If there are some, how old the last event of it here is, in milliseconds.
    #[schema(example = 310)]
    pub lag_ms: u64,
}
