//! Taking a snapshot.
//!
//! What is stored of the partition goes first. Then it is marked void while chunk after chunk is stored, and the mark goes with
//! the last commit, which stores the cursor: what is cut off in between is never used. State of one's own is only given up
//! for a snapshot of which every byte was there and right a moment ago.

use super::format::{ChunkRecord, MANIFEST_BYTES_MAX, Malformed, Manifest, read_chunk};
use super::names::{Place, Run};
use super::plan::Stand;
use super::{Counters, Keeping, OBJECTS_MAX};
use crate::keys;
use crate::record::Cursor;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::collections::BTreeSet;
use std::sync::Arc;
use tw_log::Log;
use tw_state::{Batch, Entry, Keyspace, Store};
use tw_types::{Offset, StreamPartition};

/// Why a snapshot was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// It is no good: another one may be.
    #[error("{wrong}")]
    Snapshot { run: Run, wrong: Wrong },
    /// It may be had later.
    #[error(transparent)]
    Depot(#[from] tw_depot::Error),
    #[error(transparent)]
    State(#[from] tw_state::Error),
    #[error(transparent)]
    Log(#[from] tw_log::Error),
    #[error("its own state is of a later version of this program")]
    LaterVersion,
}

/// What is wrong with a snapshot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Wrong {
    #[error("`{name}`: {malformed}")]
    Malformed { name: String, malformed: Malformed },
    #[error("{0}")]
    Foreign(&'static str),
}

/// Where a snapshot is to go.
#[derive(Clone)]
pub(crate) struct Restore {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keeping: Arc<Keeping>,
    pub(crate) view: String,
    pub(crate) definition: u64,
    pub(crate) life: u32,
    pub(crate) at: StreamPartition,
    pub(crate) keyspace: Keyspace,
    /// Whether what is stored may be given up: nobody reads it.
    pub(crate) replaces: bool,
}

/// A snapshot that is to be taken.
pub(crate) struct Found {
    run: Run,
    manifest: Manifest,
    cursor: Bytes,
}

/// The search for a snapshot: None when there is none to be taken.
pub(crate) type Seeking = BoxFuture<'static, Result<Option<Found>, Refusal>>;
/// A snapshot on its way; then, where the state ends.
pub(crate) type Importing = BoxFuture<'static, Result<Offset, Refusal>>;

impl Restore {
    /// Whether a snapshot is worth to be looked for.
    pub(crate) fn is_wanted(&self) -> Result<bool, Refusal> {
        let stand = self.stand()?;
        let may_be = self.replaces || stand.own.is_none();
        Ok(may_be && stand.is_wanted(self.keeping.options.get().replay_events_max))
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.keeping.counters
    }

    fn stand(&self) -> Result<Stand, Refusal> {
        let stored = self.store.get(self.keyspace, &keys::cursor(self.at.partition))?;
        let own = stored.map(|stored| Cursor::decode(&stored).ok_or(Refusal::LaterVersion)).transpose()?;
        let bounds = self.log.bounds(self.at)?;
        Ok(Stand { own: own.map(|cursor| cursor.position), start: bounds.start, end: bounds.end })
    }

    fn place(&self) -> Place {
        Place::new(&self.view, self.at.partition, self.definition, self.at.stream)
    }

    /// Looks for the newest snapshot that fits and is none of `refused`.
    pub(crate) fn seek(&self, refused: BTreeSet<Run>) -> Seeking {
        let this = self.clone();
        Box::pin(async move {
            let place = this.place();
            let names = this.keeping.depot.list(&place.manifests(), OBJECTS_MAX).await?;
            // The log now ends after each of them, wherever it was made.
            this.log.refresh(&[this.at]).await?;
            let (stand, replay_events_max) = (this.stand()?, this.keeping.options.get().replay_events_max);
            let Some(run) = stand.choose(&place, &names, &refused, replay_events_max) else {
                return Ok(None);
            };
            let name = place.manifest(run);
            let bytes = this.object(run, &name, MANIFEST_BYTES_MAX as u64).await?;
            let manifest = Manifest::decode(&bytes).map_err(|malformed| Refusal::Snapshot {
                run,
                wrong: Wrong::Malformed { name, malformed },
            })?;
            let cursor = this.check(run, &manifest).await?;
            let found = Found { run, manifest, cursor };
            if stand.own.is_some() {
                for number in 0..found.manifest.chunks.len() {
                    this.chunk(&place, &found, number).await?;
                }
            }
            Ok(Some(found))
        })
    }

    /// Says that nothing counts that is stored of the partition.
    pub(crate) fn void(&self) -> tw_state::Result<()> {
        let mut mark = Batch::new();
        mark.put(self.keyspace, keys::void(self.at.partition), Bytes::new());
        self.store.commit(mark)
    }

    /// Stores a snapshot, where nothing is stored.
    pub(crate) fn import(&self, found: Found) -> Importing {
        let this = self.clone();
        Box::pin(async move {
            let place = this.place();
            this.void()?;
            let mut last = Bytes::new();
            for number in 0..found.manifest.chunks.len() {
                let entries = this.chunk(&place, &found, number).await?;
                if entries.first().is_none_or(|(first, _)| *first <= last) {
                    let malformed = Malformed("its keys are not in ascending order");
                    return Err(wrong_chunk(&place, &found, number, malformed));
                }
                last = entries.last().map(|(key, _)| key.clone()).unwrap_or_default();
                this.put(entries)?;
            }
            let mut batch = Batch::new();
            batch.put(this.keyspace, keys::cursor(this.at.partition), found.cursor);
            batch.remove(this.keyspace, keys::void(this.at.partition));
            this.store.commit(batch)?;
            Ok(found.manifest.position)
        })
    }

    fn put(&self, entries: Vec<Entry>) -> Result<(), Refusal> {
        let mut batch = Batch::new();
        for (key, value) in entries {
            // A slice would keep the whole chunk in memory for as long as the store keeps one entry.
            batch.put(self.keyspace, Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value));
        }
        Ok(self.store.commit(batch)?)
    }

    /// The entries of a chunk, if it is the one that the manifest names.
    async fn chunk(&self, place: &Place, found: &Found, number: usize) -> Result<Vec<Entry>, Refusal> {
        let wrong = |malformed| wrong_chunk(place, found, number, malformed);
        let other = Malformed("it is not the one that the manifest names");
        let record = found.manifest.chunks.get(number).copied().ok_or_else(|| wrong(other.clone()))?;
        let bytes = self.object(found.run, &place.chunk(found.run, number), record.bytes).await?;
        if ChunkRecord::of(&bytes) != record {
            return Err(wrong(other));
        }
        let entries = read_chunk(&bytes).map_err(wrong)?;
        if !entries.iter().all(|(key, _)| keys::is_of(key, self.at.partition)) {
            return Err(wrong(Malformed("it has keys of another partition")));
        }
        Ok(entries)
    }

    /// An object of a snapshot.
    async fn object(&self, run: Run, name: &str, bytes_max: u64) -> Result<Bytes, Refusal> {
        let wrong = |malformed| Refusal::Snapshot {
            run,
            wrong: Wrong::Malformed { name: name.to_owned(), malformed },
        };
        match self.keeping.depot.get(name, bytes_max).await {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(wrong(Malformed("it is not there"))),
            Err(tw_depot::Error::TooLarge { .. }) => Err(wrong(Malformed("it is too large"))),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the state is one of this view, this partition and this log; its cursor as it is stored.
    async fn check(&self, run: Run, manifest: &Manifest) -> Result<Bytes, Refusal> {
        let foreign = |reason| Refusal::Snapshot { run, wrong: Wrong::Foreign(reason) };
        if manifest.view != self.view || manifest.definition != self.definition {
            return Err(foreign("it is of another view"));
        }
        if manifest.life != self.life {
            return Err(foreign("it is of an earlier view of this name"));
        }
        if StreamPartition::new(manifest.stream, manifest.partition) != self.at {
            return Err(foreign("it is of another partition"));
        }
        if manifest.run != run.to_string() || manifest.position != run.position {
            return Err(foreign("it is of another name"));
        }
        let stored = unhex(&manifest.cursor);
        let cursor = stored.as_deref().and_then(Cursor::decode);
        let (Some(stored), Some(cursor)) = (stored, cursor.filter(|cursor| cursor.position == run.position))
        else {
            return Err(foreign("its cursor is of another version"));
        };
        if !self.is_of_this_log(&cursor).await? {
            return Err(foreign("it is of another log"));
        }
        Ok(stored.into())
    }

    /// Whether the last event that the state holds is the one that is there: another log has other timestamps.
    async fn is_of_this_log(&self, cursor: &Cursor) -> Result<bool, Refusal> {
        let start = self.log.bounds(self.at)?.start;
        let last = cursor.position.0.checked_sub(1).map(Offset).filter(|last| *last >= start);
        let Some(last) = last else { return Ok(true) };
        let blocks = match self.log.read(self.at, last, 1).await {
            Err(tw_log::Error::Trimmed { .. }) => Vec::new(),
            blocks => blocks?,
        };
        for block in blocks {
            let records = block.records().map_err(tw_log::Error::from)?;
            for event in records.iter().map_err(tw_log::Error::from)? {
                let event = event.map_err(tw_log::Error::from)?;
                if event.offset == last {
                    return Ok(event.hlc == cursor.hlc);
                }
            }
        }
        Ok(true)
    }
}

fn wrong_chunk(place: &Place, found: &Found, number: usize, malformed: Malformed) -> Refusal {
    let name = place.chunk(found.run, number);
    Refusal::Snapshot { run: found.run, wrong: Wrong::Malformed { name, malformed } }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| u8::try_from(digit(high)? << 4 | digit(low)?).ok()).collect()
}
