//! What a region says of its epochs: which there are, where the earlier ones end, and how far the last one goes.

use super::{EPOCHS_MAX, Line, Mark, REGIONS_MAX, Received, Region};
use tw_types::{Epoch, Hlc, Origin, RegionId, Sequence};

/// Why an announcement, a seed or a retirement is refused. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// One region more than there may be.
    #[error("region `{region}` is one more than the {max} that a partition takes events of: free one first")]
    Regions {
        /// The region that was not known.
        region: RegionId,
        /// The bound.
        max: usize,
    },
    /// More epochs than are told apart.
    #[error("region `{region}` has more than {max} epochs: retire those that are complete everywhere")]
    Epochs {
        /// The region.
        region: RegionId,
        /// The bound.
        max: usize,
    },
    /// No epoch at all, or not in rising order.
    #[error("region `{region}` must announce at least one epoch, and all of them in rising order")]
    Order {
        /// The region.
        region: RegionId,
    },
    /// An epoch is known here, is not complete, and is not among those that were announced.
    #[error(
        "region `{region}` does not announce its epoch {epoch}, of which events are here: it must say where it ends"
    )]
    Unlisted {
        /// The region.
        region: RegionId,
        /// The epoch.
        epoch: Epoch,
    },
    /// More was received than there is said to be.
    #[error(
        "region `{region}` says that its epoch {epoch} ends at {end}, but {reached} is here: let it fetch back its tail first"
    )]
    EndsEarlier {
        /// The region.
        region: RegionId,
        /// The epoch.
        epoch: Epoch,
        /// Where it is said to end.
        end: Sequence,
        /// How far it was received.
        reached: Sequence,
    },
    /// An epoch that had ended is said to end elsewhere, or to go on.
    #[error(
        "epoch {epoch} of region `{region}` ended at {end} and cannot go to {told}: it must use a new epoch"
    )]
    EndMoved {
        /// The region.
        region: RegionId,
        /// The epoch.
        epoch: Epoch,
        /// Where it ends.
        end: Sequence,
        /// Where it is said to go.
        told: Sequence,
    },
    /// Something of the epoch is here already.
    #[error(
        "epoch {epoch} of region `{region}` was received up to {reached} and cannot be seeded: seed an empty partition"
    )]
    NotEmpty {
        /// The region.
        region: RegionId,
        /// The epoch.
        epoch: Epoch,
        /// How far it was received.
        reached: Sequence,
    },
    /// An epoch cannot be forgotten before it is complete.
    #[error(
        "epoch {epoch} of region `{region}` is not complete here and cannot be retired: wait until it is"
    )]
    Incomplete {
        /// The region.
        region: RegionId,
        /// The epoch.
        epoch: Epoch,
    },
}

/// What is missing of what was announced: the sequences of one epoch, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// The first epoch that is not all here.
    pub epoch: Epoch,
    /// The first missing sequence.
    pub from: Sequence,
    /// The last one.
    pub to: Sequence,
}

impl Received {
    /// A region says which epochs it has in this partition, in rising order, each with its last sequence (0: no event). All but
    /// the last have ended there for good; the last one has come so far. It comes with a handshake and with each heartbeat. An older
    /// announcement that arrives late changes nothing.
    ///
    /// Returns what is still missing of that. A heartbeat may only be believed when nothing is.
    ///
    /// # Errors
    /// Any but [`Error::NotEmpty`] and [`Error::Incomplete`]; then nothing is changed.
    pub fn announce(
        &mut self,
        region: RegionId,
        epochs: &[(Epoch, Sequence)],
    ) -> Result<Option<Missing>, Error> {
        let (Some((last, _)), true) = (epochs.last(), epochs.is_sorted_by(|a, b| a.0 < b.0)) else {
            return Err(Error::Order { region });
        };
        let mut next = self.room_for(region)?;
        let is_left_out =
            |epoch: &Epoch| epoch < last && !epochs.iter().any(|(announced, _)| announced == epoch);
        if let Some((epoch, _)) =
            next.lines.iter().find(|(epoch, line)| is_left_out(epoch) && !line.is_complete())
        {
            return Err(Error::Unlisted { region, epoch: *epoch });
        }
        let mut missing = None;
        for (epoch, told) in epochs.iter().filter(|(epoch, _)| *epoch >= next.below) {
            let line = next.lines.entry(*epoch).or_default();
            line.announce(region, *epoch, *told, epoch < last)?;
            if missing.is_none() && line.reached.sequence < *told {
                let from = Sequence(line.reached.sequence.0 + 1);
                missing = Some(Missing { epoch: *epoch, from, to: *told });
            }
        }
        if next.lines.len() > EPOCHS_MAX {
            return Err(Error::Epochs { region, max: EPOCHS_MAX });
        }
        self.regions.insert(region, next);
        Ok(missing)
    }

    /// What is known of a region's epochs, to be told to others when its events are relayed: each with its end, or with how far it
    /// was received.
    pub fn epochs(&self, region: RegionId) -> Vec<(Epoch, Sequence)> {
        let lines = self.regions.get(&region).into_iter().flat_map(|region| &region.lines);
        lines.map(|(epoch, line)| (*epoch, line.end.unwrap_or(line.reached.sequence))).collect()
    }

    /// A snapshot that holds everything up to `last` (inclusive, at `hlc`) was installed: events of that epoch go on after it.
    ///
    /// # Errors
    /// [`Error::NotEmpty`], [`Error::Regions`], [`Error::Epochs`].
    pub fn seed(&mut self, last: Origin, hlc: Hlc) -> Result<(), Error> {
        let Origin { region, epoch, sequence } = last;
        let mut next = self.room_for(region)?;
        let line = next.lines.entry(epoch).or_default();
        if line.reached.sequence > Sequence(0) {
            return Err(Error::NotEmpty { region, epoch, reached: line.reached.sequence });
        }
        if let Some(end) = line.end.filter(|end| sequence > *end) {
            return Err(Error::EndMoved { region, epoch, end, told: sequence });
        }
        line.reached = Mark { sequence, hlc };
        if next.lines.len() > EPOCHS_MAX {
            return Err(Error::Epochs { region, max: EPOCHS_MAX });
        }
        self.regions.insert(region, next);
        Ok(())
    }

    /// Forgets a region's epochs before `below`; whatever is offered of them from now on is a duplicate. Do so when the region
    /// has said that it has no earlier epochs than those which are complete here.
    ///
    /// # Errors
    /// [`Error::Incomplete`]: the first epoch that is not complete.
    pub fn retire(&mut self, region: RegionId, below: Epoch) -> Result<(), Error> {
        let Some(known) = self.regions.get_mut(&region) else { return Ok(()) };
        if let Some((epoch, _)) = known.lines.range(..below).find(|(_, line)| !line.is_complete()) {
            return Err(Error::Incomplete { region, epoch: *epoch });
        }
        known.lines.retain(|epoch, _| *epoch >= below);
        known.below = known.below.max(below);
        Ok(())
    }

    /// What is known of a region, to be changed; empty for a new one.
    fn room_for(&self, region: RegionId) -> Result<Region, Error> {
        match self.regions.get(&region) {
            Some(known) => Ok(known.clone()),
            None if self.regions.len() < REGIONS_MAX => Ok(Region::default()),
            None => Err(Error::Regions { region, max: REGIONS_MAX }),
        }
    }
}

impl Line {
    fn announce(
        &mut self,
        region: RegionId,
        epoch: Epoch,
        told: Sequence,
        is_end: bool,
    ) -> Result<(), Error> {
        let reached = self.reached.sequence;
        match self.end {
            Some(end) if told > end || (is_end && told < end) => {
                Err(Error::EndMoved { region, epoch, end, told })
            }
            None if is_end && told < reached => Err(Error::EndsEarlier { region, epoch, end: told, reached }),
            None if is_end => {
                self.end = Some(told);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
