//! The one place where captured events enter the log: changes of any number of tables together with the cursor that
//! covers them, all or nothing.
//!
//! Writes are pipelined: several may be under way, they become durable in their order, and when one fails the source
//! starts again from the last durable cursor. The server hears of a position only once it is durable (CAP-1).

use crate::cursor::{self, Cursor, TableCursor};
use crate::{Error, Lsn};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;
use tw_env::Env;
use tw_log::{Ack, Append, Log};
use tw_types::{EventRef, PartitionId, StreamDef, StreamPartition};
use tw_wire::BatchBuilder;

/// Where the events of one source go.
pub(crate) struct Sink {
    log: Arc<dyn Log>,
    env: Env,
    name: String,
    sources: Arc<StreamDef>,
    open: Write,
    in_flight: VecDeque<(Lsn, Ack)>,
    in_flight_max: usize,
    bytes_max: usize,
    durable: watch::Sender<Lsn>,
    pub(crate) events: u64,
    /// How many writes have been submitted, and how many of them are durable.
    pub(crate) writes: u64,
    pub(crate) settled: u64,
}

/// Events that will become durable together.
#[derive(Default)]
struct Write {
    parts: Vec<(Arc<StreamDef>, PartitionId, BatchBuilder)>,
}

impl Write {
    fn part(&mut self, def: &Arc<StreamDef>, partition: PartitionId) -> &mut BatchBuilder {
        let known = self.parts.iter().position(|(other, at, _)| other.id == def.id && *at == partition);
        let index = known.unwrap_or_else(|| {
            self.parts.push((def.clone(), partition, BatchBuilder::new()));
            self.parts.len() - 1
        });
        &mut self.parts[index].2
    }

    fn bytes(&self) -> usize {
        self.parts.iter().map(|(_, _, batch)| batch.bytes()).sum()
    }
}

impl Sink {
    pub(crate) fn new(
        log: Arc<dyn Log>,
        env: Env,
        name: &str,
        sources: Arc<StreamDef>,
        bytes_max: usize,
        in_flight_max: usize,
        durable: Lsn,
    ) -> Self {
        Self {
            log,
            env,
            name: name.to_owned(),
            sources,
            open: Write::default(),
            in_flight: VecDeque::new(),
            in_flight_max,
            bytes_max,
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
    ) {
        let partition = partition.unwrap_or_else(|| {
            let hash = event.subject.map_or(0, |subject| xxhash_rust::xxh3::xxh3_64(subject.as_bytes()));
            PartitionId((hash % u64::from(def.partitions)) as u32)
        });
        self.open.part(def, partition).push(event);
        self.events += 1;
    }

    /// Adds an event to the open write, in the stream of sources.
    pub(crate) fn push_to_sources(&mut self, event: &EventRef<'_>) {
        let sources = self.sources.clone();
        self.push(&sources, Some(PartitionId(0)), event);
    }

    /// The stream of changes begins here: what was durable before is of another one. Nothing may be under way.
    pub(crate) fn start_at(&mut self, lsn: Lsn) {
        self.durable.send_replace(lsn);
    }

    /// Whether the open write holds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.parts.is_empty()
    }

    /// Whether the open write has reached its size.
    pub(crate) fn is_full(&self) -> bool {
        self.open.bytes() >= self.bytes_max
    }

    /// Whether a write may be submitted without waiting, and is worth it: when nothing else is under way, or much has
    /// come together meanwhile.
    pub(crate) fn is_worth_submitting(&self) -> bool {
        self.in_flight.is_empty()
            || (self.in_flight.len() < self.in_flight_max && self.open.bytes() >= self.bytes_max / 4)
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
        while self.in_flight.len() >= self.in_flight_max {
            self.settle_one().await?;
        }
        let now_ms = self.env.clock.now_ms();
        let id = |env: &Env| format!("{:016x}", env.random.next_u64());
        for (table, state) in tables {
            let event = cursor::table_event(&self.name, table, state, id(&self.env), now_ms);
            self.push_to_sources(&event.as_ref());
        }
        let event = cursor::cursor_event(&self.name, cursor, id(&self.env), now_ms);
        self.push_to_sources(&event.as_ref());
        let mut parts = Vec::with_capacity(self.open.parts.len());
        for (def, partition, mut batch) in std::mem::take(&mut self.open).parts {
            let at = StreamPartition::new(def.id, partition);
            let batch = batch.finish(def.options.compression).map_err(tw_log::Error::from)?;
            parts.push(Append { at, batch, expected_end: None });
        }
        let permit = self.log.reserve(parts.iter().map(|part| part.batch.bytes()).sum()).await?;
        self.in_flight.push_back((cursor.lsn, self.log.append(permit, parts)));
        self.writes += 1;
        Ok(())
    }

    /// Waits for the oldest write under way; returns at once when there is none. Cancel-safe.
    pub(crate) async fn settle_one(&mut self) -> Result<(), Error> {
        let Some((lsn, ack)) = self.in_flight.front_mut() else { return Ok(()) };
        let lsn = *lsn;
        let outcome = ack.await;
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
