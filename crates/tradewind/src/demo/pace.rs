//! How fast things happen: so many ticks in a second, whatever a write takes.

use std::ops::Range;
use std::time::Instant;

/// The most ticks that happen at once.
const TICKS_MAX: u64 = 1_000;

/// The rate is kept from the start on; who falls behind by seconds does not hurry to catch up.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: f64,
    start: Instant,
    start_tick: u64,
}

impl Pace {
    /// Tick `first` is due now.
    pub(super) fn new(per_second: f64, first: u64) -> Self {
        Self { per_second, start: Instant::now(), start_tick: first }
    }

    /// The ticks from `next` on that are due by now; None if there are none.
    pub(super) fn due(&mut self, next: u64) -> Option<Range<u64>> {
        let due = self.start_tick + (self.start.elapsed().as_secs_f64() * self.per_second) as u64;
        if due > next + 4 * TICKS_MAX {
            *self = Self::new(self.per_second, next);
            return None;
        }
        let until = due.min(next + TICKS_MAX);
        (until > next).then_some(next..until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn begun(ago: Duration) -> Pace {
        Pace { per_second: 100.0, start: Instant::now() - ago, start_tick: 5 }
    }

    #[test]
    fn what_is_due_follows_from_the_time_that_has_passed() {
        assert_eq!(begun(Duration::ZERO).due(5), None);
        let due = begun(Duration::from_secs(2)).due(5).unwrap();
        assert!(due.start == 5 && (205..=300).contains(&due.end), "{due:?}");
        assert_eq!(begun(Duration::from_secs(15)).due(5).unwrap().end, 5 + TICKS_MAX, "not more at once");
    }

    #[test]
    fn who_is_far_behind_goes_on_from_where_he_is() {
        let mut pace = begun(Duration::from_secs(3_600));
        assert_eq!(pace.due(5), None);
        assert_eq!((pace.start_tick, pace.due(5)), (5, None));
    }
}
