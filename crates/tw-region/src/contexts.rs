//! What the region of any event had seen when it accepted it, and what every region has seen by now: the same in all regions.
//!
//! Beside the links: whoever merges changes ([`tw_merge::subject`]) asks for the [`Context`] of each, and for what is stable. All of it is found in
//! the streams of [`crate::seen_stream`], which links bring along before whatever was accepted later. Nothing here decides or appends.
//! Calls wait for the log: they are for threads, not for tasks.

use crate::eviction::{EVICTIONS_STREAM, Evictions, Saying};
use crate::seen::{self, seen_stream};
use crate::service::is_restoring;
use parking_lot::Mutex;
use std::collections::{BTreeMap, btree_map};
use std::sync::Arc;
use tw_log::Log;
use tw_merge::{Context, Seen, Stamp};
use tw_types::{Hlc, Offset, PartitionId, RegionId, StreamPartition};

/// How many events of a stream are found by one entry in memory, and how many of them are held.
const CHUNK_ENTRIES: usize = 1_024;
/// How much is read at a time.
const READ_BYTES: usize = 256 << 10;

/// See the module's text.
pub struct Contexts {
    log: Arc<dyn Log>,
    /// This region and its peers.
    members: Vec<RegionId>,
    chunk_entries: usize,
    lines: Mutex<BTreeMap<RegionId, Line>>,
    evictions: Mutex<Told>,
}

/// Which regions are not waited for, as far as that was read.
#[derive(Debug, Default)]
struct Told {
    next: Offset,
    evictions: Evictions,
}

/// From when on what was there.
type Entry = (Hlc, Arc<Seen>);

/// What one region has told of what it had seen, and when.
#[derive(Debug)]
struct Line {
    at: StreamPartition,
    next: Offset,
    /// Where each chunk begins.
    chunks: Vec<(Hlc, Offset)>,
    /// The entries of the last chunk.
    tail: Vec<Entry>,
    /// Those of an earlier one that was asked for.
    held: Option<(usize, Vec<Entry>)>,
}

impl Contexts {
    /// In a log of a region with these peers. A log that is not of a region has nothing of others: it has no peers either.
    pub fn new(log: Arc<dyn Log>, peers: impl IntoIterator<Item = RegionId>) -> Self {
        let members = std::iter::once(log.region()).chain(peers).collect();
        Self {
            log,
            members,
            chunk_entries: CHUNK_ENTRIES,
            lines: Mutex::default(),
            evictions: Mutex::default(),
        }
    }

    /// What is to be told with an event that is in the log.
    ///
    /// # Errors
    /// Whatever stops a read.
    pub fn of(&self, stamp: Stamp) -> tw_log::Result<Context> {
        self.settle();
        let before = Hlc::from_u64(stamp.hlc.as_u64().saturating_sub(1));
        Ok(Context { stamp, seen: self.at(stamp.region(), before)?.as_ref().clone() })
    }

    /// Up to when everything of each region is in this partition's log before the offset that comes with it.
    ///
    /// # Errors
    /// Whatever stops a read.
    pub fn here(&self, at: StreamPartition) -> tw_log::Result<(Seen, Offset)> {
        let me = self.log.region();
        let mut here = Seen::new();
        // A region that is restored knows of itself what others would: what it has told before.
        let is_restoring = is_restoring(self.log.as_ref())?;
        if !is_restoring {
            here.raise(me, self.log.settled());
        }
        for region in self.members.iter().filter(|region| is_restoring || **region != me) {
            let mut lines = self.lines.lock();
            if let Some(line) = self.line(&mut lines, *region)? {
                // It was told after everything that the region had accepted before.
                here.raise(*region, line.tail.last().map_or(Hlc::ZERO, |(at, _)| *at));
            }
        }
        let ended = self.ended(None)?;
        if !ended.is_empty() {
            // Of a region that is evicted it tells nothing that everything is here, but that another one has no more of it.
            let mut lines = self.lines.lock();
            let latest = self.line(&mut lines, me)?.and_then(|line| line.tail.last());
            let latest = latest.map(|(_, latest)| latest.clone()).unwrap_or_default();
            for (region, end) in ended {
                if latest.of(region).max(self.closed_at(region)) >= end {
                    here.raise(region, end);
                }
            }
        }
        self.settle();
        Ok((here, self.log.bounds(at)?.end))
    }

    /// What every region has seen, this one and its peers, by what was `applied` here: of each of them everything up to a time. Whatever was not
    /// applied knows of it.
    ///
    /// # Errors
    /// Whatever stops a read.
    pub fn stable(&self, applied: &Seen) -> tw_log::Result<Seen> {
        let mut stable: Option<Seen> = None;
        let ended = self.ended(Some(applied))?;
        let is_waited_for =
            |region: &&RegionId| ended.get(*region).is_none_or(|end| applied.of(**region) < *end);
        for region in self.members.iter().filter(is_waited_for) {
            let until = applied.of(*region);
            let mut row = self.at(*region, until)?.as_ref().clone();
            row.raise(*region, until);
            match &mut stable {
                Some(stable) => stable.meet(&row),
                None => stable = Some(row),
            }
        }
        Ok(stable.unwrap_or_default())
    }

    /// The evicted regions of which nothing more can come, each with its last event; by what was said within a cut, if there is one.
    fn ended(&self, cut: Option<&Seen>) -> tw_log::Result<BTreeMap<RegionId, Hlc>> {
        let Ok(def) = self.log.streams().get(EVICTIONS_STREAM).cloned() else { return Ok(BTreeMap::new()) };
        let at = StreamPartition::new(def.id, PartitionId(0));
        let mut told = self.evictions.lock();
        while told.next < self.log.bounds(at)?.end {
            let blocks = match pollster::block_on(self.log.read(at, told.next, READ_BYTES)) {
                Err(tw_log::Error::Trimmed { start, .. }) => {
                    told.next = start;
                    continue;
                }
                blocks => blocks?,
            };
            for block in &blocks {
                for record in block.records()?.iter()? {
                    let record = record?;
                    if record.offset >= told.next
                        && let Some(saying) = Saying::read(&record.event)
                    {
                        told.evictions.learn(block.header().region, record.hlc, saying);
                    }
                }
                told.next = told.next.max(block.header().end_offset());
            }
        }
        Ok(told.evictions.ended(&self.members, cut))
    }

    /// What was here of an evicted region when this one closed it.
    fn closed_at(&self, region: RegionId) -> Hlc {
        let out = self.evictions.lock().evictions.out(None);
        out.get(&region).and_then(|out| out.closed.get(&self.log.region()).copied()).unwrap_or_default()
    }

    /// What a region had seen at a time, by what it has told up to then (inclusive).
    fn at(&self, region: RegionId, until: Hlc) -> tw_log::Result<Arc<Seen>> {
        let mut lines = self.lines.lock();
        let Some(line) = self.line(&mut lines, region)? else { return Ok(Arc::default()) };
        let Some(chunk) = line.chunks.partition_point(|(first, _)| *first <= until).checked_sub(1) else {
            return Ok(Arc::default());
        };
        let entries = if chunk + 1 == line.chunks.len() { &line.tail } else { self.hold(line, chunk)? };
        let last = entries.partition_point(|(at, _)| *at <= until).checked_sub(1);
        Ok(last.and_then(|last| entries.get(last)).map(|(_, seen)| seen.clone()).unwrap_or_default())
    }

    /// What a region has told until now; None if it has no stream here.
    fn line<'a>(
        &self,
        lines: &'a mut BTreeMap<RegionId, Line>,
        region: RegionId,
    ) -> tw_log::Result<Option<&'a mut Line>> {
        let line = match lines.entry(region) {
            btree_map::Entry::Occupied(known) => known.into_mut(),
            btree_map::Entry::Vacant(vacant) => {
                let Ok(def) = self.log.streams().get(&seen_stream(region)).cloned() else { return Ok(None) };
                let at = StreamPartition::new(def.id, PartitionId(0));
                let (next, chunks, tail) = (Offset::ZERO, Vec::new(), Vec::new());
                vacant.insert(Line { at, next, chunks, tail, held: None })
            }
        };
        while line.next < self.log.bounds(line.at)?.end {
            let (entries, next) = self.read(line.at, line.next)?;
            for (entry, offset) in entries {
                if line.tail.len() == self.chunk_entries || line.chunks.is_empty() {
                    line.chunks.push((entry.0, offset));
                    line.tail.clear();
                }
                line.tail.push(entry);
            }
            line.next = next;
        }
        Ok(Some(line))
    }

    /// The entries of a chunk that is not the last one.
    fn hold<'a>(&self, line: &'a mut Line, chunk: usize) -> tw_log::Result<&'a Vec<Entry>> {
        if line.held.as_ref().is_none_or(|(held, _)| *held != chunk) {
            let mut entries = Vec::with_capacity(self.chunk_entries);
            let mut next = line.chunks.get(chunk).map_or(line.next, |(_, offset)| *offset);
            while entries.len() < self.chunk_entries && next < line.next {
                let (more, end) = self.read(line.at, next)?;
                entries.extend(more.into_iter().map(|(entry, _)| entry));
                next = end;
            }
            entries.truncate(self.chunk_entries);
            line.held = Some((chunk, entries));
        }
        Ok(&line.held.get_or_insert_default().1)
    }

    /// Some entries from an offset on, each with its own, and the offset after them.
    fn read(&self, at: StreamPartition, from: Offset) -> tw_log::Result<(Vec<(Entry, Offset)>, Offset)> {
        let blocks = match pollster::block_on(self.log.read(at, from, READ_BYTES)) {
            Err(tw_log::Error::Trimmed { start, .. }) => return Ok((Vec::new(), start)),
            blocks => blocks?,
        };
        let (mut entries, mut next) = (Vec::new(), from);
        for block in &blocks {
            for record in block.records()?.iter()? {
                let record = record?;
                if record.offset >= from
                    && let Some(latest) = seen::read(&record.event)
                {
                    entries.push(((record.hlc, Arc::new(latest)), record.offset));
                }
            }
            next = next.max(block.header().end_offset());
        }
        Ok((entries, next))
    }

    /// Waits until whatever can be read in part can be read as a whole: what is stored in one step becomes visible partition by partition.
    fn settle(&self) {
        while self.log.is_publishing() {
            std::thread::yield_now();
        }
    }
}

impl std::fmt::Debug for Contexts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contexts").field("members", &self.members).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
