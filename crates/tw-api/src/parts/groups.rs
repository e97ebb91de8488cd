//! Consumer groups of Kafka: other programs that read streams straight from the brokers.

use crate::Problem;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tw_types::Timestamp;
use utoipa::ToSchema;

/// Consumer groups of the brokers that hold the log. Offsets are the platform's, not Kafka's.
pub trait Groups: Send + Sync + 'static {
    /// Groups in the order of their names.
    ///
    /// # Errors
    /// `no_stream` of the filter; `kafka_unavailable`; `timeout` if there are more than can be told at once.
    fn list(&self, filter: GroupFilter) -> BoxFuture<'_, Result<GroupPage, Problem>>;

    /// One group.
    ///
    /// # Errors
    /// `no_group`, `kafka_unavailable`.
    fn show<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<GroupView, Problem>>;

    /// Has a group go on elsewhere in a stream, or says what that would be.
    ///
    /// # Errors
    /// `in_use` while it has members; `wrong_state` if there is nothing to go back from; `no_stream`, `no_partition`,
    /// `kafka_unavailable`, `timeout`.
    fn reset<'a>(&'a self, group: &'a str, request: ResetGroup)
    -> BoxFuture<'a, Result<GroupReset, Problem>>;
}

/// Which groups are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupFilter {
    /// Only those whose names start so.
    pub prefix: String,
    /// Only those after this name.
    pub after: Option<String>,
    /// At most so many.
    pub limit: Option<usize>,
    /// Only those that read this stream.
    pub stream: Option<String>,
}

/// A part of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupPage {
    /// The groups.
    pub groups: Vec<GroupLine>,
    /// After which name it goes on, if there may be more.
    pub next: Option<String>,
}

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupLine {
    /// Its name.
    #[schema(example = "billing")]
    pub group: String,
    /// `stable` with members, `empty` without, `preparing_rebalance` and `completing_rebalance` while they share anew;
    /// `unknown` if the brokers do not say, as of groups of the newer protocol (KIP-848).
    #[schema(example = "stable")]
    pub state: String,
    /// How members share partitions; null without members.
    #[schema(example = "range")]
    pub protocol: Option<String>,
    /// How many members it has; null if the brokers do not say.
    #[schema(example = 2)]
    pub members: Option<u64>,
    /// The streams that it reads or has read; none if it reads topics that no stream shows.
    #[schema(example = json!(["orders"]))]
    pub streams: Vec<String>,
    /// How many events it has not committed, in partitions where it has committed anything; null where it has nowhere.
    #[schema(example = 123)]
    pub lag_events: Option<u64>,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupView {
    /// Its name.
    #[schema(example = "billing")]
    pub group: String,
    /// As in the list.
    #[schema(example = "stable")]
    pub state: String,
    /// As in the list.
    #[schema(example = "range")]
    pub protocol: Option<String>,
    /// Its members; null if the brokers do not say.
    pub members: Option<Vec<GroupMember>>,
    /// The partitions of streams that it reads or has read.
    pub partitions: Vec<GroupPlace>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupMember {
    /// What the broker calls it.
    #[schema(example = "billing-1-0f8fad5b-d9cb-469f-a165-70867728950e")]
    pub id: String,
    /// What it calls itself.
    #[schema(example = "billing-1")]
    pub client: String,
    /// Where it comes from.
    #[schema(example = "10.0.0.7")]
    pub host: String,
    /// Which partitions of streams it has.
    pub partitions: Vec<GroupShare>,
}

/// A partition of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupShare {
    /// The stream.
    #[schema(example = "orders")]
    pub stream: String,
    /// The partition.
    #[schema(example = 0)]
    pub partition: u32,
}

/// How far a group has come in a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupPlace {
    /// The stream.
    #[schema(example = "orders")]
    pub stream: String,
    /// The partition.
    #[schema(example = 0)]
    pub partition: u32,
    /// The offset of the event that it reads next, by what it has committed; null without a commit.
    #[schema(example = 120)]
    pub committed: Option<u64>,
    /// What it has committed, as Kafka counts, which counts the markers of transactions, too.
    #[schema(example = 241)]
    pub kafka_offset: Option<u64>,
    /// The first event that there is.
    #[schema(example = 0)]
    pub start: u64,
    /// The offset after the last event.
    #[schema(example = 130)]
    pub end: u64,
    /// How many events it has not committed; null without a commit.
    #[schema(example = 10)]
    pub lag_events: Option<u64>,
    /// The member that has it; null if none does, or the brokers do not say.
    #[schema(example = "billing-1-0f8fad5b-d9cb-469f-a165-70867728950e")]
    pub member: Option<String>,
}

/// Where a group is to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetGroup {
    /// The stream.
    #[schema(example = "orders")]
    pub stream: String,
    /// Its partitions; absent: all.
    #[serde(default)]
    #[schema(example = json!([0, 1]))]
    pub partitions: Option<Vec<u32>>,
    /// Where.
    pub to: ResetTo,
    /// Whether it is only told what would be done. Default false.
    #[serde(default)]
    pub dry_run: bool,
}

/// A place in each partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResetTo {
    /// The first event that there is.
    Start,
    /// The next event to come.
    End,
    /// The event with this offset.
    Offset(u64),
    /// The first event that was accepted at this time or later, RFC 3339.
    Time(EventTime),
    /// So many events before the one that it would read next.
    Back(u64),
}

/// A time, RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, example = "2026-01-31T09:30:00Z")]
pub struct EventTime(pub Timestamp);

/// What a reset does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupReset {
    /// The group.
    #[schema(example = "billing")]
    pub group: String,
    /// Whether the brokers knew the group before. One that they do not know is made.
    pub exists: bool,
    /// The stream.
    #[schema(example = "orders")]
    pub stream: String,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// What becomes of each partition.
    pub partitions: Vec<GroupStep>,
}

/// What a reset does to a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupStep {
    /// The partition.
    #[schema(example = 0)]
    pub partition: u32,
    /// The event that the group would have read next; null without a commit.
    #[schema(example = 120)]
    pub from: Option<u64>,
    /// The one that it reads next now.
    #[schema(example = 0)]
    pub to: u64,
    /// What is committed for it, as Kafka counts.
    #[schema(example = 0)]
    pub kafka_offset: u64,
    /// Whether the partition has no event where it was to go, and `to` is its start or its end instead.
    pub clamped: bool,
}
