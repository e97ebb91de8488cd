//! What is stored and sent: the block format, and CloudEvents as text.
//!
//! A *block* is a checksummed batch of events of one partition, the unit of disk, network and processing. Events
//! become a [`Batch`] where they are written (encoding and compression happen on the writer's thread), a batch or
//! several become a [`Block`] where they get their place, and a block becomes [`Records`] where it is read. The
//! layout is described in [`block`] and [`record`]; it is version 1, fixed by golden bytes in the tests, and read by every
//! later version. [`cloudevents`] reads and writes events as JSON and HTTP headers, [`kafka`] as records of Kafka. This crate does no I/O, and no input can make it panic or allocate more than its limits.
#![warn(clippy::indexing_slicing)]

mod batch;
pub mod block;
pub mod cloudevents;
mod dictionary;
mod error;
pub mod kafka;
pub mod record;
mod runs;
mod varint;

pub use batch::{Batch, BatchBuilder};
pub use block::{BLOCK_BYTES_MAX, Block, BlockHeader, HEADER_BYTES, Placement};
pub use dictionary::TEXTS_MAX;
pub use error::Error;
pub use record::{Records, RecordsIter};
pub use runs::Run;

#[cfg(test)]
mod tests;
