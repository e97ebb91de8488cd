//! Keeping the log tidy: index files, retention, compaction, and room.
//!
//! Removal is logical first (a durable record says from where on a partition is there), then physical: a segment without
//! anything that lives is freed, one with little is rewritten together with its neighbours. What a segment's place takes
//! is decided by one record in the log, so a crash leaves the old or the new, never both or none. One call of
//! [`Cleaner::tidy`] does a piece of the work; without threads it works just the same.

use super::compact::Compaction;
use super::layout::SegmentId;
use super::queue::{Reply, Request};
use super::record::Record;
use super::rewrite::{self, Rewriter, Rewritten};
use super::segment::Segment;
use super::shared::Shared;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tw_env::{Disk, OpenMode};
use tw_types::{Cleanup, Offset, StreamDef, StreamOptions, StreamPartition};

/// The cleaner. See the module's text.
pub(crate) struct Cleaner {
    shared: Arc<Shared>,
    /// Segments that cannot be rewritten, because something in them is damaged or too large. They stay as they are.
    given_up: BTreeSet<SegmentId>,
    /// Segments that did not get much smaller by rewriting, so that doing it again alone is of no use.
    settled: BTreeSet<SegmentId>,
}

/// Lets the writer work until it has served what waits; nothing where the writer has a thread of its own.
pub(crate) type Drive<'a> = &'a mut dyn FnMut();

impl Cleaner {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, given_up: BTreeSet::new(), settled: BTreeSet::new() }
    }

    /// Does what is due; true when there may be more.
    pub(crate) fn tidy(&mut self, drive: Drive<'_>) -> bool {
        match self.try_tidy(drive) {
            Ok(more) => more,
            Err(Error::Closed | Error::Stopped(_) | Error::Unknown(_)) => false,
            Err(error) => {
                tracing::warn!(%error, "the log could not be tidied: it is tried again later");
                false
            }
        }
    }

    fn try_tidy(&mut self, drive: Drive<'_>) -> Result<bool> {
        self.store_indexes();
        self.retain(drive)?;
        self.free_dead(drive)?;
        self.shared.reclaim();
        if let Some(compaction) = Compaction::due(&self.shared, &self.given_up) {
            self.compact(&compaction, drive)?;
            return Ok(true);
        }
        if let Some(segments) = self.sparse() {
            return self.rewrite(&segments, &Compaction::default(), drive).map(|()| true);
        }
        Ok(false)
    }

    /// Stores the indexes of segments that are not written any more.
    fn store_indexes(&self) {
        let started = self.shared.started.load(Ordering::Acquire);
        for segment in self.sealed().into_iter().filter(|segment| segment.id.last < started) {
            let Some((index, end)) = segment.unstored() else { continue };
            let bytes = index.encode(segment.id, segment.salt, end);
            match store_index(&*self.shared.env.disk, &segment.path, &bytes) {
                Ok(()) => {
                    if let Some(stored) = super::index::StoredIndex::decode(&bytes) {
                        segment.set_stored(stored);
                    }
                }
                // The index stays in memory, and is tried again.
                Err(error) => tracing::warn!(segment = %segment.id, %error, "cannot store an index"),
            }
        }
    }

    fn sealed(&self) -> Vec<Arc<Segment>> {
        self.shared.segments.read().values().filter(|segment| segment.is_sealed()).cloned().collect()
    }

    /// Removes, logically, what is older or more than its stream keeps.
    fn retain(&self, drive: Drive<'_>) -> Result<()> {
        let streams = self.shared.streams.read().clone();
        let now_ms = self.shared.env.clock.now_ms();
        // The platform needs all that its own streams hold, whatever was said of them when they could still be altered.
        let kept = |def: &StreamDef| {
            let options = &def.options;
            !def.name.is_system()
                && options.cleanup == Cleanup::Delete
                && (options.retention_ms.is_some() || options.retention_bytes.is_some())
        };
        for def in streams.iter().filter(|def| kept(def)) {
            for at in super::publish::partitions_of(def) {
                let start = self.retained_from(at, &def.options, now_ms);
                if start.is_some_and(|start| self.shared.partition(at).is_ok_and(|p| start > p.start())) {
                    match self.trim(at, start.unwrap_or_default(), drive) {
                        // One stream that cannot be trimmed is no reason to keep all of the others.
                        Err(error @ Error::InvalidStream { .. }) => {
                            tracing::warn!(partition = %at, %error, "cannot remove what has expired");
                        }
                        done => done?,
                    }
                }
            }
        }
        Ok(())
    }

    /// The offset from which on a partition is to be kept. Whole segments' shares are removed, never parts of them.
    fn retained_from(&self, at: StreamPartition, options: &StreamOptions, now_ms: u64) -> Option<Offset> {
        let partition = self.shared.partition(at).ok()?;
        let shares: Vec<_> = partition.places().iter().filter_map(|segment| segment.summary(at)).collect();
        let expired = options.retention_ms.and_then(|retention_ms| {
            shares
                .iter()
                .take_while(|share| share.last_hlc.millis().saturating_add(retention_ms) < now_ms)
                .last()
                .map(|share| share.end)
        });
        let surplus = options.retention_bytes.and_then(|retention_bytes| {
            let mut newer = 0;
            shares
                .iter()
                .rev()
                .find(|share| {
                    let enough = newer >= retention_bytes;
                    newer += share.bytes;
                    enough
                })
                .map(|share| share.end)
        });
        expired.max(surplus)
    }

    fn trim(&self, at: StreamPartition, before: Offset, drive: Drive<'_>) -> Result<()> {
        let (reply, outcome) = Reply::channel();
        self.shared.queue.push(Request::Trim { at, before, reply });
        drive();
        match outcome.wait() {
            // Dropped meanwhile: nothing to trim.
            Err(Error::NoStreamId(_)) => Ok(()),
            other => other,
        }
    }

    fn record(&self, record: Record, segment: Option<Arc<Segment>>, drive: Drive<'_>) -> Result<()> {
        let (reply, outcome) = Reply::channel();
        self.shared.queue.push(Request::Record { record, segment, reply });
        drive();
        outcome.wait()
    }

    /// Frees the segments in which nothing lives.
    fn free_dead(&self, drive: Drive<'_>) -> Result<()> {
        let dead: Vec<SegmentId> = self
            .sealed()
            .iter()
            .filter(|segment| live_bytes(&self.shared, segment) == 0)
            .map(|segment| segment.id)
            .collect();
        // In bundles, so that a record is never large.
        for ids in dead.chunks(100) {
            self.record(Record::Freed(ids.to_vec()), None, drive)?;
        }
        Ok(())
    }

    /// Neighbouring segments in which so little lives that they become one; or a single one of which most is dead.
    fn sparse(&self) -> Option<Vec<Arc<Segment>>> {
        let nominal = self.shared.options.segment_len();
        let percent = u64::from(self.shared.options.live_percent_min);
        let mut group: Vec<Arc<Segment>> = Vec::new();
        let mut group_bytes = 0;
        for segment in self.sealed() {
            let live = live_bytes(&self.shared, &segment);
            let poor = live * 100 < nominal * percent && !self.given_up.contains(&segment.id);
            let hollow = live * 100 < segment.end() * percent && !self.settled.contains(&segment.id);
            if poor && hollow && group.is_empty() {
                return Some(vec![segment]);
            }
            if !poor || group_bytes + live > nominal * 3 / 4 {
                if group.len() > 1 {
                    return Some(group);
                }
                group.clear();
                group_bytes = 0;
            }
            if poor {
                group_bytes += live;
                group.push(segment);
            }
        }
        (group.len() > 1).then_some(group)
    }

    /// Takes superseded events out of every segment that has a part of the compacted partitions.
    fn compact(&mut self, compaction: &Compaction, drive: Drive<'_>) -> Result<()> {
        for segment in compaction.segments() {
            if self.shared.stopped().is_some() {
                return Err(Error::Closed);
            }
            // A neighbour's rewriting does not touch it, but it may have been freed meanwhile.
            if self.shared.segments.read().contains_key(&segment.id) {
                self.rewrite(std::slice::from_ref(segment), compaction, drive)?;
            }
        }
        Ok(())
    }

    /// Writes what lives in `old` into a new segment and puts that in their place.
    fn rewrite(&mut self, old: &[Arc<Segment>], compaction: &Compaction, drive: Drive<'_>) -> Result<()> {
        let rewritten = Rewriter::new(&self.shared, old, compaction).and_then(Rewriter::run);
        let rewritten = match rewritten {
            // Damaged, or a block that does not read, or one that would be too large once it names its offsets.
            Err(Error::Damaged { .. } | Error::Wire(_)) if old.len() > 1 => {
                // Its neighbours are not to blame.
                for segment in old {
                    self.rewrite(std::slice::from_ref(segment), compaction, drive)?;
                }
                return Ok(());
            }
            Err(error @ (Error::Damaged { .. } | Error::Wire(_))) => {
                tracing::error!(%error, "a segment cannot be rewritten: it stays as it is");
                self.given_up.extend(old.iter().map(|segment| segment.id));
                return Ok(());
            }
            other => other?,
        };
        let ids = old.iter().map(|segment| segment.id).collect();
        let (record, segment) = match rewritten {
            Rewritten::New(new) => (Record::Replaced { old: ids, new: new.entry() }, Some(new)),
            Rewritten::Nothing => (Record::Freed(ids), None),
            Rewritten::Unchanged => {
                self.settled.extend(ids);
                return Ok(());
            }
        };
        let done = self.record(record, segment.clone(), drive);
        if let Some(new) = &segment {
            match &done {
                // Unknown: the next opening of the log sees whether it is part of it.
                Ok(()) | Err(Error::Unknown(_)) => {}
                Err(_) => rewrite::remove(&self.shared, &new.path, &new.path),
            }
            if new.end() * 2 > old.iter().map(|segment| segment.end()).sum() {
                self.settled.insert(new.id);
            }
        }
        done
    }
}

/// How many bytes of a segment can still be read, about.
pub(crate) fn live_bytes(shared: &Shared, segment: &Segment) -> u64 {
    let partitions = shared.partitions.read();
    segment
        .summaries()
        .iter()
        .filter_map(|share| {
            let start = partitions.get(&share.at)?.start();
            let (all, left) = (share.end.0 - share.first.0, share.end.0.saturating_sub(start.0));
            Some(if left >= all { share.bytes } else { part_of(share.bytes, left, all) })
        })
        .sum()
}

/// `bytes · left / all`, rounded up, for `left` below `all`. Between the offsets of a compacted segment there may be any number
/// that are gone, so the product may take more than 64 bits.
fn part_of(bytes: u64, left: u64, all: u64) -> u64 {
    let part = (u128::from(bytes) * u128::from(left)).div_ceil(u128::from(all.max(1)));
    u64::try_from(part).unwrap_or(bytes)
}

/// Writes an index file beside its segment. It needs no synced name: without it, it is made anew.
pub(crate) fn store_index(disk: &dyn Disk, segment: &Path, bytes: &[u8]) -> io::Result<()> {
    let (new, path) = (segment.with_extension("idx.new"), segment.with_extension("idx"));
    let file = match disk.open(&new, OpenMode::CreateNew) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(&new)?;
            disk.open(&new, OpenMode::CreateNew)?
        }
        other => other?,
    };
    file.write_all_at(&mut [IoSlice::new(bytes)], 0)?;
    file.sync()?;
    disk.rename(&new, &path)
}

#[cfg(test)]
mod tests {
    use super::part_of;

    #[test]
    fn a_part_of_any_size_is_found() {
        assert_eq!(part_of(1_000, 1, 3), 334);
        assert_eq!(part_of(1 << 40, 1 << 40, 1 << 41), 1 << 39);
        assert_eq!(part_of(u64::MAX, u64::MAX - 1, u64::MAX), u64::MAX - 1);
    }
}
