//! The part of a region's history that one block is: some events of one partition with sequences and timestamps in a row.

use serde::{Deserialize, Serialize};
use tw_types::{Epoch, Hlc, Origin, RegionId, Sequence};

/// Events of one partition that were accepted at once: the n-th has the sequence `first + n` and the timestamp
/// [`Hlc::plus`]`(n)`, n from 0. What compaction removed counts: a span is a range of sequences, not a number of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    first: Origin,
    count: u64,
    first_hlc: Hlc,
}

/// Why something is no span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No event at all.
    #[error("a span at `{first}` has no event: count the sequences from the block's base to its last record")]
    Empty {
        /// The first origin.
        first: Origin,
    },
    /// Sequence 0, or numbers beyond what 64 bits hold.
    #[error(
        "a span of {count} events at `{first}` leaves the range of sequences or timestamps: the block is damaged"
    )]
    OutOfRange {
        /// The first origin.
        first: Origin,
        /// How many events.
        count: u64,
    },
}

impl Span {
    /// `count` events (at least one) from `first` on, the first of them at `first_hlc`.
    ///
    /// # Errors
    /// [`Error::Empty`] and [`Error::OutOfRange`].
    pub fn new(first: Origin, count: u64, first_hlc: Hlc) -> Result<Self, Error> {
        let Some(steps) = count.checked_sub(1) else { return Err(Error::Empty { first }) };
        let is_in_range = first.sequence > Sequence(0)
            && first_hlc > Hlc::ZERO
            && first.sequence.0.checked_add(steps).is_some_and(|last| last < u64::MAX)
            && first_hlc.as_u64().checked_add(steps).is_some_and(|last| last < u64::MAX);
        if is_in_range {
            Ok(Self { first, count, first_hlc })
        } else {
            Err(Error::OutOfRange { first, count })
        }
    }

    /// Where the first event was accepted.
    pub const fn first(&self) -> Origin {
        self.first
    }

    /// The region that accepted it.
    pub const fn region(&self) -> RegionId {
        self.first.region
    }

    /// That region's epoch at the time.
    pub const fn epoch(&self) -> Epoch {
        self.first.epoch
    }

    /// How many sequences it covers; at least one.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The sequence of the last event, inclusive.
    pub const fn last(&self) -> Sequence {
        Sequence(self.first.sequence.0 + self.count - 1)
    }

    /// The timestamp of the first event.
    pub const fn first_hlc(&self) -> Hlc {
        self.first_hlc
    }

    /// The timestamp of the last event, inclusive.
    pub const fn last_hlc(&self) -> Hlc {
        self.first_hlc.plus(self.count - 1)
    }

    /// The timestamp of the event with this sequence, if it is one of these.
    pub fn hlc_at(&self, sequence: Sequence) -> Option<Hlc> {
        let is_inside = (self.first.sequence..=self.last()).contains(&sequence);
        is_inside.then(|| self.first_hlc.plus(sequence.0 - self.first.sequence.0))
    }

    /// What remains without the first `skip` sequences, if anything does.
    pub fn without_front(&self, skip: u64) -> Option<Self> {
        let count = self.count.checked_sub(skip).filter(|count| *count > 0)?;
        let first = Origin { sequence: Sequence(self.first.sequence.0 + skip), ..self.first };
        Some(Self { first, count, first_hlc: self.first_hlc.plus(skip) })
    }

    /// The events up to `until` (inclusive), if there are any.
    pub fn up_to(&self, until: Hlc) -> Option<Self> {
        let steps = until.as_u64().checked_sub(self.first_hlc.as_u64())?;
        Some(Self { count: self.count.min(steps.saturating_add(1)), ..*self })
    }
}

/// The timestamp right before this one; before [`Hlc::ZERO`] there is none.
pub(crate) const fn before(hlc: Hlc) -> Hlc {
    earlier(hlc, 1)
}

/// The timestamp `steps` before this one.
pub(crate) const fn earlier(hlc: Hlc, steps: u64) -> Hlc {
    Hlc::from_u64(hlc.as_u64().saturating_sub(steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(sequence: u64) -> Origin {
        Origin { region: RegionId(1), epoch: Epoch(1), sequence: Sequence(sequence) }
    }

    #[test]
    fn sequences_and_timestamps_advance_together() {
        let span = Span::new(first(5), 3, Hlc::new(9, 0xffff)).unwrap();
        assert_eq!((span.last(), span.last_hlc()), (Sequence(7), Hlc::new(10, 1)));
        assert_eq!(span.hlc_at(Sequence(6)), Some(Hlc::new(10, 0)));
        assert_eq!((span.hlc_at(Sequence(4)), span.hlc_at(Sequence(8))), (None, None));
        let rest = span.without_front(2).unwrap();
        assert_eq!(
            (rest.first().sequence, rest.count(), rest.first_hlc()),
            (Sequence(7), 1, Hlc::new(10, 1))
        );
        assert_eq!(span.without_front(3), None);
        assert_eq!(span.up_to(Hlc::new(10, 0)).map(|part| part.count()), Some(2));
        assert_eq!(span.up_to(Hlc::new(11, 0)), Some(span));
        assert_eq!(span.up_to(Hlc::new(9, 0)), None);
    }

    #[test]
    fn what_does_not_fit_into_64_bits_is_refused() {
        let hlc = Hlc::new(1, 0);
        assert!(matches!(Span::new(first(1), 0, hlc), Err(Error::Empty { .. })));
        for (sequence, count, hlc) in [(0, 1, hlc), (u64::MAX, 2, hlc), (1, 2, Hlc::from_u64(u64::MAX))] {
            assert!(matches!(Span::new(first(sequence), count, hlc), Err(Error::OutOfRange { .. })));
        }
    }
}
