//! Ownership, carried out: the shell around [`tw_plan::ownership`].
//!
//! ```text
//! placement/plan            the plan, as the leader has stored it
//! placement/rebalance       who asks for an even plan, under its lease, until the leader has made one
//! placement/claims/UNIT     who has the unit, in which epoch
//! placement/ready/UNIT      who says that it has the unit's state warm, under its lease
//! members/NODE              who is registered, under its lease
//! suspects/NODE             whom the node suspects to be dead, under its lease
//! ```
//!
//! [`Owners`] registers the node, follows these keys, hands what changes to the core, and carries out what the core says. When the
//! lease is lost, everything is shut, and the node registers again by itself. [`planner`] makes plans where this node leads, and
//! [`detector`] ends the registration of a node that answers nobody. None of them is in the path of an event:
//! [`Owners::owner`] looks at what is known here.

mod audit;
mod carry;
mod detector;
mod keeper;
mod options;
mod planner;
mod rebalance;
mod record;

pub use detector::{Prober, Sign};
pub use options::OwnersOptions;
pub use planner::DATA_ROLE;
pub use rebalance::Rebalance;
pub use tw_plan::ownership::Owner;
pub use tw_plan::ownership::invariants::Broken;

use crate::{
    BoxFuture, Coordination, Error, Lease, Load, Member, Members, Membership, Registration, Result, Revision,
    Standing,
};
use detector::Detector;
use keeper::Keeper;
use parking_lot::RwLock;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tw_plan::ownership::invariants::Witness;
use tw_plan::ownership::{Holder, Ownership};
use tw_plan::placement::{Plan, Unit};
use tw_types::NodeId;

/// The pause before what failed is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// What a node does with the units that it has.
pub trait Units: Send + Sync + 'static {
    /// Every unit that there is, wherever it is.
    fn all(&self) -> BTreeSet<Unit>;

    /// How much work a unit is next to others, in any measure that is the same for all, with a constant for what it is when idle.
    /// None: it was not measured yet, so it counts as the mean of the others, and is not moved to be more even.
    fn weight(&self, unit: &Unit) -> Option<u32> {
        let _all_alike = unit;
        Some(1)
    }

    /// The units whose state is to be kept warm here from now on, and no others.
    fn keep(&self, kept: &BTreeSet<Unit>);

    /// Whether the state of a unit that is kept is nearly as far as the log.
    fn is_warm(&self, unit: &Unit) -> bool;

    /// Fences these writers off, reads up to where they came, and takes writes from then on.
    fn open<'a>(
        &'a self,
        unit: &'a Unit,
        epoch: u64,
        fence: &'a [String],
    ) -> BoxFuture<'a, Result<(), String>>;

    /// Whether the log of a unit that is open here has events since then that this node has not written.
    fn is_meddled_with(&self, unit: &Unit) -> bool {
        let _nobody_looks = unit;
        false
    }

    /// Takes no more writes, and waits until the outcome of those under way is known.
    fn shut<'a>(&'a self, unit: &'a Unit) -> BoxFuture<'a, ()>;
}

/// A node's part in the cluster: its registration, and the units that it has. Dropping it gives it up without a word: others take over what it had.
pub struct Owners {
    shared: Arc<Shared>,
    keeper: JoinHandle<()>,
    planner: JoinHandle<()>,
    detector: JoinHandle<()>,
}

/// What the tasks and those who ask share.
struct Shared {
    coordination: Arc<dyn Coordination>,
    members: Members,
    node: NodeId,
    registration: Registration,
    options: OwnersOptions,
    units: Arc<dyn Units>,
    known: RwLock<Known>,
    reached: RwLock<Reached>,
    /// Rises with everything that changes in `known`.
    changed: watch::Sender<u64>,
    /// The units that there are have changed.
    units_changed: Notify,
    /// The node is to give up all that it has.
    leaving: watch::Sender<bool>,
    /// Nothing is held any more, and nothing will be.
    ended: watch::Sender<bool>,
}

/// Who answers this node, and who does not.
#[derive(Default)]
struct Reached {
    /// Which nodes have answered, each in its last incarnation that has.
    answered: BTreeMap<String, u64>,
    /// Whose registration this node has ended because nobody got an answer, and who has not answered since.
    evicted: BTreeSet<String>,
}

/// What is known here.
struct Known {
    core: Ownership,
    /// What it has seen of the promises, and which of them it has found broken.
    witness: Witness,
    broken: Vec<Broken>,
    members: BTreeMap<String, Member>,
    membership: Arc<Membership>,
    /// Whether this node drains, as it was last known: it does so still when it registers again.
    standing: Standing,
    /// The request for an even plan that is there, by its revision.
    asked: Option<Revision>,
    /// Who makes the plans, as far as this node knows: itself or not.
    leads: bool,
}

impl Owners {
    /// Registers the node and begins to take part. Needs a tokio runtime.
    ///
    /// A registration of the same instance that is left over from a process that was killed is ended first.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], [`Error::InvalidPlan`], [`Error::NodeTaken`], and those of [`Members::join`] and [`Lease::new`].
    pub async fn join(
        coordination: Arc<dyn Coordination>,
        registration: Registration,
        units: Arc<dyn Units>,
        prober: Arc<dyn Prober>,
        options: OwnersOptions,
    ) -> Result<Self> {
        options.check()?;
        let node = NodeId::new(&registration.node).map_err(|_| Error::InvalidOption {
            option: "node",
            value: registration.node.clone(),
            rule: "1 to 100 letters, digits, `_`, `-` and `.`, with a letter or a digit at its start",
        })?;
        let members = Members::new(coordination.clone())?;
        let standing = Standing::Active;
        let membership = register(&coordination, &members, &registration, standing, &options).await?;
        let incarnation = membership.epoch().0;
        let me = Holder { node: node.clone(), incarnation, writer: registration.writer.clone() };
        let core = Ownership::new(me);
        let known = Known {
            core,
            witness: Witness::default(),
            broken: Vec::new(),
            members: BTreeMap::new(),
            membership,
            standing,
            asked: None,
            leads: false,
        };
        let shared = Arc::new(Shared {
            coordination,
            members,
            node,
            registration,
            options,
            units,
            known: RwLock::new(known),
            reached: RwLock::default(),
            changed: watch::Sender::new(0),
            units_changed: Notify::new(),
            leaving: watch::Sender::new(false),
            ended: watch::Sender::new(false),
        });
        let keeper = tokio::spawn(Keeper::new(shared.clone())?.run());
        let planner = tokio::spawn(planner::run(shared.clone()));
        let detector = tokio::spawn(Detector::new(shared.clone(), prober)?.run());
        Ok(Self { shared, keeper, planner, detector })
    }

    /// Who takes the writes of a unit. Here only as long as the lease is held for certain. No waiting, no request.
    pub fn owner(&self, unit: &Unit) -> Owner {
        let known = self.shared.known.read();
        match known.core.owner(unit) {
            Owner::Here(_) if !known.membership.lease().is_held() => Owner::Nobody,
            owner => owner,
        }
    }

    /// Who else keeps the state of a unit warm ([`tw_plan::ownership::Ownership::standbys`]). No waiting, no request.
    pub fn standbys(&self, unit: &Unit) -> Vec<NodeId> {
        self.shared.known.read().core.standbys(unit)
    }

    /// The nodes that are registered, by name.
    pub fn members(&self) -> BTreeMap<String, Member> {
        self.shared.known.read().members.clone()
    }

    /// Where a node is reached by a protocol.
    pub fn address(&self, node: &NodeId, protocol: &str) -> Option<String> {
        let known = self.shared.known.read();
        known.members.get(node.as_str())?.registration.addresses.get(protocol).cloned()
    }

    /// The plan that is carried out.
    pub fn plan(&self) -> Arc<Plan> {
        self.shared.known.read().core.plan().clone()
    }

    /// Whether this node makes the plans.
    pub fn leads(&self) -> bool {
        self.shared.known.read().leads
    }

    /// This node's name.
    pub fn node(&self) -> &NodeId {
        &self.shared.node
    }

    /// The number of this node's registration: another one after the lease was lost.
    pub fn incarnation(&self) -> u64 {
        self.shared.known.read().core.me().incarnation
    }

    /// How many units are not where the plan has them.
    pub fn in_transit(&self) -> usize {
        self.shared.known.read().core.in_transit()
    }

    /// The units that the plan has and nobody holds, with the milliseconds since then (CLU-2).
    pub fn unowned(&self) -> BTreeMap<Unit, u64> {
        let now_ms = self.shared.now_ms();
        let since = self.shared.known.write().core.unowned(now_ms);
        since.into_iter().map(|(unit, since_ms)| (unit, now_ms.saturating_sub(since_ms))).collect()
    }

    /// The units whose state is kept warm here.
    pub fn kept(&self) -> BTreeSet<Unit> {
        self.shared.known.read().core.kept()
    }

    /// Rises whenever something that can be asked for here has changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// Says that there are other units than before: a stream or a source was made or dropped.
    pub fn units_changed(&self) {
        self.shared.units_changed.notify_one();
    }

    /// The lease on which everything rests now; another one after it was lost.
    pub fn lease(&self) -> Lease {
        self.shared.known.read().lease()
    }

    /// Where all of this is stored.
    pub fn coordination(&self) -> &Arc<dyn Coordination> {
        &self.shared.coordination
    }

    /// Gives up all units, unregisters, and ends. What others are to take over they can take at once.
    ///
    /// # Errors
    /// Those of [`Lease::revoke`]: then others wait until the lease has ended.
    pub async fn leave(&self) -> Result<()> {
        self.shared.leaving.send_replace(true);
        let time = self.shared.coordination.time();
        let limit = time.now() + self.shared.options.leave_max();
        let mut ended = self.shared.ended.subscribe();
        tokio::select! {
            _ended = ended.wait_for(|ended| *ended) => {}
            () = time.sleep_until(limit) => tracing::warn!("the node did not give up its units in time"),
        }
        // What is under way still is given up: nothing more happens here.
        self.end();
        self.lease().revoke().await
    }

    /// Tells the other nodes how busy this one is.
    ///
    /// # Errors
    /// Those of [`Membership::report`].
    pub async fn report(&self, load: &Load) -> Result<()> {
        let membership = self.shared.known.read().membership.clone();
        membership.report(load).await
    }

    fn end(&self) {
        self.detector.abort();
        self.planner.abort();
        self.keeper.abort();
    }
}

impl Drop for Owners {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Owners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owners").field("node", &self.shared.node).finish_non_exhaustive()
    }
}

impl Known {
    fn lease(&self) -> Lease {
        self.membership.lease().clone()
    }
}

impl Shared {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.coordination.time().now().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether a node has answered this one since it was registered. A registration alone only says that it reaches coordination.
    fn is_reached(&self, name: &str, member: &Member) -> bool {
        name == self.node.as_str() || self.reached.read().answered.get(name) == Some(&member.epoch.0)
    }

    /// Does something to what is known, and tells those who wait.
    fn with<T>(&self, act: impl FnOnce(&mut Known) -> T) -> T {
        let done = act(&mut self.known.write());
        self.changed.send_modify(|changes| *changes += 1);
        done
    }
}

/// A registration, under a lease of its own.
async fn register(
    coordination: &Arc<dyn Coordination>,
    members: &Members,
    registration: &Registration,
    standing: Standing,
    options: &OwnersOptions,
) -> Result<Arc<Membership>> {
    let lease = Lease::new(coordination.clone(), &options.lease).await?;
    let joined = match members.join_as(standing, &lease, registration).await {
        Err(Error::NodeTaken { node, lease: Some(other) }) => {
            let (_, there) = members.list().await?;
            let is_mine = there.get(&node).is_some_and(|member| {
                member.lease == Some(other) && member.registration.instance == registration.instance
            });
            if !is_mine {
                return Err(Error::NodeTaken { node, lease: Some(other) });
            }
            // This process has the instance's folder: the one that had it before is gone.
            coordination.revoke(other).await?;
            members.join_as(standing, &lease, registration).await?
        }
        joined => joined?,
    };
    Ok(Arc::new(joined))
}
