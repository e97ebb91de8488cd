//! What a source tells of itself while it runs.

use crate::Lsn;
use parking_lot::Mutex;
use serde::Serialize;
use std::sync::Arc;

/// How a source is. A copy of one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Status {
    /// What it does.
    pub phase: SourcePhase,
    /// What it waits for, if it does: a transaction that has to end, a slot that is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// The tables, in the order of their names.
    pub tables: Vec<TableStatus>,
    /// Up to where the server has sent changes.
    pub received: Lsn,
    /// Up to where changes are on stable storage, and the server may forget them.
    pub confirmed: Lsn,
    /// The end of the server's write-ahead log, as of the last heartbeat.
    pub server_end: Lsn,
    /// How far `confirmed` is behind `server_end`, in bytes.
    pub lag_bytes: u64,
    /// How long the last heartbeat took through the database, the stream and the log, in milliseconds; or how old it is
    /// when it has not arrived yet.
    pub lag_ms: u64,
    /// How often the lag has been measured since the source began to connect. Before the first time, `server_end`, the
    /// lags and `slot` are of an earlier connection, or nothing.
    pub heartbeats: u64,
    /// Bytes of transactions that have been streamed and wait for their commit, in memory and on disk.
    pub spooled_bytes: u64,
    /// Bytes of memory that snapshots take to remember what changes meanwhile.
    pub window_bytes: u64,
    /// The slot, as of the last heartbeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<SlotStatus>,
    /// What went wrong last, and has not been overcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<Failure>,
    /// What has been done since the source was started.
    pub counters: Counters,
}

/// What a source does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SourcePhase {
    /// It connects and checks.
    #[default]
    Starting,
    /// It streams changes, and reads rows that were there before.
    Snapshot,
    /// It streams changes.
    Streaming,
    /// It will try again: the cause may go away by itself.
    Retrying,
    /// It cannot go on until somebody does something; it looks again now and then.
    Failed,
    /// It has been stopped.
    Stopped,
}

/// How a table is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableStatus {
    /// `schema.table`
    pub table: String,
    /// Its stream.
    pub stream: String,
    /// What identifies a row.
    pub identity: TableIdentity,
    /// How far its snapshot is.
    pub snapshot: SnapshotPhase,
    /// How many rows the snapshot has read.
    pub snapshot_rows: u64,
    /// About how many rows there are to read; None if the server has not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_estimate: Option<u64>,
    /// What is wrong with it, and what to do; the other tables go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What identifies a row of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TableIdentity {
    /// Its key.
    Key,
    /// All of it.
    WholeRow,
    /// Nothing: only inserts are captured.
    AppendOnly,
}

/// How far a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotPhase {
    /// It has not begun.
    Pending,
    /// It is under way.
    Running,
    /// All rows have been read.
    Done,
}

/// How a replication slot is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlotStatus {
    /// Its name.
    pub name: String,
    /// Whether somebody streams from it.
    pub active: bool,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: String,
    /// How much write-ahead log the server keeps for it, in bytes.
    pub retained_bytes: u64,
    /// How much more may be written before the slot may be lost, in bytes; None for no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safe_bytes: Option<i64>,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What, with its causes and the remedy.
    pub message: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// How often in a row.
    pub attempts: u32,
}

/// What has been done since a source was started. All of them only ever rise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Committed transactions that had something to capture.
    pub transactions: u64,
    /// Row changes and truncations.
    pub changes: u64,
    /// Rows that snapshots have read.
    pub snapshot_rows: u64,
    /// Events written to the log.
    pub events: u64,
    /// Writes to the log.
    pub writes: u64,
    /// Transactions that were streamed before their commit.
    pub streamed_transactions: u64,
    /// Chunks that were read again because too much had changed meanwhile.
    pub chunks_repeated: u64,
    /// Connections made.
    pub connections: u64,
    /// Gaps found.
    pub gaps: u64,
    /// Changes of a table's columns.
    pub schema_changes: u64,
}

/// A status that is written by the source and read by everybody.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Status>>);

impl Shared {
    pub(crate) fn get(&self) -> Status {
        self.0.lock().clone()
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.0.lock());
    }
}
