//! A log on a simulated machine, without threads: every step is taken by hand.

use super::super::cleaner::Cleaner;
use super::super::queue::{Outcome, Reply, Request};
use super::super::shared::Shared;
use super::super::writer::Writer;
use super::super::{Options, recovery};
use crate::{Ack, Append, Definition, Error, NewStream, Result};
use std::path::Path;
use std::sync::Arc;
use tw_env::sim::Sim;
use tw_types::{Offset, StreamDef, StreamName, StreamPartition};
use tw_wire::{Batch, Block};

pub(super) const FOLDER: &str = "/log";

/// Options with segments so small that a history fills many.
pub(super) fn small() -> Options {
    Options {
        segment_bytes: 64 << 10,
        append_bytes_max: 32 << 10,
        group_bytes_max: 12 << 10,
        merge_bytes_max: 4 << 10,
        in_flight_bytes_max: 1 << 20,
        tail_bytes: 24 << 10,
        read_bytes_max: 64 << 10,
        index_cache_bytes: 64 << 10,
        spare_segments: 1,
        ..Options::default()
    }
}

/// The log, and who drives it.
pub(super) struct Rig {
    pub(super) sim: Sim,
    pub(super) shared: Arc<Shared>,
    pub(super) writer: Writer,
    pub(super) cleaner: Cleaner,
}

impl Rig {
    pub(super) fn open(sim: &Sim, options: &Options) -> Result<Self> {
        let writer = recovery::open(Path::new(FOLDER), options, &sim.env())?;
        let shared = writer.shared.clone();
        let cleaner = Cleaner::new(shared.clone());
        Ok(Self { sim: sim.clone(), shared, writer, cleaner })
    }

    /// Makes the spare segments that are wanted.
    pub(super) fn prepare(&self) {
        self.shared.reclaim();
        while self.shared.spares.make(&self.shared.maker()) {}
    }

    /// Commits everything that waits.
    pub(super) fn commit(&mut self) {
        while self.writer.commit_next() {}
    }

    /// Lets the cleaner do all that it finds to do.
    pub(super) fn tidy(&mut self) {
        let Self { cleaner, writer, .. } = self;
        let mut rounds = 0;
        while cleaner.tidy(&mut || while writer.commit_next() {}) {
            rounds += 1;
            assert!(rounds < 1_000, "the cleaner never comes to an end");
        }
    }

    /// Hands in an append; [`Rig::commit`] decides it.
    pub(super) fn append(&self, parts: Vec<(StreamPartition, Batch, Option<Offset>)>) -> Ack {
        let parts: Vec<Append> = parts
            .into_iter()
            .map(|(at, batch, expected_end)| Append { at, batch, expected_end, foreign: None })
            .collect();
        self.append_parts(parts)
    }

    /// Hands in an append that may have events of other regions.
    pub(super) fn append_parts(&self, parts: Vec<Append>) -> Ack {
        let bytes = parts.iter().map(|part| part.batch.bytes()).sum();
        match self.shared.permits.try_reserve(bytes) {
            Ok(permit) => self.shared.append(permit, parts),
            Err(error) => Ack::ready(Err(error)),
        }
    }

    pub(super) fn define(&self, change: Definition) -> Outcome<Arc<StreamDef>> {
        let (reply, outcome) = Reply::channel();
        self.shared.queue.push(Request::Define { change, reply });
        outcome
    }

    pub(super) fn trim(&self, at: StreamPartition, before: Offset) -> Outcome<()> {
        let (reply, outcome) = Reply::channel();
        self.shared.queue.push(Request::Trim { at, before, reply });
        outcome
    }

    pub(super) fn create(&mut self, stream: NewStream) -> Result<Arc<StreamDef>> {
        let outcome = self.define(Definition::Create(stream));
        self.commit();
        outcome.wait()
    }

    pub(super) fn create_plain(&mut self, name: &str, partitions: u32) -> Arc<StreamDef> {
        self.create(NewStream::plain(StreamName::new(name).unwrap(), partitions)).unwrap()
    }

    /// Everything that a partition holds, from its start to its end.
    pub(super) fn read_all(&self, at: StreamPartition) -> Result<Vec<Block>> {
        let bounds = self.shared.partition(at)?.bounds();
        let (mut next, mut all) = (bounds.start, Vec::new());
        while next < bounds.end {
            let blocks = self.shared.read_blocking(at, next, 8 << 10)?;
            let Some(last) = blocks.last() else {
                return Err(Error::BeyondEnd { at, from: next, end: bounds.end });
            };
            next = last.header().end_offset();
            all.extend(blocks);
        }
        Ok(all)
    }
}
