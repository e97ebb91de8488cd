//! Processing: events of a partition into state, exactly once.
//!
//! [`Workers`] drive [`View`]s: for each partition of the stream that a view reads, a pipeline takes blocks from the log,
//! passes their events through the gate ([`tw_order::gate`]) into the view's [`Processor`], and commits the processor's
//! changes, the offset and what waits in one step (PRO-2). An event that cannot be processed blocks its own subject only,
//! is retried, and is then parked until a person decides (PRO-3, [`Parked`]). A view is rebuilt beside the running one
//! and switched in one step. What is derived here can be thrown away: it is rebuilt from the log, decisions included.
//!
//! ```text
//! log ──▶ pipeline(view, partition) ──▶ gate ──▶ Processor ──▶ one commit ──▶ keyspace of the view's generation
//!                │      ▲                 │
//!          threads take turns        lanes, queues, outbox ──▶ $parked ──▶ index ──▶ decisions back to the gate
//! ```

mod error;
mod handle;
mod keys;
mod options;
mod parked;
mod pipeline;
mod processor;
mod progress;
mod record;
mod schedule;
pub mod snapshot;
mod views;

pub use error::Error;
pub use handle::{Committed, Handle, Workers, committed, committed_offset};
pub use options::Options;
pub use parked::{
    InvalidParkedId, LogWriter, PARKED_STREAM, Parked, ParkedDetail, ParkedEvent, ParkedFilter, ParkedId,
    ParkedPage, ParkedWriter,
};
pub use processor::{ApplyError, Processor, View, WORKER_KEY};
pub use progress::Standing;
pub use views::{Aligned, Assigned, BuildStatus, PartitionStatus, Reading, ViewStatus, Warmth};

#[cfg(test)]
extern crate self as tw_process;
#[cfg(test)]
mod support;
