//! A running node: the log, what is derived from it, and the interface to it, put together.
//!
//! ```text
//! Config ──▶ Node::start ──▶ log, state, event store, workers, engine, sources ──▶ Server (the parts below)
//!                                  ▲
//!            `$config` ──▶ Definitions (the reconciler): views and sources are as the definitions say
//! ```
//!
//! This crate makes no decisions of its own: what a statement demands says `tw-project`, how events are processed says
//! `tw-process`. It starts things in their order, keeps what runs equal to what is defined, and ends things in the opposite
//! order.

mod claims;
mod cluster;
mod config;
mod core;
mod definitions;
mod dns;
mod epoch;
mod error;
mod folder;
mod hashes;
mod live;
mod merged;
mod meters;
mod metrics;
mod node;
mod parts;
mod regions;
mod rights;
mod routing;
mod secrets;
mod sources;
mod status;
mod tokens;
mod views;

pub use cluster::{BalanceOptions, ClusterOptions};
pub use config::{Config, InvalidConfig, NodeOptions, reference};
pub use error::Error;
pub use folder::Folder;
pub use meters::MetricsOptions;
pub use node::Node;
pub use regions::ArbiterOptions;
pub use routing::{RoutingOptions, RoutingRegion};
