//! Blocks that leave their place: what a region takes of another one's block.
//!
//! A block of another region is appended under an offset of this one. Its records stay as they are encoded; only where records are
//! left out, at the front or in the middle, those that remain are encoded anew.

use crate::{Batch, BatchBuilder, Block, Error};
use std::ops::Range;
use tw_types::{Compression, Hlc, Origin, Sequence};

/// Records of one block that follow each other without a gap, without a place.
#[derive(Debug, Clone)]
pub struct Run {
    /// The records, without versions.
    pub batch: Batch,
    /// Where the first one was accepted; the sequence of the following ones advances by one.
    pub origin: Origin,
    /// The timestamp of the first one; those of the following ones advance by one.
    pub first_hlc: Hlc,
}

impl Block {
    /// What the block has at these offsets, counted from its base: one run, or several where records were removed from it. The records of
    /// a block of which all is taken stay compressed as they are.
    ///
    /// # Errors
    /// [`Error::Malformed`] when a record contradicts itself; [`Error::TooLarge`] when what is encoded anew does not fit.
    pub fn runs(&self, offsets: Range<u32>, compression: Compression) -> Result<Vec<Run>, Error> {
        let header = self.header();
        if offsets.start == 0 && offsets.end > header.last_delta && !header.is_sparse() {
            return Ok(vec![Run {
                batch: self.batch()?,
                origin: self.origin_at(0),
                first_hlc: header.first_hlc,
            }]);
        }
        let mut runs = Vec::new();
        let mut builder = BatchBuilder::new();
        let mut begins = 0;
        let records = self.records()?;
        for record in records.iter()? {
            let record = record?;
            let delta = (record.offset.0 - header.base_offset.0) as u32;
            if !offsets.contains(&delta) {
                continue;
            }
            if builder.count() > 0 && delta != begins + builder.count() {
                runs.push(self.run(begins, builder.finish(compression)?));
            }
            if builder.count() == 0 {
                begins = delta;
            }
            builder.push(&record.event);
        }
        if builder.count() > 0 {
            runs.push(self.run(begins, builder.finish(compression)?));
        }
        Ok(runs)
    }

    fn run(&self, delta: u32, batch: Batch) -> Run {
        let first_hlc = self.header().first_hlc.plus(u64::from(delta));
        Run { batch, origin: self.origin_at(delta), first_hlc }
    }

    fn origin_at(&self, delta: u32) -> Origin {
        let header = self.header();
        let sequence = Sequence(header.base_sequence.0.saturating_add(u64::from(delta)));
        Origin { region: header.region, epoch: header.epoch, sequence }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "test code")]
mod tests {
    use super::*;
    use crate::Placement;
    use proptest::prelude::*;
    use tw_types::{
        Data, Epoch, EventRef, Offset, PartitionId, RegionId, StreamId, StreamPartition, Version,
    };

    fn block(count: u32) -> Block {
        let mut builder = BatchBuilder::new();
        for number in 0..count {
            let id = number.to_string();
            let data = Data::Json(
                br#""long enough to be worth compressing, long enough to be worth it""#.as_slice(),
            );
            let event =
                EventRef { id: &id, source: "s", ty: "t", subject: Some("x"), data, ..EventRef::default() };
            builder.push_versioned(&event, Version(u64::from(number) + 1));
        }
        let place = Placement {
            at: StreamPartition::new(StreamId(9), PartitionId(1)),
            base_offset: Offset(500),
            first_hlc: Hlc::from_u64(7_000),
            region: RegionId(3),
            epoch: Epoch(2),
            base_sequence: Sequence(41),
        };
        Block::new(&builder.finish(Compression::Lz4).unwrap(), &place)
    }

    /// Places runs somewhere, and tells sequence, timestamp and id of each of their events.
    fn told(runs: &[Run]) -> Vec<(u64, u64, String)> {
        let mut told = Vec::new();
        for run in runs {
            assert!(!run.batch.is_versioned());
            assert_eq!((run.origin.region, run.origin.epoch), (RegionId(3), Epoch(2)));
            let records = run.batch.records().unwrap();
            for (at, record) in (0..).zip(records.iter().unwrap()) {
                let id = record.unwrap().event.id.to_owned();
                told.push((run.origin.sequence.0 + at, run.first_hlc.plus(at).as_u64(), id));
            }
        }
        told
    }

    #[test]
    fn a_whole_block_is_one_run_that_is_not_encoded_again() {
        let block = block(100);
        let runs = block.runs(0..100, Compression::None).unwrap();
        assert_eq!(runs.len(), 1);
        assert_eq!(block.header().encoding(), "lz4");
        assert_eq!(runs[0].batch.bytes(), block.header().length as usize - 100, "all but the versions");
    }

    proptest! {
        #[test]
        fn each_event_that_is_left_keeps_its_sequence_and_its_time(
            count in 1u32..40, skip in 0u32..45, end in 0u32..45, kept in proptest::collection::vec(any::<bool>(), 40)
        ) {
            let stays = |delta: u64| kept[delta as usize];
            let whole = block(count);
            let sparse = whole.retain(Compression::None, |record| stays(record.offset.0 - 500)).unwrap();
            let expected = |sparse: bool| -> Vec<(u64, u64, String)> {
                let left = (u64::from(skip)..u64::from(count.min(end))).filter(|delta| !sparse || stays(*delta));
                left.map(|delta| (41 + delta, 7_000 + delta, delta.to_string())).collect()
            };
            prop_assert_eq!(told(&whole.runs(skip..end, Compression::Lz4).unwrap()), expected(false));
            if let Some(sparse) = sparse {
                prop_assert_eq!(told(&sparse.runs(skip..end, Compression::Lz4).unwrap()), expected(true));
            }
        }
    }
}
