//! A node's clocks: neither right nor equally fast.

use crate::random::Random;

/// Two clocks do not differ by more than twice this, in millionths. The margin with which leases are given up covers it.
const DRIFT_PPM_MAX: u64 = 40_000;
const MILLION: u64 = 1_000_000;

/// What one machine takes for the time. Real time is in microseconds since the beginning of the simulation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    rate_ppm: u64,
    booted_us: u64,
    wall_ms: u64,
}

impl Clock {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            rate_ppm: random.within(MILLION - DRIFT_PPM_MAX, MILLION + DRIFT_PPM_MAX),
            booted_us: random.below(1 << 40),
            // Wall clocks are up to an hour apart.
            wall_ms: 1_700_000_000_000 + random.below(3_600_000),
        }
    }

    /// The clock that only rises.
    pub(crate) fn monotonic_us(&self, now_us: u64) -> u64 {
        self.booted_us + now_us * self.rate_ppm / MILLION
    }

    /// Milliseconds since 1970, as this machine has them.
    pub(crate) fn wall_ms(&self, now_us: u64) -> u64 {
        self.wall_ms + now_us / 1000
    }

    /// How long it really takes until this clock has gone on by so much.
    pub(crate) fn real_us(&self, local_us: u64) -> u64 {
        local_us * MILLION / self.rate_ppm + 1
    }
}
