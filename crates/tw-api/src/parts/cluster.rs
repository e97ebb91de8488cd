//! The cluster: its nodes, and who has what.

use crate::Problem;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The cluster that a node is in.
pub trait Cluster: Send + Sync + 'static {
    /// What this node knows of it.
    fn view(&self) -> BoxFuture<'_, Result<ClusterView, Problem>>;

    /// Has a node hand over what it has and take nothing new, or take its share again. Says what was done, for a person.
    fn drain<'a>(&'a self, node: &'a str, drains: bool) -> BoxFuture<'a, Result<String, Problem>>;

    /// The plan in effect, and what is under way to it.
    fn plan(&self) -> BoxFuture<'_, Result<PlanView, Problem>>;

    /// What a rebalance changes: it is carried out, or only computed.
    fn rebalance(&self, carry_out: bool) -> BoxFuture<'_, Result<RebalanceView, Problem>>;

    /// Answers what another node asks for its queries.
    fn read(&self, request: Bytes) -> BoxStream<'static, Bytes>;
}

/// The nodes of a cluster, and who has what.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct ClusterView {
    /// The node that answers.
    #[schema(example = "n1")]
    pub node: String,
    /// Whether that node makes the plans.
    pub leads: bool,
    /// The version of the plan that is carried out; rises with each.
    #[schema(example = 12)]
    pub plan_version: u64,
    /// How many units are not where the plan has them.
    #[schema(example = 0)]
    pub in_transit: u64,
    /// How many units nobody has (CLU-2).
    #[schema(example = 0)]
    pub unowned: u64,
    /// The nodes that are registered, by name.
    pub nodes: Vec<NodeView>,
    /// Every unit that the plan has, in the order of streams and partitions, sources last.
    pub units: Vec<UnitView>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// Its name.
    #[schema(example = "n1")]
    pub name: String,
    /// `active`, or `draining`: it hands over what it has, and takes nothing new.
    #[schema(example = "active")]
    pub state: String,
    /// Where it serves.
    #[schema(example = "10.0.0.1:7070")]
    pub address: String,
    /// The version of its software.
    #[schema(example = "0.1.0")]
    pub version: String,
    /// How many units the plan gives it.
    #[schema(example = 30)]
    pub units: u64,
    /// For how many others it stands by.
    #[schema(example = 30)]
    pub standbys: u64,
    /// Processing power in thousandths of a core.
    #[schema(example = 8000)]
    pub capacity_millicores: u64,
    /// How much of it is in use; absent before the node has told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 1500)]
    pub used_millicores: Option<u64>,
    /// Memory in use, in bytes; absent before the node has told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 536870912)]
    pub memory_bytes: Option<u64>,
    /// Requests under way; absent before the node has told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 12)]
    pub in_flight: Option<u64>,
    /// Writes that wait until they are durable; absent before the node has told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 3)]
    pub queued_writes: Option<u64>,
    /// How far its views are behind, in events; absent before the node has told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 0)]
    pub lag_events: Option<u64>,
    /// For how long it is registered, in milliseconds, by its own clock and this node's.
    #[schema(example = 86400000)]
    pub registered_ms: u64,
}

/// What has one owner: a partition, or a source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct UnitView {
    /// What it is, for a person: `shop.orders/3`, `source shop`.
    #[schema(example = "shop.orders/3")]
    pub name: String,
    /// Its number among the units, as the plan and the logs name it.
    #[schema(example = "7/3")]
    pub unit: String,
    /// Who has it; absent when nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "n1")]
    pub owner: Option<String>,
    /// Who is to have it.
    #[schema(example = "n1")]
    pub planned: String,
    /// Who keeps its state warm.
    pub standbys: Vec<String>,
    /// For how long nobody has had it, in milliseconds; absent when somebody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unowned_ms: Option<u64>,
}

/// The plan in effect, next to what is so.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct PlanView {
    /// The node that answers.
    #[schema(example = "n1")]
    pub node: String,
    /// Whether that node makes the plans.
    pub leads: bool,
    /// The version of the plan; rises with each.
    #[schema(example = 12)]
    pub version: u64,
    /// How long ago it was made, in milliseconds, by the clocks of its maker and of the node that answers.
    #[schema(example = 60000)]
    pub age_ms: u64,
    /// How many units it has.
    #[schema(example = 90)]
    pub units: u64,
    /// Each node that is registered, or that the plan names, by name.
    pub nodes: Vec<PlanNodeView>,
    /// What is not where the plan has it yet.
    pub moves: Vec<MoveView>,
}

/// What a node is to have, and what it has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct PlanNodeView {
    /// Its name.
    #[schema(example = "n1")]
    pub name: String,
    /// `active`, `draining`, or `gone`: the next plan does without it.
    #[schema(example = "active")]
    pub state: String,
    /// How many units the plan gives it.
    #[schema(example = 30)]
    pub planned: u64,
    /// How many it has.
    #[schema(example = 30)]
    pub actual: u64,
    /// For how many others it stands by.
    #[schema(example = 30)]
    pub standbys: u64,
}

/// A unit that gets another owner.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct MoveView {
    /// What it is, for a person: `shop.orders/3`, `source shop`.
    #[schema(example = "shop.orders/3")]
    pub name: String,
    /// Its number among the units, as the plan and the logs name it.
    #[schema(example = "7/3")]
    pub unit: String,
    /// Who has it; absent when nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "n1")]
    pub from: Option<String>,
    /// Who gets it.
    #[schema(example = "n2")]
    pub to: String,
}

/// What a rebalance changes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct RebalanceView {
    /// Whether it is carried out; otherwise nothing has changed.
    pub carried_out: bool,
    /// The version of the plan in effect.
    #[schema(example = 13)]
    pub plan_version: u64,
    /// What the fullest node had before, in thousandths of its share by capacity.
    #[schema(example = 1500)]
    pub peak_permille_before: u64,
    /// The same afterwards; 1,000 is even.
    #[schema(example = 1000)]
    pub peak_permille_after: u64,
    /// Whether more is left to move than one plan may: another rebalance goes on.
    pub postponed: bool,
    /// What moves.
    pub moves: Vec<MoveView>,
}
