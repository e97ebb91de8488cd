//! The decision to go on without a region: what it means, and why it may be refused.

use super::{Evictions, last_epoch, say};
use crate::eviction::Saying;
use crate::link::inbound::Status;
use crate::service::receiver::Event;
use crate::service::{Error, Links, Shared};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tw_types::{Epoch, RegionId};

/// What going on without a region means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eviction {
    /// Which one.
    pub region: RegionId,
    /// The last epoch that is meant.
    pub epoch: Epoch,
    /// How long nobody has heard of it, as far as that is known here, in milliseconds.
    pub silent_ms: u64,
    /// How long that must be, in milliseconds.
    pub silent_ms_min: u64,
    /// Up to when each of the others has what it accepted, in milliseconds since the Unix epoch; this region is among them.
    pub has: Vec<(RegionId, u64)>,
    /// The streams of which it is the home.
    pub homes: Vec<String>,
    /// Why it would be refused.
    pub refused: Option<String>,
    /// Whether it is evicted.
    pub is_done: bool,
}

/// A region that is evicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evicted {
    /// Which one.
    pub region: RegionId,
    /// The last epoch that is meant.
    pub epoch: Epoch,
    /// Who has said so first.
    pub by: RegionId,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The regions that have not said yet that they take nothing more of it: until they have, it is waited for.
    pub lacking: Vec<RegionId>,
    /// Whether everything of it is here that any other one has: then nobody here waits for it.
    pub is_complete: bool,
}

/// Why a region is not evicted.
#[derive(Debug, thiserror::Error)]
pub enum EvictionError {
    /// It is not known.
    #[error("there is no link with region {region}: name one of {known}")]
    NoRegion {
        /// The region.
        region: RegionId,
        /// Those with which there is one.
        known: String,
    },
    /// It may come back by itself.
    #[error(
        "region {region} was heard {silent_ms} ms ago, and is evicted after {silent_ms_min} ms (`evict_after_ms` of [region]): wait, or confirm with `--force` that it is gone"
    )]
    NotSilent {
        /// The region.
        region: RegionId,
        /// How long ago.
        silent_ms: u64,
        /// The budget.
        silent_ms_min: u64,
    },
    /// It may be this one that is cut off.
    #[error(
        "this region reaches {reached} of {members} regions, itself included, which is no majority: it may be cut off itself, and others go on without it; have a region evict it that reaches more, or confirm with `--force` that nobody else does"
    )]
    Minority {
        /// How many are reached.
        reached: usize,
        /// How many there are.
        members: usize,
    },
    /// It is where streams are written.
    #[error(
        "region {region} is the home of {}: take them over first, with `tradewind region failover {region}`", streams.join(", ")
    )]
    Homes {
        /// The region.
        region: RegionId,
        /// The streams.
        streams: Vec<String>,
    },
    /// Another one is evicted already.
    #[error(
        "region {out} is evicted and not back, and region {region} may have readmitted it without this region knowing: wait until region {out} is seeded, or take one of the two out of the configuration of all others"
    )]
    AnotherIsOut {
        /// The region.
        region: RegionId,
        /// The one that is evicted.
        out: RegionId,
    },
    /// This region is not one of those that decide.
    #[error(
        "region {region} has not everything yet that others have, or was evicted itself: ask another one"
    )]
    NotOpen {
        /// This region.
        region: RegionId,
    },
    /// The links have ended, or the log cannot be read or written.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// What was found out about a region.
struct Found {
    eviction: Eviction,
    refusal: Option<EvictionError>,
    can_be_forced: bool,
}

impl Links {
    /// Goes on without a region that is gone, in all regions, until it comes back as one that is new. With `is_forced` also if it was heard lately, or
    /// most others are not reached. With `is_dry` it only says what would be done. One that is evicted already stays so.
    ///
    /// # Errors
    /// [`EvictionError`].
    pub async fn evict(
        &self,
        region: RegionId,
        is_forced: bool,
        is_dry: bool,
    ) -> Result<Eviction, EvictionError> {
        let Found { mut eviction, refusal, can_be_forced } = find(&self.shared, &self.queue, region).await?;
        let refusal = refusal.filter(|_| !(is_forced && can_be_forced));
        eviction.refused = refusal.as_ref().map(ToString::to_string);
        if is_dry || eviction.is_done {
            return Ok(eviction);
        }
        match refusal {
            Some(refusal) => Err(refusal),
            None => {
                carry_out(&self.shared, &eviction).await?;
                Ok(Eviction { is_done: true, ..eviction })
            }
        }
    }

    /// Whether nothing more comes of a region: it is out of the configuration, or evicted, and everything is here that any other one has of it.
    pub fn is_gone(&self, region: RegionId) -> bool {
        let is_complete = || self.shared.evicted().iter().any(|one| one.region == region && one.is_complete);
        !self.is_linked(region) || is_complete()
    }

    /// Why this region accepts nothing for streams that others have, if it was evicted.
    pub fn evicted_here(&self) -> Option<String> {
        let out = self.shared.evictions.is_out(self.shared.events.log().epoch())?;
        Some(format!(
            "the others have evicted this region in epoch {}, and take nothing that it accepts: stop it, keep its data folder for what it has accepted that others have not, and begin a new log for it with `tradewind region seed --epoch {}`",
            out.epoch,
            out.epoch.0.saturating_add(1)
        ))
    }
}

impl Shared {
    /// The regions that are evicted now.
    pub(crate) fn evicted(&self) -> Vec<Evicted> {
        let evictions: &Evictions = &self.evictions;
        let out = evictions.out();
        let left = evictions.left(&out);
        let one = |(region, out): (&RegionId, &crate::eviction::Out)| {
            let has = out.closed.get(&evictions.me).copied();
            let latest = self.history.last().of(*region).max(has.unwrap_or_default());
            Evicted {
                region: *region,
                epoch: out.epoch,
                by: out.by,
                at_ms: out.at.millis(),
                lacking: left.iter().copied().filter(|member| !out.closed.contains_key(member)).collect(),
                is_complete: out.end(&left).is_some_and(|end| latest >= end),
            }
        };
        out.iter().map(one).collect()
    }
}

async fn inbound(queue: &mpsc::Sender<Event>) -> Result<Status, Error> {
    let (reply, status) = oneshot::channel();
    queue.send(Event::State(reply)).await.map_err(|_| Error::Ended)?;
    status.await.map_err(|_| Error::Ended)
}

/// Looks at what the eviction of a region would mean, and what is against it.
async fn find(
    shared: &Shared,
    queue: &mpsc::Sender<Event>,
    region: RegionId,
) -> Result<Found, EvictionError> {
    let (evictions, me) = (&shared.evictions, shared.options.id);
    evictions.follow(&shared.events).await?;
    let peers: Vec<RegionId> = shared.options.peers.iter().map(|peer| peer.id).collect();
    if !peers.contains(&region) {
        let known: Vec<String> = peers.iter().map(ToString::to_string).collect();
        return Err(EvictionError::NoRegion { region, known: known.join(", ") });
    }
    if shared.restore.is_on() || evictions.is_out(shared.events.log().epoch()).is_some() {
        return Err(EvictionError::NotOpen { region: me });
    }
    let (status, now_ms) = (inbound(queue).await?, shared.now_ms());
    let out = evictions.out();
    let left = evictions.left(&out);
    let of = |peer: RegionId| status.peers.iter().find(|one| one.region == peer);
    let told = |peer: RegionId| of(peer).filter(|one| one.is_connected).map(|one| one.told.of(region));
    let mut has: Vec<(RegionId, u64)> = vec![(me, of(region).map_or(0, |one| one.seen.millis()))];
    let others = left.iter().copied().filter(|peer| *peer != me && *peer != region);
    has.extend(others.clone().filter_map(|peer| Some((peer, told(peer)?.millis()))));
    let heard_ms = has.iter().map(|(_, ms)| *ms).max().unwrap_or(0).max(evictions.began_ms);
    // It may be silent since, without having said anything in that epoch.
    let back = evictions.told.lock().known.readmitted(region).unwrap_or(Epoch(1));
    let last = last_epoch(shared, region).await?.max(back);
    let homes = shared.homes.list().into_iter().filter(|home| home.home == region);
    let eviction = Eviction {
        region,
        epoch: out.get(&region).map_or(last, |out| out.epoch),
        silent_ms: now_ms.saturating_sub(heard_ms),
        silent_ms_min: shared.options.evict_after_ms,
        has,
        homes: homes.map(|home| home.stream).collect(),
        refused: None,
        is_done: out.contains_key(&region),
    };
    let reached = 1 + others.filter(|peer| told(*peer).is_some()).count();
    let other = out.keys().copied().find(|other| *other != region);
    let (refusal, can_be_forced) = refusal(&eviction, other, reached, left.len());
    Ok(Found { eviction, refusal, can_be_forced })
}

/// What is against it, and whether a person may decide otherwise.
fn refusal(
    eviction: &Eviction,
    other: Option<RegionId>,
    reached: usize,
    members: usize,
) -> (Option<EvictionError>, bool) {
    let &Eviction { region, silent_ms, silent_ms_min, .. } = eviction;
    if eviction.is_done {
        return (None, false);
    }
    if let Some(out) = other {
        return (Some(EvictionError::AnotherIsOut { region, out }), false);
    }
    if !eviction.homes.is_empty() {
        let streams = eviction.homes.iter().map(|stream| format!("`{stream}`")).collect();
        return (Some(EvictionError::Homes { region, streams }), false);
    }
    if silent_ms < silent_ms_min {
        return (Some(EvictionError::NotSilent { region, silent_ms, silent_ms_min }), true);
    }
    let is_minority = reached * 2 <= members;
    (is_minority.then_some(EvictionError::Minority { reached, members }), true)
}

async fn carry_out(shared: &Shared, eviction: &Eviction) -> Result<(), Error> {
    let Eviction { region, epoch, .. } = *eviction;
    say(shared, Saying::Evicted { region, epoch }).await?;
    shared.evictions.follow(&shared.events).await?;
    Ok(())
}

/// Evicts regions that have been silent for long enough, where that is wanted. `told` is what was against it the last time.
pub(super) async fn automatically(
    shared: &Arc<Shared>,
    queue: &mpsc::Sender<Event>,
    told: &mut Option<String>,
) {
    let mut against = None;
    for peer in &shared.options.peers {
        match find(shared, queue, peer.id).await {
            Ok(found) if found.eviction.is_done => {}
            Ok(Found { eviction, refusal: None, .. }) => {
                tracing::warn!(region = %peer.id, silent_ms = eviction.silent_ms, "a region has been silent for too long: it is evicted");
                against = carry_out(shared, &eviction).await.err().map(|error| tw_types::chain(&error));
            }
            Ok(Found { refusal: Some(EvictionError::NotSilent { .. }), .. }) | Err(_) => {}
            Ok(Found { refusal: Some(refusal), .. }) => against = Some(refusal.to_string()),
        }
    }
    if let Some(reason) = against.as_ref().filter(|_| against != *told) {
        tracing::warn!(%reason, "a region that has been silent for too long is not evicted");
    }
    *told = against;
}
