//! The log on Apache Kafka: the trait of `tw_log` on a cluster of brokers, through librdkafka.
//!
//! ```text
//!  append ─▶ queue ─▶ writer ── transaction ─▶ brokers ◀── readers ◀── read
//!                       │                         ▲
//!                       └─▶ tail in memory        └── watch: what other processes have written
//! ```
//!
//! Beside the log there are `groups`: who else reads its topics, as consumer groups of Kafka.
//!
//! It decides nothing about events and subjects, which is the event store's business, nor about who writes what, which is
//! the cluster's: it makes sure that who was shut out cannot write. The reasons are in `docs/adr/0009-log-on-kafka.md`.

mod blocks;
mod client;
mod definitions;
mod groups;
mod log;
mod options;
mod partition;
mod plan;
mod probe;
mod queue;
mod reader;
mod record;
mod security;
mod session;
mod shared;
mod topics;
mod watch;
mod writer;

pub use groups::{
    Group, GroupError, GroupFilter, GroupPage, GroupPartition, GroupRow, Groups, Member, Reset,
    ResetPartition, Resets, Target,
};
pub use log::KafkaLog;
pub use options::Options;
pub use security::{SaslOptions, TlsOptions};
