//! Time that is set by hand, and randomness that repeats.

use crate::{Clock, Random};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A clock that stands still until it is told otherwise. It starts at 2023-11-14T22:13:20Z.
#[derive(Debug)]
pub struct SimClock {
    wall_ms: AtomicU64,
    monotonic_ms: AtomicU64,
}

impl Default for SimClock {
    fn default() -> Self {
        Self { wall_ms: AtomicU64::new(1_700_000_000_000), monotonic_ms: AtomicU64::new(0) }
    }
}

impl SimClock {
    /// Lets `ms` milliseconds pass.
    pub fn advance(&self, ms: u64) {
        self.wall_ms.fetch_add(ms, Ordering::SeqCst);
        self.monotonic_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sets the wall clock, forwards or backwards; monotonic time does not notice.
    pub fn set_wall(&self, now_ms: u64) {
        self.wall_ms.store(now_ms, Ordering::SeqCst);
    }

    /// Another clock that shows the same time.
    pub fn fork(&self) -> Self {
        Self {
            wall_ms: AtomicU64::new(self.wall_ms.load(Ordering::SeqCst)),
            monotonic_ms: AtomicU64::new(self.monotonic_ms.load(Ordering::SeqCst)),
        }
    }
}

impl Clock for SimClock {
    fn now_ms(&self) -> u64 {
        self.wall_ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic_ms.load(Ordering::SeqCst))
    }
}

/// Seeded randomness: SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
#[derive(Debug)]
pub struct SimRandom(AtomicU64);

impl SimRandom {
    /// The sequence that belongs to `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&self, bound: u64) -> u64 {
        self.next_u64().checked_rem(bound).unwrap_or(0)
    }

    /// True `count` times of `of`.
    pub fn chance(&self, count: u64, of: u64) -> bool {
        self.below(of) < count
    }
}

impl Random for SimRandom {
    fn next_u64(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::SeqCst).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
