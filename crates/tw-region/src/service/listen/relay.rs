//! Whether this region relays another one, and as long as what: the streams that it exchanges with that region are those that it can speak of.
//!
//! Between the handshake and the sender. A connection ends when they change, and begins anew.

use super::Error;
use crate::link::handshake::Refusal;
use crate::service::receiver::Event;
use crate::service::{Exchanged, Shared};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::{mpsc, oneshot, watch};
use tw_types::{Epoch, RegionId, StreamId};

/// What a connection over which a region is relayed rests on.
pub(super) struct Relaying {
    pub(super) of: RegionId,
    /// The incarnation of the region, as far as it is known.
    pub(super) epoch: Epoch,
    /// None: there was no connection to the region since the links run. What is here of it can be sent nevertheless.
    streams: Option<BTreeSet<StreamId>>,
    changes: watch::Receiver<BTreeMap<RegionId, Exchanged>>,
}

/// Whether this region relays `of` for `there`.
pub(super) fn may(shared: &Shared, of: RegionId, there: RegionId) -> Result<(), Refusal> {
    let here = shared.options.id;
    if !shared.options.relays {
        return Err(Refusal::NoRelay { here });
    }
    if shared.restore.is_on() {
        return Err(Refusal::Restoring { here });
    }
    match shared.options.peers.iter().find(|peer| peer.id == of) {
        None => Err(Refusal::NotTaken { here, of }),
        Some(peer) if of == there || peer.via == Some(there) => Err(Refusal::Circle { here, of, there }),
        Some(_) => Ok(()),
    }
}

impl Relaying {
    pub(super) async fn begin(
        shared: &Shared,
        queue: &mpsc::Sender<Event>,
        of: RegionId,
    ) -> Result<Self, Error> {
        let mut changes = shared.exchanged.subscribe();
        let known = changes.borrow_and_update().get(&of).cloned();
        if let Some((epoch, streams)) = known {
            return Ok(Self { of, epoch, streams: Some(streams), changes });
        }
        let (reply, relay) = oneshot::channel();
        queue.send(Event::Relay { of, reply }).await.map_err(|_| Error::Ended)?;
        let epoch = relay.await.map_err(|_| Error::Ended)?.epoch;
        Ok(Self { of, epoch, streams: None, changes })
    }

    /// Whether a stream comes from the region, as far as that is known.
    pub(super) fn exchanges(&self, stream: StreamId) -> bool {
        self.streams.as_ref().is_none_or(|streams| streams.contains(&stream))
    }

    async fn changed(mut self) {
        let (of, before) = (self.of, self.streams.map(|streams| (self.epoch, streams)));
        // The sender goes with the links; then all connections end anyway.
        let _ended = self.changes.wait_for(|now| now.get(&of) != before.as_ref()).await;
    }
}

/// Waits until a connection must begin anew, because what is relayed is not what it was; for ever, if it does not relay.
pub(super) async fn changed(relaying: Option<Relaying>) {
    match relaying {
        Some(relaying) => relaying.changed().await,
        None => std::future::pending().await,
    }
}
