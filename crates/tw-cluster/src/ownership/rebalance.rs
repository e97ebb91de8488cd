//! Rebalancing on request: what it would move, and having the leader do it.

use super::record::{Keys, encode_rebalance};
use super::{Owners, planner};
use crate::{Error, Guard, Outcome, Result, Revision, Transaction};
use std::sync::Arc;
use std::time::Duration;
use tw_plan::placement::{self, Plan, Planned};

/// How often it is looked whether the leader has answered.
const LOOK: Duration = Duration::from_millis(50);

/// What a rebalance changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebalance {
    /// The plan before it.
    pub before: Arc<Plan>,
    /// The plan after it; the same one, if nothing can be more even.
    pub after: Arc<Plan>,
    /// What the fullest node has by the plan before, in thousandths of its share.
    pub peak_permille_before: u64,
    /// The same by the plan after.
    pub peak_permille_after: u64,
    /// Whether more is left to move than one plan may: another rebalance goes on.
    pub postponed: bool,
}

impl Owners {
    /// What a rebalance would change now, as far as this node knows. Changes nothing.
    ///
    /// # Errors
    /// [`Error::NoPlan`].
    pub fn rebalanced(&self) -> Result<Rebalance> {
        let before = self.plan();
        let planned = self.more_even(&before)?;
        self.compared(before, Arc::new(planned.plan), planned.postponed)
    }

    /// Has the leader make a plan that is as even as moves can make it, and says what that changed. The moves have begun then.
    ///
    /// # Errors
    /// [`Error::NotPlanned`] when no leader has answered within `limit`, [`Error::NoPlan`], [`Error::NoLease`],
    /// [`Error::Unavailable`], [`Error::Unknown`], [`Error::Refused`].
    pub async fn rebalance(&self, limit: Duration) -> Result<Rebalance> {
        let shared = &self.shared;
        let keys = Keys::new()?;
        let (before, _) = planner::stored_plan(shared, &keys).await?;
        let value = encode_rebalance(&keys.rebalance, &shared.node)?;
        // With this node goes what it has asked for.
        let ask = Transaction::new().put_under(self.lease().id(), &keys.rebalance, value);
        let Outcome::Done(asked) = shared.coordination.commit(ask).await? else {
            return Err(Error::NotPlanned { waited: Duration::ZERO });
        };
        let time = shared.coordination.time();
        let end = time.now() + limit;
        while self.is_asked(&keys, asked).await? {
            if time.now() >= end {
                let unchanged = Guard::Unchanged(keys.rebalance.clone(), asked);
                let withdraw = Transaction::new().when(unchanged).delete(&keys.rebalance);
                if shared.coordination.commit(withdraw).await?.done().is_some() {
                    return Err(Error::NotPlanned { waited: limit });
                }
                // It was answered at the last moment.
                break;
            }
            time.sleep_until(time.now() + LOOK).await;
        }
        let (after, _) = planner::stored_plan(shared, &keys).await?;
        let postponed = self.more_even(&after).is_ok_and(|next| !next.moves.is_empty());
        self.compared(Arc::new(before), Arc::new(after), postponed)
    }

    /// Whether the request is there still.
    async fn is_asked(&self, keys: &Keys, asked: Revision) -> Result<bool> {
        let read = self.shared.coordination.read(keys.rebalance.alone(), None).await?;
        Ok(read.entries.first().is_some_and(|entry| entry.modified == asked))
    }

    /// The plan that would follow on this one.
    fn more_even(&self, plan: &Plan) -> Result<Planned> {
        let (nodes, loads) = planner::input(&self.shared);
        let now_ms = self.shared.coordination.time().clock().now_ms();
        let options = &self.shared.options.placement;
        placement::rebalance(&nodes, &loads, plan, options, now_ms).map_err(Error::NoPlan)
    }

    fn compared(&self, before: Arc<Plan>, after: Arc<Plan>, postponed: bool) -> Result<Rebalance> {
        let (nodes, loads) = planner::input(&self.shared);
        let options = &self.shared.options.placement;
        let peak =
            |plan: &Plan| placement::peak_permille(&nodes, &loads, plan, options).map_err(Error::NoPlan);
        let (peak_permille_before, peak_permille_after) = (peak(&before)?, peak(&after)?);
        Ok(Rebalance { before, after, peak_permille_before, peak_permille_after, postponed })
    }
}
