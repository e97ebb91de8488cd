//! The history of what nodes measure: a fold of the events of `$metrics`. Pure: no clock, no I/O.
//!
//! ```text
//! report of a node, one step ──▶ fine ring (steps of the interval) ──▶ coarse ring (minutes, a day)
//!                                          └──────── a span, downsampled ────────┘
//! ```
//!
//! A step of a series has a mean and a most. What several nodes say of one step is added up, or the worst of it holds, as the series has it;
//! smaller steps make a larger one with the mean of their means, each as long as it was, and the most of all. So no maximum is ever lost, and
//! neither is the total.

mod ring;
#[cfg(test)]
mod tests;

use ring::{Ring, Slot};
use std::collections::BTreeMap;

/// How many steps of the interval are kept: an hour of 10 s, and what is late.
const FINE_SLOTS: u64 = 366;
/// How many minutes are kept: a day.
const COARSE_SLOTS: u64 = 1_440;
/// How long a step of the coarse ring is, in milliseconds.
pub(crate) const COARSE_MS: u64 = 60_000;
/// How many nodes are told apart.
const NODES_MAX: usize = 1_000;
/// The longest name of a series, in bytes.
const NAME_BYTES_MAX: usize = 400;

/// What a node says of one step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Report {
    /// The node.
    pub(crate) node: String,
    /// When the step began, in milliseconds since 1970.
    pub(crate) start_ms: u64,
    /// How long it was.
    pub(crate) step_ms: u64,
    /// Whether there was more than could be said: then an item that is not named did something, perhaps.
    pub(crate) cut: bool,
    /// The mean and the most of each series. An item that did nothing is left out.
    pub(crate) series: BTreeMap<String, [f32; 2]>,
}

/// How what nodes say of one step is put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Join {
    Sum,
    Worst,
}

/// What is known of a series by its name: how it is put together, and its unit. None: there is no such series.
fn kind(name: &str) -> Option<(Join, &'static str)> {
    let (base, item) = name.split_once('/').map_or((name, None), |(base, item)| (base, Some(item)));
    let of_item = item.is_some_and(|item| !item.is_empty());
    Some(match (base, item) {
        ("appended_events_per_second", None) => (Join::Sum, "events/s"),
        ("appended_bytes_per_second", None) => (Join::Sum, "bytes/s"),
        ("append_p99_ms", None) => (Join::Worst, "ms"),
        ("errors_per_second", None) => (Join::Sum, "answers/s"),
        ("log_bytes", None) => (Join::Sum, "bytes"),
        ("parked_events", None) => (Join::Sum, "events"),
        ("projection_lag_ms", None) => (Join::Worst, "ms"),
        ("source_lag_bytes", None) => (Join::Worst, "bytes"),
        ("stream_events_per_second" | "projection_events_per_second", Some(_)) if of_item => {
            (Join::Sum, "events/s")
        }
        ("projection_lag_ms", Some(_)) if of_item => (Join::Worst, "ms"),
        _ => return None,
    })
}

/// The unit of a series; None if there is no such series.
pub(crate) fn unit(name: &str) -> Option<&'static str> {
    kind(name).map(|(_, unit)| unit)
}

/// Whether a series is about one of many things.
fn is_of_item(name: &str) -> bool {
    name.contains('/')
}

struct Series {
    join: Join,
    /// The last step in which there was more than nothing.
    busy_at: u64,
    fine: Ring,
    coarse: Ring,
}

impl Series {
    /// Takes what a node says of a step. Nothing happens to a step that is older than what is kept.
    fn put(&mut self, start_ms: u64, step_ms: u64, [mean, max]: [f32; 2]) {
        let join = self.join;
        let joined = |before: Option<Slot>| {
            let Some(Slot { mean: mean_before, max: max_before, .. }) = before else { return (mean, max) };
            match join {
                Join::Sum => (mean_before + mean, max_before + max),
                Join::Worst => (mean_before.max(mean), max_before.max(max)),
            }
        };
        let place = start_ms / step_ms;
        if max > 0.0 {
            self.busy_at = self.busy_at.max(place);
        }
        if !self.fine.put(place, |before| Slot::one(place, joined(before))) {
            return;
        }
        let minute = start_ms / COARSE_MS;
        let steps = (minute * COARSE_MS / step_ms)..((minute + 1) * COARSE_MS / step_ms);
        if let Some(slot) = ring::together(minute, self.fine.range(steps)) {
            self.coarse.put(minute, |_| slot);
        }
    }

    /// The last step that something was said of.
    fn last(&self) -> u64 {
        self.fine.last().map_or(0, |slot| slot.place)
    }
}

/// A part of a series, in steps of the same length.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
    pub(crate) step_ms: u64,
}

/// A step of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Step {
    pub(crate) start_ms: u64,
    pub(crate) mean: f32,
    pub(crate) max: f32,
}

/// Everything that is known. Its memory is bounded: about 30 KB to a series, and so many series.
pub(crate) struct History {
    step_ms: u64,
    series_max: usize,
    series: BTreeMap<String, Series>,
    /// The last step that each node has spoken of: what it says twice counts once.
    told: BTreeMap<String, u64>,
}

impl History {
    /// An empty history of steps of `step_ms`, which must divide a minute, and at most `series_max` series.
    pub(crate) fn new(step_ms: u64, series_max: usize) -> Self {
        Self { step_ms: step_ms.max(1), series_max, series: BTreeMap::new(), told: BTreeMap::new() }
    }

    /// Takes a report. One of other steps, or of a step that its node has spoken of already, changes nothing.
    pub(crate) fn fold(&mut self, report: &Report) {
        let Report { node, start_ms, step_ms, cut, series } = report;
        let is_told = self.told.get(node).is_some_and(|last| last >= start_ms);
        if *step_ms != self.step_ms || start_ms % step_ms != 0 || is_told {
            return;
        }
        if self.told.len() < NODES_MAX || self.told.contains_key(node) {
            self.told.insert(node.clone(), *start_ms);
        } else {
            return;
        }
        for (name, values) in series {
            if values.iter().all(|value| value.is_finite()) && self.make_room(name, start_ms / step_ms) {
                self.put(name, *start_ms, *values);
            }
        }
        if !cut {
            let silent = |(name, _): &(&String, &mut Series)| is_of_item(name) && !series.contains_key(*name);
            for (_, one) in self.series.iter_mut().filter(silent) {
                one.put(*start_ms, *step_ms, [0.0, 0.0]);
            }
        }
    }

    /// Whether there is room for a series, or it is there. The item of which nothing was said for longest gives way.
    fn make_room(&mut self, name: &str, place: u64) -> bool {
        if self.series.contains_key(name) {
            return true;
        }
        if name.len() > NAME_BYTES_MAX || kind(name).is_none() {
            return false;
        }
        if self.series.len() >= self.series_max {
            let items = self.series.iter().filter(|(name, _)| is_of_item(name));
            let oldest = items.min_by_key(|(_, one)| one.busy_at);
            match oldest.map(|(name, one)| (name.clone(), one.busy_at)) {
                Some((name, busy_at)) if busy_at < place => drop(self.series.remove(&name)),
                _ => return false,
            }
        }
        true
    }

    fn put(&mut self, name: &str, start_ms: u64, values: [f32; 2]) {
        let Some((join, _)) = kind(name) else { return };
        let step_ms = self.step_ms;
        let fresh =
            || Series { join, busy_at: 0, fine: Ring::new(FINE_SLOTS), coarse: Ring::new(COARSE_SLOTS) };
        self.series.entry(name.to_owned()).or_insert_with(fresh).put(start_ms, step_ms, values);
    }

    /// Lets go of the series of items that are gone.
    pub(crate) fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.series.retain(|name, _| !is_of_item(name) || is_there(name));
    }

    /// The series that there are, in the order of their names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.series.keys().map(String::as_str)
    }

    /// The steps in which `from_ms` to `to_ms`, exclusive, is told in at most `points_max` points. What is younger than `now_ms`
    /// less an hour is told in small steps.
    pub(crate) fn span(&self, from_ms: u64, to_ms: u64, now_ms: u64, points_max: u32) -> Span {
        let fine_from = now_ms.saturating_sub((FINE_SLOTS - 5) * self.step_ms);
        let base = if from_ms >= fine_from { self.step_ms } else { COARSE_MS };
        // A span that begins within a step has two of them at least.
        let points_max = u64::from(points_max.max(2));
        let mut factor = to_ms.saturating_sub(from_ms).div_ceil(base).div_ceil(points_max).max(1);
        loop {
            let step_ms = base * factor;
            let (first, end) = (from_ms / step_ms, to_ms.div_ceil(step_ms));
            if end - first <= points_max {
                return Span { from_ms: first * step_ms, to_ms: end * step_ms, step_ms };
            }
            factor += 1;
        }
    }

    /// The steps of a series in a span; those of which nothing is known are left out.
    pub(crate) fn steps(&self, name: &str, span: &Span) -> Vec<Step> {
        let Some(series) = self.series.get(name) else { return Vec::new() };
        let is_fine = !span.step_ms.is_multiple_of(COARSE_MS) || self.is_within_fine(series, span);
        let (ring, base) = if is_fine { (&series.fine, self.step_ms) } else { (&series.coarse, COARSE_MS) };
        let each = (span.step_ms / base).max(1);
        let slots = ring.range(span.from_ms / base..span.to_ms / base);
        let mut steps: Vec<Step> = Vec::new();
        for (place, slots) in ring::by(slots, each) {
            if let Some(Slot { mean, max, .. }) = ring::together(place, slots.iter().copied()) {
                steps.push(Step { start_ms: place * span.step_ms, mean, max });
            }
        }
        steps
    }

    /// Whether the small steps of a series reach back to where a span begins.
    fn is_within_fine(&self, series: &Series, span: &Span) -> bool {
        let newest = series.last();
        span.from_ms / self.step_ms > newest.saturating_sub(FINE_SLOTS - 1)
    }
}
