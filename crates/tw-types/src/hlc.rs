//! Hybrid logical clocks: time that never runs backwards and respects cause and effect.
//!
//! Source: Kulkarni, Demirbas, Madappa, Avva, Leone, "Logical Physical Clocks and Consistent Snapshots in
//! Globally Distributed Databases" (2014), section 3. The physical part is milliseconds since the Unix epoch
//! in the upper 48 bits, the logical counter the lower 16, so that a timestamp compares as one integer.

use serde::{Deserialize, Serialize};
use std::fmt;

const COUNTER_BITS: u32 = 16;

/// A hybrid timestamp: 48 bits of milliseconds, 16 bits of counter.
///
/// ```
/// use tw_types::Hlc;
/// let t = Hlc::new(1_700_000_000_000, 7);
/// assert_eq!((t.millis(), t.counter()), (1_700_000_000_000, 7));
/// assert!(t < Hlc::new(1_700_000_000_001, 0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hlc(u64);

impl Hlc {
    /// The smallest timestamp.
    pub const ZERO: Self = Self(0);

    /// From milliseconds since the epoch (the lower 48 bits are kept) and a counter.
    pub const fn new(millis: u64, counter: u16) -> Self {
        Self((millis << COUNTER_BITS) | counter as u64)
    }

    /// From its integer form.
    pub const fn from_u64(raw: u64) -> Self {
        Self(raw)
    }

    /// Its integer form, which is what is stored and sent.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> u64 {
        self.0 >> COUNTER_BITS
    }

    /// The counter that orders events of the same millisecond.
    pub const fn counter(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    /// The timestamp `steps` after this one; the counter carries into the milliseconds.
    pub const fn plus(self, steps: u64) -> Self {
        Self(self.0.saturating_add(steps))
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.millis(), self.counter())
    }
}

/// A remote timestamp is too far in the future to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "remote clock is {ahead_ms} ms ahead of this node, more than the {skew_ms_max} ms allowed: synchronise the clocks"
)]
pub struct SkewExceeded {
    /// How far the remote timestamp is ahead of the local wall clock, in milliseconds.
    pub ahead_ms: u64,
    /// The configured bound, in milliseconds.
    pub skew_ms_max: u64,
}

/// The state of one node's hybrid clock. It reads no clock itself: the caller passes the wall time.
#[derive(Debug, Clone)]
pub struct HlcClock {
    last: Hlc,
    skew_ms_max: u64,
}

impl HlcClock {
    /// A clock that continues after `last` (the highest timestamp known from stable storage).
    pub const fn new(last: Hlc, skew_ms_max: u64) -> Self {
        Self { last, skew_ms_max }
    }

    /// The highest timestamp given out or observed.
    pub const fn last(&self) -> Hlc {
        self.last
    }

    /// Takes `count` consecutive timestamps (at least one) and returns the first.
    pub fn take(&mut self, now_ms: u64, count: u64) -> Hlc {
        let first = Hlc::new(now_ms, 0).max(self.last.plus(1));
        self.last = first.plus(count.max(1) - 1);
        first
    }

    /// Learns of a timestamp from elsewhere, so that whatever this node does next is later.
    ///
    /// # Errors
    /// [`SkewExceeded`] when `remote` is further ahead of the local wall clock than the bound; the clock is then
    /// unchanged, and the sender is to be quarantined.
    pub fn observe(&mut self, remote: Hlc, now_ms: u64) -> Result<(), SkewExceeded> {
        let ahead_ms = remote.millis().saturating_sub(now_ms);
        if ahead_ms > self.skew_ms_max {
            return Err(SkewExceeded { ahead_ms, skew_ms_max: self.skew_ms_max });
        }
        self.last = self.last.max(remote);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_clock_set_back_does_not_set_timestamps_back() {
        let mut clock = HlcClock::new(Hlc::ZERO, 500);
        let before = clock.take(10_000, 1);
        assert!(clock.take(1, 1) > before);
    }

    #[test]
    fn a_remote_far_in_the_future_is_refused_and_changes_nothing() {
        let mut clock = HlcClock::new(Hlc::ZERO, 500);
        assert_eq!(
            clock.observe(Hlc::new(10_501, 0), 10_000),
            Err(SkewExceeded { ahead_ms: 501, skew_ms_max: 500 })
        );
        assert_eq!(clock.last(), Hlc::ZERO);
        clock.observe(Hlc::new(10_500, 9), 10_000).unwrap();
        assert!(clock.take(10_000, 1) > Hlc::new(10_500, 9));
    }

    proptest! {
        #[test]
        fn timestamps_strictly_increase(steps in proptest::collection::vec((0u64..1_000_000, 1u64..200_000, any::<bool>()), 1..50)) {
            let mut clock = HlcClock::new(Hlc::ZERO, 1_000_000);
            let mut last = Hlc::ZERO;
            for (now, count, remote) in steps {
                if remote {
                    clock.observe(Hlc::new(now, 3), now).unwrap();
                } else {
                    let first = clock.take(now, count);
                    prop_assert!(first > last);
                    last = first.plus(count - 1);
                    prop_assert_eq!(clock.last(), last);
                }
            }
        }
    }
}
