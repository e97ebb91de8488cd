//! The event store's promises on every engine.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;
use tw_env::Env;
use tw_log::{EmbeddedLog, Log, MemoryLog, Options};

mod memory {
    use super::*;

    fn log() -> Arc<dyn Log> {
        Arc::new(MemoryLog::new(Env::real()))
    }

    tw_log::event_store_conformance!(log(), regions);
}

/// With segments so small that most tests span several, and nothing in memory, so that every read goes to the disk.
mod embedded_from_disk {
    use super::*;

    fn log(folder: &tempfile::TempDir) -> Arc<dyn Log> {
        let options = Options {
            segment_bytes: 2 << 20,
            append_bytes_max: 1 << 20,
            group_bytes_max: 128 << 10,
            tail_bytes: 0,
            read_bytes_max: 64 << 10,
            index_cache_bytes: 64 << 10,
            ..Options::default()
        };
        Arc::new(EmbeddedLog::open(folder.path().join("log"), options, Env::real()).unwrap())
    }

    tw_log::event_store_conformance!(log(&tempfile::tempdir().unwrap()), regions);
}
