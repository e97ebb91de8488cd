//! Decisions about snapshots, without clock, I/O and randomness: which is due, which to begin with, which are to go.

use super::Options;
use super::names::{Object, Place, Run};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tw_types::{Offset, PartitionId};

/// A partition of a view.
pub(super) type Key = (String, PartitionId);

/// What can be stored now: a partition of which this node is the owner, and which can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The generation of the view that is read.
    pub(super) generation: u64,
    /// How far it is.
    pub(super) position: Offset,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Find out the position of the newest snapshot, and say it with [`Schedule::found`].
    Ask(Key),
    /// Store a snapshot, and say so with [`Schedule::stored`].
    Store {
        /// Of this partition.
        key: Key,
        /// It takes the place of all others: the view was built anew since.
        supersedes: bool,
    },
    /// Nothing before this time, unless something happens.
    Wait(Option<Duration>),
}

/// What is known of the snapshots of a partition.
#[derive(Debug, Clone, Copy)]
struct Known {
    generation: u64,
    /// The position of the newest one, or zero.
    position: Offset,
    /// Since when this is known, or the snapshot is there.
    since: Duration,
    /// The generation took the place of another one while it was known.
    supersedes: bool,
    /// Failures since the last snapshot.
    failures: u32,
}

/// Which snapshot is due.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    known: BTreeMap<Key, Known>,
    /// Failures in a row, of any partition.
    failures: u32,
    /// Nothing is tried before.
    not_before: Duration,
}

impl Schedule {
    /// What to do at `now`. What is not among the candidates is forgotten.
    pub(super) fn next(
        &mut self,
        now: Duration,
        options: &Options,
        candidates: &BTreeMap<Key, Candidate>,
    ) -> Action {
        self.known.retain(|key, _| candidates.contains_key(key));
        if self.is_paused(now) {
            return Action::Wait(Some(self.not_before));
        }
        let interval = Duration::from_millis(options.interval_ms_max);
        let mut due: Option<(Reverse<u32>, u64, &Key, bool)> = None;
        let mut wake: Option<Duration> = None;
        for (key, candidate) in candidates {
            let Some(known) = self.known.get_mut(key) else { return Action::Ask(key.clone()) };
            if known.generation != candidate.generation {
                (known.generation, known.supersedes) = (candidate.generation, true);
            }
            let events = candidate.position.0.saturating_sub(known.position.0);
            let at = known.since.saturating_add(interval);
            if known.supersedes || events >= options.events_max || (events > 0 && now >= at) {
                // Whoever fails again and again is not to keep the others waiting.
                let rank = (Reverse(known.failures), events, key, known.supersedes);
                due = due.max(Some(rank));
            } else if events > 0 {
                wake = Some(wake.map_or(at, |wake| wake.min(at)));
            }
        }
        match due {
            Some((.., key, supersedes)) => Action::Store { key: key.clone(), supersedes },
            None => Action::Wait(wake),
        }
    }

    /// Whether nothing is tried at `now`, after a failure.
    pub(super) fn is_paused(&self, now: Duration) -> bool {
        now < self.not_before
    }

    /// The newest snapshot of a candidate is there, or there is none.
    pub(super) fn found(&mut self, now: Duration, key: Key, generation: u64, newest: Option<Offset>) {
        self.failures = 0;
        let position = newest.unwrap_or(Offset::ZERO);
        let known = Known { generation, position, since: now, supersedes: false, failures: 0 };
        self.known.insert(key, known);
    }

    /// A snapshot of a generation was stored.
    pub(super) fn stored(&mut self, now: Duration, key: Key, generation: u64, position: Offset) {
        self.found(now, key, generation, Some(position));
    }

    /// Asking or storing has failed.
    pub(super) fn failed(&mut self, now: Duration, options: &Options, key: Option<&Key>) {
        self.failures = self.failures.saturating_add(1);
        if let Some(known) = key.and_then(|key| self.known.get_mut(key)) {
            known.failures = known.failures.saturating_add(1);
        }
        let doublings = (self.failures - 1).min(30);
        let pause_ms = options.failure_ms_min.saturating_mul(1 << doublings).min(options.failure_ms_max);
        self.not_before = now.saturating_add(Duration::from_millis(pause_ms));
    }

    /// The most events after the newest snapshot, over all candidates.
    pub(super) fn lag_events(&self, candidates: &BTreeMap<Key, Candidate>) -> u64 {
        let lag = |(key, candidate): (&Key, &Candidate)| {
            let stored = self.known.get(key).map_or(Offset::ZERO, |known| known.position);
            candidate.position.0.saturating_sub(stored.0)
        };
        candidates.iter().map(lag).max().unwrap_or_default()
    }
}

/// Where a partition stands, and its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stand {
    /// How far the state of its own is; None if there is none.
    pub(super) own: Option<Offset>,
    /// The first offset that the log has.
    pub(super) start: Offset,
    /// The end of the log, exclusive.
    pub(super) end: Offset,
}

impl Stand {
    /// Whether it is worth to look for a snapshot: nothing is there to go on from, or it is far from the end of the log, or
    /// the log does not have any more what comes next.
    pub(super) fn is_wanted(&self, replay_events_max: u64) -> bool {
        self.own
            .is_none_or(|own| own <= self.end && (own < self.start || self.end.0 - own.0 > replay_events_max))
    }

    /// Whether a snapshot is worth to be taken.
    fn takes(&self, position: Offset, replay_events_max: u64) -> bool {
        let fits = self.start <= position && position <= self.end;
        let gains = |own: Offset| own < self.start || position.0.saturating_sub(own.0) > replay_events_max;
        fits && self.own.is_none_or(gains)
    }

    /// The snapshot to begin with: the newest that was not refused.
    pub(super) fn choose(
        &self,
        place: &Place,
        names: &[String],
        refused: &BTreeSet<Run>,
        replay_events_max: u64,
    ) -> Option<Run> {
        let runs = manifests(place, names).filter(|run| !refused.contains(run));
        runs.filter(|run| self.takes(run.position, replay_events_max)).max()
    }
}

/// The whole snapshots among the objects of a place.
fn manifests<'a>(place: &'a Place, names: &'a [String]) -> impl Iterator<Item = Run> + 'a {
    names.iter().filter_map(|name| match place.read(name) {
        Some(Object::Manifest(run)) => Some(run),
        _ => None,
    })
}

/// The position of the newest snapshot of a log that ends at `end`.
pub(super) fn newest(place: &Place, names: &[String], end: Offset) -> Option<Offset> {
    manifests(place, names).map(|run| run.position).filter(|position| *position <= end).max()
}

/// What was stored of a partition is to go, in this order: manifests first, so that none is left without its chunks.
///
/// `names` is everything of the partition, all definitions; `place` is the one that counts, where `stored` was just stored, and
/// `end` is the end of the log. The newest `kept` stay. What lies beyond the end of the log is of another one, or of an owner
/// that knows more: it stays, and counts for nothing. So do chunks without a manifest, until they are older than what stays:
/// another node may be about to store them.
pub(super) fn outdated(
    place: &Place,
    names: &[String],
    stored: Run,
    end: Offset,
    kept: u64,
    supersedes: bool,
) -> Vec<String> {
    let mut runs: Vec<Run> = manifests(place, names).filter(|run| run.position <= end).collect();
    runs.sort_unstable_by(|a, b| b.cmp(a));
    let oldest = usize::try_from(kept).ok().and_then(|kept| runs.get(kept.checked_sub(1)?)).copied();
    let goes = |run: Run| if supersedes { run != stored } else { oldest.is_some_and(|oldest| run < oldest) };
    let (mut first, mut then) = (Vec::new(), Vec::new());
    for name in names {
        match place.read(name) {
            Some(Object::Manifest(run)) if goes(run) => first.push(name.clone()),
            Some(Object::Chunk(run)) if goes(run) => then.push(name.clone()),
            // Of another definition.
            None if !place.holds(name) && name.contains("/manifests/") => first.push(name.clone()),
            None if !place.holds(name) => then.push(name.clone()),
            _ => {}
        }
    }
    first.append(&mut then);
    first
}

#[cfg(test)]
mod tests;
