//! What can be set about the engine.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The options of a [`DiskStore`](crate::DiskStore).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Memory for blocks that were read: 1 MiB to 1 TiB. Default 64 MiB.
    pub cache_bytes: u64,
    /// Memory for changes that are not in tables yet, over all keyspaces: 1 MiB to 64 GiB. Default 32 MiB. While they
    /// are being flushed, up to four times as much.
    pub write_buffer_bytes: u64,
    /// Disk space for the journal: 64 MiB to 1 TiB. Default 256 MiB. Opening reads up to this much.
    pub journal_bytes_max: u64,
    /// Files that are kept open: 16 to 100,000. Default 256.
    pub open_files_max: u64,
    /// Threads that flush and compact: 1 to 64. Default 2.
    pub threads: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            write_buffer_bytes: 32 << 20,
            journal_bytes_max: 256 << 20,
            open_files_max: 256,
            threads: 2,
        }
    }
}

impl Options {
    /// Checks every bound.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for the first option that is outside its bounds.
    pub fn check(&self) -> Result<()> {
        let checks = [
            ("cache_bytes", self.cache_bytes, 1 << 20..=1 << 40, "1 MiB to 1 TiB"),
            ("write_buffer_bytes", self.write_buffer_bytes, 1 << 20..=1 << 36, "1 MiB to 64 GiB"),
            ("journal_bytes_max", self.journal_bytes_max, 1 << 26..=1 << 40, "64 MiB to 1 TiB"),
            ("open_files_max", self.open_files_max, 16..=100_000, "16 to 100000 files"),
            ("threads", self.threads, 1..=64, "1 to 64 threads"),
        ];
        for (option, value, range, bounds) in checks {
            if !range.contains(&value) {
                return Err(Error::InvalidOption { option, value, bounds });
            }
        }
        Ok(())
    }
}
