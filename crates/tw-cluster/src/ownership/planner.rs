//! Planning: the task that makes plans where this node leads. It only plans; every node carries plans out for itself.

use super::record::{Keys, decode_plan, encode_plan};
use super::{RETRY, Shared};
use crate::{Election, Guard, Leadership, Member, Outcome, Result, Revision, Standing, Transaction};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tw_plan::placement::{self, Load, Node, Plan, Planned};
use tw_types::NodeId;

/// The election of whoever plans.
pub(super) const ELECTION: &str = "planner";
/// The role of nodes that own units.
pub const DATA_ROLE: &str = "data";

/// The plan in force, and the revision that stored it.
struct Stored {
    plan: Plan,
    revision: Option<Revision>,
    /// Whether it leaves work for the next one.
    postponed: bool,
}

/// Stands for election again and again, and plans while it leads.
pub(super) async fn run(shared: Arc<Shared>) {
    let time = shared.coordination.time();
    loop {
        if let Err(error) = lead(&shared).await {
            tracing::warn!(%error, "planning was interrupted");
        }
        shared.with(|known| known.leads = false);
        time.sleep_until(time.now() + RETRY).await;
    }
}

async fn lead(shared: &Arc<Shared>) -> Result<()> {
    let election = Election::new(shared.coordination.clone(), ELECTION)?;
    let lease = shared.known.read().lease();
    let leadership = election.campaign(&lease, shared.node.as_str()).await?;
    tracing::info!(node = %shared.node, token = %leadership.token(), "this node makes the plans");
    shared.with(|known| known.leads = true);
    tokio::select! {
        () = leadership.lost() => Ok(()),
        outcome = plan_on(shared, &leadership) => outcome,
    }
}

async fn plan_on(shared: &Arc<Shared>, leadership: &Leadership) -> Result<()> {
    let time = shared.coordination.time();
    let keys = Keys::new()?;
    let mut changes = shared.changed.subscribe();
    let mut stored = read(shared, &keys).await?;
    let mut before = BTreeSet::new();
    // The request for an even plan that was carried out last: it may be seen for a moment still.
    let mut answered = None;
    let review = Duration::from_millis(shared.options.review_ms);
    loop {
        changes.borrow_and_update();
        let alive = seen(shared);
        if alive.difference(&before).any(|node| node.may_own && node.is_reached) && !before.is_empty() {
            let settled = time.now() + Duration::from_millis(shared.options.settle_ms);
            time.sleep_until(settled).await;
        }
        reach(shared, &stored.plan, &mut changes).await;
        before = seen(shared);
        let asked = shared.known.read().asked.filter(|asked| Some(*asked) != answered);
        let is_answered;
        (stored, is_answered) = plan_once(shared, &keys, leadership, stored, asked).await?;
        if is_answered {
            answered = asked.or(answered);
        }
        // What the plan moves is moved before more is.
        let next_review = time.now() + review;
        loop {
            let is_due = tokio::select! {
                _changed = changes.changed() => false,
                () = shared.units_changed.notified() => true,
                () = time.sleep_until(next_review) => true,
            };
            let members = seen(shared);
            let is_carried_out = shared.known.read().core.in_transit() == 0;
            let is_asked = shared.known.read().asked.is_some_and(|asked| Some(asked) != answered);
            if is_asked || is_due || members != before || is_carried_out && stored.postponed {
                break;
            }
        }
    }
}

/// Makes the next plan and stores it, if it is another one: an even one, where somebody has asked for that. Says whether the
/// request is answered.
async fn plan_once(
    shared: &Shared,
    keys: &Keys,
    leadership: &Leadership,
    mut stored: Stored,
    asked: Option<Revision>,
) -> Result<(Stored, bool)> {
    let (nodes, loads) = input(shared);
    let make = if asked.is_some() { placement::rebalance } else { placement::plan };
    let now_ms = shared.coordination.time().clock().now_ms();
    match make(&nodes, &loads, &stored.plan, &shared.options.placement, now_ms) {
        Ok(Planned { plan, moves, postponed, .. }) if plan != stored.plan => {
            let (version, moves, nodes) = (plan.version(), moves.len(), nodes.len());
            tracing::info!(version, moves, nodes, on_request = asked.is_some(), "a plan is made");
            return store(shared, keys, leadership, stored, plan, postponed, asked).await;
        }
        Ok(_) => stored.postponed = false,
        // Nobody can own anything: the plan stays.
        Err(error) => tracing::warn!(%error, "no plan can be made"),
    }
    if let Some(asked) = asked {
        let answer = answering(Transaction::new().when(leadership.guard()), keys, asked);
        // If it is not there any more, there is nothing to answer.
        shared.coordination.commit(answer).await?;
    }
    Ok((stored, true))
}

/// Removes the request, if it is there still.
fn answering(transaction: Transaction, keys: &Keys, asked: Revision) -> Transaction {
    transaction.when(Guard::Unchanged(keys.rebalance.clone(), asked)).delete(&keys.rebalance)
}

/// What a plan is made of, as this node knows it.
pub(super) fn input(shared: &Shared) -> (Vec<Node>, Vec<Load>) {
    let nodes = nodes(shared);
    let load = |unit| Load { weight: shared.units.weight(&unit), unit };
    (nodes, shared.units.all().into_iter().map(load).collect())
}

/// What about a node matters to the plan.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    name: String,
    incarnation: u64,
    may_own: bool,
    is_reached: bool,
}

fn seen(shared: &Shared) -> BTreeSet<Seen> {
    let of = |(name, member): (&String, &Member)| Seen {
        name: name.clone(),
        incarnation: member.epoch.0,
        may_own: member.standing != Standing::Draining,
        is_reached: shared.is_reached(name, member),
    };
    shared.known.read().members.iter().map(of).collect()
}

/// Waits until whoever the plan names, and is registered, has answered this node, as long as it may be silent: a node that was not
/// asked yet is not one that does not answer. One whose last registration was ended because it did not answer is not waited for: it
/// would take again meanwhile what the old plan gives it.
async fn reach(shared: &Shared, plan: &Plan, changes: &mut watch::Receiver<u64>) {
    let time = shared.coordination.time();
    let limit = time.now() + Duration::from_millis(shared.options.detection.silent_ms_max);
    let named: BTreeSet<&NodeId> = plan.iter().map(|(_, assigned)| &assigned.owner).collect();
    let is_unknown = |(name, member): (&String, &Member)| {
        let is_evicted = shared.reached.read().evicted.contains(name);
        !is_evicted && !shared.is_reached(name, member) && named.iter().any(|node| node.as_str() == name)
    };
    loop {
        changes.borrow_and_update();
        if !shared.known.read().members.iter().any(is_unknown) {
            return;
        }
        tokio::select! {
            _changed = changes.changed() => {}
            () = time.sleep_until(limit) => return,
        }
    }
}

/// The nodes that own units: a node that registers while nobody reaches it, as one that was evicted for that does at once, owns nothing
/// before it has answered.
fn nodes(shared: &Shared) -> Vec<Node> {
    let node = |(name, member): (&String, &Member)| {
        let registration = &member.registration;
        if !registration.roles.contains(DATA_ROLE) || !shared.is_reached(name, member) {
            return None;
        }
        Some(Node {
            id: NodeId::new(name).ok()?,
            capacity: u32::try_from(registration.capacity.cpu_millicores).unwrap_or(u32::MAX),
            background_permille: Some(0),
            domain: None,
            drains: member.standing == Standing::Draining,
        })
    };
    shared.known.read().members.iter().filter_map(node).collect()
}

async fn read(shared: &Shared, keys: &Keys) -> Result<Stored> {
    let (plan, revision) = stored_plan(shared, keys).await?;
    Ok(Stored { plan, postponed: revision.is_some(), revision })
}

/// The plan as it is stored, and the revision that stored it; the empty one before all others.
pub(super) async fn stored_plan(shared: &Shared, keys: &Keys) -> Result<(Plan, Option<Revision>)> {
    let read = shared.coordination.read(keys.plan.alone(), None).await?;
    let Some(entry) = read.entries.first() else {
        return Ok((Plan::default(), None));
    };
    Ok((decode_plan(entry)?, Some(entry.modified)))
}

/// Stores a plan, if this node leads still and nobody has stored another one, and removes the request for it, if there is one.
/// Says whether that was done.
async fn store(
    shared: &Shared,
    keys: &Keys,
    leadership: &Leadership,
    before: Stored,
    plan: Plan,
    postponed: bool,
    asked: Option<Revision>,
) -> Result<(Stored, bool)> {
    let unchanged = match before.revision {
        Some(revision) => Guard::Unchanged(keys.plan.clone(), revision),
        None => Guard::Absent(keys.plan.clone()),
    };
    let value = encode_plan(&keys.plan, &plan)?;
    let mut transaction = Transaction::new().when(leadership.guard()).when(unchanged).put(&keys.plan, value);
    if let Some(asked) = asked {
        transaction = answering(transaction, keys, asked);
    }
    match shared.coordination.commit(transaction).await {
        Ok(Outcome::Done(revision)) => Ok((Stored { plan, revision: Some(revision), postponed }, true)),
        // Another leader, or an answer that was lost: from what is there now.
        Ok(Outcome::Failed { .. }) | Err(crate::Error::Unknown(_)) => Ok((read(shared, keys).await?, false)),
        Err(error) => Err(error),
    }
}
