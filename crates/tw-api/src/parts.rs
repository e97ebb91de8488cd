//! What the interface needs of the rest of the platform, as traits. Whoever implements one says no with a
//! [`Problem`](crate::Problem), whose code is a part of the interface.

mod claims;
mod cluster;
mod control;
mod drain;
mod evict;
mod groups;
mod hashes;
mod homes;
mod locks;
mod meters;
mod parked;
mod regions;
mod restore;
mod rights;
mod routes;
mod routing;
mod settings;
mod sql;
mod traces;

pub use crate::headers::{HOP, LOG_SILENT};
pub use claims::{ClaimQuery, ClaimRequest, ClaimView, Claimed, Claims, Settled};
pub use cluster::{
    Cluster, ClusterView, MoveView, NodeView, PlanNodeView, PlanView, RebalanceView, UnitView,
};
pub use control::{
    About, Action, Build, Control, Extent, Projection, Source, SourceSlot, SourceTable, Status, Target,
    Trouble,
};
pub use drain::{DrainRequest, DrainView, Drained};
pub use evict::{EvictRequest, EvictedView, EvictionView, HasOfEvicted};
pub use groups::{
    EventTime, GroupFilter, GroupLine, GroupMember, GroupPage, GroupPlace, GroupReset, GroupShare, GroupStep,
    GroupView, Groups, ResetGroup, ResetTo,
};
pub use hashes::{OriginCount, ProjectionHash, RegionHashes, StreamHash};
pub use homes::{
    FailoverRequest, FailoverStreamView, FailoverView, HomeView, HomesView, MoveHomes, MovedHome, MovedHomes,
};
pub use locks::{HeldLock, Lock, LockClaim, LockSession, Locks};
pub use meters::{Measured, Meters, Point, Series, SeriesName, Unmeasured, Wanted};
pub use parked::{Parked, ParkedEvent, ParkedFilter, ParkedId};
pub use regions::{Closed, RegionPartitionView, RegionPeerView, RegionView, Regions};
pub use restore::{GoOnWithout, RestorePeerView, RestoreView};
pub use rights::{
    ColumnRightsView, GiveRights, GivenRights, Obtained, RegionRightsView, Rights, RightsView, RowChange,
};
pub use routes::{Alone, Held, Pass, Reply, Routes, Unanswered, Way};
pub use routing::{
    ChangeRouting, ChangedRouting, ExcludedRegion, GivenPart, MeasuredRtt, MeasuredRtts, PlannedRegion,
    RankedRegion, RegionLoad, RegionLoss, RouteQuery, RouteView, RoutingGeneration, RoutingStep, RoutingView,
    network,
};
pub(crate) use routing::{DrainUsersRequest, RollBackRequest, ShiftRequest, WeighRequest};
pub use settings::{Setting, SettingChange, Settings};
pub use sql::{Answer, Comparison, FIELD_TYPE, Param, Rows, Sql, Statement};
pub use traces::{SilentView, SpanView, TraceView, Trails};

use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;
use tw_env::Env;
use tw_log::Log;
use tw_log::store::EventStore;

/// Everything that a server works with.
#[derive(Clone)]
pub struct Parts {
    /// The event store, and the log that it is on.
    pub events: EventStore,
    /// Statements.
    pub sql: Arc<dyn Sql>,
    /// Definitions and the state of the node.
    pub control: Arc<dyn Control>,
    /// Events that could not be processed.
    pub parked: Arc<dyn Parked>,
    /// Who takes what, if this node is one of many: [`Alone`] if it is not.
    pub routes: Arc<dyn Routes>,
    /// The cluster that the node is in, if it is one of many.
    pub cluster: Option<Arc<dyn Cluster>>,
    /// The links with other regions, if this is one of several.
    pub regions: Option<Arc<dyn Regions>>,
    /// Who gets what changes of rows need before they are accepted; None if no stream has such rows.
    pub rights: Option<Arc<dyn Rights>>,
    /// Who knows which row has a unique value; None if no stream has such columns.
    pub claims: Option<Arc<dyn Claims>>,
    /// Consumer groups of other programs, if the log is on Kafka.
    pub groups: Option<Arc<dyn Groups>>,
    /// Locks for clients.
    pub locks: Arc<dyn Locks>,
    /// Options that change while nodes run.
    pub settings: Arc<dyn Settings>,
    /// What is recorded of requests here.
    pub traces: Arc<tw_trace::Traces>,
    /// What is recorded of them anywhere.
    pub trails: Arc<dyn Trails>,
    /// Numbers over time.
    pub meters: Arc<dyn Meters>,
    /// The metrics of the whole process.
    pub metrics: PrometheusHandle,
    /// Time and randomness.
    pub env: Env,
}

impl Parts {
    /// The log: streams, their blocks, and when there are new ones.
    pub(crate) fn log(&self) -> &Arc<dyn Log> {
        self.events.log()
    }
}
