//! Reading a stream: all its partitions, or one, merged into one sequence.
//!
//! A cursor is a cut that moves. Within a partition events come in offset order; between partitions in the order of their
//! timestamps, as far as they are loaded: an event that is not yet durable does not hold up one that is. Blocks are kept
//! as they were read, and events are decoded only while they are written out, so nothing is copied twice.

pub(crate) mod filter;

pub(crate) use filter::Filter;

use crate::{Code, Problem};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque, vec_deque};
use std::iter::Peekable;
use std::sync::Arc;
use tw_log::Log;
use tw_types::{
    ClientToken, Hlc, Offset, PartitionId, StoredRef, StreamDef, StreamId, StreamPartition, Token,
};
use tw_wire::{Records, RecordsIter};

/// How many bytes are read ahead for all partitions together.
const AHEAD_BYTES: usize = 4 << 20;
/// How many bytes are read ahead for one partition at least.
const AHEAD_BYTES_MIN: usize = 64 << 10;

/// A place in a stream from which events are read.
pub(crate) struct Cursor {
    log: Arc<dyn Log>,
    filter: Filter,
    lanes: Vec<Lane>,
    /// What was seen of each region; its cut is not that of the cursor.
    seen: ClientToken,
}

/// One partition.
struct Lane {
    at: StreamPartition,
    /// The next event to write out is this one, or the first after it.
    next: Offset,
    /// Nothing at or after this offset is wanted.
    until: Option<Offset>,
    /// Where there was nothing more to read when it was loaded.
    stop: Offset,
    /// Blocks that hold events at or after `next`, in order.
    loaded: VecDeque<Records>,
}

impl Lane {
    /// Where there is nothing more to read now.
    fn stop_now(&self, log: &dyn Log) -> Result<Offset, Problem> {
        let end = log.bounds(self.at)?.end;
        Ok(self.until.map_or(end, |until| until.min(end)))
    }
}

/// What [`Cursor::emit`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Emitted {
    /// How many events were written out.
    pub(crate) events: usize,
    /// Whether `each` said that it is enough.
    pub(crate) enough: bool,
}

impl Cursor {
    /// A cursor over `partitions` of `stream`, each from its offset, for a reader that has `seen` something before. Of a stream that other regions have, that names this
    /// region.
    pub(crate) fn new(
        log: Arc<dyn Log>,
        stream: &StreamDef,
        partitions: impl IntoIterator<Item = (PartitionId, Offset)>,
        filter: Filter,
        seen: ClientToken,
    ) -> Self {
        let places = partitions
            .into_iter()
            .map(|(partition, next)| (StreamPartition::new(stream.id, partition), next));
        Self::over(log, places, filter, seen)
    }

    /// The same over partitions of any streams.
    pub(crate) fn over(
        log: Arc<dyn Log>,
        places: impl IntoIterator<Item = (StreamPartition, Offset)>,
        filter: Filter,
        seen: ClientToken,
    ) -> Self {
        let lane = |(at, next)| Lane { at, next, until: None, stop: next, loaded: VecDeque::new() };
        Self { log, filter, lanes: places.into_iter().map(lane).collect(), seen }
    }

    /// Goes on without the streams that are gone; their numbers.
    pub(crate) fn without_gone(&mut self) -> Vec<StreamId> {
        let mut gone = Vec::new();
        let log = &self.log;
        self.lanes.retain(|lane| {
            let is_there = log.bounds(lane.at).is_ok();
            if !is_there && !gone.contains(&lane.at.stream) {
                gone.push(lane.at.stream);
            }
            is_there
        });
        gone
    }

    /// Stops where the stream ends now.
    ///
    /// # Errors
    /// When the stream or a partition is gone.
    pub(crate) fn until_now(&mut self) -> Result<(), Problem> {
        for lane in &mut self.lanes {
            lane.until = Some(self.log.bounds(lane.at)?.end);
        }
        Ok(())
    }

    /// The cut before the next event, with what was passed until there.
    pub(crate) fn token(&self) -> ClientToken {
        self.seen.with_cut(self.lanes.iter().map(|lane| (lane.at, lane.next)).collect())
    }

    /// The cut at which reading will end, once [`Cursor::until_now`] was called.
    pub(crate) fn end(&self) -> Token {
        self.lanes.iter().map(|lane| (lane.at, lane.until.unwrap_or(lane.next))).collect()
    }

    /// Whether there is nothing more to read now.
    ///
    /// # Errors
    /// When the stream is gone.
    pub(crate) fn at_end(&self) -> Result<bool, Problem> {
        for lane in &self.lanes {
            if lane.next < lane.stop_now(&*self.log)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits until there may be something to read. Cancel-safe.
    ///
    /// # Errors
    /// When the stream is gone.
    pub(crate) async fn wait(&self) -> Result<(), Problem> {
        if let [lane] = self.lanes.as_slice() {
            self.log.end_signal(lane.at)?.over(lane.next.0).await;
            return Ok(());
        }
        let commits = self.log.commits();
        loop {
            // Looked at before the partitions, so that a commit in between is not missed.
            let seen = commits.get();
            if !self.at_end()? {
                return Ok(());
            }
            commits.over(seen).await;
        }
    }

    /// Reads ahead in every partition that has nothing loaded.
    ///
    /// # Errors
    /// `events_removed`, `beyond_end`, or whatever reading the log gives.
    pub(crate) async fn load(&mut self) -> Result<(), Problem> {
        let bytes_max = (AHEAD_BYTES / self.lanes.len().max(1)).max(AHEAD_BYTES_MIN);
        for lane in &mut self.lanes {
            // What is loaded may go on behind what was the end just before it was read: it counts from now on.
            if lane.loaded.is_empty() || lane.next >= lane.stop {
                lane.stop = lane.stop_now(&*self.log)?;
            }
            if !lane.loaded.is_empty() || lane.next >= lane.stop {
                continue;
            }
            for block in self.log.read(lane.at, lane.next, bytes_max).await? {
                lane.loaded.push_back(block.records().map_err(tw_log::Error::from)?);
            }
        }
        Ok(())
    }

    /// Hands the next loaded events to `each`, with the cut after each one, until `each` says that it is enough, or until
    /// a partition that has more must be loaded first.
    ///
    /// # Errors
    /// When a block contradicts itself.
    pub(crate) fn emit(
        &mut self,
        mut each: impl FnMut(&StoredRef<'_>, StreamPartition, &Progress<'_>) -> bool,
    ) -> Result<Emitted, Problem> {
        let mut nexts: Vec<Offset> = self.lanes.iter().map(|lane| lane.next).collect();
        let mut emitted = Emitted::default();
        let (filter, seen) = (&self.filter, &mut self.seen);
        let is_shared = seen.demands().next().is_some();
        let outcome = merge(&self.lanes, &mut nexts, |event, lane, cut| {
            if is_shared {
                seen.demand(event.origin.region, event.hlc);
            }
            if filter.takes(event) {
                emitted.events += 1;
                emitted.enough = !each(event, lane.at, &Progress { seen, cut });
            }
            !emitted.enough
        });
        for (lane, next) in self.lanes.iter_mut().zip(nexts) {
            lane.next = next;
            while lane.loaded.front().is_some_and(|records| records.header().end_offset() <= next) {
                lane.loaded.pop_front();
            }
        }
        outcome.map(|()| emitted)
    }
}

/// The cut after an event that is being written out.
pub(crate) struct Progress<'a> {
    seen: &'a ClientToken,
    cut: Places<'a>,
}

/// Where the lanes are.
struct Places<'a> {
    lanes: &'a [Lane],
    nexts: &'a [Offset],
}

impl Progress<'_> {
    /// The cut as a token.
    pub(crate) fn token(&self) -> ClientToken {
        let Places { lanes, nexts } = self.cut;
        self.seen.with_cut(lanes.iter().zip(nexts).map(|(lane, next)| (lane.at, *next)).collect())
    }
}

/// The events of one lane while they are merged.
struct Head<'a> {
    lane: &'a Lane,
    blocks: vec_deque::Iter<'a, Records>,
    events: Option<Peekable<RecordsIter<'a>>>,
    block_end: Offset,
}

/// What comes next in a lane.
enum Seek {
    /// An event of this timestamp.
    Event(Hlc),
    /// Nothing more, as far as the lane was known when it was loaded.
    End,
    /// Something that is not loaded.
    NotLoaded,
}

impl<'a> Head<'a> {
    fn new(lane: &'a Lane) -> Self {
        Self { lane, blocks: lane.loaded.iter(), events: None, block_end: lane.next }
    }

    /// Moves `next` over offsets without an event, to the next event.
    fn seek(&mut self, next: &mut Offset) -> Result<Seek, Problem> {
        while *next < self.lane.stop {
            let Some(events) = &mut self.events else {
                let Some(records) = self.blocks.next() else { return Ok(Seek::NotLoaded) };
                let mut events = records.iter().map_err(damaged)?;
                events.skip_before(*next).map_err(damaged)?;
                self.block_end = records.header().end_offset();
                self.events = Some(events.peekable());
                continue;
            };
            match events.peek() {
                None => {
                    *next = self.block_end.max(*next);
                    self.events = None;
                }
                Some(Ok(event)) if event.offset < *next => {
                    events.next();
                }
                Some(Ok(event)) if event.offset >= self.lane.stop => *next = self.lane.stop,
                Some(Ok(event)) => return Ok(Seek::Event(event.hlc)),
                Some(Err(error)) => return Err(damaged(error.clone())),
            }
        }
        Ok(Seek::End)
    }
}

fn damaged(error: tw_wire::Error) -> Problem {
    Problem::new(Code::Damaged, error.to_string())
}

/// Merges what is loaded by timestamp. Stops when `each` says so, or when a lane has nothing loaded but more to read.
fn merge(
    lanes: &[Lane],
    nexts: &mut [Offset],
    mut each: impl FnMut(&StoredRef<'_>, &Lane, Places<'_>) -> bool,
) -> Result<(), Problem> {
    let mut heads: Vec<Head<'_>> = lanes.iter().map(Head::new).collect();
    let mut order = BinaryHeap::with_capacity(heads.len());
    for (index, (head, next)) in heads.iter_mut().zip(nexts.iter_mut()).enumerate() {
        match head.seek(next)? {
            Seek::Event(hlc) => order.push(Reverse((hlc, index))),
            Seek::End => {}
            Seek::NotLoaded => return Ok(()),
        }
    }
    while let Some(Reverse((_, index))) = order.pop() {
        let Some(head) = heads.get_mut(index) else { return Ok(()) };
        let Some(Ok(event)) = head.events.as_mut().and_then(Iterator::next) else { return Ok(()) };
        let lane = head.lane;
        if let Some(next) = nexts.get_mut(index) {
            *next = event.offset.next();
        }
        if !each(&event, lane, Places { lanes, nexts }) {
            return Ok(());
        }
        let Some(next) = nexts.get_mut(index) else { return Ok(()) };
        match head.seek(next)? {
            Seek::Event(hlc) => order.push(Reverse((hlc, index))),
            Seek::End => {}
            Seek::NotLoaded => return Ok(()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
