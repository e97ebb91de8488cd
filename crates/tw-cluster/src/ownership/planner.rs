//! Planning: the task that makes plans where this node leads. It only plans; every node carries plans out for itself.

use super::Shared;
use super::record::{Keys, decode_plan, encode_plan};
use crate::{Election, Guard, Leadership, Member, Outcome, Result, Revision, Standing, Transaction};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tw_plan::placement::{self, Load, Node, Plan, Planned};
use tw_types::NodeId;

/// The pause before what failed is tried again.
const RETRY: Duration = Duration::from_millis(200);
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
    let review = Duration::from_millis(shared.options.review_ms);
    loop {
        changes.borrow_and_update();
        let members = shared.known.read().members.clone();
        let alive: BTreeSet<(String, u64, bool)> = members.iter().map(seen).collect();
        if alive.difference(&before).any(|(_, _, drains)| !drains) && !before.is_empty() {
            let settled = time.now() + Duration::from_millis(shared.options.settle_ms);
            time.sleep_until(settled).await;
        }
        let members = shared.known.read().members.clone();
        before = members.iter().map(seen).collect();
        let units = shared.units.all();
        let nodes = nodes(&members);
        let loads: Vec<Load> = units.iter().cloned().map(|unit| Load { unit, weight: Some(1) }).collect();
        let now_ms = time.clock().now_ms();
        match placement::plan(&nodes, &loads, &stored.plan, &shared.options.placement, now_ms) {
            Ok(Planned { plan, .. }) if plan == stored.plan => stored.postponed = false,
            Ok(Planned { plan, moves, postponed, .. }) => {
                tracing::info!(
                    version = plan.version(),
                    moves = moves.len(),
                    nodes = nodes.len(),
                    "a plan is made"
                );
                stored = store(shared, &keys, leadership, stored, plan, postponed).await?;
            }
            // Nobody can own anything: the plan stays.
            Err(error) => tracing::warn!(%error, "no plan can be made"),
        }
        // What the plan moves is moved before more is.
        let next_review = time.now() + review;
        loop {
            let is_due = tokio::select! {
                _changed = changes.changed() => false,
                () = shared.units_changed.notified() => true,
                () = time.sleep_until(next_review) => true,
            };
            let members: BTreeSet<_> = shared.known.read().members.iter().map(seen).collect();
            let is_carried_out = shared.known.read().core.in_transit() == 0;
            if is_due || members != before || is_carried_out && stored.postponed {
                break;
            }
        }
    }
}

/// What about a node matters to the plan.
fn seen((node, member): (&String, &Member)) -> (String, u64, bool) {
    (node.clone(), member.epoch.0, member.standing == Standing::Draining)
}

/// The nodes that own units.
fn nodes(members: &BTreeMap<String, Member>) -> Vec<Node> {
    let node = |(name, member): (&String, &Member)| {
        let registration = &member.registration;
        if !registration.roles.contains(DATA_ROLE) {
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
    members.iter().filter_map(node).collect()
}

async fn read(shared: &Shared, keys: &Keys) -> Result<Stored> {
    let read = shared.coordination.read(keys.plan.alone(), None).await?;
    let Some(entry) = read.entries.first() else {
        return Ok(Stored { plan: Plan::default(), revision: None, postponed: false });
    };
    Ok(Stored { plan: decode_plan(entry)?, revision: Some(entry.modified), postponed: true })
}

/// Stores a plan, if this node leads still and nobody has stored another one.
async fn store(
    shared: &Shared,
    keys: &Keys,
    leadership: &Leadership,
    before: Stored,
    plan: Plan,
    postponed: bool,
) -> Result<Stored> {
    let unchanged = match before.revision {
        Some(revision) => Guard::Unchanged(keys.plan.clone(), revision),
        None => Guard::Absent(keys.plan.clone()),
    };
    let value = encode_plan(&keys.plan, &plan)?;
    let transaction = Transaction::new().when(leadership.guard()).when(unchanged).put(&keys.plan, value);
    match shared.coordination.commit(transaction).await {
        Ok(Outcome::Done(revision)) => Ok(Stored { plan, revision: Some(revision), postponed }),
        // Another leader, or an answer that was lost: from what is there now.
        Ok(Outcome::Failed { .. }) | Err(crate::Error::Unknown(_)) => read(shared, keys).await,
        Err(error) => Err(error),
    }
}
