//! What the receiver does for restores: of this region, and of others that ask what is here of them.

use super::Receiver;
use crate::link::inbound::Input;
use crate::seen;
use crate::service::restore::Given;
use tw_log::store::Error as StoreError;
use tw_types::{PartitionId, RegionId};

impl Receiver {
    /// Answers those who waited until nothing of a region is being appended.
    pub(super) fn answer_quiet(&mut self) {
        let core = &self.core;
        for (region, reply) in self.giving_back.extract_if(.., |(region, _)| core.is_quiet(*region)) {
            let _nobody_waits = reply.send(core.heard(region));
        }
    }

    /// Tells those who fetch how far it has come.
    pub(super) fn tell_fetched(&self) {
        let fetched = self.shared.restore.targets(self.shared.options.id).into_iter();
        let of = fetched.filter_map(|region| {
            let (connection, _) = self.links.get(&region)?;
            Some((region, (*connection, self.core.fetched(region))))
        });
        let now = of.collect();
        self.shared.restore.fetched.send_if_modified(|known| {
            let is_news = *known != now;
            *known = now;
            is_news
        });
    }

    /// Goes on under the new epoch, if everything is here again.
    pub(super) async fn end_restore(&mut self) {
        let Some((mut asked, given)) = self.shared.restore.complete() else { return };
        // Those who are relayed are not asked: whoever relays them has what they have of this region.
        let relayed = self.shared.options.peers.iter().filter(|peer| peer.via.is_some());
        let relayed = relayed.map(|peer| peer.id).filter(|id| !self.shared.restore.leaves_out(*id));
        asked.extend(relayed);
        let lacks = match self.lacks(&asked, &given).await {
            Ok(lacks) => lacks,
            Err(error) => Some(format!("the log, which cannot be read: {error}")),
        };
        let is_over = lacks.is_none();
        self.shared.restore.wait_for(lacks);
        if !is_over {
            return;
        }
        if let Err(error) = self.open().await {
            tracing::error!(error = %tw_types::chain(&error), "this region cannot go on under its new epoch: it is tried again");
        }
    }

    /// What is to be waited for: that everything of the others is here that it had seen before, or that they had accepted or seen when they
    /// were asked, so that nobody relies on what this region has lost; and that time is later than all that it has said.
    async fn lacks(&mut self, asked: &[RegionId], given: &Given) -> Result<Option<String>, tw_log::Error> {
        if self.appending.is_some() {
            return Ok(Some("what is being appended".to_owned()));
        }
        if let Some((region, stream)) = self.shared.board.lock().missing() {
            return Ok(Some(format!("the stream `{stream}`, which region {region} has, to be created here")));
        }
        self.shared.history.follow().await?;
        let (seen, mut told) = (self.core.seen(), self.shared.history.last());
        told.join(&given.seen);
        for region in asked {
            let (here, until) = (seen.of(*region), told.of(*region));
            if here < until {
                return Ok(Some(format!(
                    "events of region {region} up to {until}, which are here up to {here}"
                )));
            }
        }
        let shared = self.shared.clone();
        if let Err(error) = shared.evictions.follow(&shared.events).await {
            return Ok(Some(format!("the log, which cannot be read: {}", tw_types::chain(&error))));
        }
        if let Some(lacks) = self.lacks_a_seed() {
            return Ok(Some(lacks));
        }
        let heard = given.until.max(self.core.last_of(self.shared.options.id));
        if self.shared.now_ms() <= heard.millis() {
            return Ok(Some(format!(
                "the clock, which is not after {heard}, up to when this region was heard"
            )));
        }
        Ok(None)
    }

    /// What is wrong with a log whose region was evicted and which has more than others had taken: they go on without that, and what depends on it
    /// could not be merged.
    fn lacks_a_seed(&self) -> Option<String> {
        let (me, evictions) = (self.shared.options.id, &self.shared.evictions);
        let epoch = *evictions.evicted().get(&me)?;
        let (here, had) = (self.core.last_of(me), evictions.had(me, epoch));
        (here > had).then(|| {
            format!(
                "others to say that they have what this region has accepted up to {here}; they had it up to {had} when they evicted it in epoch {epoch}: \
                 if this log was not seeded since, keep it for what they have not, and begin a new one with `tradewind region seed --epoch {}`",
                self.shared.events.log().epoch().0.saturating_add(1)
            )
        })
    }

    /// The first event of the new epoch: from it on the region is open, whatever happens.
    async fn open(&mut self) -> Result<(), StoreError> {
        let (me, log) = (self.shared.options.id, self.shared.events.log().clone());
        let (mut latest, earlier) = (self.core.latest(), self.core.last_of(me));
        latest.raise(me, earlier);
        let event = seen::event(&latest, format!("{:016x}-epoch-{}", self.opening, log.epoch()));
        let streams = log.streams();
        let mut write = self.shared.events.write();
        write.push_to(streams.get(&seen::seen_stream(me))?, PartitionId(0), &event.as_ref())?;
        write.while_held();
        self.shared.events.append(write).await?;
        self.earlier = earlier;
        self.step(Input::Restored);
        self.links.remove(&me);
        self.shared.events.hold(false);
        self.shared.restore.end();
        tracing::warn!(epoch = %log.epoch(), "this region has everything that others have, and goes on under its new epoch");
        Ok(())
    }
}
