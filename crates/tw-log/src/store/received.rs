//! What of each region is here: the cursor of each link, which is the log itself.
//!
//! The last sequence and timestamp of each region and epoch in a partition, this region's own included. It moves with the events that it speaks of, and is kept with
//! the subject index, from which it is rebuilt like everything else there. An event is refused that is here already (REG-3).

use super::partition::{Flight, Partition, State};
use super::{Core, Error, Result, index::format};
use crate::{Error as LogError, Foreign};
use std::collections::BTreeMap;
use std::sync::Arc;
use tw_state::Batch;
use tw_types::{Epoch, Hlc, Offset, Origin, RegionId, Sequence, StreamPartition};
use tw_wire::{Block, BlockHeader, Run};

/// How much of one epoch of a region is here in a partition: everything up to this event that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The origin of the last event.
    pub origin: Origin,
    /// Its timestamp.
    pub hlc: Hlc,
}

/// The marks of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marks {
    /// Whose log it is, and its epoch.
    here: (RegionId, Epoch),
    last: BTreeMap<(RegionId, Epoch), (Sequence, Hlc)>,
    /// Whether events of this region can be counted. Not so when the index was lost and the log does not begin with its first event: then
    /// one of them has to be read.
    counts: bool,
    /// Before this offset everything is counted.
    counted: Offset,
    /// An event of this region that has to be read, because its sequence or its timestamp is not known.
    unread: Option<Offset>,
}

impl Mark {
    fn of(run: &Run) -> Self {
        Self::after(&run.into(), u64::from(run.batch.count()))
    }

    /// The mark after `count` events that begin there.
    pub(super) fn after(foreign: &Foreign, count: u64) -> Self {
        let Origin { sequence, .. } = foreign.origin;
        let last = Sequence(sequence.0.saturating_add(count.saturating_sub(1)));
        let hlc = foreign.first_hlc.plus(count.saturating_sub(1));
        Self { origin: Origin { sequence: last, ..foreign.origin }, hlc }
    }
}

impl Marks {
    pub(super) const fn new(here: (RegionId, Epoch)) -> Self {
        Self { here, last: BTreeMap::new(), counts: true, counted: Offset::ZERO, unread: None }
    }

    /// The events before `end` from `base` on were accepted here; the last one at `hlc`, if that is known.
    fn advance(&mut self, base: Offset, end: Offset, hlc: Option<Hlc>) {
        if base < self.counted {
            // They were found in the log already.
            return;
        }
        self.counted = end;
        self.unread = if self.counts && hlc.is_some() { None } else { end.0.checked_sub(1).map(Offset) };
        if self.counts {
            let known = self.last.entry(self.here).or_default();
            *known =
                (Sequence(known.0.0.saturating_add(end.0.saturating_sub(base.0))), hlc.unwrap_or(known.1));
        }
    }

    /// A block that is in the log.
    pub(super) fn found(&mut self, header: &BlockHeader) {
        let origin = Origin { region: header.region, epoch: header.epoch, sequence: header.base_sequence };
        let mark =
            Mark::after(&Foreign { origin, first_hlc: header.first_hlc }, u64::from(header.last_delta) + 1);
        let end = header.end_offset();
        if (header.region, header.epoch) != self.here {
            self.raise(mark);
        } else if end >= self.counted {
            self.last.insert(self.here, (mark.origin.sequence, mark.hlc));
            (self.counts, self.counted, self.unread) = (true, end, None);
        }
    }

    /// Events were removed before they were seen: how many of this region were among them is not known.
    pub(super) fn skip(&mut self) {
        self.last.remove(&self.here);
        (self.counts, self.unread) = (false, None);
    }

    /// Whether anything of this region is known.
    fn has_own(&self) -> bool {
        self.last.contains_key(&self.here)
    }

    fn raise(&mut self, mark: Mark) {
        let Origin { region, epoch, sequence } = mark.origin;
        let known = self.last.entry((region, epoch)).or_default();
        if sequence > known.0 {
            *known = (sequence, mark.hlc);
        }
    }

    /// What is known of each region. Nothing of this one, as long as its events cannot be counted.
    pub(super) fn iter(&self) -> impl Iterator<Item = Mark> + '_ {
        let mark = |(&(region, epoch), &(sequence, hlc)): (&(RegionId, Epoch), &(Sequence, Hlc))| Mark {
            origin: Origin { region, epoch, sequence },
            hlc,
        };
        self.last.iter().map(mark)
    }

    /// The last sequence of an epoch of a region.
    fn last(&self, origin: Origin) -> Sequence {
        self.last.get(&(origin.region, origin.epoch)).map(|(sequence, _)| *sequence).unwrap_or_default()
    }

    /// The last timestamp of a region, of whatever epoch.
    fn latest(&self, region: RegionId) -> Hlc {
        let epochs = self.last.range((region, Epoch(0))..=(region, Epoch(u32::MAX)));
        epochs.map(|(_, (_, hlc))| *hlc).max().unwrap_or_default()
    }
}

impl State {
    /// An append under way has arrived; its last event has this timestamp, if that is known.
    pub(super) fn landed(&mut self, flight: &Flight, hlc: Option<Hlc>) {
        match flight.foreign {
            Some(mark) => self.marks.raise(mark),
            None => self.marks.advance(flight.base, flight.end, hlc),
        }
    }

    /// Refuses events that come from elsewhere and are here, or under way, or twice among these, or whose time runs backwards.
    pub(super) fn check_new(&self, at: StreamPartition, runs: &[Run]) -> Result<()> {
        for (index, run) in runs.iter().enumerate() {
            let Origin { region, epoch, sequence } = run.origin;
            let before = runs.get(..index).unwrap_or_default().iter().map(Mark::of);
            let under_way = self.flights.iter().filter_map(|flight| flight.foreign).chain(before);
            let (mut reached, mut latest) = (self.marks.last(run.origin), self.marks.latest(region));
            for mark in under_way.filter(|mark| mark.origin.region == region) {
                latest = latest.max(mark.hlc);
                if mark.origin.epoch == epoch {
                    reached = reached.max(mark.origin.sequence);
                }
            }
            if sequence <= reached {
                return Err(Error::Received { at, origin: run.origin, reached });
            }
            if latest > Hlc::ZERO && run.first_hlc <= latest {
                let reason = "they are not later than an event of that region that is here: what goes on from a copy of a region \
                              has to begin a new epoch, with a clock that goes on from the latest of its events";
                return Err(LogError::NotForeign { origin: run.origin, reason }.into());
            }
        }
        Ok(())
    }
}

impl Core {
    /// What is here of each region, durable: all that can be read now is in it.
    pub(super) async fn received(&self, partition: &Arc<Partition>) -> Result<Vec<Mark>> {
        self.current(partition).await?;
        // What can be read may have been published a moment before its append is answered.
        partition.confirmed(Offset(partition.end.get())).await;
        loop {
            let unread = partition.lock().marks.unread;
            let header = self.header_at(partition.at, unread).await?;
            let mut state = partition.lock();
            if let Some(header) = &header {
                state.marks.found(header);
            }
            // It may have got further meanwhile.
            if header.is_none() || state.marks.unread.is_none_or(|next| Some(next) == unread) {
                return Ok(state.marks.iter().collect());
            }
        }
    }

    /// The header of the block that has an event; None if that is not there any more.
    async fn header_at(&self, at: StreamPartition, offset: Option<Offset>) -> Result<Option<BlockHeader>> {
        let Some(offset) = offset else { return Ok(None) };
        match self.log.read(at, offset, 1).await {
            Ok(blocks) => {
                let found = blocks.first().map(Block::header);
                Ok(found.filter(|header| header.base_offset <= offset).cloned())
            }
            Err(LogError::Trimmed { .. } | LogError::BeyondEnd { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The marks with which a partition begins whose index ends at `end`, and whose log begins at `start`.
    pub(super) async fn first_marks(&self, at: StreamPartition, start: Offset, end: Offset) -> Result<Marks> {
        let mut marks = self.index.marks(at, (self.log.region(), self.log.epoch()))?;
        marks.counted = end;
        if start > end {
            marks.skip();
        }
        if !marks.has_own() {
            // Either nothing was accepted here before `end`, or it is an index of the time before there were marks: then
            // everything was; or the index was lost when its first events were gone already.
            // Where the engine says that nothing was accepted under this epoch, there is nothing to be counted before it.
            let is_first = end == Offset::ZERO && start == Offset::ZERO;
            marks.counts = is_first || self.log.accepted(at)? == Some(0);
            if let Some(header) = self.header_at(at, end.0.checked_sub(1).map(Offset)).await? {
                marks.found(&header);
            }
        }
        Ok(marks)
    }
}

impl super::index::Index {
    /// The marks of a partition as they are stored.
    fn marks(&self, at: StreamPartition, here: (RegionId, Epoch)) -> Result<Marks> {
        let stored = self.state.get(self.positions, &format::marks_key(at))?;
        let mut marks = Marks::new(here);
        stored.iter().flat_map(|bytes| format::read_marks(bytes)).for_each(|mark| marks.raise(mark));
        Ok(marks)
    }

    /// Stores marks, if there are any.
    pub(super) fn put_marks(&self, at: StreamPartition, marks: &Marks, batch: &mut Batch) {
        if !marks.last.is_empty() {
            batch.put(self.positions, format::marks_key(at).to_vec(), format::write_marks(marks.iter()));
        }
    }
}
