//! The region that a node belongs to, and its links with others.

use super::{
    ChangeRouting, ChangedRouting, DrainRequest, DrainView, Drained, EvictRequest, EvictedView, EvictionView,
    FailoverRequest, FailoverView, HomesView, MeasuredRtts, MoveHomes, MovedHomes, Pass, RegionHashes,
    RegionLoad, Reply, RestoreView, RouteQuery, RouteView, RoutingView, Unanswered,
};
use crate::Problem;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tw_types::{ClientToken, StreamDef, Token};
use utoipa::ToSchema;

/// The links of a region.
pub trait Regions: Send + Sync + 'static {
    /// How they are now.
    fn view(&self) -> BoxFuture<'_, Result<RegionView, Problem>>;

    /// Tries every partition of a region again of which nothing is taken. Says what was done, for a person.
    fn retry(&self, region: u16) -> BoxFuture<'_, Result<String, Problem>>;

    /// Drains this region, so that it can be ended, or ends that. What others lack then is in the [view](Regions::view).
    fn drain(&self, request: DrainRequest) -> BoxFuture<'_, Result<Drained, Problem>>;

    /// Goes on without a region that is gone, in all regions.
    fn evict(&self, region: u16, request: EvictRequest) -> BoxFuture<'_, Result<EvictionView, Problem>>;

    /// Has a restore go on without regions that are gone. Says what was done, for a person.
    fn go_on_without(&self, regions: Vec<u16>) -> BoxFuture<'_, Result<String, Problem>>;

    /// Lets a write to a stream that other regions have pass, until the pass is dropped.
    fn enter(&self, stream: &StreamDef) -> Result<Pass, Closed>;

    /// Sends a request to another region, as one that came by a hop ([`HOP`](super::HOP)).
    fn send(
        &self,
        region: u16,
        request: Request<Bytes>,
    ) -> BoxFuture<'_, Result<Response<Reply>, Unanswered>>;

    /// The homes of streams.
    fn homes(&self) -> BoxFuture<'_, Result<HomesView, Problem>>;

    /// Gives streams of which this region is the home to another region.
    fn give_away(&self, request: MoveHomes) -> BoxFuture<'_, Result<MovedHomes, Problem>>;

    /// Takes over streams of a region that is gone.
    fn failover(&self, from: u16, request: FailoverRequest) -> BoxFuture<'_, Result<FailoverView, Problem>>;

    /// The regions for a user, the first choice first: never none.
    ///
    /// # Errors
    /// `wrong_state` if it is not configured where the regions are.
    fn route(&self, query: RouteQuery) -> BoxFuture<'_, Result<RouteView, Problem>>;

    /// Takes note of what a client has measured, and tells other regions unless one of them has sent it.
    ///
    /// # Errors
    /// `invalid_parameter`, `no_region`: nothing is noted. `wrong_state` if it is not configured where the regions are.
    fn measured(&self, measured: MeasuredRtts, is_hop: bool) -> Result<(), Problem>;

    /// The plan in effect.
    ///
    /// # Errors
    /// `wrong_state` if it is not configured where the regions are.
    fn routing(&self) -> BoxFuture<'_, Result<RoutingView, Problem>>;

    /// Changes the plan, if that is decided in this region.
    ///
    /// # Errors
    /// Who decides, if it is another region; `routing_overtaken`, `no_room` and others: nothing was changed.
    fn change_routing(&self, change: ChangeRouting) -> BoxFuture<'_, Result<ChangedRouting, Closed>>;

    /// How much this region serves.
    fn load(&self) -> RegionLoad;

    /// The cut of the log here that a read of `streams` must see which comes with a token of another region (PRJ-2): waits until everything is
    /// here that the token demands, at most `timeout`.
    ///
    /// # Errors
    /// `other_region`: it can never be reached here; `region_behind`: it was not reached in time. Both say what to do.
    fn cut_of<'a>(
        &'a self,
        token: &'a ClientToken,
        streams: &'a [Arc<StreamDef>],
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Token, Problem>>;

    /// The token of an append that is durable: in other regions it demands what was accepted here.
    fn token_of_write(&self, cut: Token) -> BoxFuture<'_, ClientToken>;

    /// The token of a read that has seen everything before a cut: in other regions it demands what could be seen, wherever that was accepted.
    fn token_of_read(&self, cut: Token) -> BoxFuture<'_, ClientToken>;

    /// Hashes what is here of every stream that is written in all regions, or of one, and of the projections of these. It reads
    /// all events; dropping the future stops it.
    fn hashes(&self, stream: Option<String>) -> BoxFuture<'_, Result<RegionHashes, Problem>>;
}

/// Why a write to a stream with a home, or a change that goes there, does not pass.
#[derive(Debug)]
pub struct Closed {
    /// The region that is its home, if it is another one.
    pub home: Option<u16>,
    /// What whoever writes is told.
    pub problem: Problem,
}

/// A region, and its links.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct RegionView {
    /// Its number.
    #[schema(example = 1)]
    pub region: u16,
    /// Its name, as its certificate says it.
    #[schema(example = "eu")]
    pub name: String,
    /// Its epoch.
    #[schema(example = 1)]
    pub epoch: u32,
    /// When its certificate expires, in milliseconds since the Unix epoch.
    #[schema(example = 1_800_000_000_000u64)]
    pub certificate_expires_at_ms: u64,
    /// Whether it is more likely the clock here that is wrong, because most others seem to be ahead.
    pub local_clock_suspect: bool,
    /// What it fetches back, if it comes back from an older copy of its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreView>,
    /// Who lacks what of this region, if it is drained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainView>,
    /// The regions that are evicted; this one is among them if it has heard that it was.
    #[serde(default)]
    pub evicted: Vec<EvictedView>,
    /// The streams that are written in every region.
    pub streams: Vec<String>,
    /// The other regions, by number.
    pub peers: Vec<RegionPeerView>,
}

/// Another region.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct RegionPeerView {
    /// Its number.
    #[schema(example = 2)]
    pub region: u16,
    /// Its name; absent before there was a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "us")]
    pub name: Option<String>,
    /// The region by way of which it is reached; absent if there is a line to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 2)]
    pub via: Option<u16>,
    /// Whether `send_bytes_per_second_max` makes what is sent to it wait, or did a moment ago.
    #[serde(default)]
    pub send_limited: bool,
    /// Where this region connects to it; absent if only it connects to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "us.example:7079")]
    pub address: Option<String>,
    /// What is taken of it: `in-sync`, `catching-up`, `quarantined` (its clock is ahead), `parked` (nothing of some partition), `down`, `evicted` (nobody
    /// waits for it).
    #[schema(example = "in-sync")]
    pub link: String,
    /// Why there is no link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What is not as it should be, and does not stop the rest.
    pub notes: Vec<String>,
    /// How many events it has accepted that are not here, as far as it has said.
    #[schema(example = 0)]
    pub lag_events: u64,
    /// How old the oldest of them may be, in milliseconds.
    #[schema(example = 0)]
    pub lag_ms: u64,
    /// How many bytes of its blocks are held until they may be appended.
    #[schema(example = 0)]
    pub held_bytes: u64,
    /// How many bytes came from it since the node was started, compressed.
    #[schema(example = 1048576)]
    pub received_bytes: u64,
    /// How many bytes were sent to it since the node was started, compressed.
    #[schema(example = 1048576)]
    pub sent_bytes: u64,
    /// How many milliseconds its clock was ahead of the one here with its last heartbeat, less the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = -3)]
    pub ahead_ms: Option<i64>,
    /// Until when nothing is taken of it because its clock is ahead, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined_until_ms: Option<u64>,
    /// The time of the last event of this region that it has, in milliseconds since the Unix epoch; absent before it has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 1_780_000_000_000u64)]
    pub has_until_ms: Option<u64>,
    /// Its partitions.
    pub partitions: Vec<RegionPartitionView>,
}

/// A partition of another region.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct RegionPartitionView {
    /// The stream.
    #[schema(example = "orders")]
    pub stream: String,
    /// The partition.
    #[schema(example = 0)]
    pub partition: u32,
    /// The last sequence that is here.
    #[schema(example = 1200)]
    pub received: u64,
    /// How many events are lacking.
    #[schema(example = 0)]
    pub lag_events: u64,
    /// How old the oldest of them may be, in milliseconds.
    #[schema(example = 0)]
    pub lag_ms: u64,
    /// What its next events wait for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// Why nothing is taken of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked: Option<String>,
}
