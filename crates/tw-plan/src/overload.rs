//! Overload protection: how many requests a node works on at once, and which ones it refuses when there are more.
//!
//! A [`Limiter`] stands at the door. [`Limiter::admit`] lets a request in or refuses it at once, with the time after which
//! another attempt makes sense; [`Limiter::done`] tells how long it took. From the latencies the limiter finds out how many
//! requests at once the node can take before they queue. The README in this module's folder states the problem and compares
//! it with simpler answers.

mod demand;
mod limit;
mod options;
mod priority;
#[cfg(test)]
mod tests;

pub use options::Options;
pub use priority::Priority;

use crate::Error;
use crate::hash::mix;
use demand::Demand;
use limit::Limit;
use serde::{Deserialize, Serialize};

/// Room is kept for so many standard deviations more than the higher priorities need on average.
const DEVIATIONS: f64 = 1.0;

/// Whether a request may enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It may, and [`Limiter::done`] has to be called when it is done.
    Admit,
    /// It is refused: nothing is to be done for it.
    Refuse {
        /// When to come back, in milliseconds from now; different from refusal to refusal, so that not all come at once.
        retry_after_ms: u32,
    },
}

/// How an admitted request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was worked on to its end; its latency counts.
    Finished,
    /// It ran into its deadline, or failed for a lack of something: there is too much to do.
    Overloaded,
    /// Its latency says nothing: it waited for something on purpose, or was wrong, or the client left.
    Ignored,
}

/// The state of one door. See the module's text.
#[derive(Debug, Clone)]
pub struct Limiter {
    options: Options,
    limit: Limit,
    demand: Demand,
    /// Requests inside, by priority.
    inside: [u32; Priority::COUNT],
    in_flight: u32,
    refused: u64,
}

impl Limiter {
    /// With nobody inside. `now_us` is monotonic, in microseconds, here and elsewhere.
    ///
    /// # Errors
    /// [`Error::Option`]: an option is outside its bounds.
    pub fn new(options: Options, now_us: u64) -> Result<Self, Error> {
        options.check()?;
        Ok(Self {
            limit: Limit::new(&options, now_us),
            demand: Demand::new(now_us),
            inside: [0; Priority::COUNT],
            in_flight: 0,
            refused: 0,
            options,
        })
    }

    /// Decides about a request that has arrived.
    ///
    /// It may enter if there is room for it beside those that are inside and those of higher priorities that are to be
    /// expected. So of two requests at the same moment the higher one is never refused while the lower one may enter.
    pub fn admit(&mut self, priority: Priority, now_us: u64) -> Decision {
        self.demand.arrived(priority, now_us);
        if self.has_room(priority) {
            self.demand.admitted(priority);
            self.count(priority);
            return Decision::Admit;
        }
        self.limit.refused();
        self.refused += 1;
        Decision::Refuse { retry_after_ms: self.retry_after_ms(priority) }
    }

    /// Takes a request in that must not be refused: another door has let it in, and what was done for it there would be
    /// lost. It takes room like any other, and [`Limiter::done`] has to be called when it is done.
    pub fn enter(&mut self, priority: Priority, now_us: u64) {
        self.demand.arrived(priority, now_us);
        self.demand.admitted(priority);
        self.count(priority);
    }

    /// Takes a request out that waits for something else than this door's work. It was admitted, so it may
    /// [come back](Limiter::come_back) whenever it likes.
    pub fn step_out(&mut self, priority: Priority) {
        let inside = &mut self.inside[priority.index()];
        *inside = inside.saturating_sub(1);
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Takes a request in again that has [stepped out](Limiter::step_out). It may find more inside than the limit; then
    /// nobody is admitted until enough have left.
    pub fn come_back(&mut self, priority: Priority) {
        self.count(priority);
    }

    /// Puts other options into effect. What was found out about latencies and demand stays, and the limit as far as it
    /// is within its new bounds.
    ///
    /// # Errors
    /// [`Error::Option`]: an option is outside its bounds; then nothing has changed.
    pub fn reconfigure(&mut self, options: Options) -> Result<(), Error> {
        options.check()?;
        self.limit.reconfigure(&options);
        self.options = options;
        Ok(())
    }

    /// Whether a request of this priority would be admitted now.
    pub fn has_room(&self, priority: Priority) -> bool {
        let latency_us = self.limit.latency_us();
        let (mut expected, mut missing) = (0.0, 0.0);
        for higher in Priority::all().filter(|other| *other > priority) {
            let mean = self.demand.expected(higher, latency_us);
            expected += mean;
            missing += (mean - f64::from(self.inside[higher.index()])).max(0.0);
        }
        // They do not arrive evenly: the standard deviation of what is inside is the root of its mean.
        let reserved = if expected > 0.0 { missing + DEVIATIONS * expected.sqrt() } else { 0.0 };
        f64::from(self.in_flight) + reserved < f64::from(self.limit())
    }

    /// Says that an admitted request is done, after so many microseconds.
    pub fn done(&mut self, priority: Priority, latency_us: u64, outcome: Outcome, now_us: u64) {
        self.step_out(priority);
        self.limit.done(&self.options, latency_us, outcome, now_us);
    }

    fn count(&mut self, priority: Priority) {
        self.in_flight = self.in_flight.saturating_add(1);
        let inside = &mut self.inside[priority.index()];
        *inside = inside.saturating_add(1);
        self.limit.entered(self.in_flight);
    }

    /// How many requests may be inside at once: between `limit_min` and `limit_max`.
    pub fn limit(&self) -> u32 {
        self.limit.now()
    }

    /// How many requests are inside.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// How many requests were refused so far.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The more of what arrives with this priority is refused, the longer; up to a half more, so that those who are
    /// refused together do not come back together.
    fn retry_after_ms(&self, priority: Priority) -> u32 {
        let least = f64::from(self.options.retry_ms_min);
        let pause = (least * self.demand.excess(priority)).min(f64::from(self.options.retry_ms_max));
        let spread = mix(self.refused, 1) >> 11;
        let more = pause * (spread as f64 / (1u64 << 54) as f64);
        (pause + more).min(f64::from(self.options.retry_ms_max)) as u32
    }
}
