//! Conflicts that views have put aside to be told.

use super::Engine;
use crate::state::layout::{self, Kind};
use crate::view::view_name_of_latest;
use crate::{Error, ToldConflict};
use tw_state::{Batch, Keyspace, Range};
use tw_types::PartitionId;

/// A conflict, and where it is until it is told.
#[derive(Debug)]
pub struct WaitingConflict {
    /// What is to be told.
    pub told: ToldConflict,
    keyspace: Keyspace,
    key: bytes::Bytes,
}

impl Engine {
    /// Conflicts that are to be told, at most `most`: those of every stream whose rows are merged. They come again until they are [told](Engine::conflicts_told).
    /// Reads the store: for threads.
    ///
    /// # Errors
    /// Those of the store.
    pub fn waiting_conflicts(&self, most: usize) -> Result<Vec<WaitingConflict>, Error> {
        let mut found = Vec::new();
        let catalog = self.catalog();
        for stream in catalog.streams().iter().filter(|stream| stream.merges()) {
            // One that is not there yet has nothing to tell.
            let Ok(reading) = self.reading(&view_name_of_latest(stream)) else { continue };
            let snapshot = self.0.store.snapshot();
            for partition in (0..stream.partitions).map(PartitionId) {
                let prefix = layout::prefix(Kind::Conflict, partition, 0);
                for entry in snapshot.range(reading.keyspace, Range::prefix(&prefix)) {
                    if found.len() >= most {
                        return Ok(found);
                    }
                    let (key, value) = entry.map_err(tw_process::Error::from)?;
                    match serde_json::from_slice(&value) {
                        Ok(told) => found.push(WaitingConflict { told, keyspace: reading.keyspace, key }),
                        Err(error) => {
                            tracing::error!(%error, stream = %stream.name, "a conflict that is to be told does not read");
                        }
                    }
                }
            }
        }
        Ok(found)
    }

    /// These were told: they are not kept any more.
    ///
    /// # Errors
    /// Those of the store.
    pub fn conflicts_told(&self, told: Vec<WaitingConflict>) -> Result<(), Error> {
        let mut batch = Batch::new();
        for WaitingConflict { keyspace, key, .. } in told {
            batch.remove(keyspace, key);
        }
        match self.0.store.commit(batch) {
            // The view was built anew meanwhile, and will tell them again: each is there once.
            Ok(()) | Err(tw_state::Error::NoKeyspace) => Ok(()),
            Err(error) => Err(tw_process::Error::from(error).into()),
        }
    }
}
