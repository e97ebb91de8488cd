//! The parts of the interface, by what a node has: translation between crates, and nothing else.

pub(crate) mod asked;
mod cluster;
mod control;
mod drain;
mod evict;
mod groups;
mod homes;
mod locks;
mod parked;
pub(crate) mod problem;
mod regions;
mod settings;
mod sql;
mod traces;

pub(crate) use cluster::NodeCluster;
pub(crate) use control::{Doors, NodeControl};
pub(crate) use groups::NodeGroups;
pub(crate) use locks::NodeLocks;
pub(crate) use parked::NodeParked;
pub(crate) use regions::NodeRegions;
pub(crate) use settings::NodeSettings;
pub(crate) use sql::NodeSql;
pub(crate) use traces::NodeTrails;
