//! What this region had seen of others, and when: the events in which it told that, as far back as they are kept.

use std::collections::VecDeque;
use tw_merge::Seen;
use tw_types::Hlc;

/// A bounded list of what was seen. Shared by all links of a region.
#[derive(Debug, Clone)]
pub struct SeenHistory {
    entries: VecDeque<(Hlc, Seen)>,
    entries_max: usize,
    /// Nothing is lacking before the first entry: nothing of others was there then.
    is_whole: bool,
}

impl SeenHistory {
    /// Nothing yet; at most `entries_max` (at least one) are kept. `is_whole`: what is pushed begins with the first such event that
    /// there ever was.
    pub fn new(entries_max: usize, is_whole: bool) -> Self {
        Self { entries: VecDeque::new(), entries_max: entries_max.max(1), is_whole }
    }

    /// From this timestamp on, which is that of the event that says so and later than all before, this was there. One that is not later is
    /// left out.
    pub fn push(&mut self, at: Hlc, seen: Seen) {
        if self.entries.back().is_some_and(|(last, _)| *last >= at) {
            return;
        }
        self.entries.push_back((at, seen));
        if self.entries.len() > self.entries_max {
            self.entries.pop_front();
            self.is_whole = false;
        }
    }

    /// What had been seen when an event got this timestamp: the last entry before it. If that is forgotten, the oldest one that is
    /// kept, which says more than was the case. No timestamp in it is the event's own or later: a writer cannot have seen such.
    pub fn at(&self, hlc: Hlc) -> Seen {
        let entry = match self.entries.partition_point(|(at, _)| *at < hlc).checked_sub(1) {
            Some(index) => self.entries.get(index),
            None if self.is_whole => None,
            None => self.entries.front(),
        };
        let before = Hlc::from_u64(hlc.as_u64().saturating_sub(1));
        let seen = entry.into_iter().flat_map(|(_, seen)| seen.iter());
        seen.map(|(region, until)| (region, until.min(before))).collect()
    }
}
