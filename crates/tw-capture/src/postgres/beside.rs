//! The tasks beside a session: heartbeats, and the reading of rows that were there before.
//!
//! Each has a connection of its own. What a task has read it sends first, then it writes a watermark into the database;
//! the session uses what it got when the watermark arrives in the stream.

use super::address::Address;
use super::auth::Purpose;
use super::connection::Connection;
use super::layout::Described;
use super::name::TableName;
use super::probe::{self, Probe};
use super::snapshot::chunk::{self, Chunk};
use super::snapshot::copy::{self, Copied, CopyBegun};
use super::snapshot::rows::Rows;
use super::snapshot::window::Visibility;
use super::tables::{Flow, Table, Tables};
use crate::status::Shared;
use crate::{Error, Options, Secret};
use hashbrown::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tw_env::Env;

/// The prefix of the messages that sources write into the database.
pub(crate) const PREFIX: &str = "tradewind";

/// How many rows are read by their keys at once.
const KEYS_MAX: usize = 200;

/// Everything that a task needs.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) options: Arc<Options>,
    pub(crate) address: Address,
    pub(crate) env: Env,
    pub(crate) shared: Shared,
    pub(crate) publications: Vec<String>,
    pub(crate) arrivals: mpsc::Sender<Arrival>,
    /// Rises with every change of any table's layout.
    pub(crate) layouts: Arc<AtomicU64>,
}

impl Context {
    pub(crate) async fn connect(&self, purpose: Purpose) -> Result<Connection, Error> {
        let password: &Secret = &self.options.password;
        Connection::open(&self.address, password, purpose, self.options.message_bytes_max).await
    }

    /// A text that nobody else uses.
    pub(crate) fn nonce(&self) -> String {
        format!("{:016x}", self.env.random.next_u64())
    }

    /// Tells the session; an error means that it is over.
    pub(crate) async fn tell(&self, arrival: Arrival) -> Result<(), Error> {
        self.arrivals.send(arrival).await.map_err(|_| Error::Stopped)
    }

    /// Writes a watermark. When this returns, it is on the server's stable storage, so it will arrive soon.
    pub(crate) async fn mark(&self, connection: &mut Connection, nonce: &str) -> Result<(), Error> {
        let content = format!("{} {nonce}", self.options.name);
        // Before version 17, only a commit brings a message to stable storage at once.
        let sql = if connection.major() >= 17 {
            format!("SELECT pg_logical_emit_message(false, '{PREFIX}', '{content}', true)")
        } else {
            format!("SELECT pg_logical_emit_message(true, '{PREFIX}', '{content}')")
        };
        connection.query(&sql).await.map(drop)
    }
}

/// What tasks tell the session.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// Rows of a table that are used at their watermark.
    Chunk(Chunk),
    /// What the catalogue and the server say, used at its watermark.
    Probe(Probe),
    /// A snapshot was taken that all further ones follow.
    Settled(Visibility),
    /// A consistent copy of a table begins.
    CopyBegun(CopyBegun),
    /// Rows of that copy.
    CopyRows { table: u32, run: u64, rows: Rows },
    /// All rows of that copy have been sent.
    Copied(Copied),
    /// The reading of a table has ended: with all rows read, or not.
    Finished { table: u32, run: u64, outcome: Result<(), Error> },
}

/// What is used when its watermark arrives.
#[derive(Debug)]
pub(crate) enum Awaited {
    Chunk(Box<Chunk>),
    Probe(Box<Probe>),
    Copied(Copied),
}

/// Which table a task reads.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) table: u32,
    pub(crate) label: String,
    pub(crate) run: u64,
    pub(crate) generation: u64,
    /// Rows behind this key, unless there are `keys`.
    pub(crate) after: Option<Vec<String>>,
    /// Rows that have one of these keys.
    pub(crate) keys: Vec<Vec<String>>,
    /// The number of the latest note of such a row.
    pub(crate) noted: u64,
}

/// A table that is being read.
struct Reading {
    table: u32,
    /// Whether only certain rows are.
    by_keys: bool,
    task: AbortHandle,
}

/// The tasks of a session; they end with it.
pub(crate) struct Beside {
    context: Context,
    probing: Option<AbortHandle>,
    reading: Option<Reading>,
    pub(crate) awaited: HashMap<String, Awaited>,
}

impl Beside {
    pub(crate) fn new(context: Context) -> Self {
        Self { context, probing: None, reading: None, awaited: HashMap::new() }
    }

    /// How often layouts have changed.
    pub(crate) fn layouts(&self) -> u64 {
        self.context.layouts.load(Ordering::SeqCst)
    }

    /// A layout has changed.
    pub(crate) fn layout_changed(&self) {
        self.context.layouts.fetch_add(1, Ordering::SeqCst);
    }

    /// Starts the heartbeats, which look at these tables and at whether any of `missing` is there again.
    pub(crate) fn start_probing(&mut self, tables: &Tables, missing: impl Iterator<Item = TableName>) {
        let ids = tables.iter().map(|table| table.id).collect();
        let names = tables.iter().map(|table| table.name.clone()).chain(missing).collect();
        let task = tokio::spawn(probe::run(self.context.clone(), names, ids));
        if let Some(before) = self.probing.replace(task.abort_handle()) {
            before.abort();
        }
    }

    /// Starts to read the next table that needs it, unless one is being read. Tells which one, if its changes have to
    /// wait meanwhile.
    pub(crate) fn start_next(&mut self, tables: &mut Tables) {
        if self.reading.is_some() {
            return;
        }
        let needs = |table: &&mut Table| {
            !table.is_read() && table.is_settled && table.problem.is_none() && table.reading_failed.is_none()
        };
        let Some(table) = tables.iter_mut().find(needs) else { return };
        let after = match &table.cursor.phase {
            crate::Phase::Running { after } => Some(after.clone()),
            crate::Phase::Pending | crate::Phase::Done => None,
        };
        let (label, run, generation) = (table.label.clone(), table.run, table.generation);
        let keys: Vec<_> = table.unread.keys().take(KEYS_MAX).cloned().collect();
        let by_keys = !keys.is_empty();
        let noted = table.unread.last();
        let work = Work { table: table.id, label, run, generation, after, keys, noted };
        let context = self.context.clone();
        let task = if table.is_keyed() {
            tokio::spawn(chunk::run(context, work))
        } else {
            // From before the copy's place is known: nothing after it may be missed.
            table.flow = Flow::Wait;
            tokio::spawn(copy::run(context, work))
        };
        self.reading = Some(Reading { table: table.id, by_keys, task: task.abort_handle() });
    }

    /// The table that is being read.
    pub(crate) fn is_reading(&self, table: u32) -> bool {
        self.reading.as_ref().is_some_and(|reading| reading.table == table)
    }

    /// The table that is being read, and not by certain keys.
    pub(crate) fn is_reading_all(&self, table: u32) -> bool {
        self.reading.as_ref().is_some_and(|reading| reading.table == table && !reading.by_keys)
    }

    /// Ends the reading of a table; what it has sent is not used any more.
    pub(crate) fn stop(&mut self, table: u32) {
        if let Some(reading) = self.reading.take_if(|reading| reading.table == table) {
            reading.task.abort();
            self.context.shared.update(|status| status.waits_for = None);
        }
        self.awaited.retain(|_, awaited| match awaited {
            Awaited::Chunk(chunk) => chunk.table != table,
            Awaited::Copied(copied) => copied.table != table,
            Awaited::Probe(_) => true,
        });
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        for task in self.probing.iter().chain(self.reading.iter().map(|reading| &reading.task)) {
            task.abort();
        }
    }
}

/// What a table looked like when its rows were read.
pub(crate) async fn described(
    context: &Context,
    connection: &mut Connection,
    table: u32,
    label: &str,
) -> Result<Described, Error> {
    let found = super::catalog::describe(connection, &[], &[table], &context.publications).await?;
    found.into_iter().next().ok_or_else(|| {
        Error::refused(format!("table `{label}` does not exist any more"), "make the source anew without it")
    })
}
