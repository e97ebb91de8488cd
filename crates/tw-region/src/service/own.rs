//! The blocks of one region in a log that has those of others between them.

use tw_log::Log;
use tw_types::{Epoch, Hlc, Offset, RegionId, Sequence, StreamPartition};
use tw_wire::Block;

/// How much is read of a partition at a time.
const PIECE_BYTES: usize = 1 << 20;

/// An offset before which every event of the region is this one or an earlier one, and the time of this one if it is there.
pub(crate) async fn search(
    log: &dyn Log,
    at: StreamPartition,
    region: RegionId,
    epoch: Epoch,
    after: Sequence,
) -> Result<(Offset, Option<Hlc>), tw_log::Error> {
    let bounds = log.bounds(at)?;
    let (mut low, mut high, mut named) = (bounds.start, bounds.end, None);
    while low < high {
        let middle = Offset(low.0 + (high.0 - low.0) / 2);
        let own = next(log, at, region, middle, |_| true).await?;
        let Some(block) = own.filter(|block| block.header().base_offset < high) else {
            high = middle;
            continue;
        };
        let header = block.header();
        let last = reaches(&block);
        if last <= (epoch, after) {
            if last == (epoch, after) {
                named = Some(header.last_hlc);
            }
            low = header.end_offset().max(low);
        } else {
            // It, or one before it.
            high = header.base_offset.min(middle);
        }
    }
    Ok((low, named))
}

/// The first block of the region that reaches beyond `from` and is `wanted`.
pub(crate) async fn next(
    log: &dyn Log,
    at: StreamPartition,
    region: RegionId,
    from: Offset,
    wanted: impl Fn(&Block) -> bool,
) -> Result<Option<Block>, tw_log::Error> {
    let mut next = from;
    while next < log.bounds(at)?.end {
        let blocks = match log.read(at, next, PIECE_BYTES).await {
            Err(tw_log::Error::Trimmed { start, .. }) => {
                next = start;
                continue;
            }
            blocks => blocks?,
        };
        let Some(last) = blocks.last().map(|block| block.header().end_offset()) else { break };
        let own = blocks.into_iter().find(|block| block.header().region == region && wanted(block));
        if own.is_some() {
            return Ok(own);
        }
        next = last;
    }
    Ok(None)
}

/// The last event of a block.
pub(crate) fn reaches(block: &Block) -> (Epoch, Sequence) {
    let header = block.header();
    (header.epoch, Sequence(header.base_sequence.0.saturating_add(u64::from(header.last_delta))))
}
