//! What becomes of a group of appends: a decision without I/O.

use std::collections::BTreeMap;
use tw_log::{Append, Error, Placed, Result};
use tw_types::{Epoch, HlcClock, Offset, RegionId, Sequence, StreamPartition};
use tw_wire::{Block, Placement};

/// The end of a partition, as the writer knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tip {
    /// The offset of the next event.
    pub(crate) end: u64,
    /// The sequence of the last event.
    pub(crate) sequence: u64,
    /// The offset that Kafka gives the next record, if nobody else writes one.
    pub(crate) record: u64,
}

/// What is written to one partition.
#[derive(Debug)]
pub(crate) struct Write {
    /// Where it begins.
    pub(crate) tip: Tip,
    /// The events.
    pub(crate) blocks: Vec<Block>,
    /// How many there are.
    pub(crate) events: u64,
}

/// The outcome of a group.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Of each append, where its parts go, or why it is refused.
    pub(crate) outcomes: Vec<Result<Vec<Placed>>>,
    /// What the others write.
    pub(crate) writes: BTreeMap<StreamPartition, Write>,
}

/// A part that is accepted.
struct Accepted {
    append: usize,
    part: usize,
    at: StreamPartition,
}

/// Gives each append its place, in order, or refuses it. `tips` has the partitions that exist; of those that do not,
/// `missing` says why.
pub(crate) fn plan(
    appends: &[&[Append]],
    tips: &BTreeMap<StreamPartition, Tip>,
    missing: impl Fn(StreamPartition) -> Error,
    clock: &mut HlcClock,
    now_ms: u64,
    region: RegionId,
) -> Plan {
    let mut ends: BTreeMap<StreamPartition, u64> = tips.iter().map(|(at, tip)| (*at, tip.end)).collect();
    let mut plan = Plan::default();
    let mut accepted = Vec::new();
    for (append, parts) in appends.iter().enumerate() {
        let outcome = accept(parts, &mut ends, &missing);
        if outcome.is_ok() {
            accepted.extend(parts.iter().enumerate().map(|(part, p)| Accepted { append, part, at: p.at }));
        }
        plan.outcomes.push(outcome);
    }
    // Timestamps partition by partition, so that they have no gaps where offsets have none.
    accepted.sort_by_key(|accepted| accepted.at);
    for Accepted { append, part, at } in accepted {
        let Some(tip) = tips.get(&at) else { continue };
        let Some(given) = appends.get(append).and_then(|parts| parts.get(part)) else { continue };
        let count = given.batch.count();
        let write =
            plan.writes.entry(at).or_insert_with(|| Write { tip: *tip, blocks: Vec::new(), events: 0 });
        let base_offset = Offset(tip.end + write.events);
        let first_hlc = clock.take(now_ms, u64::from(count));
        let place = Placement {
            at,
            base_offset,
            first_hlc,
            region,
            epoch: Epoch(1),
            base_sequence: Sequence(tip.sequence + write.events + 1),
        };
        write.blocks.push(Block::new(&given.batch, &place));
        write.events += u64::from(count);
        if let Some(placed) = plan
            .outcomes
            .get_mut(append)
            .and_then(|outcome| outcome.as_mut().ok())
            .and_then(|placed| placed.get_mut(part))
        {
            *placed = Placed { at, base_offset, count, first_hlc };
        }
    }
    plan
}

/// Checks the ends that an append expects, and moves them on if all its parts can be.
fn accept(
    parts: &[Append],
    ends: &mut BTreeMap<StreamPartition, u64>,
    missing: impl Fn(StreamPartition) -> Error,
) -> Result<Vec<Placed>> {
    let mut moved: BTreeMap<StreamPartition, u64> = BTreeMap::new();
    let mut placed = Vec::with_capacity(parts.len());
    for part in parts {
        let known = moved.get(&part.at).or_else(|| ends.get(&part.at));
        let end = known.copied().ok_or_else(|| missing(part.at))?;
        if let Some(expected) = part.expected_end.filter(|expected| expected.0 != end) {
            return Err(Error::WrongEnd { at: part.at, expected, actual: Offset(end) });
        }
        let count = part.batch.count();
        moved.insert(part.at, end + u64::from(count));
        let first_hlc = tw_types::Hlc::ZERO;
        placed.push(Placed { at: part.at, base_offset: Offset(end), count, first_hlc });
    }
    ends.extend(moved);
    Ok(placed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tw_types::{Compression, EventRef, Hlc, PartitionId, StreamId};
    use tw_wire::BatchBuilder;

    fn at(partition: u32) -> StreamPartition {
        StreamPartition::new(StreamId(1), PartitionId(partition))
    }

    fn append(partition: u32, count: u32, expected: Option<u64>) -> Append {
        let mut builder = BatchBuilder::new();
        for _ in 0..count {
            builder.push(&EventRef { id: "i", source: "s", ty: "t", ..EventRef::default() });
        }
        let batch = builder.finish(Compression::None).unwrap();
        Append { at: at(partition), batch, expected_end: expected.map(Offset), foreign: None }
    }

    #[test]
    fn a_refused_append_takes_no_offset_and_no_time() {
        let tips = BTreeMap::from([
            (at(0), Tip { end: 10, sequence: 5, record: 20 }),
            (at(1), Tip { end: 0, sequence: 0, record: 0 }),
        ]);
        let appends = [
            vec![append(0, 2, Some(10)), append(1, 1, None)],
            vec![append(1, 1, Some(1)), append(0, 1, Some(10))],
            vec![append(1, 2, Some(1))],
            vec![append(0, 1, Some(12)), append(0, 1, Some(13))],
            vec![append(0, 1, None), append(2, 1, None)],
        ];
        let appends: Vec<&[Append]> = appends.iter().map(Vec::as_slice).collect();
        let mut clock = HlcClock::new(Hlc::ZERO, 500);
        let plan = plan(&appends, &tips, |at| Error::NoStreamId(at.stream), &mut clock, 1, RegionId(0));
        let hlc = |counter| Hlc::new(1, counter);
        let placed = |partition, base_offset, count, counter| Placed {
            at: at(partition),
            base_offset: Offset(base_offset),
            count,
            first_hlc: hlc(counter),
        };
        let outcomes: Vec<_> =
            plan.outcomes.iter().map(|outcome| outcome.as_ref().map_err(ToString::to_string)).collect();
        assert_eq!(outcomes[0], Ok(&vec![placed(0, 10, 2, 0), placed(1, 0, 1, 4)]));
        assert_eq!(outcomes[1], Err("append to 1/0 expected the end 10, but it is 12".into()));
        assert_eq!(outcomes[2], Ok(&vec![placed(1, 1, 2, 5)]));
        assert_eq!(outcomes[3], Ok(&vec![placed(0, 12, 1, 2), placed(0, 13, 1, 3)]));
        assert!(matches!(plan.outcomes[4], Err(Error::NoStreamId(_))));
        let writes: Vec<_> = plan.writes.values().map(|write| (write.tip.record, write.events)).collect();
        assert_eq!(writes, [(20, 4), (0, 3)]);
        assert_eq!(clock.last(), hlc(6));
        let sequences: Vec<_> =
            plan.writes[&at(0)].blocks.iter().map(|block| block.header().base_sequence.0).collect();
        assert_eq!(sequences, [6, 8, 9]);
    }
}
