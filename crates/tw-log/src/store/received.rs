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
use tw_wire::{BlockHeader, Run};

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
}

impl Mark {
    fn of(run: &Run) -> Self {
        let foreign = Foreign { origin: run.origin, first_hlc: run.first_hlc };
        Self::after(&foreign, u64::from(run.batch.count()))
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
        Self { here, last: BTreeMap::new() }
    }

    /// So many events were accepted here.
    fn advance(&mut self, count: u64, hlc: Hlc) {
        let known = self.last.entry(self.here).or_default();
        *known = (Sequence(known.0.0 + count), hlc);
    }

    /// Whether anything of this region is known.
    pub(super) fn has_own(&self) -> bool {
        self.last.contains_key(&self.here)
    }

    pub(super) fn raise(&mut self, mark: Mark) {
        let Origin { region, epoch, sequence } = mark.origin;
        let known = self.last.entry((region, epoch)).or_default();
        if sequence > known.0 {
            *known = (sequence, mark.hlc);
        }
    }

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
}

impl State {
    /// An append under way has arrived.
    pub(super) fn landed(&mut self, flight: &Flight, hlc: Hlc) {
        match flight.foreign {
            Some(mark) => self.marks.raise(mark),
            None => self.marks.advance(flight.end.0 - flight.base.0, hlc),
        }
    }

    /// Refuses events of other regions that are here, or under way, or twice among these.
    pub(super) fn check_new(&self, at: StreamPartition, runs: &[Run]) -> Result<()> {
        for (index, run) in runs.iter().enumerate() {
            let Origin { region, epoch, sequence } = run.origin;
            let before = runs.get(..index).unwrap_or_default().iter().map(Mark::of);
            let under_way = self.flights.iter().filter_map(|flight| flight.foreign).chain(before);
            let of_epoch =
                under_way.filter(|mark| (mark.origin.region, mark.origin.epoch) == (region, epoch));
            let last = of_epoch.map(|mark| mark.origin.sequence).max();
            let reached = last.unwrap_or_default().max(self.marks.last(run.origin));
            if sequence <= reached {
                return Err(Error::Received { at, origin: run.origin, reached });
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
        Ok(partition.lock().marks.iter().collect())
    }

    /// A block that was found in the log.
    pub(super) fn note_origin(&self, marks: &mut Marks, header: &BlockHeader) {
        let origin = Origin { region: header.region, epoch: header.epoch, sequence: header.base_sequence };
        let block = Foreign { origin, first_hlc: header.first_hlc };
        marks.raise(Mark::after(&block, u64::from(header.last_delta) + 1));
    }

    /// The marks with which a partition begins whose index ends at `end`.
    pub(super) async fn first_marks(&self, at: StreamPartition, end: Offset) -> Result<Marks> {
        let mut marks = self.index.marks(at, (self.log.region(), self.log.epoch()))?;
        if let Some(last) = end.0.checked_sub(1).filter(|_| !marks.has_own()) {
            // An index of the time before there were marks: everything before its end was accepted here.
            match self.log.read(at, Offset(last), 1).await {
                Ok(blocks) => {
                    blocks.first().into_iter().for_each(|block| self.note_origin(&mut marks, block.header()));
                }
                Err(LogError::Trimmed { .. } | LogError::BeyondEnd { .. }) => {}
                Err(error) => return Err(error.into()),
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
