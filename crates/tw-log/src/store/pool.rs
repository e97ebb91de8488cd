//! Builders of batches, kept for the next write.

use parking_lot::Mutex;
use tw_wire::BatchBuilder;

/// So many builders are kept.
const KEPT_MAX: usize = 64;
/// Those that have grown larger are not kept, in bytes of their batch.
const BYTES_MAX: usize = 256 << 10;

/// Builders that are not in use: a builder has half a dozen buffers, which would be allocated anew for every write.
#[derive(Default)]
pub(super) struct Builders(Mutex<Vec<BatchBuilder>>);

impl Builders {
    pub(super) fn take(&self) -> BatchBuilder {
        self.0.lock().pop().unwrap_or_default()
    }

    /// Keeps a builder whose batch of `bytes` bytes is finished.
    pub(super) fn put_back(&self, builder: BatchBuilder, bytes: usize) {
        let mut kept = self.0.lock();
        if kept.len() < KEPT_MAX && bytes <= BYTES_MAX {
            kept.push(builder);
        }
    }
}

impl std::fmt::Debug for Builders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builders").field("kept", &self.0.lock().len()).finish()
    }
}
