//! What this region has heard of others: for whoever sends users somewhere.

use super::{Error, Links};
use crate::link::wire::RelayedLink;
use tw_merge::Seen;
use tw_types::RegionId;

/// What is known of another region, to which this one connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Which one.
    pub region: RegionId,
    /// Whether there is a connection: to the region itself, or to a relay that has one to it.
    pub is_connected: bool,
    /// How long ago its last heartbeat came, in milliseconds; None: none has come over this connection.
    pub silent_ms: Option<u64>,
    /// Up to when it had everything of each other region, as it said last; None: it has said nothing over this connection.
    pub told: Option<Seen>,
}

impl Links {
    /// What is known of each region to which this one connects, in the order of their numbers.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub async fn heard(&self) -> Result<Vec<Heard>, Error> {
        let peers = self.inbound().await?.peers.into_iter().filter(|peer| self.is_linked(peer.region));
        let heard = |peer: crate::link::inbound::PeerStatus| Heard {
            region: peer.region,
            is_connected: peer.is_connected && peer.relayed != Some(RelayedLink::Down),
            silent_ms: peer.silent_ms,
            told: peer.silent_ms.map(|_| peer.told),
        };
        Ok(peers.map(heard).collect())
    }
}
