//! What each partition weighs in a plan: the events that come to it, next to what an idle one costs.
//!
//! Every node measures all partitions, from where they end in the log, so that whoever leads next has measured already. A rate
//! is an average in which what was a minute ago counts a third ([`MEMORY`]): a plan follows loads that last, and no bursts.

use std::collections::HashMap;
use std::time::Duration;
use tw_types::StreamPartition;

/// What a partition weighs to which nothing comes: as much as a hundred events a second. Below some such rate no partition is worth
/// a move.
pub(super) const IDLE: u32 = 100;
/// After this time a rate counts for 1/e.
const MEMORY: Duration = Duration::from_secs(60);

/// The rates of partitions.
#[derive(Debug, Default)]
pub(super) struct Weights {
    known: HashMap<StreamPartition, Known>,
}

#[derive(Debug)]
struct Known {
    end: u64,
    /// When that was seen.
    seen: Duration,
    /// Events per second; None before there was a second look.
    rate: Option<f64>,
}

impl Weights {
    /// Takes note of where all partitions end at a monotonic time. Others are forgotten.
    pub(super) fn look(&mut self, ends: impl Iterator<Item = (StreamPartition, u64)>, now: Duration) {
        let mut before = std::mem::take(&mut self.known);
        self.known = ends
            .map(|(at, end)| {
                let known = before
                    .remove(&at)
                    .map_or(Known { end, seen: now, rate: None }, |b| b.seen_again(end, now));
                (at, known)
            })
            .collect();
    }

    /// What a partition weighs: as much as an idle one before it was looked at twice.
    pub(super) fn of(&self, at: StreamPartition) -> u32 {
        let rate = self.known.get(&at).and_then(|known| known.rate).unwrap_or_default();
        // Beyond what u32 holds it is as much as that.
        IDLE.saturating_add(rate.round() as u32)
    }
}

impl Known {
    fn seen_again(self, end: u64, now: Duration) -> Self {
        let seconds = now.saturating_sub(self.seen).as_secs_f64();
        if seconds <= 0.0 {
            return self;
        }
        let fresh = end.saturating_sub(self.end) as f64 / seconds;
        let old = (-seconds / MEMORY.as_secs_f64()).exp();
        let rate = self.rate.map_or(fresh, |rate| old * rate + (1.0 - old) * fresh);
        Self { end, seen: now, rate: Some(rate) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tw_types::{PartitionId, StreamId};

    fn at(partition: u32) -> StreamPartition {
        StreamPartition::new(StreamId(7), PartitionId(partition))
    }

    #[test]
    fn a_partition_weighs_what_comes_to_it_and_a_constant() {
        let mut weights = Weights::default();
        weights.look([(at(0), 5_000), (at(1), 9)].into_iter(), Duration::from_secs(1));
        assert_eq!(weights.of(at(0)), IDLE, "it was looked at once");
        weights.look([(at(0), 6_000), (at(1), 9)].into_iter(), Duration::from_secs(3));
        assert_eq!((weights.of(at(0)), weights.of(at(1))), (600, IDLE));
        weights.look([(at(1), 9)].into_iter(), Duration::from_secs(5));
        assert_eq!(weights.of(at(0)), IDLE, "it is gone");
    }

    #[test]
    fn a_burst_weighs_little_and_a_load_that_lasts_all_of_it() {
        let mut weights = Weights::default();
        let mut look = |second: u64, end: u64| {
            weights.look(std::iter::once((at(0), end)), Duration::from_secs(second));
            weights.of(at(0))
        };
        look(0, 0);
        assert_eq!(look(2, 0), IDLE);
        let burst = look(4, 2_000);
        assert!((IDLE + 25..IDLE + 40).contains(&burst), "{burst}");
        let mut lasting = 0;
        for step in 3..=150 {
            lasting = look(2 * step, 2_000 * (step - 1));
        }
        assert!((IDLE + 980..=IDLE + 1_000).contains(&lasting), "{lasting}");
    }
}
