//! What other regions' events are here: the cursor of each link, which is the log itself.
//!
//! The last sequence and timestamp of each region and epoch in a partition. It moves with the events that it speaks of, and is kept with
//! the subject index, from which it is rebuilt like everything else there. An event is refused that is here already (REG-3).

use super::partition::{Flight, Partition, State};
use super::{Core, Error, Result, index::format};
use crate::Foreign;
use std::collections::BTreeMap;
use std::sync::Arc;
use tw_state::Batch;
use tw_types::{Epoch, Hlc, Origin, RegionId, Sequence, StreamPartition};
use tw_wire::{BlockHeader, Run};

/// How much of one epoch of another region is here in a partition: everything up to this event that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The origin of the last event.
    pub origin: Origin,
    /// Its timestamp.
    pub hlc: Hlc,
}

/// The marks of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Marks(BTreeMap<(RegionId, Epoch), (Sequence, Hlc)>);

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
    pub(super) fn raise(&mut self, mark: Mark) {
        let Origin { region, epoch, sequence } = mark.origin;
        let known = self.0.entry((region, epoch)).or_default();
        if sequence > known.0 {
            *known = (sequence, mark.hlc);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Mark> + '_ {
        let mark = |(&(region, epoch), &(sequence, hlc)): (&(RegionId, Epoch), &(Sequence, Hlc))| Mark {
            origin: Origin { region, epoch, sequence },
            hlc,
        };
        self.0.iter().map(mark)
    }

    /// The last sequence of an epoch of a region.
    fn last(&self, origin: Origin) -> Sequence {
        self.0.get(&(origin.region, origin.epoch)).map(|(sequence, _)| *sequence).unwrap_or_default()
    }
}

impl State {
    /// An append under way has arrived.
    pub(super) fn landed(&mut self, flight: &Flight) {
        if let Some(mark) = flight.foreign {
            self.marks.raise(mark);
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
    /// What is here of other regions, durable.
    pub(super) async fn received(&self, partition: &Arc<Partition>) -> Result<Vec<Mark>> {
        self.current(partition).await?;
        Ok(partition.lock().marks.iter().collect())
    }

    /// A block that was found in the log.
    pub(super) fn note_origin(&self, state: &mut State, header: &BlockHeader) {
        if header.region != self.log.region() {
            let origin =
                Origin { region: header.region, epoch: header.epoch, sequence: header.base_sequence };
            let foreign = Foreign { origin, first_hlc: header.first_hlc };
            state.marks.raise(Mark::after(&foreign, u64::from(header.last_delta) + 1));
        }
    }
}

impl super::index::Index {
    /// The marks of a partition as they are stored.
    pub(super) fn marks(&self, at: StreamPartition) -> Result<Marks> {
        let stored = self.state.get(self.positions, &format::marks_key(at))?;
        let mut marks = Marks::default();
        stored.iter().flat_map(|bytes| format::read_marks(bytes)).for_each(|mark| marks.raise(mark));
        Ok(marks)
    }

    /// Stores marks, if there are any.
    pub(super) fn put_marks(&self, at: StreamPartition, marks: &Marks, batch: &mut Batch) {
        if !marks.0.is_empty() {
            batch.put(self.positions, format::marks_key(at).to_vec(), format::write_marks(marks.iter()));
        }
    }
}
