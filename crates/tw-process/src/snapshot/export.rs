//! Storing a snapshot: the chunks, then the manifest, which makes it whole; then what is outdated goes.

use super::counts::add;
use super::format::{CHUNKS_MAX, ChunkBuilder, ChunkRecord, Manifest};
use super::keeper::Keeping;
use super::names::{Place, of_partition};
use super::plan::outdated;
use super::{OBJECTS_MAX, Run};
use crate::record::Cursor;
use crate::views::Views;
use crate::{Error, keys};
use pollster::block_on;
use std::fmt::Write;
use std::sync::Arc;
use tw_state::Snapshot;
use tw_types::{Offset, PartitionId, StreamPartition, chain};

/// A snapshot that was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// The first offset that is not in it.
    pub position: Offset,
    /// How many entries it has.
    pub entries: u64,
    /// Its bytes in the depot, without the manifest.
    pub bytes: u64,
}

impl Views {
    /// Stores the state of a partition; see [`crate::Handle::export`]. `supersedes`: none of before stays.
    pub(crate) fn export(
        &self,
        view: &str,
        partition: PartitionId,
        keeping: &Keeping,
        supersedes: bool,
    ) -> Result<Exported, Error> {
        let reading = self.reading(view)?;
        reading.check(partition)?;
        let snapshot = self.snapshot();
        let not_begun = || Error::NotBuilt { view: view.to_owned(), percent: 0 };
        if snapshot.get(reading.keyspace, &keys::void(partition))?.is_some() {
            return Err(not_begun());
        }
        let life = reading.life().ok_or_else(not_begun)?;
        let stored = snapshot.get(reading.keyspace, &keys::cursor(partition))?.ok_or_else(not_begun)?;
        let cursor = Cursor::decode(&stored).ok_or_else(|| Error::LaterVersion(view.to_owned()))?;
        let at = StreamPartition::new(reading.view.stream(), partition);
        let definition = reading.view.definition();
        let run = Run { position: cursor.position, random: self.random() };
        let place = Place::new(view, partition, definition, at.stream);
        let mut upload = Upload { keeping, at, place: &place, run, chunks: Vec::new(), entries: 0, bytes: 0 };
        upload.put_all(snapshot.as_ref(), &reading)?;
        drop(snapshot);
        let Upload { chunks, entries, bytes, .. } = upload;
        let manifest = Manifest {
            view: view.to_owned(),
            definition,
            life,
            stream: at.stream,
            partition,
            position: cursor.position,
            run: run.to_string(),
            cursor: hex(&stored),
            chunks,
        };
        keeping.check(at)?;
        block_on(keeping.depot.put(&place.manifest(run), manifest.encode().into()))?;
        add(&keeping.counters.stored, 1);
        add(&keeping.counters.stored_bytes, bytes);
        if let Err(error) = self.tidy_snapshots(&place, view, at, run, keeping, supersedes) {
            // The snapshot is there; the next one tries again.
            add(&keeping.counters.failures, 1);
            tracing::warn!(view, %at, error = chain(&error), "old snapshots stay in the depot");
        }
        Ok(Exported { position: cursor.position, entries, bytes })
    }

    fn tidy_snapshots(
        &self,
        place: &Place,
        view: &str,
        at: StreamPartition,
        run: Run,
        keeping: &Keeping,
        supersedes: bool,
    ) -> Result<(), Error> {
        let names = block_on(keeping.depot.list(&of_partition(view, at.partition), OBJECTS_MAX))?;
        let end = self.log().bounds(at)?.end;
        for name in outdated(place, &names, run, end, keeping.options.get().kept, supersedes) {
            keeping.check(at)?;
            block_on(keeping.depot.remove(&name))?;
        }
        Ok(())
    }
}

/// Chunks on their way.
struct Upload<'a> {
    keeping: &'a Keeping,
    at: StreamPartition,
    place: &'a Place,
    run: Run,
    chunks: Vec<ChunkRecord>,
    entries: u64,
    bytes: u64,
}

impl Upload<'_> {
    fn put_all(&mut self, snapshot: &dyn Snapshot, reading: &crate::Reading) -> Result<(), Error> {
        let (mut builder, partition) = (ChunkBuilder::default(), self.at.partition);
        for range in keys::all(snapshot, reading.keyspace, partition)? {
            for entry in snapshot.range(reading.keyspace, range) {
                let (key, value) = entry?;
                // It goes into the manifest: an import stores it last.
                if key == keys::cursor(partition) {
                    continue;
                }
                builder.push(&key, &value);
                self.entries += 1;
                if builder.is_full() {
                    self.put(&mut builder)?;
                }
            }
        }
        if builder.is_empty() { Ok(()) } else { self.put(&mut builder) }
    }

    fn put(&mut self, builder: &mut ChunkBuilder) -> Result<(), Error> {
        self.keeping.check(self.at)?;
        if self.chunks.len() == CHUNKS_MAX {
            return Err(Error::SnapshotTooLarge { at: self.at, chunks_max: CHUNKS_MAX });
        }
        let bytes = builder.finish().map_err(|error| Error::Compression(Arc::new(error)))?;
        self.bytes += bytes.len() as u64;
        let name = self.place.chunk(self.run, self.chunks.len());
        self.chunks.push(ChunkRecord::of(&bytes));
        Ok(block_on(self.keeping.depot.put(&name, bytes.into()))?)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _always_written = write!(text, "{byte:02x}");
        text
    })
}
