//! What homes do where there is an arbiter: they agree before they claim, finish what was begun, and replace a region that is gone.
//!
//! ```text
//!  agreed            the last claim here      then
//!  nothing           this is the home         this is agreed
//!  this, same term   this is the home         it writes
//!  other, given      this is the home         it was killed between agreeing and claiming: it claims for the other one
//!  other, taken      this is the home         it does not write, and waits for the claim of the other one
//!  this, taken       of an earlier term       it was killed between agreeing and claiming: it claims
//!  this, given       of an earlier term       it waits for the claim of the giver, and takes the stream if that is gone
//! ```

use super::arbiter::{Agreed, Arbiter, Look, NoAnswer};
use super::{HomeError, Homes};
use crate::service::Error;
use crate::service::restore::restored;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tw_merge::Seen;
use tw_types::{RegionId, StreamDef, StreamMode};

/// How often regions say that they are there, and look who is.
const LOOK: Duration = Duration::from_millis(250);
/// How many looks the one who knows most of a region that is gone has before the next one replaces it.
const LOOKS: u32 = 8;

impl Homes {
    /// Brings what is agreed and what was claimed together, for every stream.
    pub(super) async fn agree(&self, arbiter: &dyn Arbiter) -> Result<(), Error> {
        for def in self.with_home() {
            if let Err(error) = self.agree_on(arbiter, &def).await {
                tracing::debug!(stream = %def.name, %error, "the home of a stream is not agreed on");
                return Ok(());
            }
            self.learn().await?;
        }
        Ok(())
    }

    fn with_home(&self) -> Vec<Arc<StreamDef>> {
        let streams = self.events.log().streams();
        streams.iter().filter(|def| def.options.mode == StreamMode::HomeRegion).cloned().collect()
    }

    async fn agree_on(&self, arbiter: &dyn Arbiter, def: &StreamDef) -> Result<(), HomeError> {
        let (name, (home, term)) = (def.name.as_str(), self.home(def));
        if home == self.me && arbiter.may_write(name, term) {
            return Ok(());
        }
        let agreed = arbiter.agreed(name).await?;
        let mine = Agreed { home: self.me, term, is_taken: false };
        match agreed {
            // Also when the arbiter is new, or was restored from an older copy.
            _ if home == self.me && agreed.is_none_or(|other| other.term < term) => {
                let _somebody_was_faster = arbiter.agree(name, agreed, mine, None).await?;
            }
            Some(other)
                if home == self.me && other.home != self.me && other.term > term && !other.is_taken =>
            {
                self.shut(name).await;
                self.claim_as(def, other.home, other.term, true).await?;
            }
            Some(own) if own.home == self.me && own.term > term && own.is_taken => {
                self.claim_as(def, self.me, own.term, false).await?;
            }
            Some(own) if own.home == self.me && own.term > term => {
                // Its giver cannot claim for this region any more once it is taken.
                let taken = Agreed { is_taken: true, ..own };
                if arbiter.agree(name, agreed, taken, Some(home)).await? {
                    self.claim_as(def, self.me, own.term, false).await?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Agrees that another region is the home in the next term.
    pub(super) async fn agree_next(
        &self,
        def: &StreamDef,
        to: RegionId,
        gone: Option<RegionId>,
    ) -> Result<u64, HomeError> {
        let (name, (home, term)) = (def.name.as_str(), self.home(def));
        let Some(arbiter) = &self.arbiter else { return Ok(term + 1) };
        let agreed = arbiter.agreed(name).await?;
        let (last, last_term) = agreed.map_or((home, term), |agreed| (agreed.home, agreed.term.max(term)));
        // Whoever is gone may have agreed, and not claimed: then that one must be gone, too, and the one before does not write any more.
        let next = Agreed { home: to, term: last_term + 1, is_taken: gone.is_some() };
        let may_follow = if gone.is_some() { last != to } else { (last, last_term) == (home, term) };
        if may_follow && arbiter.agree(name, agreed, next, gone.map(|_| last)).await? {
            return Ok(next.term);
        }
        Err(match gone {
            Some(_) => HomeError::IsThere { from: last },
            None => HomeError::OnItsWay { stream: name.to_owned(), home: last },
        })
    }

    /// Says that this region is there, keeps to what is agreed, and replaces regions that are gone, as long as the links run.
    pub(crate) async fn watch(self: Arc<Self>, seen: watch::Receiver<Seen>) {
        let Some(arbiter) = self.arbiter.clone() else { return };
        restored(self.restoring.clone()).await;
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut gone, mut is_reached) = (BTreeMap::new(), true);
        loop {
            looks.tick().await;
            let now = seen.borrow().clone();
            match arbiter.look(&now).await {
                Ok(look) => {
                    is_reached = true;
                    let followed = self.follow().await;
                    if let Err(error) = followed {
                        tracing::error!(error = %tw_types::chain(&error), "the homes of streams are not followed");
                    }
                    if arbiter.is_automatic() {
                        self.replace(&look, &mut gone).await;
                    }
                }
                Err(NoAnswer(reason)) => {
                    gone.clear();
                    if std::mem::take(&mut is_reached) {
                        tracing::warn!(%reason, "who is the home of streams cannot be agreed on: this region stops writing those of which it is");
                    }
                }
            }
        }
    }

    /// Takes over what a region that is gone was the home of, if this region knows most of it, or whoever does has not done so for a while.
    async fn replace(&self, look: &Look, gone: &mut BTreeMap<RegionId, u32>) {
        let Look { present, agreed } = look;
        let home = |def: &Arc<StreamDef>| {
            agreed.get(def.name.as_str()).map_or_else(|| self.home(def).0, |agreed| agreed.home)
        };
        let homes: Vec<(Arc<StreamDef>, RegionId)> =
            self.with_home().into_iter().map(|def| (def.clone(), home(&def))).collect();
        gone.retain(|region, _| !present.contains_key(region));
        let mut missing: Vec<RegionId> =
            homes.iter().map(|(_, home)| *home).filter(|home| !present.contains_key(home)).collect();
        missing.sort_unstable();
        missing.dedup();
        for from in missing {
            let looks = gone.entry(from).or_default();
            *looks += 1;
            if *looks <= LOOKS * place(self.me, from, present) {
                continue;
            }
            for (def, _) in homes.iter().filter(|(_, home)| *home == from) {
                match self.take(def, from).await {
                    Ok(_) | Err(HomeError::IsThere { .. }) => {}
                    Err(error) => {
                        tracing::warn!(stream = %def.name, %from, %error, "a stream whose home is gone is not taken over");
                    }
                }
            }
        }
    }
}

/// How many regions know more of one that is gone; of two that know the same, the one with the lower number goes first.
fn place(me: RegionId, gone: RegionId, present: &BTreeMap<RegionId, Seen>) -> u32 {
    let of = |region: &RegionId| present.get(region).map(|seen| seen.of(gone));
    let (mine, before) = (of(&me), |region: &RegionId| (std::cmp::Reverse(of(region)), *region));
    let better = present.keys().filter(|region| before(region) < (std::cmp::Reverse(mine), me));
    u32::try_from(better.count()).unwrap_or(u32::MAX)
}

impl From<NoAnswer> for HomeError {
    fn from(error: NoAnswer) -> Self {
        Self::NoAnswer(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tw_types::Hlc;

    #[test]
    fn who_knows_most_of_a_region_that_is_gone_replaces_it_first() {
        let seen = |hlc| Seen::from_iter([(RegionId(1), Hlc::new(hlc, 0))]);
        let present =
            BTreeMap::from([(RegionId(2), seen(5)), (RegionId(3), seen(9)), (RegionId(4), seen(5))]);
        let places = [2, 3, 4].map(|me| place(RegionId(me), RegionId(1), &present));
        assert_eq!(places, [1, 0, 2]);
    }
}
