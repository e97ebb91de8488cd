//! What there is to relay of another region: what is here of it, and what it has said.
//!
//! Between the receiving end, which knows both, and the sending end of a connection over which this region relays that one. Everything is of one moment: a
//! promise must not speak of an event that is not among what is here. Nothing is decided here.

use super::super::outbound::Ends;
use super::super::wire::{Relayed, RelayedLink};
use super::Inbound;
use std::collections::{BTreeMap, BTreeSet};
use tw_merge::Seen;
use tw_merge::received::Received;
use tw_types::{Epoch, Hlc, RegionId, Sequence, StreamId, StreamPartition};

/// What there is of a region at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// Its incarnation, as far as it is known.
    pub epoch: Epoch,
    /// Everything that it accepted up to here is in the log. It has said so itself, maybe to somebody else first.
    pub until: Hlc,
    /// Up to when it had everything of others, as it said last.
    pub told: Seen,
    /// Of each partition in which something of it is here, how far. All of that can be read, and what its region had seen with it.
    pub ends: BTreeMap<StreamPartition, Ends>,
    /// Of each partition of which it has said so on this connection, its epochs: more than is here, if something is on its way.
    pub announced: BTreeMap<StreamPartition, Vec<(Epoch, Sequence)>>,
    /// How the link with it is.
    pub relayed: Relayed,
    /// How far its wall clock is ahead of the one here, in milliseconds.
    pub ahead_ms: i64,
}

impl Inbound {
    /// What there is to relay of a region. `now_ms`: the wall clock, in milliseconds since the Unix epoch.
    pub fn relay(&self, region: RegionId, now_ms: u64) -> Relay {
        let peer = self.peers.get(&region);
        let link = peer.and_then(|peer| peer.link.as_ref());
        let of = |(at, received): (&StreamPartition, &Received)| {
            let epochs = received.epochs(region).into_iter();
            let marks = epochs.filter_map(|(epoch, _)| Some((epoch, received.reached(region, epoch)?)));
            let ends: Ends = marks.filter(|(_, mark)| mark.sequence > Sequence(0)).collect();
            (!ends.is_empty()).then_some((*at, ends))
        };
        let ends: BTreeMap<StreamPartition, Ends> = self.received.iter().filter_map(of).collect();
        let known = ends.values().flatten().map(|(epoch, _)| *epoch).max().unwrap_or(Epoch(1));
        let slots = peer.into_iter().flat_map(|peer| &peer.slots);
        let announced = slots.map(|(at, slot)| (*at, slot.announced.clone()));
        let heard_at_ms = link.and_then(|link| link.heard_at_ms);
        Relay {
            epoch: link.map_or(known, |link| link.agreed.epoch.max(known)),
            until: self.delivery.seen().of(region),
            told: link.map_or_else(Seen::new, |link| link.told.clone()),
            ends,
            announced: announced.collect(),
            relayed: Relayed { link: self.relayed_link(region), silent_ms: self.silent_ms(region, now_ms) },
            ahead_ms: heard_at_ms.zip(link).map_or(0, |(at_ms, link)| ahead_ms(link.sender_ms, at_ms)),
        }
    }

    /// The incarnation of a region to which there is a connection, and the streams that are exchanged with it.
    pub fn exchanged(&self, region: RegionId) -> Option<(Epoch, BTreeSet<StreamId>)> {
        let peer = self.peers.get(&region)?;
        let epoch = peer.link.as_ref()?.agreed.epoch;
        Some((epoch, peer.slots.keys().map(|at| at.stream).collect()))
    }

    /// How the link with a region is, that of its relay included.
    pub(super) fn relayed_link(&self, region: RegionId) -> RelayedLink {
        let peer = self.peers.get(&region);
        let Some((peer, link)) = peer.and_then(|peer| Some((peer, peer.link.as_ref()?))) else {
            return RelayedLink::Down;
        };
        let own = if self.skew.quarantined().any(|(other, _)| other == region) {
            RelayedLink::Quarantined
        } else if peer.slots.values().any(|slot| slot.parked.is_some()) {
            RelayedLink::Parked
        } else {
            RelayedLink::Up
        };
        own.max(link.relayed.map_or(RelayedLink::Up, |relayed| relayed.link))
    }

    /// How long ago a region was heard, by its relay if there is one.
    pub(super) fn silent_ms(&self, region: RegionId, now_ms: u64) -> Option<u64> {
        let link = self.peers.get(&region)?.link.as_ref()?;
        let here = now_ms.saturating_sub(link.heard_at_ms?);
        match link.relayed {
            Some(relayed) => relayed.silent_ms.map(|there| there.saturating_add(here)),
            None => Some(here),
        }
    }
}

/// How far a clock that said `sender_ms` was ahead of the one here, which said `here_ms` then.
pub(super) fn ahead_ms(sender_ms: u64, here_ms: u64) -> i64 {
    i64::try_from(i128::from(sender_ms) - i128::from(here_ms)).unwrap_or(i64::MAX)
}
