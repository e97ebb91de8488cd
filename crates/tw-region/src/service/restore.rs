//! A region that comes back from an older copy of its log: asking all others what they have of it, and going on once that is here again. One that is
//! new is one that has lost everything.
//!
//! An epoch above the first is open from the first event of this region's `$seen` stream in it on; before that the region is restoring,
//! whenever its process ends and begins. That event is the last step: it says how far the earlier epochs went, and what is here of others.
//! Before it nothing of this region is accepted in a stream that others have. So there is no flag that could say something else than
//! the log does, and whatever was fetched back before an end is there after it.
//!
//! One peer after the other stands in for what this region was. Until each of those that are configured has given back all that it has, the region
//! waits; an operator can have it go on without one that is gone for good. Of such a region the others give back what they have, too.

use super::dial::{self, Error as DialError};
use super::receiver::{Connection, Event};
use super::{Links, PeerOptions, Shared};
use crate::link::inbound::Fetched;
use crate::seen::seen_stream;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tw_log::Log;
use tw_merge::Seen;
use tw_types::{Epoch, Hlc, PartitionId, RegionId, StreamPartition};

/// How long to wait at first before peers that did not answer are asked again.
const AGAIN: Duration = Duration::from_millis(50);

/// Whether the region of this log comes back from an older copy and has not fetched back yet what it lost: then nothing may be accepted for
/// streams that other regions have. The log must have the streams of [`crate::define`]; one that has not is of no region.
///
/// # Errors
/// Whatever stops the log.
pub fn is_restoring(log: &dyn Log) -> tw_log::Result<bool> {
    if log.epoch() <= Epoch(1) {
        return Ok(false);
    }
    let streams = log.streams();
    let Ok(own) = streams.get(&seen_stream(log.region())) else { return Ok(false) };
    Ok(log.accepted(StreamPartition::new(own.id, PartitionId(0)))? == Some(0))
}

/// How far a region is in fetching back what it lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreState {
    /// Whether the region is new: its log was empty when it was started.
    pub is_new: bool,
    /// The epoch in which it goes on.
    pub epoch: u32,
    /// The regions that are asked, in the order of their numbers.
    pub peers: Vec<RestorePeer>,
    /// What it waits for once all of them have given everything back; None before that.
    pub waits_for: Option<String>,
}

/// A region that is asked for what it has of this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestorePeer {
    /// Its number.
    pub region: RegionId,
    /// Whether all that it has is here.
    pub is_done: bool,
    /// Whether this region goes on without it: what only that has is lost.
    pub is_left_out: bool,
    /// How many events are still to come, as far as it has said; 0 while it is not asked.
    pub lacking_events: u64,
    /// Why it has not given everything back yet, as far as that is known.
    pub reason: Option<String>,
}

/// Why a region cannot go on without another one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GoOnError {
    /// Nothing is being restored.
    #[error("this region is not being restored: it does not wait for any other")]
    NotRestoring,
    /// A region that is not asked anyway.
    #[error("region {region} is not among the peers of this one: name one of {known}")]
    NoPeer {
        /// The region.
        region: RegionId,
        /// Those that are asked.
        known: String,
    },
}

/// What all parts of the links know of a restore.
pub(crate) struct Restore {
    is_on: watch::Sender<bool>,
    is_new: bool,
    without: watch::Sender<BTreeSet<RegionId>>,
    /// By the region whose events they are: how far the connection has come.
    pub(crate) fetched: watch::Sender<BTreeMap<RegionId, (Connection, Fetched)>>,
    asked: Mutex<Asked>,
}

/// What was said by those who have given everything back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given {
    /// Up to when they had heard of this region.
    pub(crate) until: Hlc,
    /// What they had accepted and seen themselves.
    pub(crate) seen: Seen,
}

#[derive(Default)]
struct Asked {
    /// Who has given everything back.
    done: BTreeMap<RegionId, Given>,
    now: Option<RegionId>,
    reasons: BTreeMap<RegionId, String>,
    /// By who is asked: the streams of which it has something that has no place here yet.
    withheld: BTreeMap<RegionId, BTreeSet<String>>,
    is_complete: bool,
    waits_for: Option<String>,
}

impl Asked {
    /// What a peer cannot give back yet, and what has to be done about it.
    fn withheld(&self, by: RegionId) -> Option<String> {
        let streams: Vec<String> =
            self.withheld.get(&by)?.iter().map(|stream| format!("`{stream}`")).collect();
        let streams = Some(streams.join(", ")).filter(|streams| !streams.is_empty())?;
        Some(format!(
            "it has events for {streams}, which is not here, or not as it is there: it becomes the same when its definition comes, or `tradewind status` says why it cannot"
        ))
    }
}

impl Restore {
    /// `is_new`: this region has told nothing yet in any epoch.
    pub(crate) fn new(is_on: bool, is_new: bool) -> Self {
        Self {
            is_on: watch::Sender::new(is_on),
            is_new,
            without: watch::Sender::default(),
            fetched: watch::Sender::default(),
            asked: Mutex::default(),
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        *self.is_on.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<bool> {
        self.is_on.subscribe()
    }

    /// Whether it goes on without a region: its place may be taken by those that stand in for it.
    pub(crate) fn leaves_out(&self, region: RegionId) -> bool {
        self.is_on() && self.without.borrow().contains(&region)
    }

    /// Whose events are fetched from each peer: this region's own, and those of regions that are left out.
    pub(crate) fn targets(&self, me: RegionId) -> Vec<RegionId> {
        std::iter::once(me).chain(self.without.borrow().iter().copied()).collect()
    }

    /// Once every peer has given everything back: those that did, and what they have said.
    pub(crate) fn complete(&self) -> Option<(Vec<RegionId>, Given)> {
        let asked = self.asked.lock();
        let mut all = Given::default();
        for given in asked.done.values() {
            all.until = all.until.max(given.until);
            all.seen.join(&given.seen);
        }
        asked.is_complete.then(|| (asked.done.keys().copied().collect(), all))
    }

    /// Takes note of what a peer says that it cannot give back yet.
    pub(crate) fn withheld(&self, by: RegionId, streams: Vec<String>) {
        self.asked.lock().withheld.entry(by).or_default().extend(streams);
    }

    pub(crate) fn wait_for(&self, what: Option<String>) {
        self.asked.lock().waits_for = what;
    }

    pub(crate) fn end(&self) {
        self.is_on.send_replace(false);
    }
}

impl Links {
    /// Whether this region comes back from an older copy of its log and fetches back what it lost: until it has, nothing is accepted for
    /// streams that are in other regions.
    pub fn is_restoring(&self) -> bool {
        self.shared.restore.is_on()
    }

    /// Waits until the region is not restoring any more; at once if it is not. Cancel-safe.
    pub async fn restored(&self) {
        restored(self.shared.restore.watch()).await;
    }

    /// Goes on without these regions, which are gone for good, and no others: what only they had of this region is lost, and what
    /// only they had accepted. For this restore, as long as the process runs. If one of them comes back after all with more of this region than
    /// the others had, it takes nothing more of it, and says so.
    ///
    /// # Errors
    /// [`GoOnError`]; nothing has changed then.
    pub fn go_on_without(&self, regions: &[RegionId]) -> Result<(), GoOnError> {
        if !self.is_restoring() {
            return Err(GoOnError::NotRestoring);
        }
        let peers = &self.shared.options.peers;
        if let Some(region) = regions.iter().find(|region| !peers.iter().any(|peer| peer.id == **region)) {
            let known: Vec<String> = peers.iter().map(|peer| peer.id.to_string()).collect();
            return Err(GoOnError::NoPeer { region: *region, known: known.join(", ") });
        }
        for region in regions {
            tracing::warn!(%region, "this region is restored without another one: what only that had of it is lost");
        }
        self.shared.restore.without.send_replace(regions.iter().copied().collect());
        // Connections to those that are left out make room for who stands in for them.
        self.shared.generation.send_modify(|generation| *generation += 1);
        Ok(())
    }
}

/// Waits until nothing is restored any more.
pub(crate) async fn restored(mut is_on: watch::Receiver<bool>) {
    // The sender goes with the links; then nobody is told anyway.
    let _ended = is_on.wait_for(|is_on| !is_on).await;
}

/// How the restore is, if there is one.
pub(crate) fn state(shared: &Shared) -> Option<RestoreState> {
    let restore = &shared.restore;
    if !restore.is_on() {
        return None;
    }
    let (asked, fetched) = (restore.asked.lock(), restore.fetched.borrow());
    let lacking = |region: &RegionId| match fetched.get(region) {
        Some((_, Fetched::Coming { lacking })) => *lacking,
        _ => 0,
    };
    let targets = restore.targets(shared.options.id);
    let (without, board) = (restore.without.borrow(), shared.board.lock());
    // One that is not asked yet may be why another one cannot give everything back.
    let reason = |peer: RegionId| {
        let is_open = !asked.done.contains_key(&peer) && !without.contains(&peer);
        let reason = asked.withheld(peer).or_else(|| asked.reasons.get(&peer).cloned());
        reason.or_else(|| board.error(peer)).filter(|_| is_open)
    };
    let peer = |peer: &PeerOptions| RestorePeer {
        region: peer.id,
        is_done: asked.done.contains_key(&peer.id),
        is_left_out: without.contains(&peer.id),
        lacking_events: if asked.now == Some(peer.id) { targets.iter().map(lacking).sum() } else { 0 },
        reason: reason(peer.id),
    };
    Some(RestoreState {
        is_new: restore.is_new,
        epoch: shared.events.log().epoch().0,
        peers: shared.options.direct().map(peer).collect(),
        waits_for: asked.waits_for.clone(),
    })
}

/// Asks all peers, again and again, until the region is restored.
pub(crate) async fn run(shared: Arc<Shared>, queue: mpsc::Sender<Event>) {
    let (mut is_on, mut without) = (shared.restore.watch(), shared.restore.without.subscribe());
    let (mut changes, mut wait) = (shared.generation.subscribe(), AGAIN);
    if !*is_on.borrow() {
        return;
    }
    let epoch = shared.events.log().epoch();
    tracing::warn!(%epoch, is_new = shared.restore.is_new, "this region is new, or comes back from an older copy: it accepts nothing until it has what others have");
    loop {
        let left_out = without.borrow_and_update().clone();
        changes.mark_unchanged();
        *shared.restore.asked.lock() = Asked::default();
        let attempt = async {
            while !ask_all(&shared, &left_out, &queue).await {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_millis(shared.options.reconnect_ms_max));
            }
            shared.restore.asked.lock().is_complete = true;
            let _it_has_ended = queue.send(Event::Asked).await;
            std::future::pending::<()>().await;
        };
        // What was fetched is here; but another stream, or a region less, means that everybody is asked again.
        tokio::select! {
            () = attempt => {}
            _ = without.changed() => {}
            _ = changes.changed() => {}
            _ = is_on.wait_for(|is_on| !is_on) => return,
        }
        (wait, shared.restore.asked.lock().is_complete) = (AGAIN, false);
    }
}

/// Has everybody give back what it has who has not yet; whether all of them have.
async fn ask_all(shared: &Arc<Shared>, left_out: &BTreeSet<RegionId>, queue: &mpsc::Sender<Event>) -> bool {
    let mut is_complete = true;
    for peer in shared.options.direct().filter(|peer| !left_out.contains(&peer.id)) {
        if shared.restore.asked.lock().done.contains_key(&peer.id) {
            continue;
        }
        shared.restore.asked.lock().now = Some(peer.id);
        let outcome = session(shared, peer, queue).await;
        let mut asked = shared.restore.asked.lock();
        asked.now = None;
        match outcome {
            Ok(given) => {
                tracing::info!(region = %peer.id, "a region has given back what it had of this one");
                asked.reasons.remove(&peer.id);
                asked.done.insert(peer.id, given);
            }
            Err(reason) => {
                if asked.reasons.get(&peer.id) != Some(&reason) {
                    tracing::warn!(region = %peer.id, %reason, "a region has not given back what it has of this one: it is asked again");
                }
                asked.reasons.insert(peer.id, reason);
                is_complete = false;
            }
        }
    }
    is_complete
}

/// Has one peer give back what it has, over one connection for each region of which it has something. All at a time: what it has of one may
/// depend on what it has of another, and on nothing that it has not.
async fn session(
    shared: &Arc<Shared>,
    peer: &PeerOptions,
    queue: &mpsc::Sender<Event>,
) -> Result<Given, String> {
    let me = shared.options.id;
    let mut fetched = shared.restore.fetched.subscribe();
    shared.restore.asked.lock().withheld.remove(&peer.id);
    let (mut tasks, mut ended) = (JoinSet::new(), Disconnect { queue, of: BTreeMap::new() });
    for target in shared.restore.targets(me) {
        let connection = dial::next_connection();
        ended.of.insert(target, connection);
        let (shared, peer, queue) = (shared.clone(), peer.clone(), queue.clone());
        tasks.spawn(async move { dial::give_back(&shared, &peer, target, &queue, connection).await });
    }
    let outcome = loop {
        let whole: Option<Vec<(RegionId, Given)>> = {
            let now = fetched.borrow_and_update();
            let of = ended.of.iter().map(|(target, connection)| (target, connection, now.get(target)));
            let mut parked = None;
            let whole = of.map(|(target, connection, state)| match state {
                Some((of, Fetched::Whole { until, seen })) if of == connection => {
                    Some((*target, Given { until: *until, seen: seen.clone() }))
                }
                Some((of, Fetched::Parked { reason })) if of == connection => {
                    parked = Some(reason.clone());
                    None
                }
                _ => None,
            });
            let whole = whole.collect::<Vec<_>>().into_iter().collect();
            if let Some(reason) = parked {
                break Err(reason);
            }
            whole
        };
        if let Some(whole) = whole {
            let given = whole.into_iter().find(|(target, _)| *target == me).map(|(_, given)| given);
            // It is asked again, and at once when streams change.
            break shared.restore.asked.lock().withheld(peer.id).map_or(Ok(given), Err);
        }
        tokio::select! {
            _ = fetched.changed() => {}
            Some(task) = tasks.join_next() => {
                let reason = |error: DialError| tw_types::chain(&error);
                break Err(task.map_or_else(|error| error.to_string(), reason));
            }
        }
    };
    tasks.shutdown().await;
    ended.tell().await;
    outcome.map(Option::unwrap_or_default)
}

/// Tells the receiver that connections have ended.
struct Disconnect<'a> {
    queue: &'a mpsc::Sender<Event>,
    of: BTreeMap<RegionId, Connection>,
}

impl Disconnect<'_> {
    async fn tell(&self) {
        for (peer, connection) in &self.of {
            let disconnected = Event::Disconnected { peer: *peer, connection: *connection };
            let _it_has_ended = self.queue.send(disconnected).await;
        }
    }
}
