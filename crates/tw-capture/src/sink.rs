//! The one place where captured events enter the event store: changes of any number of tables together with the cursor
//! that covers them, all or nothing.
//!
//! Writes are pipelined: several may be under way, they become durable in their order, and when one fails those after
//! it fail too, and the source starts again from the last durable cursor. The server hears of a position only once it is
//! durable (CAP-1). How they follow each other is decided in `pace`.

use crate::cursor::{self, Cursor, TableCursor};
use crate::pace::{Departure, Pace};
use crate::{Error, Gate, Lsn};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;
use tw_env::Env;
use tw_log::store::{EventStore, Pending, Write};
use tw_types::{EventRef, PartitionId, StreamDef, StreamId, StreamMode};

/// How many events a write has at most, but for those of a single change.
const EVENTS_MAX: usize = 20_000;
/// A change of more bytes than this gets a write of its own.
const LARGE_BYTES: usize = 256 << 10;
/// Where the rows of one chunk are divided between several writes, in bytes: less than the store takes in one.
const CUT_BYTES: usize = 8 << 20;
/// About what an event takes beside its subject and data, in bytes.
const EVENT_BYTES: usize = 48;

/// What keeps streams open while they are written.
type Passes = Vec<Box<dyn Send>>;

/// Where the events of one source go.
pub(crate) struct Sink {
    store: EventStore,
    env: Env,
    name: String,
    sources: Arc<StreamDef>,
    open: Write,
    /// About how large `open` is.
    open_bytes: usize,
    /// The streams of which `open` has events.
    open_streams: Vec<StreamId>,
    gate: Arc<dyn Gate>,
    in_flight: VecDeque<(Lsn, Pending, Passes)>,
    in_flight_max: usize,
    bytes_max: usize,
    pace: Pace,
    durable: watch::Sender<Lsn>,
    pub(crate) events: u64,
    /// How many writes have been submitted, and how many of them are durable.
    pub(crate) writes: u64,
    pub(crate) settled: u64,
}

impl Sink {
    pub(crate) fn new(
        (store, gate): (EventStore, Arc<dyn Gate>),
        env: Env,
        name: &str,
        sources: Arc<StreamDef>,
        (bytes_max, in_flight_max): (usize, usize),
        durable: Lsn,
    ) -> Self {
        Self {
            open: start(&store),
            store,
            env,
            name: name.to_owned(),
            sources,
            open_bytes: 0,
            open_streams: Vec::new(),
            gate,
            in_flight: VecDeque::new(),
            in_flight_max,
            bytes_max,
            pace: Pace::new(bytes_max / 4, in_flight_max),
            durable: watch::Sender::new(durable),
            events: 0,
            writes: 0,
            settled: 0,
        }
    }

    /// Follows up to where everything is durable.
    pub(crate) fn durable(&self) -> watch::Receiver<Lsn> {
        self.durable.subscribe()
    }

    /// Adds an event to the open write; without a partition, the subject decides.
    pub(crate) fn push(
        &mut self,
        def: &Arc<StreamDef>,
        partition: Option<PartitionId>,
        event: &EventRef<'_>,
    ) -> Result<(), tw_log::store::Error> {
        match (partition, event.subject) {
            (Some(partition), _) => self.open.push_to(def, partition, event)?,
            // Rows that nothing identifies keep their order.
            (None, None) => self.open.push_to(def, PartitionId(0), event)?,
            (None, Some(_)) => self.open.push(def, event)?,
        }
        if !self.open_streams.contains(&def.id) {
            self.open_streams.push(def.id);
        }
        self.open_bytes += EVENT_BYTES + event.subject.map_or(0, str::len) + event.data.bytes().len();
        self.events += 1;
        Ok(())
    }

    /// Adds an event to the open write, in the stream of sources.
    pub(crate) fn push_to_sources(&mut self, event: &EventRef<'_>) -> Result<(), tw_log::store::Error> {
        let sources = self.sources.clone();
        let partition = event.subject.is_none().then_some(PartitionId(0));
        self.push(&sources, partition, event)
    }

    /// The stream of changes begins here: what was durable before is of another one. Nothing may be under way.
    pub(crate) fn start_at(&mut self, lsn: Lsn) {
        self.durable.send_replace(lsn);
    }

    /// Whether the open write holds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether the open write has reached its size.
    pub(crate) fn is_full(&self) -> bool {
        self.open_bytes >= self.bytes_max || self.open.len() >= EVENTS_MAX
    }

    /// Whether a change of so many bytes is better not added to what is there.
    pub(crate) fn is_too_full_for(&self, bytes: usize) -> bool {
        bytes > LARGE_BYTES && !self.is_empty()
    }

    /// Whether a row of so many bytes is not to be added to a write that should hold all rows of a chunk.
    pub(crate) fn is_to_be_cut_before(&self, bytes: usize) -> bool {
        let large = self.open_bytes.saturating_add(bytes) >= CUT_BYTES || self.open.len() >= EVENTS_MAX;
        large && !self.is_empty()
    }

    /// Whether it is time to submit what is there, although it is not full.
    pub(crate) fn departure(&self) -> Departure {
        self.pace.departure(self.env.clock.monotonic(), self.open_bytes, self.in_flight.len())
    }

    /// Whether something is under way.
    pub(crate) fn has_in_flight(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// Closes the open write with the cursors that cover it, and sends it on its way.
    pub(crate) async fn submit(
        &mut self,
        cursor: &Cursor,
        tables: &[(String, TableCursor)],
    ) -> Result<(), Error> {
        let now_ms = self.env.clock.now_ms();
        let id = |env: &Env| format!("{:016x}", env.random.next_u64());
        for (table, state) in tables {
            let event = cursor::table_event(&self.name, table, state, id(&self.env), now_ms);
            self.push_to_sources(&event.as_ref())?;
        }
        let event = cursor::cursor_event(&self.name, cursor, id(&self.env), now_ms);
        self.push_to_sources(&event.as_ref())?;
        let write = std::mem::replace(&mut self.open, start(&self.store));
        self.open_bytes = 0;
        self.launch(cursor.lsn, write).await
    }

    async fn launch(&mut self, lsn: Lsn, write: Write) -> Result<(), Error> {
        while self.in_flight.len() >= self.in_flight_max {
            self.settle_one().await?;
        }
        let passes = self.enter()?;
        self.pace.left(self.env.clock.monotonic());
        self.in_flight.push_back((lsn, self.store.submit(write).await?, passes));
        self.writes += 1;
        Ok(())
    }

    /// Opens the streams of the open write that other regions have.
    fn enter(&mut self) -> Result<Passes, Error> {
        let streams = self.store.log().streams();
        let mut passes = Passes::new();
        for id in self.open_streams.drain(..) {
            let Ok(def) = streams.by_id(id) else { continue };
            if def.options.mode != StreamMode::Local {
                let pass = self
                    .gate
                    .enter(def)
                    .map_err(|reason| Error::NotWritten { stream: def.name.to_string(), reason })?;
                passes.push(pass);
            }
        }
        Ok(passes)
    }

    /// Waits for the oldest write under way; returns at once when there is none. Cancel-safe.
    pub(crate) async fn settle_one(&mut self) -> Result<(), Error> {
        let Some((lsn, pending, _)) = self.in_flight.front_mut() else { return Ok(()) };
        let lsn = *lsn;
        let outcome = pending.await;
        self.in_flight.pop_front();
        outcome?;
        self.settled += 1;
        self.durable.send_if_modified(|durable| {
            let rises = lsn > *durable;
            *durable = lsn.max(*durable);
            rises
        });
        Ok(())
    }

    /// Waits for everything under way.
    pub(crate) async fn settle(&mut self) -> Result<(), Error> {
        while self.has_in_flight() {
            self.settle_one().await?;
        }
        Ok(())
    }

    /// Waits until every write has come to its end, whatever that is: only then the log can be asked how far the
    /// source has come.
    pub(crate) async fn settle_all(&mut self) {
        while self.has_in_flight() {
            let _failed_too = self.settle_one().await;
        }
    }
}

/// A write of captured events: the cursor sees to it that none comes twice.
fn start(store: &EventStore) -> Write {
    let mut write = store.write();
    write.dedup_by_id(false);
    write
}

#[cfg(test)]
mod tests;
