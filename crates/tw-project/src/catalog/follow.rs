//! Reading `$config`: the fold that makes a catalogue.

use super::{Catalog, Change};
use crate::Error;
use std::sync::Arc;
use tw_log::{CONFIG_PARTITION, Log};
use tw_types::Offset;
use tw_wire::Block;

/// How many bytes of `$config` are read at once.
const READ_BYTES: usize = 1 << 20;

/// Brings a catalogue up to date with what `$config` says, from its start at first and then from where it was.
pub struct Follower {
    log: Arc<dyn Log>,
    at: Offset,
    definitions: Option<u64>,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Follower {
    /// A follower that has read nothing yet.
    pub fn new(log: Arc<dyn Log>) -> Self {
        Self { log, at: Offset::ZERO, definitions: None }
    }

    /// Carries out on `catalog` whatever is new, streams included; tells whether there was anything. Always give it the
    /// same catalogue.
    ///
    /// # Errors
    /// Those of reading the log; [`Error::Stored`] for a definition that a later version has written.
    pub async fn catch_up(&mut self, catalog: &mut Catalog) -> Result<bool, Error> {
        let definitions = self.log.definitions().get();
        let mut changed = self.definitions != Some(definitions);
        if changed {
            catalog.set_streams(self.log.streams());
            self.definitions = Some(definitions);
        }
        loop {
            let blocks = self.log.read(CONFIG_PARTITION, self.at, READ_BYTES).await?;
            if blocks.is_empty() {
                return Ok(changed);
            }
            for block in &blocks {
                changed |= self.take(block, catalog)?;
                self.at = block.header().end_offset();
            }
        }
    }

    fn take(&self, block: &Block, catalog: &mut Catalog) -> Result<bool, Error> {
        let mut changed = false;
        let records = block.records().map_err(tw_log::Error::Wire)?;
        for event in records.iter().map_err(tw_log::Error::Wire)? {
            let event = event.map_err(tw_log::Error::Wire)?;
            if event.offset < self.at {
                continue;
            }
            let later = |_| Error::Stored(format!("$config, event {}", event.offset));
            if let Some(change) =
                Change::from_event(event.event.ty, event.event.data.bytes()).map_err(later)?
            {
                catalog.apply(change);
                changed = true;
            }
        }
        Ok(changed)
    }
}
