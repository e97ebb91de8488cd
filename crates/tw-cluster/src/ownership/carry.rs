//! Carrying out what the core says about one unit.

use super::Shared;
use super::record::{Keys, encode_claim, encode_ready};
use crate::{Guard, Key, Outcome as Committed, Result, Revision, Transaction};
use std::sync::Arc;
use tw_plan::ownership::{Act, Claim, Holder, Outcome};
use tw_plan::placement::Unit;
use tw_types::NodeId;

/// Does it, and says what came of it. What cannot be known has failed: the core looks again.
pub(super) async fn carry_out(shared: Arc<Shared>, keys: Arc<Keys>, unit: Unit, act: Act) -> (Unit, Outcome) {
    let outcome = match &act {
        Act::Open { epoch, fence } => match shared.units.open(&unit, *epoch, fence).await {
            Ok(()) => Outcome::Done,
            Err(error) => {
                tracing::warn!(%unit, epoch, error, "the unit cannot be opened yet");
                Outcome::Failed
            }
        },
        Act::Shut => {
            shared.units.shut(&unit).await;
            Outcome::Done
        }
        stored => match store(&shared, &keys, &unit, stored).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::warn!(%unit, %error, "a claim was not stored");
                Outcome::Failed
            }
        },
    };
    (unit, outcome)
}

async fn store(shared: &Shared, keys: &Keys, unit: &Unit, act: &Act) -> Result<Outcome> {
    let key = keys.claim(unit)?;
    let (lease, incarnation) = {
        let known = shared.known.read();
        (known.membership.lease().id(), known.core.me().incarnation)
    };
    // Whatever this node stores it stores only while it is registered.
    let here = registered(shared, &shared.node, incarnation)?;
    let transaction = Transaction::new().when(here);
    match act {
        Act::Claim { claim, found, gone } => {
            let unchanged = match found {
                Some(revision) => Guard::Unchanged(key.clone(), Revision(*revision)),
                None => Guard::Absent(key.clone()),
            };
            let mut transaction = transaction.when(unchanged);
            if let Some((node, incarnation)) = gone {
                let Some(is_gone) = is_gone(shared, node, *incarnation)? else { return Ok(Outcome::Failed) };
                transaction = transaction.when(is_gone);
            }
            put(shared, transaction, &key, claim.clone()).await
        }
        Act::Confirm(claim) => put(shared, transaction.when(of(&key, claim)), &key, claim.clone()).await,
        Act::Transfer { claim, to, incarnation } => {
            let writer =
                shared.known.read().members.get(to.as_str()).map(|to| to.registration.writer.clone());
            let Some(writer) = writer else { return Ok(Outcome::Failed) };
            let holder = Holder { node: to.clone(), incarnation: *incarnation, writer };
            let given = Claim {
                holder: Some(holder),
                epoch: claim.epoch + 1,
                fence: claim.fence.clone(),
                revision: 0,
            };
            let transaction = transaction.when(of(&key, claim)).when(registered(shared, to, *incarnation)?);
            put(shared, transaction.delete(&keys.ready(unit)?), &key, given).await
        }
        Act::Release(claim) => {
            put(shared, transaction.when(of(&key, claim)), &key, Claim { holder: None, ..claim.clone() })
                .await
        }
        Act::Announce => {
            let key = keys.ready(unit)?;
            let value = encode_ready(&key, &shared.node)?;
            let committed = shared.coordination.commit(transaction.put_under(lease, &key, value)).await?;
            Ok(committed.done().map_or(Outcome::Failed, |_| Outcome::Done))
        }
        Act::Open { .. } | Act::Shut => Ok(Outcome::Failed),
    }
}

async fn put(shared: &Shared, transaction: Transaction, key: &Key, claim: Claim) -> Result<Outcome> {
    let transaction = transaction.put(key, encode_claim(key, &claim)?);
    Ok(match shared.coordination.commit(transaction).await? {
        Committed::Done(revision) => Outcome::Stored(Some(Claim { revision: revision.0, ..claim })),
        Committed::Failed { .. } => Outcome::Failed,
    })
}

fn of(key: &Key, claim: &Claim) -> Guard {
    Guard::Unchanged(key.clone(), Revision(claim.revision))
}

fn registered(shared: &Shared, node: &NodeId, incarnation: u64) -> Result<Guard> {
    Ok(Guard::Created(shared.members.key(node.as_str())?, Revision(incarnation)))
}

/// That the node is not registered in this incarnation: not at all, or in another one. None if it is, as is known by now.
fn is_gone(shared: &Shared, node: &NodeId, incarnation: u64) -> Result<Option<Guard>> {
    let epoch = shared.known.read().members.get(node.as_str()).map(|member| member.epoch);
    let key = shared.members.key(node.as_str())?;
    Ok(match epoch {
        Some(epoch) if epoch.0 == incarnation => None,
        Some(epoch) => Some(Guard::Created(key, epoch)),
        None => Some(Guard::Absent(key)),
    })
}
