//! Definitions, and the state of the node.

use crate::Problem;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tw_log::NewStream;
use tw_types::{EventRef, StreamDef, StreamName};
use utoipa::ToSchema;

/// Definitions, and the state of the node.
pub trait Control: Send + Sync + 'static {
    /// Whether a stream takes an event from outside: it must not be one that a source fills, and the event must fit the
    /// declared columns. Called for every event, so it does not wait.
    ///
    /// # Errors
    /// Why not.
    fn admit(&self, stream: &StreamDef, event: &EventRef<'_>) -> Result<(), Problem>;

    /// Defines a stream.
    fn create_stream(&self, stream: NewStream) -> BoxFuture<'_, Result<Arc<StreamDef>, Problem>>;

    /// Replaces the columns and the options of a stream.
    fn alter_stream(&self, changed: NewStream) -> BoxFuture<'_, Result<Arc<StreamDef>, Problem>>;

    /// Removes a stream and its events, unless something needs it.
    fn drop_stream<'a>(&'a self, name: &'a StreamName) -> BoxFuture<'a, Result<(), Problem>>;

    /// A source, as this node sees it: whoever runs it knows more.
    fn source<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Source, Problem>>;

    /// All sources, in the order of their names, each as whoever runs it sees it.
    fn sources(&self) -> BoxFuture<'_, Result<Vec<Source>, Problem>>;

    /// All projections, in the order of their names.
    fn projections(&self, extent: Extent) -> BoxFuture<'_, Result<Vec<Projection>, Problem>>;

    /// Does something with a source or a projection; it has begun when the future resolves. Says what was done, for a
    /// person.
    fn act<'a>(&'a self, target: Target<'a>, action: Action) -> BoxFuture<'a, Result<String, Problem>>;

    /// The state of the node.
    fn status(&self) -> BoxFuture<'_, Result<Status, Problem>>;

    /// Whether the node can serve requests.
    ///
    /// # Errors
    /// Why not yet, or why not any more.
    fn ready(&self) -> Result<(), Problem>;

    /// How long the servers of the log have given no sign of life, in milliseconds, if that is too long. The node goes on all the same:
    /// what it has can be read.
    fn log_silent_ms(&self) -> Option<u64> {
        None
    }
}

/// Of which partitions something is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Of all, on whatever nodes they are.
    Everywhere,
    /// Of those that this node owns: another one asks, which puts them together.
    Own,
}

/// What an action is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// The source of this name.
    Source(&'a str),
    /// The projection of this name.
    Projection(&'a str),
}

/// What can be done with a source or a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Stop where it is.
    Pause,
    /// Go on from there.
    Resume,
    /// A projection: build it anew from the log, beside the one that answers, and switch when it has caught up.
    Rebuild,
    /// A projection: have what is built anew wait when it has caught up.
    Hold,
    /// A projection: let it take over.
    Release,
    /// A source: copy these tables again while capture goes on; empty: all of them.
    Resnapshot(Vec<String>),
    /// Remove it.
    Drop,
}

/// A source and its state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Source {
    /// Its name.
    #[schema(example = "shop")]
    pub name: String,
    /// What it captures from.
    #[schema(example = "postgres")]
    pub kind: String,
    /// `starting`; `snapshotting` while rows that were there before are read, and `streaming` afterwards; `retrying` when
    /// the connection is lost; `paused`; `failed` when somebody has to do something.
    #[schema(example = "streaming")]
    pub state: String,
    /// Why it does not stream, or what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its tables.
    pub tables: Vec<SourceTable>,
    /// How far what is in the log is behind the source, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 12)]
    pub lag_ms: Option<u64>,
    /// The same in bytes of the source's own log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 4096)]
    pub lag_bytes: Option<u64>,
    /// How many bytes of its own log the source keeps for us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 1048576)]
    pub retained_bytes: Option<u64>,
    /// The replication slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<SourceSlot>,
    /// Where in the source's own log we are, in the source's notation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "0/16B3748")]
    pub position: Option<String>,
}

/// The replication slot of a source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct SourceSlot {
    /// Its name.
    #[schema(example = "tradewind_shop")]
    pub name: String,
    /// `reserved` and `extended` are well; `unreserved` will be lost soon, `lost` is.
    #[schema(example = "reserved")]
    pub wal_status: String,
    /// How many more bytes the source may log before the slot may be lost; absent for no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 1073741824)]
    pub safe_bytes: Option<i64>,
}

/// A table of a source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct SourceTable {
    /// Its name in the source.
    #[schema(example = "public.orders")]
    pub name: String,
    /// The stream that it is captured into.
    #[schema(example = "shop.orders")]
    pub stream: String,
    /// `waiting`, `snapshotting`, `streaming`, `paused` or `failed`.
    #[schema(example = "streaming")]
    pub state: String,
    /// Why it is not captured, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How much of its snapshot is done, while one is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Build>,
}

/// How far something is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Build {
    /// How many rows or events are done.
    #[schema(example = 120000)]
    pub done: u64,
    /// How many there are, about.
    #[schema(example = 500000)]
    pub total: u64,
    /// Of a projection: whether it is so near to the events that it can take over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ready: bool,
}

/// A projection and its state.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Projection {
    /// Its name.
    #[schema(example = "revenue")]
    pub name: String,
    /// The stream that it reads.
    #[serde(default)]
    #[schema(example = "shop.orders")]
    pub stream: String,
    /// Its SELECT.
    #[schema(example = "SELECT customer_id, sum(total) FROM shop.orders GROUP BY customer_id")]
    pub sql: String,
    /// `building`, `running`, `paused` or `failed`; `unknown` when partitions have no owner at the moment, or a node does not say.
    #[schema(example = "running")]
    pub state: String,
    /// Why it failed, or why that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How many events it is behind.
    #[schema(example = 0)]
    pub lag_events: u64,
    /// How old the last processed event is while there are newer ones, in milliseconds; 0 when there are none. Of the
    /// partition that is furthest behind.
    #[serde(default)]
    #[schema(example = 0)]
    pub lag_ms: u64,
    /// How many bytes its state takes, on the nodes that own its partitions.
    #[serde(default)]
    #[schema(example = 1048576)]
    pub state_bytes: u64,
    /// How many events it processes per second, over the last seconds.
    #[serde(default)]
    #[schema(example = 120.5)]
    pub rate_events_per_second: f64,
    /// The cut that it shows.
    #[schema(example = "tw1;7=0:120,1:88")]
    pub token: String,
    /// How many events are parked.
    #[schema(example = 0)]
    pub parked: u64,
    /// Whether what is built anew waits when it has caught up, until it is released.
    #[serde(default)]
    #[schema(example = false)]
    pub held: bool,
    /// How much of a new build is done, while one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
}

/// Something that is not as it should be, and that a person should look at.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Trouble {
    /// What it is, for a program: the code stays, its words may change. `docs/operations.md` lists the codes.
    #[schema(example = "projection_failed")]
    pub code: String,
    /// What it is about.
    pub about: About,
    /// What has happened, for a person.
    #[schema(example = "partition 0 stands still: division by zero")]
    pub detail: String,
    /// What to do about it, for a person.
    #[schema(example = "define it anew with CREATE OR REPLACE PROJECTION, or rebuild it")]
    pub remedy: String,
}

/// What something is about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct About {
    /// `node`, `log`, `disk`, `region`, `source`, `table`, `stream`, `partition`, `projection` or `definition`.
    #[schema(example = "projection")]
    pub kind: String,
    /// Its name; empty for what there is one of.
    #[schema(example = "revenue")]
    pub name: String,
}

impl Trouble {
    /// What is wrong with something, and what to do.
    pub fn new(
        code: &str,
        kind: &str,
        name: &str,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let about = About { kind: kind.to_owned(), name: name.to_owned() };
        Self { code: code.to_owned(), about, detail: detail.into(), remedy: remedy.into() }
    }
}

/// The state of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// `ready`, `degraded` or `starting`.
    #[schema(example = "ready")]
    pub state: String,
    /// What is not as it should be; empty when all is well.
    pub problems: Vec<Trouble>,
    /// The version of the software.
    #[schema(example = "0.1.0")]
    pub version: String,
    /// For how long the node has run, in milliseconds.
    #[schema(example = 86400000)]
    pub uptime_ms: u64,
    /// The folder of its data.
    #[schema(example = "./tradewind-data")]
    pub data_folder: String,
    /// How many bytes are free there.
    #[schema(example = 52428800000u64)]
    pub disk_free_bytes: u64,
    /// How many streams there are, the platform's own included.
    #[schema(example = 9)]
    pub streams: u64,
    /// How many sources there are.
    #[schema(example = 1)]
    pub sources: u64,
    /// How many projections there are.
    #[schema(example = 3)]
    pub projections: u64,
    /// How many events are parked.
    #[schema(example = 0)]
    pub parked: u64,
}
