//! Which region serves a user: what is asked, and what is answered.

mod plan;

pub use plan::{
    ChangeRouting, ChangedRouting, GivenPart, PlannedRegion, RegionLoad, RegionLoss, RoutingGeneration,
    RoutingStep, RoutingView,
};
pub(crate) use plan::{DrainUsersRequest, RollBackRequest, ShiftRequest, WeighRequest};

use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use tw_plan::routing::{Network, Place};
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
    /// The network that the user is in, for which others may have measured.
    pub network: Option<Network>,
}

/// How far regions are from a client, as it has measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MeasuredRtts {
    /// The address of the client, or its network; no more than 24 bits of an IPv4 address and 48 of an IPv6 address are kept.
    #[schema(example = "198.51.100.7")]
    pub network: String,
    /// What it has measured, of 64 regions at most.
    pub rtts: Vec<MeasuredRtt>,
}

/// How far a region is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MeasuredRtt {
    /// The region.
    #[schema(example = 2)]
    pub region: u16,
    /// The round trip, in milliseconds.
    #[schema(example = 23)]
    pub rtt_ms: u32,
}

/// The network that a text names: an address, with or without the length of a prefix.
pub fn network(text: &str) -> Option<Network> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().ok()?;
    let bits_max = if address.is_ipv4() { 32 } else { 128 };
    let is_prefix = bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= bits_max));
    is_prefix.then(|| address.into())
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
    /// The round trip that was measured, or that the distance lets expect, in milliseconds; absent if nothing is known.
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
