//! Waiting until what another region has accepted is here: for readers that were there before. And who has what this one has accepted.

use super::{Error, Links};
use std::time::Duration;
use tw_merge::Seen;
use tw_types::{Hlc, RegionId, StreamId};

/// How often it is looked at whether a stream is exchanged by now: that is not told when it changes.
const LOOK: Duration = Duration::from_millis(100);

impl Links {
    /// Up to when everything of each other region is here, in all streams that are exchanged with it.
    ///
    /// It rises with what a region accepts, not with time: of a region that accepts nothing it stays where it is.
    pub fn seen(&self) -> Seen {
        self.shared.seen.borrow().clone()
    }

    /// Whether this region takes what that one accepts.
    pub fn is_linked(&self, region: RegionId) -> bool {
        self.shared.options.peers.iter().any(|peer| peer.id == region)
    }

    /// The peers that have not everything yet that this region had accepted up to a time, as far as they have said. Those that are evicted are not waited for.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub async fn lack_of_this(&self, until: Hlc) -> Result<Vec<RegionId>, Error> {
        let (status, me) = (self.inbound().await?, self.shared.options.id);
        let has_all = |region: RegionId| {
            let mut peers = status.peers.iter();
            peers.find(|peer| peer.region == region).is_some_and(|peer| peer.told.of(me) >= until)
        };
        let (peers, out) =
            (self.shared.options.peers.iter().map(|peer| peer.id), self.shared.evictions.out());
        Ok(peers.filter(|region| !out.contains_key(region) && !has_all(*region)).collect())
    }

    /// Waits until everything is here that `demand` names: of each region, up to a timestamp. This region's own entry is met. Cancel-safe; it does
    /// not end as long as something lacks.
    ///
    /// A stream may have been defined here a moment ago, and what was seen of a region speaks of it only once it is exchanged with that region: that is
    /// waited for, too, of each of `streams` and of those `from` which the reader comes. Of others a stream may be missing for good.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub async fn reached(&self, demand: &Seen, from: &[RegionId], streams: &[StreamId]) -> Result<(), Error> {
        let mut demand = demand.clone();
        demand.forget(self.shared.options.id);
        let mut seen = self.shared.seen.subscribe();
        loop {
            // Streams first: when one begins to be exchanged, what was seen falls back before this says so.
            if seen.borrow_and_update().covers(&demand)
                && self.lacking(from, streams).await?.is_none()
                && seen.borrow_and_update().covers(&demand)
            {
                return Ok(());
            }
            // Either way it is looked at again.
            let _late = tokio::time::timeout(LOOK, seen.changed()).await;
        }
    }

    /// The first stream, with the region, of which nothing is known to come, because it is not exchanged with that region.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub async fn lacking(
        &self,
        from: &[RegionId],
        streams: &[StreamId],
    ) -> Result<Option<(RegionId, StreamId)>, Error> {
        let me = self.shared.options.id;
        let mut unknown = Vec::new();
        for region in from.iter().filter(|region| **region != me) {
            for stream in streams {
                if !self.has_some(*region, *stream).await? {
                    unknown.push((*region, *stream));
                }
            }
        }
        if unknown.is_empty() {
            return Ok(None);
        }
        let status = self.inbound().await?;
        let is_exchanged = |region: RegionId, stream: StreamId| {
            let mut peers = status.peers.iter();
            let peer = peers.find(|peer| peer.region == region);
            peer.is_some_and(|peer| peer.partitions.iter().any(|one| one.at.stream == stream))
        };
        Ok(unknown.into_iter().find(|(region, stream)| !is_exchanged(*region, *stream)))
    }

    /// Whether an event of a stream came from a region: then it is exchanged, also while there is no connection.
    async fn has_some(&self, region: RegionId, stream: StreamId) -> Result<bool, Error> {
        let events = &self.shared.events;
        let Ok(def) = events.log().streams().by_id(stream).cloned() else { return Ok(false) };
        for partition in 0..def.partitions {
            let at = tw_types::StreamPartition::new(stream, tw_types::PartitionId(partition));
            if events.received(at).await?.iter().any(|mark| mark.origin.region == region) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
