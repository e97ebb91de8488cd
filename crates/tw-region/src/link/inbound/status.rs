//! What the receiving end shows to an operator.

use super::super::wire::RelayedLink;
use super::peer::{Item, Peer, Slot};
use super::relay::ahead_ms;
use super::{Inbound, Parked};
use tw_merge::Seen;
use tw_merge::delivery::Waiting;
use tw_merge::received::Received;
use tw_merge::skew::Quarantine;
use tw_types::{Epoch, Hlc, RegionId, Sequence, StreamPartition};

/// The receiving end at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// In the order of their numbers.
    pub peers: Vec<PeerStatus>,
    /// The first blocks that may not be appended now, with what each waits for.
    pub waiting: Vec<Waiting>,
    /// Whether an append is under way.
    pub is_appending: bool,
    /// Whether it is more likely the clock here that is wrong: most of the others seem to be ahead.
    pub is_local_clock_suspect: bool,
}

/// One other region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its number.
    pub region: RegionId,
    /// Whether there is a connection: to the region, or to its relay.
    pub is_connected: bool,
    /// If it is relayed: how the relay has said that its own link with it is.
    pub relayed: Option<RelayedLink>,
    /// How many bytes of blocks are held of it.
    pub held_bytes: u64,
    /// Up to when everything of it is in the log.
    pub seen: Hlc,
    /// Up to when it said last that everything was sent.
    pub until: Hlc,
    /// What it said last that it has of others.
    pub told: Seen,
    /// How far its wall clock was ahead of the one here with its last heartbeat, less the way of that; in milliseconds.
    pub ahead_ms: Option<i64>,
    /// How long ago its last heartbeat came, here or to its relay, in milliseconds.
    pub silent_ms: Option<u64>,
    /// Since when and why nothing is taken of it.
    pub quarantine: Option<Quarantine>,
    /// Its partitions.
    pub partitions: Vec<PartitionStatus>,
}

/// One partition of another region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionStatus {
    /// The partition.
    pub at: StreamPartition,
    /// The last event that is in the log: its epoch and sequence. None: there is none.
    pub received: Option<(Epoch, Sequence)>,
    /// Its timestamp.
    pub received_hlc: Hlc,
    /// Where its region said last that the partition ends. None: it has not said so on this connection.
    pub end: Option<(Epoch, Sequence)>,
    /// How many events are lacking of that.
    pub lag_events: Option<u64>,
    /// If some are lacking, how old the last event here is, in milliseconds: the lag is no more than that, unless nothing was written
    /// for a while. Otherwise 0.
    pub lag_ms: Option<u64>,
    /// How many blocks of it are held, the one at the gate included.
    pub blocks: usize,
    /// Why nothing is taken of it.
    pub parked: Option<Parked>,
}

impl Inbound {
    /// What there is to see now. `now_ms`: the wall clock, in milliseconds since the Unix epoch.
    pub fn status(&self, now_ms: u64) -> Status {
        Status {
            peers: self.peers.iter().map(|(region, peer)| self.peer_status(*region, peer, now_ms)).collect(),
            waiting: self.delivery.waiting(),
            is_appending: self.batch.is_some(),
            is_local_clock_suspect: self.skew.is_local_clock_suspect(self.peers.len()),
        }
    }

    fn peer_status(&self, region: RegionId, peer: &Peer, now_ms: u64) -> PeerStatus {
        let link = peer.link.as_ref();
        let heard = link.and_then(|link| Some((link.sender_ms, link.heard_at_ms?)));
        let partitions = peer.slots.iter().filter_map(|(at, slot)| {
            Some(partition_status(region, *at, slot, self.received.get(at)?, now_ms))
        });
        PeerStatus {
            region,
            is_connected: link.is_some(),
            relayed: link.and_then(|link| link.relayed).map(|relayed| relayed.link),
            held_bytes: peer.held_bytes,
            seen: self.delivery.seen().of(region),
            until: link.map_or(Hlc::ZERO, |link| link.until),
            told: link.map_or_else(Seen::new, |link| link.told.clone()),
            ahead_ms: heard.map(|(sender, here)| ahead_ms(sender, here)),
            silent_ms: self.silent_ms(region, now_ms),
            quarantine: self
                .skew
                .quarantined()
                .find(|(other, _)| *other == region)
                .map(|(_, quarantine)| *quarantine),
            partitions: partitions.collect(),
        }
    }
}

fn partition_status(
    region: RegionId,
    at: StreamPartition,
    slot: &Slot,
    received: &Received,
    now_ms: u64,
) -> PartitionStatus {
    let reached = |epoch: Epoch| received.reached(region, epoch).unwrap_or_default().sequence;
    let mut epochs = received.epochs(region).into_iter().map(|(epoch, _)| (epoch, reached(epoch)));
    let received_hlc = received.last_hlc(region);
    let lacking = |(epoch, last): &(Epoch, Sequence)| last.0.saturating_sub(reached(*epoch).0);
    let lag = slot.announced.iter().map(lacking).fold(0u64, u64::saturating_add);
    let lag_events = (!slot.announced.is_empty()).then_some(lag);
    let lag_ms = match lag_events {
        Some(0) => Some(0),
        Some(_) if received_hlc > Hlc::ZERO => Some(now_ms.saturating_sub(received_hlc.millis())),
        _ => None,
    };
    let queued = slot.queue.iter().filter(|item| matches!(item, Item::Block(_))).count();
    PartitionStatus {
        at,
        received: epochs.rfind(|(_, last)| *last > Sequence(0)),
        received_hlc,
        end: slot.announced.last().copied(),
        lag_events,
        lag_ms,
        blocks: queued + usize::from(slot.head.is_some()),
        parked: slot.parked.clone(),
    }
}
