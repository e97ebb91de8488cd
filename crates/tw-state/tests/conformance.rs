//! The suite, run on both implementations.
#![expect(clippy::unwrap_used, reason = "tests")]

use tw_state::conformance::Place;
use tw_state::{Result, Store};

mod memory {
    use super::*;

    struct Memory;

    impl Place for Memory {
        fn open(&self) -> Result<Box<dyn Store>> {
            Ok(Box::new(tw_state::MemoryStore::new()))
        }
    }

    tw_state::store_conformance!(Memory);
}

mod disk {
    use super::*;
    use tempfile::TempDir;

    struct Folder(TempDir);

    impl Place for Folder {
        fn open(&self) -> Result<Box<dyn Store>> {
            Ok(Box::new(tw_state::DiskStore::open(self.0.path(), tw_state::Options::default())?))
        }
    }

    fn folder() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    tw_state::store_conformance!(folder());
    tw_state::durable_store_conformance!(folder());
}
