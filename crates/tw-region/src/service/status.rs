//! How the links are: for people and for metrics.

use super::{Evicted, Options, RestoreState, Shared, restore};
use crate::link::handshake::{Agreed, Note};
use crate::link::inbound;
use crate::link::wire::{Have, RelayedLink};
use std::collections::BTreeMap;
use tw_merge::delivery::Need;
use tw_types::{Hlc, RegionId, StreamPartition};

/// The links of a region at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The number of this region.
    pub region: RegionId,
    /// Its name.
    pub name: String,
    /// Its epoch.
    pub epoch: u32,
    /// When its certificate expires, in milliseconds since the Unix epoch.
    pub certificate_expires_at_ms: u64,
    /// Whether it is more likely the clock here that is wrong, because most others seem to be ahead.
    pub is_local_clock_suspect: bool,
    /// What it fetches back, if it comes back from an older copy of its log.
    pub restore: Option<RestoreState>,
    /// The regions that are evicted; this one is among them if it has heard that it was.
    pub evicted: Vec<Evicted>,
    /// The other regions, in the order of their numbers.
    pub peers: Vec<PeerState>,
}

/// Another region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerState {
    /// Its number.
    pub region: RegionId,
    /// Its name, if it has said it.
    pub name: Option<String>,
    /// Where this region connects to take its events, be it to a relay; None if this region does not connect to it, and only lets itself be pulled.
    pub address: Option<String>,
    /// The region that relays it, if its events do not come from itself. What is said of its link, its clock and its lag is so of both links then.
    pub via: Option<RegionId>,
    /// Taking what it accepts.
    pub link: LinkState,
    /// Why there is no link, or why the last one ended.
    pub error: Option<String>,
    /// What is not as it should be, and does not stop the rest.
    pub notes: Vec<String>,
    /// How many events it has accepted that are not here, as far as it has said.
    pub lag_events: u64,
    /// How old the oldest of them may be, in milliseconds.
    pub lag_ms: u64,
    /// How many bytes of its blocks are held until they may be appended.
    pub held_bytes: u64,
    /// How many bytes came from it and were sent to it, compressed, since the links run.
    pub received_bytes: u64,
    /// See [`PeerState::received_bytes`].
    pub sent_bytes: u64,
    /// Whether `send_bytes_per_second_max` makes what is sent to it wait, or did a moment ago.
    pub is_send_limited: bool,
    /// How many milliseconds its clock was ahead of the one here, less the way, with its last heartbeat.
    pub ahead_ms: Option<i64>,
    /// How long ago it was heard last, in milliseconds; None if it was not since the links run.
    pub silent_ms: Option<u64>,
    /// Until when nothing is taken of it because its clock is ahead, in milliseconds since the Unix epoch.
    pub quarantined_until_ms: Option<u64>,
    /// The timestamp of the last event of this region that it has, as it has said; None if it has said nothing.
    pub has_of_this: Option<u64>,
    /// Its partitions.
    pub partitions: Vec<PartitionState>,
}

/// Whether what a region accepts is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// There is a connection, and everything that it has said to have is here.
    InSync,
    /// There is a connection, and something is lacking.
    CatchingUp,
    /// There is a connection, and nothing is taken because its clock is ahead.
    Quarantined,
    /// There is a connection, and at least one partition is parked.
    Parked,
    /// There is none.
    Down,
    /// It was evicted: nothing is taken of it, and it is not waited for, until it comes back as one that is new.
    Evicted,
}

impl LinkState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InSync => "in-sync",
            Self::CatchingUp => "catching-up",
            Self::Quarantined => "quarantined",
            Self::Parked => "parked",
            Self::Down => "down",
            Self::Evicted => "evicted",
        }
    }
}

/// A partition of another region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionState {
    /// The stream.
    pub stream: String,
    /// The partition.
    pub partition: u32,
    /// The last sequence that is here.
    pub received: u64,
    /// How many events are lacking.
    pub lag_events: u64,
    /// See [`PeerState::lag_ms`].
    pub lag_ms: u64,
    /// What its next block waits for: a region, and its event of which time must be here first.
    pub waits_for: Option<String>,
    /// Why nothing is taken of it.
    pub parked: Option<String>,
}

/// What connections tell of themselves.
pub(crate) struct Board {
    me: RegionId,
    peers: BTreeMap<RegionId, Entry>,
}

#[derive(Default)]
struct Entry {
    address: Option<String>,
    via: Option<RegionId>,
    name: Option<String>,
    error: Option<String>,
    notes: Vec<String>,
    /// Streams that it has and this region has not.
    missing: Vec<String>,
    received: Counter,
    sent: u64,
    has: Option<Hlc>,
    heard_at_ms: Option<u64>,
}

/// Bytes of one connection after the other: each counts its own.
#[derive(Default)]
struct Counter {
    before: u64,
    now: u64,
}

impl Counter {
    fn set(&mut self, now: u64) {
        // A count that goes back is that of another connection.
        if now < self.now {
            self.before += self.now;
        }
        self.now = now;
    }

    const fn sum(&self) -> u64 {
        self.before.saturating_add(self.now)
    }
}

impl Board {
    pub(crate) fn new(options: &Options) -> Self {
        let entry = |peer: &super::PeerOptions| {
            let address = Some(options.line(peer).address.clone());
            (peer.id, Entry { address, via: peer.via, ..Entry::default() })
        };
        Self { me: options.id, peers: options.peers.iter().map(entry).collect() }
    }

    fn of(&mut self, peer: RegionId) -> &mut Entry {
        self.peers.entry(peer).or_default()
    }

    pub(crate) fn connected(&mut self, peer: RegionId, agreed: &Agreed) {
        let entry = self.of(peer);
        entry.name = Some(agreed.name.clone()).filter(|name| !name.is_empty());
        entry.error = None;
        entry.notes = agreed.notes.iter().map(ToString::to_string).collect();
        let missing = agreed.notes.iter().filter_map(|note| match note {
            Note::MissingHere { stream, .. } => Some(stream.clone()),
            _ => None,
        });
        entry.missing = missing.collect();
    }

    /// A stream that another region has and this one has not, with the region.
    pub(crate) fn missing(&self) -> Option<(RegionId, &str)> {
        self.peers.iter().find_map(|(region, entry)| Some((*region, entry.missing.first()?.as_str())))
    }

    pub(crate) fn failed(&mut self, peer: RegionId, reason: String) {
        self.of(peer).error = Some(reason);
    }

    /// Why there is no link to a region, or why the last one ended.
    pub(crate) fn error(&self, peer: RegionId) -> Option<String> {
        self.peers.get(&peer)?.error.clone()
    }

    pub(crate) fn received(&mut self, peer: RegionId, bytes: u64, now_ms: u64) {
        let entry = self.of(peer);
        entry.received.set(bytes);
        entry.heard_at_ms = Some(now_ms);
    }

    /// So many bytes more were sent to a region, over one of its connections.
    pub(crate) fn sent(&mut self, peer: RegionId, bytes: u64) {
        let entry = self.of(peer);
        entry.sent = entry.sent.saturating_add(bytes);
    }

    pub(crate) fn has(&mut self, peer: RegionId, have: &Have) {
        let here = have.latest.of(self.me);
        self.of(peer).has = Some(here).filter(|hlc| *hlc > Hlc::ZERO);
    }

    pub(crate) fn left(&mut self, peer: RegionId) {
        self.of(peer).has = None;
    }
}

pub(crate) fn state(shared: &Shared, inbound: inbound::Status) -> State {
    let credentials = shared.credentials.current();
    let log = shared.events.log();
    let (waits, now_ms) = (waits(&inbound), shared.now_ms());
    let restore = restore::state(shared);
    let board = shared.board.lock();
    let mut peers: BTreeMap<RegionId, PeerState> =
        board.peers.iter().map(|(region, entry)| (*region, entry.state(*region, now_ms))).collect();
    let streams = log.streams();
    // While it is restored, a region is a peer of its own.
    for peer in inbound.peers.into_iter().filter(|peer| peer.region != log.region()) {
        let state = peers.entry(peer.region).or_insert_with(|| Entry::default().state(peer.region, now_ms));
        let partition = |one: &inbound::PartitionStatus| PartitionState {
            stream: streams
                .by_id(one.at.stream)
                .map_or_else(|_| one.at.stream.to_string(), |def| def.name.to_string()),
            partition: one.at.partition.0,
            received: one.received.map_or(0, |(_, sequence)| sequence.0),
            lag_events: one.lag_events.unwrap_or(0),
            lag_ms: one.lag_ms.unwrap_or(0),
            waits_for: waits.get(&(peer.region, one.at)).cloned(),
            parked: one.parked.as_ref().map(|parked| tw_types::chain(parked)),
        };
        state.partitions = peer.partitions.iter().map(partition).collect();
        state.lag_events =
            state.partitions.iter().fold(0, |sum: u64, one| sum.saturating_add(one.lag_events));
        state.lag_ms = state.partitions.iter().map(|one| one.lag_ms).max().unwrap_or(0);
        state.held_bytes = peer.held_bytes;
        state.ahead_ms = peer.ahead_ms;
        state.quarantined_until_ms = peer.quarantine.map(|quarantine| quarantine.retry_at_ms);
        let relayed = peer.relayed.unwrap_or(RelayedLink::Up);
        if let (Some(via), true, None) = (state.via, peer.is_connected, &state.error) {
            state.error = of_relay(via, peer.region, relayed);
        }
        if state.via.is_some() && peer.is_connected {
            state.silent_ms = peer.silent_ms;
        }
        state.link = link(&peer, state, relayed);
    }
    let evicted = shared.evicted();
    for one in &evicted {
        if let Some(peer) = peers.get_mut(&one.region) {
            peer.link = LinkState::Evicted;
        }
    }
    for (region, pace) in shared.paces.lock().iter() {
        if let Some(peer) = peers.get_mut(region) {
            peer.is_send_limited = pace.is_limiting();
        }
    }
    State {
        region: log.region(),
        name: credentials.name().to_owned(),
        epoch: log.epoch().0,
        certificate_expires_at_ms: credentials.expires_at_ms(),
        is_local_clock_suspect: inbound.is_local_clock_suspect,
        restore,
        evicted,
        peers: peers.into_values().collect(),
    }
}

/// How the link with a region is, by what was found of it.
fn link(peer: &inbound::PeerStatus, state: &PeerState, relayed: RelayedLink) -> LinkState {
    if !peer.is_connected || relayed == RelayedLink::Down {
        LinkState::Down
    } else if peer.quarantine.is_some() || relayed == RelayedLink::Quarantined {
        LinkState::Quarantined
    } else if state.partitions.iter().any(|one| one.parked.is_some()) || relayed == RelayedLink::Parked {
        LinkState::Parked
    } else if state.lag_events > 0 {
        LinkState::CatchingUp
    } else {
        LinkState::InSync
    }
}

impl Entry {
    fn state(&self, region: RegionId, now_ms: u64) -> PeerState {
        PeerState {
            region,
            name: self.name.clone(),
            address: self.address.clone(),
            via: self.via,
            link: LinkState::Down,
            error: self.error.clone(),
            notes: self.notes.clone(),
            lag_events: 0,
            lag_ms: 0,
            held_bytes: 0,
            received_bytes: self.received.sum(),
            sent_bytes: self.sent,
            is_send_limited: false,
            ahead_ms: None,
            silent_ms: self.heard_at_ms.map(|at_ms| now_ms.saturating_sub(at_ms)),
            quarantined_until_ms: None,
            has_of_this: self.has.map(Hlc::millis),
            partitions: Vec::new(),
        }
    }
}

/// What keeps a relay from having what a region accepts.
fn of_relay(via: RegionId, region: RegionId, link: RelayedLink) -> Option<String> {
    let what = match link {
        RelayedLink::Up => return None,
        RelayedLink::Down => "has no link to it",
        RelayedLink::Quarantined => "takes nothing of it, because its clock is ahead",
        RelayedLink::Parked => "takes nothing of some of its partitions",
    };
    Some(format!("region {via}, which relays region {region}, {what}: the status of region {via} says more"))
}

/// What each block that may not be appended waits for.
fn waits(inbound: &inbound::Status) -> BTreeMap<(RegionId, StreamPartition), String> {
    let mut waits = BTreeMap::new();
    for waiting in &inbound.waiting {
        let need = |need: &Need| {
            let behind_ms = need.until.millis().saturating_sub(need.here.millis());
            format!("region {}, which is {behind_ms} ms behind what the event had seen", need.region)
        };
        let needs: Vec<String> = waiting.needs.iter().map(need).collect();
        if !needs.is_empty() {
            waits.insert((waiting.first.region, waiting.at), needs.join("; "));
        }
    }
    waits
}
