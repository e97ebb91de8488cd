//! Compaction by subject: of each subject the latest event stays.
//!
//! A partition is due when the sealed part that no compaction has seen (the *dirty* part) is at least as large as the
//! part that one has. The dirty part is read for the latest offset of each subject; an event is superseded when its
//! subject has a later one there. The clean part holds each subject once at most, so nothing else needs to be
//! remembered. (Where one dirty segment has more subjects than there is memory for, those beyond that are passed over, and
//! the segment counts as seen all the same: of such a subject there may stay several events in that segment, and an older
//! one in the clean part, until a later one comes.)

use super::layout::SegmentId;
use super::publish::partitions_of;
use super::read::Wanted;
use super::segment::Segment;
use super::shared::Shared;
use crate::Result;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tw_types::{Cleanup, Offset, StoredRef, StreamPartition};
use tw_wire::Block;

/// What remembering a subject takes besides its text, about, in bytes.
const SUBJECT_BYTES: u64 = 64;
/// How much is read at once.
const READ_BYTES: u64 = 1 << 20;

/// Which events are superseded, and where they may be.
#[derive(Debug, Default)]
pub(crate) struct Compaction {
    partitions: HashMap<StreamPartition, Latest>,
    segments: BTreeMap<SegmentId, Arc<Segment>>,
}

/// The latest offset of each subject of a partition's dirty part.
#[derive(Debug, Default)]
struct Latest {
    offsets: HashMap<Box<str>, Offset>,
    /// The dirty segments that were taken into account.
    seen: BTreeSet<SegmentId>,
}

impl Compaction {
    /// The compaction that is due, if any: as many partitions as there is memory for.
    pub(crate) fn due(shared: &Shared, given_up: &BTreeSet<SegmentId>) -> Option<Self> {
        let streams = shared.streams.read().clone();
        let mut compaction = Self::default();
        let mut bytes_left = shared.options.compact_bytes_max;
        for def in streams.iter().filter(|def| def.options.cleanup == Cleanup::Compact) {
            for at in partitions_of(def) {
                let Ok(partition) = shared.partition(at) else { continue };
                let mut places = partition.places();
                places.retain(|segment| segment.is_sealed() && !given_up.contains(&segment.id));
                if bytes_left > 0 && is_due(at, &places) {
                    let latest = Latest::read(shared, at, &places, &mut bytes_left);
                    if latest.seen.is_empty() {
                        // Its turn comes when the others are done.
                        continue;
                    }
                    compaction.partitions.insert(at, latest);
                    compaction.segments.extend(places.into_iter().map(|segment| (segment.id, segment)));
                }
            }
        }
        (!compaction.partitions.is_empty()).then_some(compaction)
    }

    /// The segments that hold a part of the partitions.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.segments.values()
    }

    /// Whether the events of a partition are looked at.
    pub(crate) fn concerns(&self, at: StreamPartition) -> bool {
        self.partitions.contains_key(&at)
    }

    /// Whether a dirty segment's events of a partition were all taken into account.
    pub(crate) fn completes(&self, at: StreamPartition, segment: &Segment) -> bool {
        self.partitions.get(&at).is_some_and(|latest| latest.seen.contains(&segment.id))
    }

    /// Whether an event is not superseded.
    pub(crate) fn keeps(&self, at: StreamPartition, event: &StoredRef<'_>) -> bool {
        let latest = self.partitions.get(&at).zip(event.event.subject);
        latest
            .and_then(|(latest, subject)| latest.offsets.get(subject))
            .is_none_or(|last| event.offset >= *last)
    }
}

fn is_due(at: StreamPartition, places: &[Arc<Segment>]) -> bool {
    let (mut clean, mut dirty) = (0, 0);
    for share in places.iter().filter_map(|segment| segment.summary(at)) {
        *(if share.compacted { &mut clean } else { &mut dirty }) += share.bytes;
    }
    dirty > 0 && dirty >= clean
}

impl Latest {
    /// Reads the dirty segments, oldest first, while there is memory. What was read of a segment up to where memory or
    /// damage ended that is right all the same; but the segment stays dirty, for the next round. One that had all the
    /// memory there is counts as done, however much of it was read, so that there is an end to this.
    fn read(shared: &Shared, at: StreamPartition, places: &[Arc<Segment>], bytes_left: &mut u64) -> Self {
        let mut latest = Self::default();
        let is_dirty = |segment: &&Arc<Segment>| segment.summary(at).is_some_and(|share| !share.compacted);
        for segment in places.iter().filter(is_dirty) {
            let had_all_memory = *bytes_left == shared.options.compact_bytes_max;
            let all = latest.read_segment(shared, at, segment, bytes_left).unwrap_or_else(|error| {
                tracing::error!(segment = %segment.id, %error, "a segment cannot be compacted");
                false
            });
            if all || had_all_memory {
                latest.seen.insert(segment.id);
            }
            if *bytes_left == 0 {
                break;
            }
        }
        latest
    }

    /// Takes the events of a segment into account; false when there was no memory for all of them.
    fn read_segment(
        &mut self,
        shared: &Shared,
        at: StreamPartition,
        segment: &Arc<Segment>,
        bytes_left: &mut u64,
    ) -> Result<bool> {
        let mut from = Offset::ZERO;
        loop {
            let blocks = shared.read_segment(segment, Wanted { at, from, bytes_max: READ_BYTES })?;
            let Some(last) = blocks.last() else { return Ok(true) };
            from = last.header().end_offset();
            for block in &blocks {
                if !self.add(block, bytes_left)? {
                    return Ok(false);
                }
            }
        }
    }

    fn add(&mut self, block: &Block, bytes_left: &mut u64) -> Result<bool> {
        let mut all = true;
        for record in block.records()?.iter()? {
            let record = record?;
            let Some(subject) = record.event.subject else { continue };
            match self.offsets.get_mut(subject) {
                Some(offset) => *offset = record.offset,
                None if *bytes_left > 0 => {
                    *bytes_left = bytes_left.saturating_sub(subject.len() as u64 + SUBJECT_BYTES);
                    self.offsets.insert(subject.into(), record.offset);
                }
                None => all = false,
            }
        }
        Ok(all)
    }
}
