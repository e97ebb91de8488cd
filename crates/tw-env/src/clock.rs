//! Time.

use std::time::Duration;

/// Where time comes from.
pub trait Clock: Send + Sync {
    /// Wall-clock milliseconds since 1970-01-01T00:00:00Z. It may jump, forwards and backwards.
    fn now_ms(&self) -> u64;

    /// Time since some fixed instant. It never runs backwards.
    fn monotonic(&self) -> Duration;
}
