//! The event store's promises on every engine.

mod memory {
    use std::sync::Arc;
    use tw_log::{Log, MemoryLog};

    fn log() -> Arc<dyn Log> {
        Arc::new(MemoryLog::new(tw_env::Env::real()))
    }

    tw_log::event_store_conformance!(log());
}
