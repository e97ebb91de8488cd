//! What arrives: how many requests of each priority, and how many of them were admitted.

use super::Priority;

/// Arrivals are counted in periods of this length.
const PERIOD_US: u64 = 200_000;
/// The rate moves by this part towards that of each new period.
const SMOOTHING: f64 = 0.3;

/// See the module's text.
#[derive(Debug, Clone)]
pub(super) struct Demand {
    since_us: u64,
    /// Whether no period is over yet.
    is_first: bool,
    rates: [Rate; Priority::COUNT],
}

/// The requests of one priority: those of this period, and how many there are in a microsecond.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    arrived: u32,
    admitted: u32,
    arriving: f64,
    entering: f64,
}

impl Demand {
    pub(super) fn new(now_us: u64) -> Self {
        Self { since_us: now_us, is_first: true, rates: [Rate::default(); Priority::COUNT] }
    }

    pub(super) fn arrived(&mut self, priority: Priority, now_us: u64) {
        let passed_us = now_us.saturating_sub(self.since_us);
        if passed_us >= PERIOD_US {
            // What was idle for many periods is taken for so many averages at once.
            let periods = (passed_us / PERIOD_US).min(64);
            let keep =
                if self.is_first { 0.0 } else { (0..periods).fold(1.0, |keep, _| keep * (1.0 - SMOOTHING)) };
            self.is_first = false;
            for rate in &mut self.rates {
                let per_us = |count: u32| f64::from(count) / passed_us as f64;
                rate.arriving = rate.arriving * keep + per_us(rate.arrived) * (1.0 - keep);
                rate.entering = rate.entering * keep + per_us(rate.admitted) * (1.0 - keep);
                (rate.arrived, rate.admitted) = (0, 0);
            }
            self.since_us = now_us;
        }
        let rate = &mut self.rates[priority.index()];
        rate.arrived = rate.arrived.saturating_add(1);
    }

    pub(super) fn admitted(&mut self, priority: Priority) {
        let rate = &mut self.rates[priority.index()];
        rate.admitted = rate.admitted.saturating_add(1);
    }

    /// How many requests of a priority are inside at once on average, if all of them are admitted (Little's law).
    pub(super) fn expected(&self, priority: Priority, latency_us: f64) -> f64 {
        self.rates[priority.index()].arriving * latency_us
    }

    /// How many times more requests arrive than enter, of a priority and those above it.
    pub(super) fn excess(&self, priority: Priority) -> f64 {
        let above = &self.rates[priority.index()..];
        let (arriving, entering): (f64, f64) =
            above.iter().fold((0.0, 0.0), |sum, rate| (sum.0 + rate.arriving, sum.1 + rate.entering));
        if arriving > 0.0 { arriving / entering.max(arriving / 1_000.0) } else { 1.0 }
    }
}
