//! How many bytes may be sent now: a bucket of tokens (Turner, *New Directions in Communications*, IEEE Communications Magazine 1986; RFC 2697
//! has the same with two buckets).
//!
//! Beside the connections of a sender: it says how much may go and how long to wait, and never holds, drops or orders anything. It reads no clock.

/// How much of a second's bytes the bucket holds: as much may go at once after a pause.
const BURST_PER_SECOND: u64 = 10;
/// A byte, in the units in which the level is counted: bytes times microseconds, so that nothing is lost by rounding.
const BYTE: u128 = 1_000_000;

/// A bucket: in any time of t seconds it lets `rate` · t + `burst` bytes pass at most.
#[derive(Debug, Clone)]
pub struct Bucket {
    bytes_per_second: u64,
    burst_bytes: u64,
    level: u128,
    at_us: u64,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// So many bytes may go now: at least one, and no more than were wanted.
    Bytes(u64),
    /// None may; after so many microseconds some may, if nobody else takes them.
    Wait(u64),
}

impl Bucket {
    /// A full one for so many bytes per second (at least one). `now_us`: a clock that does not go back, in microseconds.
    pub fn new(bytes_per_second: u64, now_us: u64) -> Self {
        let bytes_per_second = bytes_per_second.max(1);
        let burst_bytes = (bytes_per_second / BURST_PER_SECOND).max(1);
        Self { bytes_per_second, burst_bytes, level: u128::from(burst_bytes) * BYTE, at_us: now_us }
    }

    /// How many bytes may go at once after a pause.
    pub const fn burst_bytes(&self) -> u64 {
        self.burst_bytes
    }

    /// Takes as many of these bytes as may go now. Not less than half of what the bucket holds, unless less is wanted: so that nothing is sent in
    /// crumbs, and something goes every 50 ms.
    pub fn take(&mut self, wanted_bytes: u64, now_us: u64) -> Taken {
        if wanted_bytes == 0 {
            return Taken::Bytes(0);
        }
        let passed_us = now_us.saturating_sub(self.at_us);
        self.at_us = self.at_us.max(now_us);
        let full = u128::from(self.burst_bytes) * BYTE;
        let grown = u128::from(passed_us).saturating_mul(u128::from(self.bytes_per_second));
        self.level = self.level.saturating_add(grown).min(full);
        let least = u128::from(wanted_bytes.min((self.burst_bytes / 2).max(1))) * BYTE;
        if self.level < least {
            let wait = (least - self.level).div_ceil(u128::from(self.bytes_per_second));
            return Taken::Wait(u64::try_from(wait).unwrap_or(u64::MAX));
        }
        let bytes = u64::try_from(self.level / BYTE).unwrap_or(u64::MAX).min(wanted_bytes);
        self.level -= u128::from(bytes) * BYTE;
        Taken::Bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::testing::config;
    use proptest::prelude::*;

    /// Somebody who wants so many bytes after such pauses, in microseconds, and waits as long as is said: when how many went, and how many took
    /// how long in all.
    fn run(rate: u64, wants: &[(u64, u64)]) -> (Vec<(u64, u64)>, u64) {
        let (mut now, mut went) = (5, Vec::new());
        let mut bucket = Bucket::new(rate, now);
        for (pause, wanted) in wants {
            now += pause;
            let mut rest = *wanted;
            while rest > 0 {
                match bucket.take(rest, now) {
                    Taken::Bytes(bytes) => {
                        assert!(
                            (1..=rest).contains(&bytes),
                            "nothing for nothing, and no more than is wanted"
                        );
                        rest -= bytes;
                        went.push((now, bytes));
                    }
                    Taken::Wait(us) => {
                        assert!(us > 0);
                        now += us;
                    }
                }
            }
        }
        (went, now - 5)
    }

    /// Whether any window has more than it may.
    fn exceeds(rate: u64, burst: u64, went: &[(u64, u64)]) -> bool {
        went.iter().enumerate().any(|(first, (from, _))| {
            let mut sum = 0u128;
            went.iter().skip(first).any(|(at, bytes)| {
                sum += u128::from(*bytes);
                sum * BYTE > u128::from(at - from) * u128::from(rate) + u128::from(burst) * BYTE
            })
        })
    }

    proptest! {
        #![proptest_config(config(200))]

        #[test]
        fn no_window_has_more_than_the_rate_and_a_burst_and_waiting_is_never_longer_than_it_must_be(
            rate in 1u64..50_000_000,
            wants in prop::collection::vec((0u64..300_000, 1u64..200_000), 1..40),
        ) {
            let slow: Vec<(u64, u64)> = wants.iter().map(|(pause, bytes)| (*pause, (bytes % (rate + 1)).max(1))).collect();
            let (went, took) = run(rate, &slow);
            let burst = Bucket::new(rate, 0).burst_bytes();
            prop_assert!(!exceeds(rate, burst, &went));
            let wanted: u64 = slow.iter().map(|(_, bytes)| bytes).sum();
            prop_assert_eq!(went.iter().map(|(_, bytes)| bytes).sum::<u64>(), wanted, "all of it goes");
            // Whoever never pauses gets the whole rate: rounding costs no more than a microsecond for each time of waiting.
            let (pauses, waits) = (slow.iter().map(|(pause, _)| pause).sum::<u64>(), went.len() as u128);
            let must = u128::from(wanted) * BYTE / u128::from(rate);
            prop_assert!(u128::from(took) <= must + u128::from(pauses) + waits + 1);
        }
    }

    #[test]
    fn control_a_bucket_that_grows_too_fast_is_found_out() {
        let (went, _) = run(2_000, &[(0, 10_000), (7, 10_000)]);
        assert!(!exceeds(2_000, 200, &went));
        assert!(exceeds(1_900, 200, &went), "faster than it may");
        assert!(exceeds(2_000, 99, &went), "a larger burst than it may");
    }

    #[test]
    fn after_a_pause_a_burst_may_go_and_a_clock_that_goes_back_gives_nothing() {
        let mut bucket = Bucket::new(1_000, 1_000_000);
        assert_eq!(bucket.take(1_000, 1_000_000), Taken::Bytes(100));
        assert_eq!(bucket.take(1_000, 1_000_000), Taken::Wait(50_000), "half of what it holds at least");
        assert_eq!(bucket.take(10, 1_000_000), Taken::Wait(10_000), "unless less is wanted");
        assert_eq!(bucket.take(10, 0), Taken::Wait(10_000));
        assert_eq!(bucket.take(1_000, 1_050_000), Taken::Bytes(50));
        assert_eq!(bucket.take(1_000, 99_000_000), Taken::Bytes(100), "no more than it holds");
        assert_eq!(bucket.take(0, 99_000_000), Taken::Bytes(0));
    }
}
