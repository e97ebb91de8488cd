//! What the demo measures, and what it knows of the views.

use super::views::Seen;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tw_types::ClientToken;

/// How many of the latest durations count.
const KEPT: usize = 1_000;
/// How many seconds of throughput are remembered.
const SECONDS: usize = 120;

/// Shared by the tasks of the demo, which take turns on one thread.
pub(super) type Shared = Rc<RefCell<Measured>>;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) since: Instant,
    /// Events written since the demo was started.
    pub(super) events: u64,
    /// How long writes took until they were durable.
    pub(super) appends: Durations,
    /// How long it took from a write until a view showed it.
    pub(super) visible: Durations,
    /// Events of each of the last seconds, the latest last.
    pub(super) per_second: VecDeque<u64>,
    second: (u64, u64),
    /// The cut after the latest write.
    pub(super) token: Option<ClientToken>,
    /// So many orders there are since this moment, which no view has shown yet.
    pub(super) awaited: Option<(u64, Instant)>,
    /// What the views say.
    pub(super) seen: Seen,
}

impl Measured {
    pub(super) fn shared() -> Shared {
        Rc::new(RefCell::new(Self {
            since: Instant::now(),
            events: 0,
            appends: Durations::default(),
            visible: Durations::default(),
            per_second: VecDeque::new(),
            second: (0, 0),
            token: None,
            awaited: None,
            seen: Seen::default(),
        }))
    }

    /// Something was written.
    pub(super) fn wrote(&mut self, events: u64, took: Duration, token: Option<ClientToken>) {
        self.roll();
        self.events += events;
        self.second.1 += events;
        self.appends.add(took);
        self.token = token.or(self.token.take());
    }

    /// Closes the seconds that have passed.
    pub(super) fn roll(&mut self) {
        let now = self.since.elapsed().as_secs();
        while self.second.0 < now {
            self.per_second.push_back(self.second.1);
            if self.per_second.len() > SECONDS {
                self.per_second.pop_front();
            }
            self.second = (self.second.0 + 1, 0);
        }
    }

    /// Events per second, over the last three whole seconds.
    pub(super) fn rate(&self) -> u64 {
        let last: Vec<u64> = self.per_second.iter().rev().take(3).copied().collect();
        if last.is_empty() { 0 } else { last.iter().sum::<u64>() / last.len() as u64 }
    }
}

/// The latest durations.
#[derive(Debug, Default)]
pub(super) struct Durations(VecDeque<Duration>);

impl Durations {
    pub(super) fn add(&mut self, took: Duration) {
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back(took);
    }

    /// The duration that this share of all did not exceed; None without any.
    pub(super) fn quantile(&self, share: f64) -> Option<Duration> {
        let mut sorted: Vec<Duration> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        let index = ((sorted.len() as f64 * share) as usize).min(sorted.len().checked_sub(1)?);
        sorted.get(index).copied()
    }

    /// Two of them for a person: `1.2 ms (99 %: 4.0 ms)`.
    pub(super) fn words(&self) -> String {
        match (self.quantile(0.5), self.quantile(0.99)) {
            (Some(half), Some(most)) => format!("{} (99 %: {})", ms(half), ms(most)),
            _ => "-".to_owned(),
        }
    }
}

fn ms(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1_000.0;
    if ms < 100.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_latest() {
        let mut durations = Durations::default();
        assert_eq!(durations.words(), "-");
        for ms in 0..2_000 {
            durations.add(Duration::from_millis(ms));
        }
        assert_eq!(durations.quantile(0.0), Some(Duration::from_millis(1_000)));
        assert_eq!(durations.words(), "1500 ms (99 %: 1990 ms)");
    }
}
