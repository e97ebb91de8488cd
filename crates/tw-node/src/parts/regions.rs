//! The links with other regions behind the interface.

use super::evict::evicted;
use crate::core::Core;
use crate::routing::{self, Further, Known};
use crate::{hashes, tokens};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use std::sync::Arc;
use std::time::Duration;
use tw_api::parts::{
    ChangeRouting, ChangedRouting, Closed, DrainRequest, Drained, EvictRequest, EvictionView,
    FailoverRequest, FailoverView, HomesView, MeasuredRtts, MoveHomes, MovedHomes, Pass, RegionHashes,
    RegionLoad, RegionPartitionView, RegionPeerView, RegionView, Regions, Reply, RestorePeerView,
    RestoreView, RouteQuery, RouteView, RoutingView, Unanswered,
};
use tw_api::{Code, Problem};
use tw_region::service::{GoOnError, Links, PartitionState, PeerState, RestorePeer, RestoreState, State};
use tw_types::{ClientToken, RegionId, StreamDef, StreamMode, Token};

/// The links of a node that is a region.
pub(crate) struct NodeRegions(pub(crate) Arc<Core>);

impl NodeRegions {
    pub(crate) fn links(&self) -> Result<&Links, Problem> {
        let starting = || Problem::new(Code::NotReady, "the links with other regions have not begun yet");
        self.0.regions.links.get().ok_or_else(starting)
    }

    async fn state(&self) -> Result<State, Problem> {
        let ended = |error: tw_region::service::Error| Problem::new(Code::NotReady, error.to_string());
        self.links()?.state().await.map_err(ended)
    }
}

impl Regions for NodeRegions {
    fn view(&self) -> BoxFuture<'_, Result<RegionView, Problem>> {
        Box::pin(async {
            let (state, drain) = (self.state().await?, self.drain_view().await?);
            let streams = self.0.log.streams();
            let shared = streams.iter().filter(|def| def.options.mode != StreamMode::Local);
            Ok(RegionView {
                region: state.region.0,
                name: state.name,
                epoch: state.epoch,
                certificate_expires_at_ms: state.certificate_expires_at_ms,
                local_clock_suspect: state.is_local_clock_suspect,
                restore: state.restore.map(restore),
                drain,
                evicted: state.evicted.into_iter().map(evicted).collect(),
                streams: shared.map(|def| def.name.to_string()).collect(),
                peers: state.peers.into_iter().map(peer).collect(),
            })
        })
    }

    fn route(&self, query: RouteQuery) -> BoxFuture<'_, Result<RouteView, Problem>> {
        Box::pin(async move {
            let holds = self.0.options.holds();
            let (options, here) = (&holds.routing, self.0.log.region());
            let plans = &self.0.regions.plans;
            let in_effect = plans.in_effect()?;
            let links = self.links()?;
            let ended = |error: tw_region::service::Error| Problem::new(Code::NotReady, error.to_string());
            let (heard, seen) = (links.heard().await.map_err(ended)?, links.seen());
            let (admission, now_ms) = (plans.loads.admission(), self.0.env.clock.now_ms());
            let known = Known { here, seen, heard, admission, now_ms };
            let (measured, not_known) = (plans.latencies.of(query.network), plans.not_known(options, &known));
            let further = Further { measured, not_known };
            Ok(routing::route(&in_effect.plan, options, &known, &query, further))
        })
    }

    fn measured(&self, measured: MeasuredRtts, is_hop: bool) -> Result<(), Problem> {
        routing::note(&self.0, measured, is_hop)
    }

    fn routing(&self) -> BoxFuture<'_, Result<RoutingView, Problem>> {
        Box::pin(async { routing::show(&self.0, self.links()?).await })
    }

    fn change_routing(&self, change: ChangeRouting) -> BoxFuture<'_, Result<ChangedRouting, Closed>> {
        Box::pin(routing::change(&self.0, change))
    }

    fn load(&self) -> RegionLoad {
        RegionLoad {
            region: self.0.log.region().0,
            served_milli_per_s: self.0.regions.plans.loads.own(self.0.log.region()),
        }
    }

    fn cut_of<'a>(
        &'a self,
        token: &'a ClientToken,
        streams: &'a [Arc<StreamDef>],
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Token, Problem>> {
        Box::pin(tokens::cut_of(&self.0, token, streams, timeout))
    }

    fn token_of_write(&self, cut: Token) -> BoxFuture<'_, ClientToken> {
        Box::pin(tokens::of_write(&self.0, cut))
    }

    fn token_of_read(&self, cut: Token) -> BoxFuture<'_, ClientToken> {
        Box::pin(tokens::of_read(&self.0, cut))
    }

    fn retry(&self, region: u16) -> BoxFuture<'_, Result<String, Problem>> {
        Box::pin(async move {
            let state = self.state().await?;
            let Some(peer) = state.peers.iter().find(|peer| peer.region == RegionId(region)) else {
                let known: Vec<String> = state.peers.iter().map(|peer| peer.region.to_string()).collect();
                let detail = format!(
                    "there is no link with region `{region}`; there are links with: {}",
                    known.join(", ")
                );
                return Err(Problem::new(Code::NoRegion, detail));
            };
            let parked = peer.partitions.iter().filter(|one| one.parked.is_some()).count();
            let ended = |error: tw_region::service::Error| Problem::new(Code::NotReady, error.to_string());
            self.links()?.retry(peer.region).await.map_err(ended)?;
            Ok(match parked {
                0 => format!("nothing of region {region} is parked"),
                1 => format!("one partition of region {region} is tried again"),
                _ => format!("{parked} partitions of region {region} are tried again"),
            })
        })
    }

    fn drain(&self, request: DrainRequest) -> BoxFuture<'_, Result<Drained, Problem>> {
        Box::pin(self.drain_this(request))
    }

    fn evict(&self, region: u16, request: EvictRequest) -> BoxFuture<'_, Result<EvictionView, Problem>> {
        Box::pin(self.evict_one(region, request))
    }

    fn go_on_without(&self, regions: Vec<u16>) -> BoxFuture<'_, Result<String, Problem>> {
        Box::pin(async move {
            let regions: Vec<RegionId> = regions.into_iter().map(RegionId).collect();
            self.links()?.go_on_without(&regions).map_err(|error| {
                let code = match error {
                    GoOnError::NotRestoring => Code::WrongState,
                    GoOnError::NoPeer { .. } => Code::NoRegion,
                };
                Problem::new(code, error.to_string())
            })?;
            let names: Vec<String> = regions.iter().map(ToString::to_string).collect();
            Ok(match names.as_slice() {
                [] => "the restore waits for all other regions".to_owned(),
                names => format!("the restore goes on without region {}", names.join(", ")),
            })
        })
    }

    fn enter(&self, stream: &StreamDef) -> Result<Pass, Closed> {
        self.enter_shared(stream)
    }

    fn send(
        &self,
        region: u16,
        request: Request<Bytes>,
    ) -> BoxFuture<'_, Result<Response<Reply>, Unanswered>> {
        Box::pin(async move {
            let unsent = |problem: Problem| Unanswered { was_sent: false, cause: problem.to_string() };
            self.0.regions.wire.send(self.links().map_err(unsent)?, RegionId(region), request).await
        })
    }

    fn homes(&self) -> BoxFuture<'_, Result<HomesView, Problem>> {
        Box::pin(async { self.homes_view() })
    }

    fn give_away(&self, request: MoveHomes) -> BoxFuture<'_, Result<MovedHomes, Problem>> {
        Box::pin(self.give_homes(request))
    }

    fn failover(&self, from: u16, request: FailoverRequest) -> BoxFuture<'_, Result<FailoverView, Problem>> {
        Box::pin(self.fail_over(from, request))
    }

    fn hashes(&self, stream: Option<String>) -> BoxFuture<'_, Result<RegionHashes, Problem>> {
        Box::pin(async move { hashes::of(&self.0, self.state().await?.name, stream.as_deref()).await })
    }
}

fn restore(restore: RestoreState) -> RestoreView {
    let peer = |peer: RestorePeer| RestorePeerView {
        region: peer.region.0,
        done: peer.is_done,
        left_out: peer.is_left_out,
        lacking_events: peer.lacking_events,
        reason: peer.reason,
    };
    RestoreView {
        new: restore.is_new,
        epoch: restore.epoch,
        peers: restore.peers.into_iter().map(peer).collect(),
        waits_for: restore.waits_for,
    }
}

fn peer(peer: PeerState) -> RegionPeerView {
    RegionPeerView {
        region: peer.region.0,
        name: peer.name,
        address: peer.address,
        via: peer.via.map(|via| via.0),
        send_limited: peer.is_send_limited,
        link: peer.link.as_str().to_owned(),
        error: peer.error,
        notes: peer.notes,
        lag_events: peer.lag_events,
        lag_ms: peer.lag_ms,
        held_bytes: peer.held_bytes,
        received_bytes: peer.received_bytes,
        sent_bytes: peer.sent_bytes,
        ahead_ms: peer.ahead_ms,
        quarantined_until_ms: peer.quarantined_until_ms,
        has_until_ms: peer.has_of_this,
        partitions: peer.partitions.into_iter().map(partition).collect(),
    }
}

fn partition(partition: PartitionState) -> RegionPartitionView {
    RegionPartitionView {
        stream: partition.stream,
        partition: partition.partition,
        received: partition.received,
        lag_events: partition.lag_events,
        lag_ms: partition.lag_ms,
        waits_for: partition.waits_for,
        parked: partition.parked,
    }
}
