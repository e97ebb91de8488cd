//! The conformance suite on the engines of this crate.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;
use tempfile::TempDir;
use tw_env::Env;
use tw_log::conformance::Engine;
use tw_log::{BoxFuture, EmbeddedLog, Log, MemoryLog, Options};

mod memory {
    use super::*;

    struct Memory;

    impl Engine for Memory {
        fn create(&self) -> BoxFuture<'_, Arc<dyn Log>> {
            Box::pin(async { Arc::new(MemoryLog::new(Env::real())) as Arc<dyn Log> })
        }

        fn reopen(&self, log: Arc<dyn Log>) -> BoxFuture<'_, Arc<dyn Log>> {
            Box::pin(async { log })
        }
    }

    tw_log::conformance!(Memory, regions);
}

/// The embedded engine in a temporary folder.
struct Embedded {
    folder: TempDir,
    options: Options,
}

impl Embedded {
    fn new(options: Options) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), options }
    }

    fn open(&self) -> Arc<dyn Log> {
        Arc::new(
            EmbeddedLog::open(self.folder.path().join("log"), self.options.clone(), Env::real()).unwrap(),
        )
    }
}

impl Engine for Embedded {
    fn create(&self) -> BoxFuture<'_, Arc<dyn Log>> {
        Box::pin(async { self.open() })
    }

    fn reopen(&self, log: Arc<dyn Log>) -> BoxFuture<'_, Arc<dyn Log>> {
        drop(log);
        Box::pin(async { self.open() })
    }
}

mod embedded {
    use super::*;

    tw_log::conformance!(
        Embedded::new(Options {
            segment_bytes: 4 << 20,
            append_bytes_max: 2 << 20,
            group_bytes_max: 1 << 20,
            ..Options::default()
        }),
        regions
    );
}

/// Segments so small that most tests span several, and nothing in memory, so that every read goes to the disk.
mod embedded_from_disk {
    use super::*;

    tw_log::conformance!(
        Embedded::new(Options {
            segment_bytes: 2 << 20,
            append_bytes_max: 1 << 20,
            group_bytes_max: 128 << 10,
            tail_bytes: 0,
            read_bytes_max: 64 << 10,
            index_cache_bytes: 64 << 10,
            region: tw_types::RegionId(2),
            ..Options::default()
        }),
        regions
    );
}
