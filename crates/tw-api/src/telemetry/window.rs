//! How long something took since somebody looked, in buckets that are wider the longer it took: bounded memory, and no lock.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Buckets to each doubling: one is about 9 % wide.
const PER_OCTAVE: u32 = 8;
/// The last bucket takes everything from about four minutes on.
const BUCKETS: usize = 28 * PER_OCTAVE as usize;

/// Times that were recorded.
pub(crate) struct Window([AtomicU32; BUCKETS]);

impl Default for Window {
    fn default() -> Self {
        Self([const { AtomicU32::new(0) }; BUCKETS])
    }
}

impl Window {
    pub(crate) fn record(&self, time: Duration) {
        if let Some(bucket) = self.0.get(bucket(time)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The upper end of the bucket of the 99th of 100 times, and how many times there were; begins anew.
    pub(crate) fn take_p99(&self) -> Option<(Duration, u64)> {
        let counts = self.0.each_ref().map(|bucket| u64::from(bucket.swap(0, Ordering::Relaxed)));
        let total: u64 = counts.iter().sum();
        let wanted = (total * 99).div_ceil(100);
        let mut seen = 0;
        let place = counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        (total > 0).then(|| (upper(place), total))
    }
}

/// The bucket of a time; those up to a microsecond are in the first.
fn bucket(time: Duration) -> usize {
    let micros = time.as_secs_f64() * 1e6;
    let place = (micros.max(1.0).log2() * f64::from(PER_OCTAVE)).floor();
    (place as usize).min(BUCKETS - 1)
}

/// Where a bucket ends.
fn upper(bucket: usize) -> Duration {
    Duration::from_secs_f64(2f64.powf((bucket + 1) as f64 / f64::from(PER_OCTAVE)) / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_99th_of_a_hundred_is_found_to_a_tenth_and_the_window_begins_anew() {
        let window = Window::default();
        assert_eq!(window.take_p99(), None);
        for ms in 1..=100 {
            window.record(Duration::from_millis(ms));
        }
        let (p99, count) = window.take_p99().unwrap();
        assert_eq!(count, 100);
        assert!((99.0..109.0).contains(&(p99.as_secs_f64() * 1e3)), "{p99:?}");
        assert_eq!(window.take_p99(), None, "it has begun anew");
    }

    #[test]
    fn any_time_has_a_bucket() {
        let window = Window::default();
        for time in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            window.record(time);
            assert!(window.take_p99().is_some(), "{time:?}");
        }
    }
}
