//! The cluster behind the interface.

mod plan;

use super::problem::of_cluster;
use crate::cluster::{PROTOCOL, Subject};
use crate::core::Core;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tw_api::parts::{Cluster, ClusterView, NodeView, PlanView, RebalanceView, UnitView};
use tw_api::{Code, Problem};
use tw_cluster::{Member, Members, Owner, Owners, Standing};
use tw_log::Streams;
use tw_plan::placement::{Assignment, Plan, Unit};
use tw_types::NodeId;

/// How long the leader may take to make a plan that is asked for: as long as another node needs to be elected.
const REBALANCE_MAX: Duration = Duration::from_secs(15);

/// The cluster that a node is in.
pub(crate) struct NodeCluster(pub(crate) Arc<Core>);

impl NodeCluster {
    fn owners(&self) -> Result<&Owners, Problem> {
        let joining = || Problem::new(Code::NotReady, "the node has not joined its cluster yet");
        self.0.cluster.owners().ok_or_else(joining)
    }
}

impl Cluster for NodeCluster {
    fn view(&self) -> BoxFuture<'_, Result<ClusterView, Problem>> {
        Box::pin(async {
            let owners = self.owners()?;
            let plan = owners.plan();
            let now_ms = self.0.env.clock.now_ms();
            let members = owners.members();
            let nodes = members.iter().map(|(name, member)| node(name, member, &plan, now_ms)).collect();
            let unowned = owners.unowned();
            let streams = self.0.log.streams();
            let units = plan.iter().map(|(unit, one)| described(owners, &streams, &unowned, unit, one));
            Ok(ClusterView {
                node: owners.node().to_string(),
                leads: owners.leads(),
                plan_version: plan.version(),
                in_transit: owners.in_transit() as u64,
                unowned: unowned.len() as u64,
                nodes,
                units: in_order(units, |unit| &unit.name),
            })
        })
    }

    fn drain<'a>(&'a self, node: &'a str, drains: bool) -> BoxFuture<'a, Result<String, Problem>> {
        Box::pin(async move {
            let missing = |error| Problem::new(Code::NoNode, format!("there is no node `{node}`: {error}"));
            NodeId::new(node).map_err(missing)?;
            let members = Members::new(self.owners()?.coordination().clone()).map_err(of_cluster)?;
            let standing = if drains { Standing::Draining } else { Standing::Active };
            let changed = members.set_standing(node, standing).await.map_err(of_cluster)?;
            Ok(match (changed, drains) {
                (true, true) => format!("node `{node}` hands over what it has"),
                (true, false) => format!("node `{node}` takes its share again"),
                (false, true) => format!("node `{node}` drains already"),
                (false, false) => format!("node `{node}` is active already"),
            })
        })
    }

    fn plan(&self) -> BoxFuture<'_, Result<PlanView, Problem>> {
        Box::pin(async { Ok(plan::view(self.owners()?, &self.0.log.streams(), self.0.env.clock.now_ms())) })
    }

    fn rebalance(&self, carry_out: bool) -> BoxFuture<'_, Result<RebalanceView, Problem>> {
        Box::pin(async move {
            let owners = self.owners()?;
            let changes = match carry_out {
                true => owners.rebalance(REBALANCE_MAX).await,
                false => owners.rebalanced(),
            };
            let changes = changes.map_err(|error| match error {
                tw_cluster::Error::NoLease(_) => {
                    Problem::new(Code::NotReady, "the node is not registered at the moment")
                }
                error => of_cluster(error),
            })?;
            Ok(plan::rebalance(&changes, &self.0.log.streams(), carry_out))
        })
    }

    fn read(&self, request: Bytes) -> BoxStream<'static, Bytes> {
        self.0.engine.serve(request)
    }
}

/// Whether a node is given work.
fn state(member: &Member) -> &'static str {
    match member.standing {
        Standing::Active => "active",
        Standing::Draining => "draining",
    }
}

fn node(name: &str, member: &Member, plan: &Plan, now_ms: u64) -> NodeView {
    let id = NodeId::new(name).ok();
    let count = |of: fn(&Assignment, &NodeId) -> bool| {
        id.as_ref().map_or(0, |id| plan.iter().filter(|(_, one)| of(one, id)).count() as u64)
    };
    let registration = &member.registration;
    NodeView {
        name: name.to_owned(),
        state: state(member).to_owned(),
        address: registration.addresses.get(PROTOCOL).cloned().unwrap_or_default(),
        version: registration.version.clone(),
        units: count(|one, id| one.owner == *id),
        standbys: count(|one, id| one.standbys.contains(id)),
        capacity_millicores: registration.capacity.cpu_millicores,
        used_millicores: member.load.map(|load| load.cpu_millicores),
        memory_bytes: member.load.map(|load| load.memory_bytes),
        in_flight: member.load.map(|load| load.in_flight),
        queued_writes: member.load.map(|load| load.queued_writes),
        lag_events: member.load.map(|load| load.lag_events),
        registered_ms: now_ms.saturating_sub(member.joined_ms),
    }
}

/// A unit, and whether it is a source.
fn described(
    owners: &Owners,
    streams: &Streams,
    unowned: &BTreeMap<Unit, u64>,
    unit: &Unit,
    one: &Assignment,
) -> (bool, UnitView) {
    let (is_source, name) = named(unit, streams);
    let owner = owner(owners, unit);
    let view = UnitView {
        name,
        unit: unit.to_string(),
        owner,
        planned: one.owner.to_string(),
        standbys: one.standbys.iter().map(NodeId::to_string).collect(),
        unowned_ms: unowned.get(unit).copied(),
    };
    (is_source, view)
}

/// Whether a unit is a source, and what it is called for a person.
fn named(unit: &Unit, streams: &Streams) -> (bool, String) {
    match Subject::of(unit) {
        Some(Subject::Partition(at)) => {
            let stream =
                streams.by_id(at.stream).map_or_else(|_| at.stream.to_string(), |def| def.name.to_string());
            (false, format!("{stream}/{}", at.partition))
        }
        Some(Subject::Source(source)) => (true, format!("source {source}")),
        None => (true, unit.to_string()),
    }
}

/// Who has a unit.
fn owner(owners: &Owners, unit: &Unit) -> Option<String> {
    match owners.owner(unit) {
        Owner::Here(_) => Some(owners.node().to_string()),
        Owner::Node(node) => Some(node.to_string()),
        Owner::Nobody => None,
    }
}

/// What is told of units, each with whether it is a source, in the order of streams and partitions, sources last.
fn in_order<T>(units: impl Iterator<Item = (bool, T)>, name: impl Fn(&T) -> &str) -> Vec<T> {
    let mut units: Vec<_> = units.collect();
    units.sort_by(|(a_source, a), (b_source, b)| {
        (a_source, natural(name(a))).cmp(&(b_source, natural(name(b))))
    });
    units.into_iter().map(|(_, unit)| unit).collect()
}

/// Partition 10 comes after partition 9.
fn natural(name: &str) -> (&str, u64) {
    let split = name.rsplit_once('/').and_then(|(stream, number)| Some((stream, number.parse().ok()?)));
    split.unwrap_or((name, 0))
}
