//! The stored part of the subject index: a projection of the log, kept in the state store.
//!
//! One keyspace per stream has the runs of all subjects (see [`format`]), one for all streams has the positions that
//! they cover, one the idempotency keys. All of it can be thrown away: the log is replayed from the positions, and from
//! the start when there are none.

pub(super) mod format;
mod keys;

use super::Result;
use crate::Streams;
use format::Position;
use hashbrown::HashMap;
use parking_lot::RwLock;
use std::sync::Arc;
use tw_order::{DEDUP_VERSIONS, IdWindow, Loaded, PackedRun, Posting, SubjectHash};
use tw_state::{Batch, Keyspace, Range, Store};
use tw_types::{Offset, StreamId, StreamPartition, Version};

/// The keyspaces of the index start so.
const PREFIX: &str = "events/";
/// The keyspace of the positions, and under an empty stream of the format's version.
const POSITIONS: &str = "events/positions";
/// The keyspace of the idempotency keys.
const KEYS: &str = "events/keys";
/// The version of everything that is stored here; another one is thrown away.
const FORMAT: &[u8] = b"1";
const FORMAT_KEY: &[u8] = b"format";
/// How many entries are removed in one commit.
const REMOVE_MAX: usize = 10_000;

/// The stored index.
pub(super) struct Index {
    pub(super) state: Arc<dyn Store>,
    pub(super) positions: Keyspace,
    pub(super) keys: Keyspace,
    /// The keyspaces of streams that have one.
    streams: RwLock<HashMap<StreamId, Keyspace>>,
}

fn keyspace_name(stream: StreamId) -> String {
    format!("{PREFIX}{stream}")
}

impl Index {
    /// Opens the index, without what belongs to streams that are gone.
    pub(super) fn open(state: Arc<dyn Store>, streams: &Streams) -> Result<Self> {
        let positions = state.keyspace(POSITIONS)?;
        if state.get(positions, FORMAT_KEY)?.as_deref() != Some(FORMAT) {
            for name in state.keyspaces()?.iter().filter(|name| name.starts_with(PREFIX)) {
                state.drop_keyspace(name)?;
            }
        }
        let positions = state.keyspace(POSITIONS)?;
        let mut batch = Batch::new();
        batch.put(positions, FORMAT_KEY, FORMAT);
        state.commit(batch)?;
        let keys = state.keyspace(KEYS)?;
        let index = Self { positions, keys, streams: RwLock::default(), state };
        for name in index.state.keyspaces()? {
            let number = name.strip_prefix(PREFIX).and_then(|number| number.parse().ok()).map(StreamId);
            if let Some(stream) = number {
                index.streams.write().insert(stream, index.state.keyspace(&name)?);
            }
        }
        index.forget_dropped(streams)?;
        Ok(index)
    }

    /// Removes what belongs to streams that are not among `streams`.
    pub(super) fn forget_dropped(&self, streams: &Streams) -> Result<()> {
        let known: Vec<StreamId> = self.streams.read().keys().copied().collect();
        for stream in known.into_iter().filter(|stream| streams.by_id(*stream).is_err()) {
            // First the positions: an index without them is merely built again.
            let mut batch = Batch::new();
            for entry in self.state.snapshot().range(self.positions, Range::prefix(&stream.0.to_be_bytes())) {
                let (key, _) = entry?;
                if matches!(key.len(), format::POSITION_KEY_BYTES | format::MARKS_KEY_BYTES) {
                    batch.remove(self.positions, key);
                }
            }
            self.state.commit(batch)?;
            self.streams.write().remove(&stream);
            self.state.drop_keyspace(&keyspace_name(stream))?;
        }
        Ok(())
    }

    /// The keyspace of a stream, which is created if need be.
    pub(super) fn keyspace(&self, stream: StreamId) -> Result<Keyspace> {
        if let Some(keyspace) = self.existing(stream) {
            return Ok(keyspace);
        }
        let keyspace = self.state.keyspace(&keyspace_name(stream))?;
        self.streams.write().insert(stream, keyspace);
        Ok(keyspace)
    }

    fn existing(&self, stream: StreamId) -> Option<Keyspace> {
        self.streams.read().get(&stream).copied()
    }

    /// How far a partition is indexed.
    pub(super) fn position(&self, at: StreamPartition) -> Result<Option<Position>> {
        let stored = self.state.get(self.positions, &format::position_key(at))?;
        Ok(stored.and_then(|bytes| Position::read(&bytes)))
    }

    /// Throws the index of one partition away.
    pub(super) fn forget(&self, at: StreamPartition) -> Result<()> {
        let mut batch = Batch::new();
        batch.remove(self.positions, format::position_key(at).to_vec());
        batch.remove(self.positions, format::marks_key(at).to_vec());
        self.state.commit(batch)?;
        let Some(keyspace) = self.existing(at.stream) else { return Ok(()) };
        loop {
            let mut batch = Batch::new();
            let snapshot = self.state.snapshot();
            for entry in
                snapshot.range(keyspace, Range::prefix(&format::partition_prefix(at))).take(REMOVE_MAX)
            {
                batch.remove(keyspace, entry?.0);
            }
            if batch.is_empty() {
                return Ok(());
            }
            self.state.commit(batch)?;
        }
    }

    /// The latest events of a subject, as far as they are stored.
    pub(super) fn tail(&self, at: StreamPartition, subject: SubjectHash) -> Result<Option<PackedRun>> {
        let Some(keyspace) = self.existing(at.stream) else { return Ok(None) };
        let stored = self.state.get(keyspace, &format::tail_key(at, subject))?;
        Ok(stored.map(|bytes| PackedRun::parse(&bytes)).transpose()?)
    }

    /// What a ledger has to know of a subject.
    pub(super) fn load(&self, at: StreamPartition, subject: SubjectHash, ids: bool) -> Result<Loaded> {
        let Some(tail) = self.tail(at, subject)? else {
            return Ok(Loaded { complete: true, ..Loaded::default() });
        };
        let first = tail.first();
        let mut loaded = Loaded { head: tail.last(), complete: first == Version(1), ..Loaded::default() };
        if ids && !loaded.complete {
            let oldest = Version(loaded.head.0.saturating_sub(DEDUP_VERSIONS)).next();
            let mut window = IdWindow::default();
            self.runs(at, subject, oldest, |run| {
                run.iter()
                    .filter(|posting| posting.version >= oldest)
                    .for_each(|posting| window.push(posting));
                run.last() < first
            })?;
            tail.iter().for_each(|posting| window.push(posting));
            (loaded.window, loaded.complete) = (Some(window), true);
        }
        loaded.tail = Some(tail);
        Ok(loaded)
    }

    /// The stored event of a version of a subject.
    pub(super) fn posting(
        &self,
        at: StreamPartition,
        subject: SubjectHash,
        version: Version,
    ) -> Result<Option<Posting>> {
        let mut found =
            self.tail(at, subject)?.and_then(|tail| tail.iter().find(|posting| posting.version == version));
        if found.is_none() {
            self.runs(at, subject, version, |run| {
                found = run.iter().find(|posting| posting.version == version);
                false
            })?;
        }
        Ok(found)
    }

    /// Shows the stored runs of a subject, from the one that has version `from` on and without its tail, for as long as
    /// `go_on` says so.
    pub(super) fn runs(
        &self,
        at: StreamPartition,
        subject: SubjectHash,
        from: Version,
        mut go_on: impl FnMut(&PackedRun) -> bool,
    ) -> Result<()> {
        let Some(keyspace) = self.existing(at.stream) else { return Ok(()) };
        let snapshot = self.state.snapshot();
        let earlier = format::runs_until(at, subject, from);
        let first = snapshot.range_rev(keyspace, earlier).next().transpose()?;
        let later = format::runs_from(at, subject, from.next());
        for entry in first.into_iter().map(Ok).chain(snapshot.range(keyspace, later)) {
            if !go_on(&PackedRun::parse(&entry?.1)?) {
                break;
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Index")
    }
}

/// Where the stored index of a partition ends.
pub(super) fn end(position: Option<Position>) -> Offset {
    position.map_or(Offset::ZERO, |position| position.end)
}
