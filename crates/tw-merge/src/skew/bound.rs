//! The upper bound of what was handed out, stored ahead of time so that a restart begins above it.

use super::Options;
use tw_types::{Hlc, HlcClock};

/// Hands out timestamps below a bound that is on stable storage. After a crash the clock starts at the bound, so that no
/// timestamp is handed out twice, whether or not the event that had it was stored. What a heartbeat promises (that nothing more comes up to
/// some timestamp) is taken here too: a crash must not lead back behind it.
#[derive(Debug, Clone)]
pub struct HlcBound {
    clock: HlcClock,
    /// Everything handed out is before it.
    stored: Hlc,
    reserve_ms: u64,
}

/// The bound on stable storage does not allow for the timestamps that were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("timestamps up to {bound} are not reserved: store this bound, then ask again")]
pub struct NotReserved {
    /// The bound to store.
    pub bound: Hlc,
}

impl HlcBound {
    /// After a start: `stored` is the bound on stable storage ([`Hlc::ZERO`] at the first start), `last` the highest timestamp
    /// in the log.
    pub fn start(stored: Hlc, last: Hlc, options: &Options) -> Self {
        // The bound itself was never handed out; the clock goes on after what it is told.
        let clock = HlcClock::new(crate::span::before(stored).max(last), options.skew_ms_max);
        Self { clock, stored, reserve_ms: options.reserve_ms }
    }

    /// After a restore from a backup, whose bound is as old as the backup. `heard` is the highest timestamp that any other region
    /// has of this one: of an event, of a heartbeat, or of what is stable. What the lost copy handed out and nobody heard of lies below local time plus what clocks may differ and
    /// what may have been reserved; so the new epoch begins above that. The shell waits until [`HlcBound::opens_at_ms`],
    /// so that nobody finds the new timestamps too far ahead.
    pub fn restored(now_ms: u64, heard: Hlc, options: &Options) -> Self {
        let margin_ms = options.skew_ms_max.saturating_add(options.reserve_ms);
        Self::start(Hlc::ZERO, heard.max(Hlc::new(now_ms.saturating_add(margin_ms), 0)), options)
    }

    /// When local time reaches what the clock would hand out next, in milliseconds.
    pub const fn opens_at_ms(&self) -> u64 {
        self.clock.last().plus(1).millis()
    }

    /// The clock: its last timestamp, and what it is to observe.
    pub const fn clock(&mut self) -> &mut HlcClock {
        &mut self.clock
    }

    /// A bound to be stored soon, while timestamps are still handed out below the present one: when less than half of the reserve is
    /// left.
    pub fn wanted(&self, now_ms: u64) -> Option<Hlc> {
        let ahead = Hlc::new(now_ms.saturating_add(self.reserve_ms / 2), 0).max(self.clock.last());
        (ahead >= self.stored).then(|| self.bound_for(now_ms, self.clock.last()))
    }

    /// `bound` is on stable storage now.
    pub fn stored(&mut self, bound: Hlc) {
        self.stored = self.stored.max(bound);
    }

    /// Takes `count` consecutive timestamps (at least one) and returns the first.
    ///
    /// # Errors
    /// [`NotReserved`]: nothing was taken.
    pub fn take(&mut self, now_ms: u64, count: u64) -> Result<Hlc, NotReserved> {
        let mut ahead = self.clock.clone();
        let first = ahead.take(now_ms, count);
        if ahead.last() >= self.stored {
            return Err(NotReserved { bound: self.bound_for(now_ms, ahead.last()) });
        }
        self.clock = ahead;
        Ok(first)
    }

    fn bound_for(&self, now_ms: u64, last: Hlc) -> Hlc {
        let from_ms = now_ms.max(last.millis().saturating_add(1));
        Hlc::new(from_ms.saturating_add(self.reserve_ms), 0)
    }
}
