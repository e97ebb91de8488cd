//! One connection's worth of capturing: from the durable cursor on, until the connection breaks or the source stops.
//!
//! The loop reads what has arrived, turns it into events, and submits writes; everything else (confirmations, heartbeats,
//! snapshots) runs in tasks beside it and speaks to it through channels. Order is kept by the stream alone: what a task
//! has read becomes valid where the watermark that it wrote afterwards arrives.

mod again;
mod anew;
mod arrivals;
mod changes;
mod copied;
mod probed;
mod publish;
mod relations;
mod streamed;
mod waiting;

use super::beside::{Arrival, Beside};
use super::connection::Connection;
use super::envelope::Moment;
use super::name::TableName;
use super::replication::{Inbound, Reader, Writer};
use super::snapshot::window::{Epochs, Window};
use super::spool::Spool;
use super::tables::Tables;
use crate::commands::{Command, Commands};
use crate::cursor::Cursor;
use crate::pace::Departure;
use crate::sink::Sink;
use crate::status::{Counters, Shared, SourcePhase, TableStatus};
use crate::{Error, Lsn, Options};
use hashbrown::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tw_env::Env;
use tw_log::Log;

pub(crate) use copied::Copying;
pub(crate) use relations::Remembered as RememberedRelation;

/// How many messages are handled before other tasks get a turn.
const MESSAGES_PER_TURN: u32 = 2_000;

/// A transaction whose changes are coming.
pub(crate) struct Transaction {
    xid: u64,
    /// Where it was committed.
    lsn: Lsn,
    committed_micros: i64,
    /// The number of the change that has come last.
    ordinal: u64,
    /// How many of its changes have been handed to the sink, or need not be.
    handed: u64,
    /// How many of them are in the log already.
    skip: u64,
}

/// Buffers that every event uses again.
#[derive(Default)]
pub(crate) struct Scratch {
    id: String,
    subject: Vec<u8>,
    old_subject: Vec<u8>,
    data: Vec<u8>,
}

/// A source that is connected.
pub(crate) struct Session {
    pub(crate) options: Arc<Options>,
    pub(crate) env: Env,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) database: String,
    pub(crate) publications: Vec<String>,
    /// Whether the publications are this source's own.
    pub(crate) own_publications: bool,
    /// Tables that the source had captured, and that are gone.
    pub(crate) missing: Vec<(TableName, TableStatus)>,
    /// For questions to the catalogue.
    pub(crate) catalog: Connection,
    pub(crate) tables: Tables,
    pub(crate) relations: HashMap<u32, RememberedRelation>,
    pub(crate) sink: Sink,
    /// Up to where everything has been handed to the sink.
    pub(crate) cursor: Cursor,
    /// Whether the cursor is to be written although there may be no event.
    pub(crate) cursor_due: bool,
    pub(crate) epochs: Epochs,
    pub(crate) transaction: Option<Transaction>,
    pub(crate) moment: Moment,
    /// The transaction whose block of changes is under way.
    pub(crate) block: Option<u32>,
    pub(crate) spool: Spool,
    /// Changes that wait for a copy, by table.
    pub(crate) copies: Spool,
    pub(crate) copying: Option<Copying>,
    pub(crate) window: Window,
    pub(crate) beside: Beside,
    pub(crate) arrivals: mpsc::Receiver<Arrival>,
    pub(crate) scratch: Scratch,
    pub(crate) shared: Shared,
    pub(crate) counters: Counters,
    /// Whether the status of a table is to be told once a write is durable.
    pub(crate) untold: bool,
    /// Whether the session is to end so that another can take in what has changed.
    pub(crate) begin_anew: bool,
    /// The server's commands to reply are answered by the confirming task.
    pub(crate) reply: watch::Sender<u64>,
}

/// Why a session ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was told to stop.
    Stopped,
    /// The server ended the stream.
    ByServer,
    /// A table that was missing is there again: it is best to begin anew.
    ToBeginAnew,
}

impl Session {
    /// Captures until something ends it.
    pub(crate) async fn run(&mut self, reader: &mut Reader, commands: &mut Commands) -> Result<Ended, Error> {
        self.beside.start_next(&mut self.tables);
        loop {
            if self.drain(reader).await? {
                return Ok(Ended::ByServer);
            }
            if self.begin_anew {
                self.finish().await?;
                return Ok(Ended::ToBeginAnew);
            }
            let held = self.submit_if_worth_it().await?;
            self.tell();
            tokio::select! {
                () = tokio::time::sleep(held.unwrap_or_default()), if held.is_some() => {}
                filled = reader.fill() => filled?,
                settled = self.sink.settle_one(), if self.sink.has_in_flight() => {
                    settled?;
                    if self.untold {
                        self.tell_tables();
                    }
                }
                Some(arrival) = self.arrivals.recv() => self.arrived(arrival).await?,
                command = commands.next() => match command {
                    Command::Stop => {
                        self.finish().await?;
                        return Ok(Ended::Stopped);
                    }
                    Command::Resnapshot { table, answer } => {
                        let outcome = self.resnapshot(&table).await;
                        let _nobody_waits = answer.send(outcome);
                    }
                },
            }
        }
    }

    /// Handles everything that has arrived; true when the server has ended the stream.
    async fn drain(&mut self, reader: &mut Reader) -> Result<bool, Error> {
        let mut turn = 0;
        loop {
            let inbound = match reader.next() {
                Err(Error::FrameTooLarge { bytes, bytes_max }) => {
                    let table =
                        reader.relation_ahead(self.block.is_some()).and_then(|id| self.tables.by_id(id));
                    return Err(self.too_large(table.map(|table| table.label.clone()), bytes, bytes_max));
                }
                inbound => inbound?,
            };
            match inbound {
                None => return Ok(false),
                Some(Inbound::Done) => return Ok(true),
                Some(Inbound::Keepalive { sent, reply }) => self.keepalive(sent, reply).await?,
                Some(Inbound::Data { lsn, message }) => self.message(lsn, message).await?,
            }
            if self.sink.is_full() {
                self.submit().await?;
            }
            turn += 1;
            if turn % MESSAGES_PER_TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    fn too_large(&self, table: Option<String>, bytes: usize, bytes_max: usize) -> Error {
        match table {
            None => Error::FrameTooLarge { bytes, bytes_max },
            Some(table) => Error::Change {
                table,
                lsn: self.transaction.as_ref().map_or(self.cursor.lsn, |transaction| transaction.lsn),
                reason: format!(
                    "it takes {bytes} bytes, more than the {bytes_max} bytes allowed: set a higher `message_bytes_max`"
                ),
            },
        }
    }

    /// A sign of life: everything committed before `sent` has been sent.
    async fn keepalive(&mut self, sent: Lsn, reply: bool) -> Result<(), Error> {
        if self.transaction.is_none() && self.block.is_none() && sent > self.cursor.lsn {
            self.cursor.lsn = sent;
            self.cursor.ordinal = 0;
            // A server that shuts down waits until all that it has sent is confirmed.
            self.cursor_due |= reply;
        }
        if reply {
            self.reply.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    /// Submits what is complete when that is better than to wait for more. Otherwise, if it is only a matter of time, tells
    /// how long to wait for more.
    async fn submit_if_worth_it(&mut self) -> Result<Option<Duration>, Error> {
        let due = self.cursor_due || !self.sink.is_empty();
        // In the middle of a transaction the rest is on its way; readers should not see half of it for longer than
        // its size makes necessary.
        if !due || self.transaction.is_some() {
            return Ok(None);
        }
        match self.sink.departure() {
            Departure::Now => self.submit().await.map(|()| None),
            Departure::In(rest) => Ok(Some(rest)),
            Departure::AfterAnother => Ok(None),
        }
    }

    /// Starts the heartbeats anew, with the tables of now.
    pub(crate) fn start_probing(&mut self) {
        let missing = self.missing.iter().map(|(name, _)| name.clone());
        self.beside.start_probing(&self.tables, missing);
    }

    /// Hands the open write to the log, with the cursor that covers it.
    pub(crate) async fn submit(&mut self) -> Result<(), Error> {
        if let Some(transaction) = &self.transaction {
            // What was skipped is covered by the cursor already.
            if transaction.handed > transaction.skip {
                (self.cursor.lsn, self.cursor.ordinal) = (transaction.lsn, transaction.handed);
            }
        }
        self.cursor.xid = self.epochs.last;
        self.cursor_due = false;
        let tables = self.tables.take_changed_cursors();
        self.sink.submit(&self.cursor, &tables).await
    }

    /// Submits, and waits until everything is durable.
    pub(crate) async fn submit_and_settle(&mut self) -> Result<(), Error> {
        // A table that begins anew must not be called complete by the time readers see that it does.
        self.tell_tables();
        self.submit().await?;
        self.sink.settle().await
    }

    async fn finish(&mut self) -> Result<(), Error> {
        self.submit_and_settle().await
    }

    /// Tells the world how far the source is.
    fn tell(&mut self) {
        let confirmed = *self.sink.durable().borrow();
        let snapshot = self.tables.iter().any(|table| !table.is_done() && table.problem.is_none());
        self.counters.events = self.sink.events;
        self.counters.writes = self.sink.writes;
        let (counters, received) = (self.counters, self.cursor.lsn);
        let spooled = self.spool.bytes() + self.copies.bytes();
        let window = self.window.bytes() as u64;
        self.shared.update(|status| {
            status.phase = if snapshot { SourcePhase::Snapshot } else { SourcePhase::Streaming };
            status.confirmed = confirmed;
            status.received = received;
            status.spooled_bytes = spooled;
            status.window_bytes = window;
            status.counters = counters;
            status.lag_bytes = status.server_end.0.saturating_sub(confirmed.0);
        });
    }

    /// Puts the state of every table where the owner sees it.
    pub(crate) fn tell_tables(&mut self) {
        let missing = self.missing.iter().map(|(_, status)| status.clone());
        let settled = self.sink.settled;
        let mut tables: Vec<_> =
            self.tables.iter().map(|table| table.status(settled)).chain(missing).collect();
        self.untold = self.tables.iter().any(|table| table.is_done() && table.done_with > settled);
        tables.sort_by(|a, b| a.table.cmp(&b.table));
        self.shared.update(|status| status.tables = tables);
    }
}

/// Confirms what is durable, again and again, until the session is over. In a task of its own, so that a source that is
/// busy confirms in time.
pub(crate) async fn confirm(
    mut writer: Writer,
    mut durable: watch::Receiver<Lsn>,
    mut reply: watch::Receiver<u64>,
    env: Env,
    mut finish: oneshot::Receiver<()>,
) -> Result<(), Error> {
    /// A server gives up on a receiver after `wal_sender_timeout`, 60 s by default.
    const QUIET_MAX: Duration = Duration::from_secs(10);
    /// Between two confirmations of a busy stream.
    const PAUSE: Duration = Duration::from_millis(100);
    loop {
        let (over, quiet) = tokio::select! {
            _ = &mut finish => (true, false),
            changed = durable.changed() => (changed.is_err(), false),
            changed = reply.changed() => (changed.is_err(), false),
            () = tokio::time::sleep(QUIET_MAX) => (false, true),
        };
        let confirmed = *durable.borrow_and_update();
        // After a quiet time a reply is asked for: a connection that is dead does not answer, and then breaks.
        writer.confirm(confirmed, env.clock.now_ms(), quiet).await?;
        if over {
            return writer.finish().await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
