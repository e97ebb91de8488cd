//! Processing: events of a partition into state, exactly once.

mod processor;

pub use processor::{ApplyError, Processor, View, WORKER_KEY};
