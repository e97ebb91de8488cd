//! What the sending end does to relay a region: it asks the receiver what is here, and sends no more than that.
//!
//! The log and the index of the event store may be ahead of what the receiver says by one step that is being appended, and not all of such a step can
//! be read at once. So what is beyond the receiver's word is left alone: a block of it could come before what its region had seen with it.

use super::{Error, Sender, Source};
use crate::link::inbound::Relay;
use crate::link::outbound::{Ends, Input};
use crate::seen::History;
use crate::service::Shared;
use crate::service::receiver::Event;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tw_types::{Epoch, RegionId, Sequence, StreamPartition};
use tw_wire::Block;

/// What was told of the region that is relayed.
pub(super) struct Relaying {
    queue: mpsc::Sender<Event>,
    ends: BTreeMap<StreamPartition, Ends>,
    announced: BTreeMap<StreamPartition, Vec<(Epoch, Sequence)>>,
}

impl Source {
    /// What is here of another region, and what comes of it.
    pub(crate) async fn relay(
        shared: &Shared,
        region: RegionId,
        queue: &mpsc::Sender<Event>,
    ) -> Result<Self, Error> {
        let history = Arc::new(History::open(shared.events.log().clone(), region).await?);
        let relay = ask(queue, region).await?;
        let (queue, announced) = (queue.clone(), BTreeMap::new());
        let relaying = Relaying { queue, ends: relay.ends, announced };
        Ok(Self { region, history, heard: None, below: None, relaying: Some(relaying) })
    }
}

impl Relaying {
    /// What is here, as it was told.
    pub(super) fn ends(&self) -> BTreeMap<StreamPartition, Ends> {
        self.ends.clone()
    }

    /// Whether a block is among what was told.
    pub(super) fn has(&self, at: StreamPartition, block: &Block) -> bool {
        let (epoch, last) = crate::service::own::reaches(block);
        let mut ends = self.ends.get(&at).into_iter().flatten();
        ends.any(|(one, mark)| *one == epoch && last <= mark.sequence)
    }
}

impl Sender {
    /// Looks for what has come since, and promises what the region has promised.
    pub(super) async fn beat_relayed(&mut self) -> Result<(), Error> {
        let Some(relaying) = &mut self.source.relaying else { return Ok(()) };
        let relay = ask(&relaying.queue, self.source.region).await?;
        let mut news = Vec::new();
        for (at, epochs) in relay.announced {
            if relaying.announced.get(&at) != Some(&epochs) {
                relaying.announced.insert(at, epochs.clone());
                news.push((at, epochs));
            }
        }
        self.to_do.push_back(Input::Upstream { relayed: relay.relayed, announced: news });
        for (at, ends) in relay.ends {
            if relaying.ends.get(&at) != Some(&ends) {
                relaying.ends.insert(at, ends.clone());
                self.to_do.push_back(Input::Grew { at, ends, block: None });
            }
        }
        // The clock of the region itself, as far as it is known here.
        let now_ms = self.shared.now_ms().saturating_add_signed(relay.ahead_ms);
        self.to_do.push_back(Input::Beat { now_ms, until: relay.until, seen: relay.told });
        Ok(())
    }
}

/// What the receiver says of a region.
async fn ask(queue: &mpsc::Sender<Event>, of: RegionId) -> Result<Relay, Error> {
    let (reply, relay) = oneshot::channel();
    queue.send(Event::Relay { of, reply }).await.map_err(|_| Error::Ended)?;
    relay.await.map_err(|_| Error::Ended)
}
