//! A partition, as readers know it: its bounds, its latest blocks, and the segments that hold the others.

use super::segment::Segment;
use crate::{Bounds, Held, Signal, fitting_blocks};
use parking_lot::{Mutex, RwLock};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tw_types::{Offset, Sequence, StreamPartition};
use tw_wire::Block;

/// A partition. The writer changes it after a commit is durable, never before.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) at: StreamPartition,
    start: AtomicU64,
    /// The sequence of the last durable event that this region accepted under its current epoch; 0 before the first.
    sequence: AtomicU64,
    /// Bytes of the blocks that became durable since the log was opened.
    written_bytes: AtomicU64,
    /// The offset after the last durable event.
    pub(crate) end: Arc<Signal>,
    /// The latest blocks, without gaps up to the end.
    tail: Mutex<VecDeque<Block>>,
    /// The segments that hold blocks of it, in offset order.
    places: RwLock<Vec<Place>>,
}

/// A segment that holds a part of a partition.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The base offset of the partition's first block there.
    pub(crate) first: Offset,
    pub(crate) segment: Arc<Segment>,
}

impl Partition {
    pub(crate) fn new(at: StreamPartition, start: Offset, end: Offset, sequence: Sequence) -> Self {
        Self {
            at,
            start: AtomicU64::new(start.0),
            sequence: AtomicU64::new(sequence.0),
            written_bytes: AtomicU64::new(0),
            end: Arc::new(Signal::new(end.0)),
            tail: Mutex::default(),
            places: RwLock::default(),
        }
    }

    pub(crate) fn bounds(&self) -> Bounds {
        Bounds { start: self.start(), end: Offset(self.end.get()) }
    }

    pub(crate) fn start(&self) -> Offset {
        Offset(self.start.load(Ordering::Acquire))
    }

    /// The sequence of the last event that was accepted here under the current epoch.
    pub(crate) fn sequence(&self) -> Sequence {
        Sequence(self.sequence.load(Ordering::Acquire))
    }

    pub(crate) fn accepted(&self, last: Sequence) {
        self.sequence.fetch_max(last.0, Ordering::AcqRel);
    }

    pub(crate) fn raise_start(&self, start: Offset) {
        self.start.fetch_max(start.0, Ordering::AcqRel);
    }

    /// Adds a durable block to the tail.
    pub(crate) fn push_tail(&self, block: Block) {
        self.written_bytes.fetch_add(u64::from(block.header().length), Ordering::Relaxed);
        self.tail.lock().push_back(block);
    }

    /// What it takes on the disk, and when its last event was accepted.
    pub(crate) fn held(&self) -> Held {
        let bounds = self.bounds();
        let mut held = Held { written_bytes: self.written_bytes.load(Ordering::Relaxed), ..Held::default() };
        for summary in self.places.read().iter().filter_map(|place| place.segment.summary(self.at)) {
            held.bytes += summary.bytes;
            held.last_hlc = held.last_hlc.max(Some(summary.last_hlc));
        }
        held.last_hlc = held.last_hlc.filter(|_| bounds.end > bounds.start);
        held
    }

    /// Drops the oldest block of the tail.
    pub(crate) fn pop_tail(&self) {
        self.tail.lock().pop_front();
    }

    /// The blocks from `from` on, at least one and up to `bytes_max` bytes, if the tail reaches back that far.
    pub(crate) fn read_tail(&self, from: Offset, bytes_max: usize) -> Option<Vec<Block>> {
        let tail = self.tail.lock();
        if tail.front()?.header().base_offset > from {
            return None;
        }
        let first = tail.partition_point(|block| block.header().end_offset() <= from);
        let blocks = fitting_blocks(tail.range(first..), bytes_max);
        (!blocks.is_empty()).then_some(blocks)
    }

    /// Lets go of everything, because the stream was dropped.
    pub(crate) fn clear(&self) {
        self.tail.lock().clear();
        self.places.write().clear();
    }

    /// Adds the segment that is written now, if it is not the last one already.
    pub(crate) fn add_place(&self, first: Offset, segment: &Arc<Segment>) {
        let mut places = self.places.write();
        if !places.last().is_some_and(|place| Arc::ptr_eq(&place.segment, segment)) {
            places.push(Place { first, segment: segment.clone() });
        }
    }

    /// Replaces the places in `old` segments by the one in `new`, if that holds any of the partition.
    pub(crate) fn replace_places(&self, old: &[Arc<Segment>], new: Option<&Arc<Segment>>) {
        let mut places = self.places.write();
        places.retain(|place| !old.iter().any(|old| Arc::ptr_eq(old, &place.segment)));
        if let Some(segment) = new
            && let Some(summary) = segment.summary(self.at)
        {
            let index = places.partition_point(|place| place.first < summary.first);
            places.insert(index, Place { first: summary.first, segment: segment.clone() });
        }
    }

    /// The segments to look in for the first block from `from` on: the second is there in case the first ends before.
    pub(crate) fn places_of(&self, from: Offset) -> Vec<Arc<Segment>> {
        let places = self.places.read();
        let first = places.partition_point(|place| place.first <= from).saturating_sub(1);
        places.iter().skip(first).take(2).map(|place| place.segment.clone()).collect()
    }

    /// All segments that hold any of it, in offset order.
    pub(crate) fn places(&self) -> Vec<Arc<Segment>> {
        self.places.read().iter().map(|place| place.segment.clone()).collect()
    }
}
