//! Blocks of records that were read.

use tw_types::{Compression, EventRef, StreamPartition, Version};
use tw_wire::kafka::Place;
use tw_wire::{Batch, BatchBuilder, Block, Error, Placement, TEXTS_MAX};

/// Up to which size records become one block, in bytes.
const BLOCK_BYTES: usize = 256 << 10;

/// Collects events, and makes a block of each run of them: offsets, timestamps and sequences without gaps, of one origin,
/// all with a version or none.
#[derive(Debug)]
pub(crate) struct Blocks {
    at: StreamPartition,
    builder: BatchBuilder,
    first: Option<Place>,
    done: Vec<Block>,
    bytes: usize,
}

impl Blocks {
    pub(crate) fn new(at: StreamPartition) -> Self {
        Self { at, builder: BatchBuilder::new(), first: None, done: Vec::new(), bytes: 0 }
    }

    /// About how many bytes it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + if self.first.is_some() { self.builder.bytes() } else { 0 }
    }

    /// Whether it holds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none() && self.done.is_empty()
    }

    /// Adds an event; offsets must rise.
    pub(crate) fn push(&mut self, place: &Place, event: &EventRef<'_>) -> Result<(), Error> {
        let continues = self.first.is_some_and(|first| follows(&first, self.builder.count(), place));
        let texts = self.builder.texts() + event.extensions.len() + 4;
        if !continues || self.builder.bytes() >= BLOCK_BYTES || texts > TEXTS_MAX {
            self.end_run()?;
            self.first = Some(*place);
        }
        match place.version {
            Some(version) => self.builder.push_versioned(event, version),
            None => self.builder.push(event),
        }
        Ok(())
    }

    fn end_run(&mut self) -> Result<(), Error> {
        let Some(first) = self.first.take() else { return Ok(()) };
        let batch: Batch = self.builder.finish(Compression::None)?;
        let place = Placement {
            at: self.at,
            base_offset: first.offset,
            first_hlc: first.hlc,
            region: first.origin.region,
            epoch: first.origin.epoch,
            base_sequence: first.origin.sequence,
        };
        let block = Block::new(&batch, &place);
        self.bytes += block.header().length as usize;
        self.done.push(block);
        Ok(())
    }

    /// The blocks.
    pub(crate) fn finish(mut self) -> Result<Vec<Block>, Error> {
        self.end_run()?;
        Ok(self.done)
    }
}

/// Whether `place` is the one `count` events after `first`.
fn follows(first: &Place, count: u32, place: &Place) -> bool {
    let steps = u64::from(count);
    let distance = |from: u64, to: u64| to.checked_sub(from);
    let origin = (first.origin.region, first.origin.epoch) == (place.origin.region, place.origin.epoch);
    origin
        && distance(first.offset.0, place.offset.0) == Some(steps)
        && distance(first.hlc.as_u64(), place.hlc.as_u64()) == Some(steps)
        && distance(first.origin.sequence.0, place.origin.sequence.0) == Some(steps)
        && first.version.is_some() == place.version.is_some()
}

/// The place of the first event of a block.
pub(crate) fn first_place(block: &Block) -> Place {
    let header = block.header();
    let (region, epoch, sequence) = (header.region, header.epoch, header.base_sequence);
    let origin = tw_types::Origin { region, epoch, sequence };
    Place { offset: header.base_offset, hlc: header.first_hlc, origin, version: None::<Version> }
}

/// The place of the last event of a block.
pub(crate) fn last_place(block: &Block) -> Place {
    let header = block.header();
    let steps = u64::from(header.last_delta);
    Place {
        offset: header.last_offset(),
        hlc: header.last_hlc,
        origin: tw_types::Origin {
            region: header.region,
            epoch: header.epoch,
            sequence: tw_types::Sequence(header.base_sequence.0 + steps),
        },
        version: None::<Version>,
    }
}

/// Whether two places are those of the same event.
pub(crate) fn is_same(a: &Place, b: &Place) -> bool {
    (a.offset, a.hlc, a.origin) == (b.offset, b.hlc, b.origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tw_types::{Epoch, Hlc, Offset, Origin, PartitionId, RegionId, Sequence, StreamId};

    fn place(offset: u64, hlc: u64, sequence: u64, version: Option<u64>) -> Place {
        let origin = Origin { region: RegionId(1), epoch: Epoch(1), sequence: Sequence(sequence) };
        Place { offset: Offset(offset), hlc: Hlc::from_u64(hlc), origin, version: version.map(Version) }
    }

    #[test]
    fn a_block_ends_where_something_does_not_go_on() {
        let places = [
            place(10, 100, 1, None),
            place(11, 101, 2, None),
            place(12, 103, 3, None),
            place(14, 104, 4, None),
            place(15, 105, 5, Some(7)),
            place(16, 106, 6, Some(0)),
            place(17, 107, 8, Some(1)),
        ];
        let mut blocks = Blocks::new(StreamPartition::new(StreamId(1), PartitionId(0)));
        let ids: Vec<String> = places.iter().map(|place| place.offset.to_string()).collect();
        for (place, id) in places.iter().zip(&ids) {
            blocks.push(place, &EventRef { id, source: "/s", ty: "t", ..EventRef::default() }).unwrap();
        }
        let blocks = blocks.finish().unwrap();
        let counts: Vec<_> = blocks.iter().map(|block| block.header().count).collect();
        assert_eq!(counts, [2, 1, 1, 2, 1]);
        let mut read = Vec::new();
        for block in &blocks {
            for record in block.records().unwrap().iter().unwrap() {
                let record = record.unwrap();
                let version = block.header().is_versioned().then_some(record.version);
                read.push(Place { offset: record.offset, hlc: record.hlc, origin: record.origin, version });
                assert_eq!(record.event.id, record.offset.to_string());
            }
        }
        assert_eq!(read, places);
        assert!(is_same(&last_place(blocks.last().unwrap()), places.last().unwrap()));
    }
}
