//! The bounds of queries and projections.

use crate::Error;
use serde::{Deserialize, Serialize};

/// Who answers reads of views that other nodes keep as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadFrom {
    /// The owner of each partition: what is read does not go back in time, unless the partition moves.
    #[default]
    Owners,
    /// The owner of each partition or one of its standbys: reads are spread, and go on while an owner is away.
    Standbys,
}

/// How statements are run and projections kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Threads that one query may use at once: 1 to 256. Default: the processors that this process may use.
    pub query_threads_max: usize,
    /// Memory that one query may use, in bytes: 1 MiB to 1 TiB. Default 256 MiB.
    pub query_memory_bytes_max: usize,
    /// Rows that the result of a query may have, unless it asks for fewer: 1 to 10^12. Default 10,000,000.
    pub query_rows_max: u64,
    /// How long a query may take, unless it asks for less, in milliseconds: 1 to 86,400,000. Default 60,000.
    pub query_ms_max: u64,
    /// Statements whose plans are kept: 0 to 100,000. Default 1,000.
    pub plans_max: usize,
    /// Memory for answers to queries that are kept, and given again as long as what they were made of stays as it is, in bytes: 0 to
    /// 1 TiB; 0 keeps none. One answer takes a sixteenth of it at most. Default 64 MiB.
    pub answers_bytes_max: usize,
    /// Answers that took less work, in milliseconds, and read nothing of other nodes, are not kept: 0 to 86,400,000; 0 keeps all. Default 2.
    pub answers_ms_min: u64,
    /// Memory for the state of one partition of a projection, in bytes: 64 KiB to 64 GiB. Default 64 MiB.
    pub cache_bytes_max: usize,
    /// Queries that read from other nodes at once; more of them wait: 1 to 10,000. Default 64.
    pub gathers_max: usize,
    /// Queries of other nodes for which what they read is held at once; more of them are told to try again: 1 to 100,000.
    /// Default 1,000.
    pub holds_max: usize,
    /// Who answers reads of views in a cluster: `owners`, or also `standbys`, so that reads are spread over nodes and go on while an owner
    /// is away. A read that carries a token sees what the token demands either way; of reads without one, a later one may see
    /// an older state than an earlier one did. Default `owners`.
    pub read_from: ReadFrom,
    /// How long a read waits for the node that it has asked for a partition before it asks the next one that has it as well, in
    /// milliseconds: 1 to 60,000. The one that answers first counts. Default 200.
    pub hedge_ms: u64,
    /// How far a standby may be behind the log, and behind what a read demands, to answer it, in events: 0 to 1,000,000,000. One that
    /// is further behind refuses at once. Default 10,000.
    pub standby_lag_events_max: u64,
    /// Partitions of a stream that is created without saying how many: 1 to 1,024. Default 4.
    pub stream_partitions: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            query_threads_max: std::thread::available_parallelism().map_or(1, Into::into).min(256),
            query_memory_bytes_max: 256 << 20,
            query_rows_max: 10_000_000,
            query_ms_max: 60_000,
            plans_max: 1_000,
            answers_bytes_max: 64 << 20,
            answers_ms_min: 2,
            cache_bytes_max: 64 << 20,
            gathers_max: 64,
            holds_max: 1_000,
            read_from: ReadFrom::Owners,
            hedge_ms: 200,
            standby_lag_events_max: 10_000,
            stream_partitions: 4,
        }
    }
}

impl Options {
    /// Checks every bound.
    ///
    /// # Errors
    /// [`Error::Refused`] names the first option that is outside its bounds.
    pub fn check(&self) -> Result<(), Error> {
        let checks = [
            ("query_threads_max", self.query_threads_max as u64, 1..=256, "1 to 256"),
            (
                "query_memory_bytes_max",
                self.query_memory_bytes_max as u64,
                1 << 20..=1 << 40,
                "1048576 to 1099511627776 bytes",
            ),
            ("query_rows_max", self.query_rows_max, 1..=1_000_000_000_000, "1 to 1000000000000 rows"),
            ("query_ms_max", self.query_ms_max, 1..=86_400_000, "1 to 86400000 ms"),
            ("plans_max", self.plans_max as u64, 0..=100_000, "0 to 100000"),
            ("answers_bytes_max", self.answers_bytes_max as u64, 0..=1 << 40, "0 to 1099511627776 bytes"),
            ("answers_ms_min", self.answers_ms_min, 0..=86_400_000, "0 to 86400000 ms"),
            ("cache_bytes_max", self.cache_bytes_max as u64, 1 << 16..=1 << 36, "65536 to 68719476736 bytes"),
            ("gathers_max", self.gathers_max as u64, 1..=10_000, "1 to 10000"),
            ("holds_max", self.holds_max as u64, 1..=100_000, "1 to 100000"),
            ("hedge_ms", self.hedge_ms, 1..=60_000, "1 to 60000 ms"),
            (
                "standby_lag_events_max",
                self.standby_lag_events_max,
                0..=1_000_000_000,
                "0 to 1000000000 events",
            ),
            ("stream_partitions", u64::from(self.stream_partitions), 1..=1_024, "1 to 1024"),
        ];
        for (option, value, range, bounds) in checks {
            if !range.contains(&value) {
                return Err(Error::Refused(format!("option `{option}` is {value}, outside {bounds}")));
            }
        }
        Ok(())
    }
}
