//! A region that has lost events of its own: what is done here if it is this one, and if it is another one.
//!
//! Whoever was put back from an older copy of its log has a new epoch, in which it accepts nothing until it has fetched back what
//! the others have of its earlier ones. Meanwhile this region is one of its own peers: another region stands in for what it was, one after
//! the other, and sends what it has received of it. What comes passes the gate like everything else, so no effect is there before its
//! cause. Nothing here decides when there is enough; that is the shell's business, which knows whom it has asked.

use super::{Action, Context, Error, Inbound};
use tw_merge::Seen;
use tw_types::{Epoch, Hlc, RegionId, Sequence};

/// How far a stand-in has come in sending what it has of a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// It has not said yet what it has, or not all of that is here: so many events are lacking, as far as it has said.
    Coming {
        /// How many.
        lacking: u64,
    },
    /// All of it is in the log.
    Whole {
        /// The latest time up to which the stand-in knew of everything of the region: whatever that accepts from now on must be later.
        until: Hlc,
        /// What the stand-in itself had accepted and seen then.
        seen: Seen,
    },
    /// Something of it cannot be taken.
    Parked {
        /// Why not.
        reason: String,
    },
}

impl Inbound {
    /// This region comes back from an older copy, in this epoch. To be said before the first step. Until [`super::Input::Restored`] it
    /// takes what stand-ins send of its earlier epochs.
    ///
    /// # Errors
    /// [`Error::Gate`].
    pub fn begin_restore(&mut self, epoch: Epoch) -> Result<(), Error> {
        self.restoring = Some(epoch);
        for (at, received) in &self.received {
            self.delivery.reopen(self.me, *at, received.last_hlc(self.me))?;
        }
        self.peers.entry(self.me).or_default();
        Ok(())
    }

    /// It has everything again, and goes on.
    pub(super) fn end_restore(&mut self, cx: &mut Context<'_>) {
        let me = self.me;
        if self.restoring.take().is_none() {
            return;
        }
        self.disconnect(me, cx);
        self.peers.remove(&me);
        for at in self.received.keys() {
            self.delivery.remove(me, *at);
        }
    }

    /// The last event of a region that is in the log, of whatever epoch; [`Hlc::ZERO`] if there is none.
    pub fn last_of(&self, region: RegionId) -> Hlc {
        self.received.values().map(|received| received.last_hlc(region)).max().unwrap_or_default()
    }

    /// Up to when it is known here what a region has accepted, in whatever partition that is latest.
    pub fn heard(&self, region: RegionId) -> Hlc {
        let known = self.received.keys().filter_map(|at| self.delivery.known(region, *at));
        known.max().unwrap_or_default().max(self.last_of(region))
    }

    /// Whether nothing of a region is being appended.
    pub fn is_quiet(&self, region: RegionId) -> bool {
        self.peers.get(&region).is_none_or(|peer| peer.slots.values().all(|slot| !slot.is_appending))
    }

    /// How far the connection to whoever stands in for a region has come.
    pub fn fetched(&self, region: RegionId) -> Fetched {
        let Some(peer) = self.peers.get(&region) else { return Fetched::Coming { lacking: 0 } };
        if let Some(parked) = peer.slots.values().find_map(|slot| slot.parked.as_ref()) {
            return Fetched::Parked { reason: tw_types::chain(parked) };
        }
        let (mut lacking, mut is_whole) = (0u64, true);
        for (at, slot) in &peer.slots {
            let received = self.received.get(at);
            let reached = |epoch| received.and_then(|one| one.reached(region, epoch)).unwrap_or_default();
            let lacks = |(epoch, last): &(Epoch, Sequence)| last.0.saturating_sub(reached(*epoch).sequence.0);
            lacking = slot.announced.iter().map(lacks).fold(lacking, u64::saturating_add);
            // The last promise was made when nothing was left to be sent.
            let is_sent = slot.sent.is_some() && slot.sent == slot.announced.last().copied();
            let is_last = peer.link.as_ref().is_some_and(|link| link.promises > slot.sent_at);
            is_whole &= is_sent && is_last && slot.head.is_none() && slot.queue.is_empty();
        }
        match &peer.link {
            Some(link) if is_whole && lacking == 0 && link.promises > 0 && link.is_heard => {
                Fetched::Whole { until: link.until, seen: link.told.clone() }
            }
            _ => Fetched::Coming { lacking },
        }
    }

    /// Another region comes back in this epoch, and wants to know what is here of its earlier ones. What is held of them is given back, and
    /// nothing more is taken of them but from the region itself: what it is told now is where they end. What is being appended still is,
    /// see [`Inbound::is_quiet`].
    pub(super) fn yield_to(&mut self, region: RegionId, epoch: Epoch, cx: &mut Context<'_>) {
        let known = self.yielded.entry(region).or_default();
        *known = epoch.max(*known);
        if self.peers.get(&region).is_some_and(|peer| peer.link.is_some()) {
            let reason =
                format!("region `{region}` comes back in epoch {epoch}: what it sent before is left");
            self.close(region, reason, cx);
        }
    }

    /// Whether a connection is one of a copy of a region that has come back since. Says so then.
    pub(super) fn is_outdated(&self, region: RegionId, epoch: Epoch, cx: &mut Context<'_>) -> bool {
        let Some(newest) = self.yielded.get(&region).filter(|newest| epoch < **newest) else { return false };
        let reason = format!(
            "region `{region}` connects in epoch {epoch}, and has come back in epoch {newest}: two copies of it are running, stop this one"
        );
        cx.actions.push(Action::Close { peer: region, reason });
        true
    }
}
