//! How far one partition was sent, and what is known of what comes next.

use super::super::wire::Passed;
use super::Found;
use std::collections::{BTreeMap, VecDeque};
use tw_merge::received::Mark;
use tw_types::{Epoch, Hlc, RegionId, Sequence, StreamPartition};

/// One partition that the receiver has pulled.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) stream: u32,
    /// The last event that was sent or passed, or that the receiver has.
    pub(super) sent: (Epoch, Sequence),
    /// The next blocks, two at most.
    pub(super) found: VecDeque<Found>,
    /// There is nothing after those.
    pub(super) is_at_end: bool,
    /// The number of the look that is under way.
    pub(super) looking: Option<u64>,
    /// Something was accepted since that began.
    pub(super) has_grown: bool,
    /// What the receiver said that it has, until it is compared with the log.
    pub(super) pulled: Option<(Epoch, Mark)>,
}

/// Events of one epoch that nobody has any more: first and last sequence, and the last one's timestamp.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone {
    epoch: Epoch,
    first: Sequence,
    last: Sequence,
    hlc: Hlc,
}

impl Gone {
    pub(super) fn to_frame(&self, stream: u32, at: StreamPartition, region: RegionId) -> Passed {
        let Self { epoch, first, last, hlc } = *self;
        Passed { stream, partition: at.partition, region, epoch, first, last, hlc }
    }
}

impl Cursor {
    /// Begins in the first epoch of which the receiver lacks something.
    pub(super) fn new(stream: u32, ends: &[(Epoch, Mark)], marks: &BTreeMap<Epoch, Mark>) -> Self {
        let held = |epoch: &Epoch| marks.get(epoch).copied().unwrap_or_default();
        let is_short = |(epoch, end): &&(Epoch, Mark)| held(epoch).sequence < end.sequence;
        let begin = ends.iter().find(is_short).or(ends.last());
        let (epoch, mark) = begin.map_or((Epoch(0), Mark::default()), |(epoch, _)| (*epoch, held(epoch)));
        Self {
            stream,
            sent: (epoch, mark.sequence),
            found: VecDeque::new(),
            is_at_end: false,
            looking: None,
            has_grown: false,
            pulled: Some((epoch, mark)),
        }
    }

    pub(super) fn front(&self) -> Option<Found> {
        self.found.front().copied()
    }

    pub(super) fn needs_look(&self) -> bool {
        self.looking.is_none() && !self.is_at_end && self.found.len() < 2
    }

    /// Whether a block that was just accepted is the one that would be found next.
    pub(super) fn takes(&self, block: &Found) -> bool {
        let (epoch, last) = self.end_of_found();
        let is_next = block.first.epoch == epoch && block.first.sequence.0.checked_sub(1) == Some(last.0);
        self.is_at_end && self.looking.is_none() && self.found.len() < 2 && is_next
    }

    /// The last event of what was found, or sent.
    pub(super) fn end_of_found(&self) -> (Epoch, Sequence) {
        self.found.back().map_or(self.sent, |found| {
            (found.first.epoch, Sequence(found.first.sequence.0.saturating_add(found.count.max(1) - 1)))
        })
    }

    /// What is gone between what was sent and the event `next` of an epoch (exclusive). `hlc` is a timestamp before that event; without
    /// it those of the ends are taken.
    pub(super) fn pass_to(
        &self,
        ends: &[(Epoch, Mark)],
        epoch: Epoch,
        next: Sequence,
        hlc: Option<Hlc>,
    ) -> Vec<Gone> {
        let epochs = ends.iter().filter(|(one, _)| self.sent.0 <= *one && *one <= epoch);
        let gone = epochs.filter_map(|(one, end)| {
            let sent = if *one == self.sent.0 { self.sent.1.0 } else { 0 };
            let last = if *one == epoch { next.0.saturating_sub(1) } else { end.sequence.0 };
            let hlc = if *one == epoch { hlc.unwrap_or(end.hlc) } else { end.hlc };
            let gone = Gone { epoch: *one, first: Sequence(sent + 1), last: Sequence(last), hlc };
            (sent < last).then_some(gone)
        });
        gone.collect()
    }
}
