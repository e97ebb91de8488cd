//! What was received of one stream partition, by region and epoch: twice, or is something missing?
//!
//! A block that comes over a link is [offered](Received::offer) here first; [`crate::delivery`] then says when it may be
//! appended, and in the step that appends it, [`Received::receive`] moves on. The shell stores this state in the same atomic
//! step (in a versioned form that is its own), so that what is stored and what is counted never differ. Nothing here
//! sends, waits, or looks into events.
//!
//! Source of the sequences: one dense counter per origin, as version vectors have (Parker et al., *Detection of Mutual
//! Inconsistency in Distributed Systems*, IEEE TSE 1983); `docs/adr/0017-what-a-region-has-seen.md`.

mod announce;
mod handshake;
#[cfg(test)]
mod tests;

pub use announce::{Error, Missing};
pub use handshake::{Mark, Standing, compare};

use crate::Span;
use crate::span::earlier;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tw_types::{Epoch, Hlc, Origin, RegionId, Sequence};

/// The most regions of which something may be received.
pub const REGIONS_MAX: usize = 1_024;
/// The most epochs of one region that are told apart; those that are complete can be [retired](Received::retire).
pub const EPOCHS_MAX: usize = 64;

/// What was received of one stream partition, this region's own events included. Stored with the partition.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Received {
    regions: BTreeMap<RegionId, Region>,
}

/// The epochs of one region.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Region {
    /// Every epoch before this one is complete and was forgotten.
    below: Epoch,
    lines: BTreeMap<Epoch, Line>,
}

/// One epoch of one region: everything up to and including `reached` is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Line {
    reached: Mark,
    /// The last sequence that there is, once the region has said so.
    end: Option<Sequence>,
}

/// What is to be done with a block that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// It goes on where the last one ended, except for its first `skip` sequences, which are known. Of a sparse block
    /// those records are left out whose sequence is among them.
    New {
        /// How many sequences at the front are known.
        skip: u64,
    },
    /// All of it is here.
    Duplicate,
    /// Something before it is missing: ask the sender to begin at `from`.
    Gap {
        /// The first missing sequence.
        from: Sequence,
        /// The last missing sequence.
        to: Sequence,
    },
    /// Its history is another one than the known: a copy of the region was restored and did not raise its epoch. Nothing
    /// more is taken until it has.
    Fork {
        /// The sequence at which the two differ.
        at: Sequence,
        /// The timestamp that it had, or that is nearest to what it can have had.
        known: Hlc,
        /// The timestamp that it comes with.
        told: Hlc,
    },
    /// It lies beyond the end of its epoch: its region has decided that this was not accepted.
    Closed {
        /// The last sequence of the epoch.
        end: Sequence,
    },
    /// An earlier epoch of the region is not complete here; keep the block at the sender until it is. An epoch begins where the
    /// one before it ends, so that one timestamp says what was seen of both.
    Early {
        /// The epoch that is not complete.
        epoch: Epoch,
    },
    /// The region has not announced the epoch: what came before it is unknown. Ask for its announcement.
    Unannounced,
}

impl Received {
    /// Nothing of anybody.
    pub const fn new() -> Self {
        Self { regions: BTreeMap::new() }
    }

    /// What is to be done with a block. Changes nothing.
    pub fn offer(&self, span: &Span) -> Offered {
        let Some(region) = self.regions.get(&span.region()) else { return Offered::Unannounced };
        if span.epoch() < region.below {
            return Offered::Duplicate;
        }
        let Some(line) = region.lines.get(&span.epoch()) else { return Offered::Unannounced };
        if let Some(fork) = line.fork(span) {
            return fork;
        }
        let (reached, first) = (line.reached.sequence, span.first().sequence);
        if let Some(end) = line.end.filter(|end| span.last() > *end) {
            return Offered::Closed { end };
        }
        if span.last() <= reached {
            return Offered::Duplicate;
        }
        let mut earlier = region.lines.range(..span.epoch());
        if let Some((epoch, _)) = earlier.find(|(_, line)| !line.is_complete()) {
            return Offered::Early { epoch: *epoch };
        }
        match first.0.checked_sub(reached.0 + 1) {
            None | Some(0) => Offered::New { skip: reached.0 + 1 - first.0 },
            Some(_) => Offered::Gap { from: Sequence(reached.0 + 1), to: Sequence(first.0 - 1) },
        }
    }

    /// The block is appended in the same step, without its front if [`Offered::New`] says so. Any other answer than that changes
    /// nothing.
    pub fn receive(&mut self, span: &Span) -> Offered {
        let offered = self.offer(span);
        if matches!(offered, Offered::New { .. }) {
            self.reach(span);
        }
        offered
    }

    /// The sender's log has nothing left of what lies between the last event here and `last` (inclusive, at `hlc`): compaction
    /// or retention removed it. Only for who reads the sender's log in order, and with `last` before the next block there.
    ///
    /// Answers as [`Received::offer`] does, except that a gap is what is passed.
    ///
    /// # Errors
    /// [`crate::span::Error`] when there can be no such event.
    pub fn pass(&mut self, last: Origin, hlc: Hlc) -> Result<Offered, crate::span::Error> {
        let span = Span::new(last, 1, hlc)?;
        let offered = self.offer(&span);
        Ok(match offered {
            Offered::New { .. } | Offered::Gap { .. } => {
                self.reach(&span);
                Offered::New { skip: 0 }
            }
            other => other,
        })
    }

    /// How far one epoch was received; nothing of an epoch that was not announced, or was retired.
    pub fn reached(&self, region: RegionId, epoch: Epoch) -> Option<Mark> {
        Some(self.regions.get(&region)?.lines.get(&epoch)?.reached)
    }

    /// The timestamp of the last event of a region that is here: [`Hlc::ZERO`] if there is none.
    pub fn last_hlc(&self, region: RegionId) -> Hlc {
        let lines = self.regions.get(&region).into_iter().flat_map(|region| region.lines.values());
        lines.map(|line| line.reached.hlc).max().unwrap_or_default()
    }

    /// The regions of which an epoch is known, in the order of their numbers.
    pub fn regions(&self) -> impl Iterator<Item = RegionId> + '_ {
        self.regions.keys().copied()
    }

    fn reach(&mut self, span: &Span) {
        let line =
            self.regions.get_mut(&span.region()).and_then(|region| region.lines.get_mut(&span.epoch()));
        if let Some(line) = line {
            line.reached = Mark { sequence: span.last(), hlc: span.last_hlc() };
        }
    }
}

impl Line {
    fn is_complete(&self) -> bool {
        self.end == Some(self.reached.sequence)
    }

    /// Whether the span contradicts what was received. Timestamps rise by at least one from event to event, so it can be
    /// told of spans on either side too that they do not fit; a span well before the last event may look right and not be.
    fn fork(&self, span: &Span) -> Option<Offered> {
        let Mark { sequence: reached, hlc } = self.reached;
        if reached == Sequence(0) {
            return None;
        }
        let (at, known, told, fits) = if let Some(told) = span.hlc_at(reached) {
            (reached, hlc, told, told == hlc)
        } else if span.last() < reached {
            let latest = earlier(hlc, reached.0 - span.last().0);
            (span.last(), latest, span.last_hlc(), span.last_hlc() <= latest)
        } else {
            let first = span.first().sequence;
            let earliest = hlc.plus(first.0 - reached.0);
            (first, earliest, span.first_hlc(), span.first_hlc() >= earliest)
        };
        (!fits).then_some(Offered::Fork { at, known, told })
    }
}
