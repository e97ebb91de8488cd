//! When the open write of a source goes on its way: at once when little happens, in larger pieces when much does.
//!
//! Every write costs a sync and a block for each partition that it reaches, whatever its size. A source that submits as
//! soon as the write before is durable makes many of them out of a stream of small transactions, and takes the processor
//! from the server that it shares a machine with. So writes keep a distance of [`APART`], unless much has come together; a
//! change that comes after a quiet moment waits for nothing.
//!
//! Pure: it is told the time, and decides.

use std::time::Duration;

/// A small write leaves so long after the one before at the earliest.
const APART: Duration = Duration::from_millis(1);

/// What is to become of the open write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    /// It goes.
    Now,
    /// It goes after this time, if nothing more comes.
    In(Duration),
    /// It waits until a write under way is durable.
    AfterAnother,
}

/// How writes follow each other.
#[derive(Debug)]
pub(crate) struct Pace {
    /// From this size on a write is not small, in bytes.
    large_bytes: usize,
    /// How many writes may be under way.
    under_way_max: usize,
    /// When the last write left.
    left_at: Option<Duration>,
}

impl Pace {
    pub(crate) fn new(large_bytes: usize, under_way_max: usize) -> Self {
        Self { large_bytes, under_way_max, left_at: None }
    }

    /// A write leaves at `now`, on a clock that only ever rises.
    pub(crate) fn left(&mut self, now: Duration) {
        self.left_at = Some(now);
    }

    /// What is to become of an open write of `bytes`, while `under_way` others are not durable yet.
    pub(crate) fn departure(&self, now: Duration, bytes: usize, under_way: usize) -> Departure {
        if bytes >= self.large_bytes && under_way < self.under_way_max {
            return Departure::Now;
        }
        if under_way > 0 {
            return Departure::AfterAnother;
        }
        let passed = self.left_at.map_or(APART, |left_at| now.saturating_sub(left_at));
        match APART.checked_sub(passed) {
            None | Some(Duration::ZERO) => Departure::Now,
            Some(rest) => Departure::In(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LARGE: usize = 1000;

    #[test]
    fn a_change_after_a_quiet_moment_waits_for_nothing() {
        let mut pace = Pace::new(LARGE, 4);
        let start = Duration::from_secs(5);
        assert_eq!(pace.departure(start, 1, 0), Departure::Now);
        pace.left(start);
        assert_eq!(pace.departure(start + APART, 1, 0), Departure::Now);
    }

    #[test]
    fn small_writes_keep_their_distance_and_large_ones_do_not() {
        let mut pace = Pace::new(LARGE, 2);
        pace.left(Duration::from_secs(5));
        let soon = Duration::from_secs(5) + APART / 4;
        assert_eq!(pace.departure(soon, LARGE - 1, 0), Departure::In(APART * 3 / 4));
        assert_eq!(pace.departure(soon, LARGE, 1), Departure::Now);
        assert_eq!(pace.departure(soon, LARGE, 2), Departure::AfterAnother);
        assert_eq!(pace.departure(soon + APART, 1, 1), Departure::AfterAnother);
    }

    proptest! {
        #[test]
        fn nothing_is_held_longer_than_the_distance_and_never_too_many_are_under_way(
            steps in proptest::collection::vec((0u64..3_000, 0usize..2 * LARGE, 0usize..5), 1..200),
        ) {
            let mut pace = Pace::new(LARGE, 4);
            let (mut now, mut left) = (Duration::ZERO, None::<Duration>);
            for (micros, bytes, under_way) in steps {
                now += Duration::from_micros(micros);
                match pace.departure(now, bytes, under_way) {
                    Departure::Now => {
                        prop_assert!(under_way < 4);
                        let apart = left.is_none_or(|left| now >= left + APART);
                        prop_assert!(bytes >= LARGE || (under_way == 0 && apart));
                        pace.left(now);
                        left = Some(now);
                    }
                    Departure::In(rest) => {
                        prop_assert!(!rest.is_zero() && under_way == 0);
                        prop_assert_eq!(Some(now + rest), left.map(|left| left + APART));
                        prop_assert_eq!(pace.departure(now + rest, bytes, 0), Departure::Now);
                    }
                    // Whatever is under way ends, and then it is looked at again.
                    Departure::AfterAnother => prop_assert!(under_way > 0),
                }
            }
        }
    }
}
