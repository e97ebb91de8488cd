//! What can be set about the event store.

use super::{Error, Result};
use serde::{Deserialize, Serialize};

/// The options of an [`EventStore`](super::EventStore).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Memory for the part of the subject index that is not stored yet: 4 MiB to 64 GiB. Default 64 MiB. Half of it
    /// fills while the other half is being stored; when both are full, appends wait.
    pub index_bytes_max: u64,
    /// Memory for the ids of each subject's latest 1,024 events, which new ones are compared with: 1 MiB to 64 GiB. Default
    /// 64 MiB. A subject takes up to 5 KiB, so the default holds 12,000 with long histories. Those that were not written to
    /// for longest are forgotten first, and read from the stored index when they are written to again. A write exceeds
    /// this by about 5 MiB at most while it is made, however many subjects it has.
    pub dedup_bytes_max: u64,
    /// The index of a stream is stored after this many events: 1,000 to 1,000,000,000. Default 1,000,000. After a
    /// restart, at most about this many events of a stream are replayed.
    pub index_flush_events: u64,
    /// The index of a stream is stored after this time, in milliseconds: 10 to 3,600,000. Default 5,000.
    pub index_flush_ms: u64,
    /// The largest share of one write in one partition, in encoded bytes: 64 KiB to 32 MiB. Default 16 MiB.
    pub write_bytes_max: u64,
    /// The most events of one write: 1 to 10,000,000. Default 100,000.
    pub write_events_max: u64,
    /// How long a write with an idempotency key is remembered, in milliseconds: 1,000 to 2,592,000,000 (30 days).
    /// Default 86,400,000 (one day).
    pub idempotency_ms: u64,
    /// How many idempotency keys are remembered; beyond that the oldest are forgotten: 1,000 to 1,000,000,000.
    /// Default 1,000,000.
    pub idempotency_keys_max: u64,
    /// The most that one call reads from the log, in bytes: 64 KiB to 1 GiB. Default 16 MiB.
    pub read_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            index_bytes_max: 64 << 20,
            dedup_bytes_max: 64 << 20,
            index_flush_events: 1_000_000,
            index_flush_ms: 5_000,
            write_bytes_max: 16 << 20,
            write_events_max: 100_000,
            idempotency_ms: 24 * 60 * 60 * 1_000,
            idempotency_keys_max: 1_000_000,
            read_bytes_max: 16 << 20,
        }
    }
}

impl Options {
    /// Checks every bound.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for the first option that is outside its bounds.
    pub fn check(&self) -> Result<()> {
        let day_ms = 24 * 60 * 60 * 1_000;
        let checks = [
            ("index_bytes_max", self.index_bytes_max, 4 << 20..=1 << 36, "4 MiB to 64 GiB"),
            ("dedup_bytes_max", self.dedup_bytes_max, 1 << 20..=1 << 36, "1 MiB to 64 GiB"),
            (
                "index_flush_events",
                self.index_flush_events,
                1_000..=1_000_000_000,
                "1000 to 1000000000 events",
            ),
            ("index_flush_ms", self.index_flush_ms, 10..=3_600_000, "10 to 3600000 ms"),
            ("write_bytes_max", self.write_bytes_max, 64 << 10..=32 << 20, "64 KiB to 32 MiB"),
            ("write_events_max", self.write_events_max, 1..=10_000_000, "1 to 10000000 events"),
            ("idempotency_ms", self.idempotency_ms, 1_000..=30 * day_ms, "1000 to 2592000000 ms"),
            (
                "idempotency_keys_max",
                self.idempotency_keys_max,
                1_000..=1_000_000_000,
                "1000 to 1000000000 keys",
            ),
            ("read_bytes_max", self.read_bytes_max, 64 << 10..=1 << 30, "64 KiB to 1 GiB"),
        ];
        for (option, value, range, bounds) in checks {
            if !range.contains(&value) {
                return Err(Error::InvalidOption { option, value, bounds });
            }
        }
        Ok(())
    }
}
