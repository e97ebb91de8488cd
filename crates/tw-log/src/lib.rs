//! The log: an ordered, durable, replayable sequence of events per partition.
//!
//! Everything else in Tradewind writes to it and reads from it through the trait [`Log`]; which engine is behind
//! the trait is a matter of configuration. [`MemoryLog`] is the reference model: it keeps its promises as long as
//! its process lives, and the conformance suite holds the engines to it.

mod ahead;
#[cfg(feature = "conformance")]
pub mod conformance;
mod embedded;
mod error;
#[cfg(feature = "conformance")]
pub mod faulty;
mod guarded;
mod log;
mod memory;
mod permits;
mod signal;
pub mod store;
mod streams;

pub use ahead::ReadAhead;
pub use embedded::{
    BlockInfo, EmbeddedLog, FrameInfo, IndexInfo, IndexState, IndexedPartition, Inspection, Options, Problem,
    SegmentInfo, Stats, Verification, VerifiedPartition, VerifiedSegment, inspect, verify,
};
pub use error::Error;
pub use guarded::spawn_guarded;
pub use log::{Ack, AckSender, Append, Bounds, Foreign, Held, Log, Placed, fitting_blocks};
pub use memory::MemoryLog;
pub use permits::{Permit, Permits};
pub use signal::Signal;
pub use streams::{
    CONFIG_PARTITION, CONFIG_STREAM, ConfigChange, Definition, NewStream, Streams, check_append, check_trim,
};

/// The result of an operation on the log.
pub type Result<T, E = Error> = std::result::Result<T, E>;
/// A boxed future, as the trait's methods return.
pub type BoxFuture<'a, T> = futures_util::future::BoxFuture<'a, T>;
