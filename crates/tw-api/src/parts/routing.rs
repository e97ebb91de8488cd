//! Which region serves a user: what is asked, and what is answered.

use serde::{Deserialize, Serialize};
use tw_plan::routing::Place;
use tw_types::{ClientToken, RegionId};
use utoipa::ToSchema;

/// A user who is to be served.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RouteQuery {
    /// Where the user is, if that is known.
    pub place: Option<Place>,
    /// What the user has seen or written, if that is to be seen again.
    pub token: Option<ClientToken>,
    /// How far a region may be behind with that, in milliseconds.
    pub lag_ms_max: u32,
    /// What the user is recognised by: an account, a session, a network prefix. The same one goes to the same region.
    pub user: String,
    /// The region that served the user last; otherwise the one that gave the token.
    pub current: Option<RegionId>,
}

/// The regions for a user, the first choice first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct RouteView {
    /// The generation of the plan that says so.
    #[schema(example = 1)]
    pub generation: u64,
    /// The region that answers. What it says of others is what it has heard of them.
    #[schema(example = 1)]
    pub answered_by: u16,
    /// Those that may serve the user; at least one.
    pub regions: Vec<RankedRegion>,
    /// The others.
    pub out: Vec<ExcludedRegion>,
    /// Whether all regions looked down, so that none was taken for down.
    pub fail_static: bool,
    /// `freshness` if no region that is up is as fresh as was asked for: the least stale is first, and a read with the token waits there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "freshness")]
    pub gave_up: Option<String>,
    /// What nobody has told, and therefore does not count.
    #[schema(example = json!(["capacity", "measured latency"]))]
    pub not_known: Vec<String>,
}

/// A region that may serve a user, with what its rank is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct RankedRegion {
    /// Its number.
    #[schema(example = 2)]
    pub region: u16,
    /// Where it serves clients.
    #[schema(example = "https://us.example:7070")]
    pub url: String,
    /// Why it has this rank, for a person.
    #[schema(example = "14 ms away by the distance")]
    pub why: String,
    /// The round trip that the distance lets expect, in milliseconds; absent if a place is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 14)]
    pub rtt_ms: Option<u32>,
    /// How long ago it or another one accepted the first thing of the token that is not known to be there, in milliseconds; 0 if all of it is; absent if
    /// nothing is known, or there is no token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 0)]
    pub lag_ms: Option<u32>,
    /// Whether it is up.
    pub up: bool,
    /// How old that is, in milliseconds; absent if nothing was heard of it: then it is taken for up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 120)]
    pub heard_ms: Option<u64>,
}

/// A region that does not serve a user.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct ExcludedRegion {
    /// Its number.
    #[schema(example = 3)]
    pub region: u16,
    /// Where it serves clients.
    #[schema(example = "https://ap.example:7070")]
    pub url: String,
    /// `drained`, `down`, or `stale`.
    #[schema(example = "down")]
    pub out: String,
    /// Why, for a person.
    #[schema(example = "there is no link with it")]
    pub why: String,
}
