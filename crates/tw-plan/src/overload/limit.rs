//! The adaptive limit: as many requests as the node can work on before they queue.
//!
//! Latencies are averaged over samples. The *baseline* is the average of requests that did not queue. Where a sample's
//! average is longer than the baseline, the difference is time in a queue, and the limit shrinks by that ratio; otherwise
//! it grows by a part of its square root.
//!
//! ```text
//!            the baseline is too old,                   all that is inside
//!   Follow ──────────────────────────▶ Drain ──────────────────────────────────▶ Measure
//!     ▲      or the first one            ▲    entered below half of the limit     │   │
//!     │                                  │                                        │   │
//!     │                                  └── twice as fast: half again ───────────┘   │
//!     └───── otherwise that is the baseline ──────────────────────────────────────────┘
//! ```

use super::{Options, Outcome};

/// The least that a sample makes of the limit.
const SHRINK_MIN: f64 = 0.5;
/// What a sample with an [`Outcome::Overloaded`] makes of the limit.
const BACKOFF: f64 = 0.8;
/// When samples in a row shrank the limit to this part …
const SHRUNK_MAX: f64 = 0.5;
/// … and requests still take this part of the time that they took at most, they were not in a queue.
const STALE: f64 = 0.8;
/// A part of a sample is enough if it is that clear: this part of its requests, this many baselines.
const CLEAR: (u32, f64) = (4, 2.0);
/// If requests take less than this part of the time with half of the limit, nearly all of it was a queue, and there still
/// is one: without a queue below, the part is at least a half, and more the shorter the queue was.
const FASTER: f64 = 0.65;
/// A measurement takes so many samples: the error of an average over dozens of requests is too large for it.
const MEASURED: u32 = 2;
/// With little to do, the baseline moves by this part towards each sample.
const SMOOTHING: f64 = 0.25;
/// How many requests a sample that ends by time has at least.
const REQUESTS_MIN: u32 = 5;

/// What samples are used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Follow,
    Drain,
    Measure,
}

/// The requests that were done since the last decision.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    since_us: u64,
    count: u32,
    sum_us: f64,
    squares: f64,
    overloaded: u32,
    /// The most that were inside at once.
    inside_max: u32,
    refused: bool,
}

impl Sample {
    /// The average latency, and its standard error: by so much it is off by chance. None if nothing was finished.
    fn average_us(&self) -> Option<(f64, f64)> {
        let count = f64::from(self.count);
        let average = self.sum_us / count;
        let variance = (self.squares / count - average * average).max(0.0);
        (self.count > 0).then(|| (average, (variance / count).sqrt()))
    }
}

/// How long requests may take on average before the limit is lowered.
fn tolerated_us(options: &Options, baseline_us: f64) -> f64 {
    let part_us = baseline_us * f64::from(options.tolerance_permille) / 1_000.0;
    part_us.max(baseline_us + f64::from(options.queue_us_max))
}

/// See the module's text.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    value: f64,
    min: f64,
    start: f64,
    max: f64,
    phase: Phase,
    sample: Sample,
    /// The average of the last sample, with the limit as it was then.
    average_us: f64,
    /// The average of many samples.
    latency_us: f64,
    /// None before the first sample.
    baseline_us: Option<f64>,
    baseline_at_us: u64,
    shrinks: u32,
    /// The limit before it shrank so often, and the longest average since.
    shrunk_from: f64,
    longest_us: f64,
    /// How many requests were done since the limit had shrunk that much.
    done_since: u32,
}

impl Limit {
    pub(super) fn new(options: &Options, now_us: u64) -> Self {
        Self {
            value: options.limit_start.into(),
            min: options.limit_min.into(),
            start: options.limit_start.into(),
            max: options.limit_max.into(),
            phase: Phase::Follow,
            sample: Sample { since_us: now_us, ..Sample::default() },
            average_us: 0.0,
            latency_us: 0.0,
            baseline_us: None,
            baseline_at_us: now_us,
            shrinks: 0,
            shrunk_from: options.limit_start.into(),
            longest_us: 0.0,
            done_since: 0,
        }
    }

    /// Other bounds, from now on. What was found out stays.
    pub(super) fn reconfigure(&mut self, options: &Options) {
        self.min = options.limit_min.into();
        self.start = options.limit_start.into();
        self.max = options.limit_max.into();
        self.value = self.value.clamp(self.min, self.max);
        self.shrunk_from = self.shrunk_from.clamp(self.min, self.max);
    }

    pub(super) fn now(&self) -> u32 {
        match self.phase {
            Phase::Follow => self.value as u32,
            Phase::Drain | Phase::Measure => (self.value / 2.0).max(self.min) as u32,
        }
    }

    /// What a request takes on average of late, in microseconds; 0 before the first sample.
    pub(super) fn latency_us(&self) -> f64 {
        self.latency_us
    }

    pub(super) fn entered(&mut self, in_flight: u32) {
        self.sample.inside_max = self.sample.inside_max.max(in_flight);
    }

    pub(super) fn refused(&mut self) {
        self.sample.refused = true;
    }

    pub(super) fn done(&mut self, options: &Options, latency_us: u64, outcome: Outcome, now_us: u64) {
        // A sample is at least as large as the limit: otherwise it consists of requests from before the last decision.
        let (requests, samples) = match self.phase {
            Phase::Follow | Phase::Drain => (options.window_requests.max(self.value as u32), 1),
            Phase::Measure => (options.window_requests.saturating_mul(MEASURED), MEASURED),
        };
        let sample = &mut self.sample;
        match outcome {
            Outcome::Finished => {
                sample.count = sample.count.saturating_add(1);
                let latency_us = latency_us.max(1) as f64;
                sample.sum_us += latency_us;
                sample.squares += latency_us * latency_us;
            }
            Outcome::Overloaded => sample.overloaded = sample.overloaded.saturating_add(1),
            Outcome::Ignored => return,
        }
        let count = sample.count.saturating_add(sample.overloaded);
        let age_us = now_us.saturating_sub(sample.since_us);
        let is_old = age_us >= u64::from(options.window_ms_max) * 1_000 * u64::from(samples);
        let is_clear = self.phase == Phase::Follow
            && count >= requests / CLEAR.0
            && sample.average_us().zip(self.baseline_us).is_some_and(
                |((average_us, error_us), baseline_us)| {
                    let clear_us = (CLEAR.1 * baseline_us).max(tolerated_us(options, baseline_us));
                    average_us - 2.0 * error_us > clear_us
                },
            );
        if count >= requests || is_clear || (is_old && count >= REQUESTS_MIN) {
            let sample = *sample;
            self.sample = Sample { since_us: now_us, ..Sample::default() };
            self.decide(options, sample, now_us);
        }
    }

    fn decide(&mut self, options: &Options, sample: Sample, now_us: u64) {
        match (self.phase, sample.average_us()) {
            (Phase::Follow, Some(average)) => self.follow(options, sample, average, now_us),
            (Phase::Follow, None) => self.shrink(self.value * BACKOFF, 0.0),
            (Phase::Drain, _) => self.phase = Phase::Measure,
            (Phase::Measure, Some((average_us, _))) => self.measured(options, average_us, now_us),
            (Phase::Measure, None) => self.phase = Phase::Follow,
        }
        self.value = self.value.clamp(self.min, self.max);
    }

    fn follow(&mut self, options: &Options, sample: Sample, (average_us, error_us): (f64, f64), now_us: u64) {
        self.average_us = average_us;
        let part = if self.latency_us > 0.0 { SMOOTHING / 4.0 } else { 1.0 };
        self.latency_us += (average_us - self.latency_us) * part;
        let is_reached = sample.refused || f64::from(sample.inside_max) * 2.0 > self.value;
        let Some(baseline_us) = self.baseline_us else {
            (self.baseline_us, self.baseline_at_us) = (Some(average_us), now_us);
            // Who knows whether these were in a queue.
            self.phase = if is_reached { Phase::Drain } else { Phase::Follow };
            return;
        };
        let step = self.value.sqrt() / 4.0;
        let tolerated_us = tolerated_us(options, baseline_us);
        // What may be chance is not held against anyone.
        let at_least_us = average_us - error_us;
        let in_force = self.value;
        if sample.overloaded > 0 {
            self.shrink(in_force * BACKOFF, average_us);
        } else if is_reached && at_least_us > tolerated_us {
            self.shrink(in_force * (tolerated_us / at_least_us).max(SHRINK_MIN) + step, average_us);
            if in_force <= self.shrunk_from * SHRUNK_MAX {
                // Those that were inside before have left.
                let is_pure = f64::from(self.done_since) >= self.shrunk_from;
                self.done_since = self.done_since.saturating_add(sample.count);
                if is_pure && average_us > self.longest_us * STALE {
                    // So many fewer at once, and hardly faster: that is how long requests take now.
                    (self.value, self.shrinks) = (self.shrunk_from, 0);
                    (self.baseline_us, self.baseline_at_us) = (Some(average_us), now_us);
                }
            }
        } else if is_reached {
            self.value += step.max(1.0);
            self.shrinks = 0;
        } else {
            // There is little to do, so nothing queues, and this is how long requests take. A high limit goes back to
            // where it started, so that a sudden rush does not find a door wide open.
            self.value -= (in_force - self.start).max(0.0) / 8.0;
            self.shrinks = 0;
            let baseline_us = baseline_us + (average_us - baseline_us) * SMOOTHING;
            (self.baseline_us, self.baseline_at_us) = (Some(baseline_us), now_us);
        }
        let age_us = now_us.saturating_sub(self.baseline_at_us);
        // Where nobody is refused, nobody gains from a better limit, and measuring would refuse some.
        if sample.refused && age_us > u64::from(options.baseline_ms) * 1_000 {
            self.phase = Phase::Drain;
        }
    }

    fn shrink(&mut self, value: f64, average_us: f64) {
        if self.shrinks == 0 {
            (self.shrunk_from, self.longest_us, self.done_since) = (self.value, 0.0, 0);
        }
        self.longest_us = self.longest_us.max(average_us);
        self.shrinks += 1;
        self.value = value;
    }

    /// Takes the average with half of the limit.
    fn measured(&mut self, options: &Options, average_us: f64, now_us: u64) {
        let half = self.value / 2.0;
        // What has gone was half of the queue, or more.
        let is_long = (self.average_us - average_us) * 2.0 > f64::from(options.queue_us_max);
        if half > self.min && is_long && average_us < self.average_us * FASTER {
            // There was a queue before, and perhaps there still is one.
            (self.value, self.average_us) = (half, average_us);
            self.phase = Phase::Drain;
            return;
        }
        self.shrinks = 0;
        (self.baseline_us, self.baseline_at_us) = (Some(average_us), now_us);
        self.phase = Phase::Follow;
    }
}
