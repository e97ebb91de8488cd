//! What becomes visible once a frame is durable.

use super::partition::Partition;
use super::plan::{Head, Plan, Verdict};
use super::queue::Request;
use super::record::Record;
use super::segment::Segment;
use super::stats::add;
use super::writer::{Writer, Written};
use crate::{CONFIG_PARTITION, ConfigChange, Streams};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tw_types::{Offset, PartitionId, Sequence, StreamDef, StreamPartition};
use tw_wire::Block;

/// The blocks that are kept in memory, oldest first, across all partitions.
#[derive(Default)]
pub(crate) struct Tail {
    blocks: VecDeque<(Arc<Partition>, u64)>,
    bytes: u64,
}

impl Tail {
    fn push(&mut self, partition: &Arc<Partition>, block: Block) {
        let bytes = u64::from(block.header().length);
        self.bytes += bytes;
        self.blocks.push_back((partition.clone(), bytes));
        partition.push_tail(block);
    }

    fn shrink(&mut self, bytes_max: u64) {
        while self.bytes > bytes_max
            && let Some((partition, bytes)) = self.blocks.pop_front()
        {
            partition.pop_tail();
            self.bytes -= bytes;
        }
    }
}

/// The partitions of a stream.
pub(crate) fn partitions_of(def: &StreamDef) -> impl Iterator<Item = StreamPartition> + use<> {
    let id = def.id;
    (0..def.partitions).map(move |partition| StreamPartition::new(id, PartitionId(partition)))
}

impl Writer {
    /// Publishes what a durable plan did, and tells everybody.
    pub(crate) fn publish(&mut self, plan: Plan, written: &Written) {
        let Plan { requests, records, blocks, heads, streams, changes, clock } = plan;
        let wrote = !(records.is_empty() && blocks.is_empty());
        let told = !(records.is_empty() && changes.is_empty());
        self.known.clock = clock;
        self.publish_sequences(&heads);
        self.known.heads.extend(heads);
        self.active.segment.add(written.placed(&blocks));
        self.create_partitions(&changes);
        self.shared.publishing.store(true, Ordering::Release);
        self.publish_blocks(blocks);
        self.shared.publishing.store(false, Ordering::Release);
        self.shared.settled.store(self.known.clock.last().as_u64(), Ordering::Release);
        for record in &records {
            self.publish_record(record, &requests);
        }
        if let Some(streams) = streams {
            self.publish_streams(streams, &changes);
        }
        if wrote {
            add(&self.shared.counts.commits, 1);
            self.shared.commits.increment();
        }
        for (request, verdict) in requests {
            if let Verdict::Placed(placed) = &verdict {
                add(&self.shared.counts.appends, 1);
                add(&self.shared.counts.events, placed.iter().map(|placed| u64::from(placed.count)).sum());
            }
            answer(request, verdict);
        }
        // What nobody waits for comes last.
        self.tail.shrink(self.shared.options.tail_bytes);
        if written.rolled || told {
            self.shared.untidy.increment();
        }
    }

    fn create_partitions(&self, changes: &[ConfigChange]) {
        for change in changes {
            if let ConfigChange::Created(def) = change {
                let new = partitions_of(def)
                    .map(|at| (at, Arc::new(Partition::new(at, Offset::ZERO, Offset::ZERO, Sequence(0)))));
                self.shared.partitions.write().extend(new);
            }
        }
    }

    /// Before the ends: whoever sees an event can see that it was counted.
    fn publish_sequences(&self, heads: &[(StreamPartition, Head)]) {
        let partitions = self.shared.partitions.read();
        for (at, head) in heads {
            if let Some(partition) = partitions.get(at) {
                partition.accepted(head.sequence);
            }
        }
    }

    fn publish_blocks(&mut self, blocks: Vec<Block>) {
        let partitions = self.shared.partitions.read();
        let mut blocks = blocks.into_iter().peekable();
        while let Some(block) = blocks.next() {
            let header = block.header();
            add(&self.shared.counts.bytes, u64::from(header.length));
            let (at, first, end) = (header.at, header.base_offset, header.end_offset());
            let Some(partition) = partitions.get(&at) else { continue };
            partition.add_place(first, &self.active.segment);
            self.tail.push(partition, block);
            // The blocks of a partition follow each other: its end is raised once.
            if blocks.peek().is_none_or(|next| next.header().at != at) {
                partition.end.raise(end.0);
            }
        }
    }

    fn publish_record(&mut self, record: &Record, requests: &[(Request, Verdict)]) {
        match record {
            Record::Trimmed { at, start } => {
                if let Some(partition) = self.shared.partitions.read().get(at) {
                    partition.raise_start(*start);
                }
            }
            Record::Freed(ids) => self.replace(ids, None),
            Record::Replaced { old, new } => {
                let brought = requests.iter().find_map(|(request, _)| match request {
                    Request::Record { segment: Some(segment), .. } if segment.id == new.id => Some(segment),
                    _ => None,
                });
                if let Some(segment) = brought {
                    add(&self.shared.counts.rewritten, 1);
                    self.live.insert(new.id, *new);
                    self.replace(old, Some(segment));
                }
            }
            // An epoch is raised while nobody has the log open.
            Record::Checkpoint(_)
            | Record::Opened { .. }
            | Record::Rewritten { .. }
            | Record::Void
            | Record::Raised { .. } => {}
        }
    }

    /// Puts `new` (or nothing) in the place of the segments `old`.
    fn replace(&mut self, old: &[super::layout::SegmentId], new: Option<&Arc<Segment>>) {
        let mut segments = self.shared.segments.write();
        let old: Vec<Arc<Segment>> = old
            .iter()
            .filter_map(|id| {
                self.live.remove(id);
                segments.remove(id)
            })
            .collect();
        if let Some(new) = new {
            segments.insert(new.id, new.clone());
        }
        drop(segments);
        let touched: BTreeSet<StreamPartition> =
            old.iter().flat_map(|segment| segment.summaries()).map(|summary| summary.at).collect();
        let partitions = self.shared.partitions.read();
        for partition in touched.iter().filter_map(|at| partitions.get(at)) {
            partition.replace_places(&old, new);
        }
        drop(partitions);
        self.shared.retired.lock().extend(old);
    }

    fn publish_streams(&mut self, streams: Arc<Streams>, changes: &[ConfigChange]) {
        for change in changes {
            if let ConfigChange::Dropped(def) = change {
                let mut partitions = self.shared.partitions.write();
                for at in partitions_of(def).filter(|at| *at != CONFIG_PARTITION) {
                    self.known.heads.remove(&at);
                    if let Some(partition) = partitions.remove(&at) {
                        partition.clear();
                    }
                }
            }
        }
        self.known.streams = streams.clone();
        *self.shared.streams.write() = streams;
        self.shared.definitions.increment();
    }
}

/// Tells whoever asked how it went.
fn answer(request: Request, verdict: Verdict) {
    match (request, verdict) {
        (request, Verdict::Refused(error)) => request.fail(error),
        (Request::Append { ack, permit, .. }, Verdict::Placed(placed)) => {
            drop(permit);
            ack.resolve(Ok(placed));
        }
        (Request::Define { reply, .. }, Verdict::Defined(def)) => reply.send(Ok(def)),
        (Request::Trim { reply, .. } | Request::Record { reply, .. }, _) => reply.send(Ok(())),
        // Planning gives every request a verdict of its kind.
        (request, _) => request.fail(super::queue::writer_gone()),
    }
}
