//! What the tasks beside the session have found out, put where it belongs in the stream.

use super::Session;
use super::changes::Emission;
use crate::cursor::Phase;
use crate::postgres::beside::{Arrival, Awaited, PREFIX};
use crate::postgres::envelope::{Moment, Op};
use crate::postgres::layout::{Described, Identity};
use crate::postgres::pgoutput::Value;
use crate::postgres::probe::Probe;
use crate::postgres::snapshot::chunk::{Answer, Chunk};
use crate::postgres::snapshot::copy::CopyBegun;
use crate::postgres::snapshot::rows::{RowIter, Rows};
use crate::postgres::snapshot::window::Verdict;
use crate::postgres::tables::Flow;
use crate::{Error, Lsn};
use std::collections::HashSet;
use tw_types::Timestamp;

/// A copy that is being written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Copying {
    table: u32,
    run: u64,
    from: Lsn,
    rows: u64,
}

impl Session {
    /// Takes what a task says.
    pub(super) async fn arrived(&mut self, arrival: Arrival) -> Result<(), Error> {
        match arrival {
            Arrival::Chunk(chunk) => {
                if self.tables.by_id(chunk.table).is_some_and(|table| table.run == chunk.run) {
                    // What changed before the watch began is excluded by the transactions that the reader waited for.
                    self.beside.awaited.insert(chunk.nonce.clone(), Awaited::Chunk(Box::new(chunk)));
                }
                Ok(())
            }
            Arrival::Probe(probe) => {
                self.beside.awaited.insert(probe.nonce.clone(), Awaited::Probe(Box::new(probe)));
                Ok(())
            }
            Arrival::Settled(seen) => {
                self.window.settle(&seen);
                Ok(())
            }
            Arrival::CopyBegun(begun) => self.copy_begun(begun).await,
            Arrival::CopyRows { table, run, rows } => self.copy_rows(table, run, &rows).await,
            Arrival::Copied(copied) => {
                if self.tables.by_id(copied.table).is_some_and(|table| table.run == copied.run) {
                    self.beside.awaited.insert(copied.nonce.clone(), Awaited::Copied(copied));
                }
                Ok(())
            }
            Arrival::Finished { table, run, outcome } => self.finished(table, run, outcome).await,
        }
    }

    /// A message that somebody wrote into the stream; a watermark, if it is ours. `place` is where it stands, if not in
    /// a transaction.
    pub(super) async fn note(
        &mut self,
        prefix: &[u8],
        content: &[u8],
        place: Option<Lsn>,
    ) -> Result<(), Error> {
        if let Some(place) = place.filter(|place| *place > self.cursor.lsn && self.transaction.is_none()) {
            (self.cursor.lsn, self.cursor.ordinal) = (place, 0);
        }
        let nonce = (prefix == PREFIX.as_bytes())
            .then(|| std::str::from_utf8(content).ok()?.strip_prefix(&self.options.name)?.strip_prefix(' '))
            .flatten();
        let Some(nonce) = nonce else { return Ok(()) };
        // Whoever wrote the watermark told us first; but what was told may not have been taken yet.
        while let Ok(arrival) = self.arrivals.try_recv() {
            self.arrived(arrival).await?;
        }
        self.cursor_due = true;
        let at = place.or(self.transaction.as_ref().map(|transaction| transaction.lsn));
        match self.beside.awaited.remove(nonce) {
            Some(Awaited::Chunk(chunk)) => self.use_chunk(*chunk, at.unwrap_or(self.cursor.lsn)).await,
            Some(Awaited::Probe(probe)) => self.use_probe(*probe).await,
            Some(Awaited::Copied(copied)) => {
                let _reader_is_gone = copied.arrived.send(());
                Ok(())
            }
            // From before a restart.
            None => Ok(()),
        }
    }

    /// The watermark of a chunk has arrived: its rows become events, but for those that the stream knows better.
    async fn use_chunk(&mut self, chunk: Chunk, at: Lsn) -> Result<(), Error> {
        let Some(table) = self.tables.by_id(chunk.table) else { return Ok(()) };
        if table.layout != chunk.described.layout || !table.is_settled {
            if table.generation == chunk.generation {
                // The stream has told nothing new meanwhile, so what the chunk saw is newer.
                self.adopt(chunk.table, chunk.described.layout.clone(), Some(&chunk.described)).await?;
            } else {
                return self.repeat(chunk, 0);
            }
        }
        let Some(table) = self.tables.by_id(chunk.table).filter(|table| table.run == chunk.run) else {
            return Ok(());
        };
        let newer: HashSet<String> = match self.window.judge(chunk.table, &chunk.seen) {
            Verdict::Again { xmin } => return self.repeat(chunk, xmin),
            Verdict::Emit(newer) => newer.into_iter().map(str::to_owned).collect(),
        };
        let (moment, now_ms) = self.moment_of_read(at);
        tracing::debug!(
            table = table.label,
            rows = chunk.rows.len(),
            newer = newer.len(),
            now_ms,
            "a chunk is used"
        );
        self.scratch.name_events(at, "r");
        self.emit_rows(chunk.table, &chunk.rows, 0, &moment, Some(&newer)).await?;
        self.restore_names();
        self.window.settle(&chunk.seen);
        let Some(table) = self.tables.by_id_mut(chunk.table) else { return Ok(()) };
        let rows = chunk.rows.len() as u64;
        table.rows_estimate = chunk.described.rows_estimate.or(table.rows_estimate);
        let done = chunk.next.is_none();
        table.enter(chunk.next.map_or(Phase::Done, |after| Phase::Running { after }));
        table.cursor.rows += rows;
        table.done_with = self.sink.writes + 1;
        self.counters.snapshot_rows += rows;
        if done {
            self.window.unwatch(chunk.table);
        }
        let generation = table.generation;
        self.tell_tables();
        let _reader_is_gone = chunk.answer.send(Answer::Used { generation });
        Ok(())
    }

    fn repeat(&mut self, chunk: Chunk, xmin: u64) -> Result<(), Error> {
        self.counters.chunks_repeated += 1;
        let generation = self.tables.by_id(chunk.table).map_or(0, |table| table.generation);
        let _reader_is_gone = chunk.answer.send(Answer::Again { xmin, generation });
        Ok(())
    }

    fn moment_of_read(&self, at: Lsn) -> (Moment, u64) {
        let now_ms = self.env.clock.now_ms();
        let time = Timestamp::from_millis(i64::try_from(now_ms).unwrap_or(i64::MAX));
        (Moment::new(time, now_ms, None, at, "incremental"), now_ms)
    }

    fn restore_names(&mut self) {
        if let Some(transaction) = &self.transaction {
            self.scratch.name_events(transaction.lsn, "");
        }
    }

    /// Writes a read event for each row whose subject is not among `newer`; `first` rows of this read came before.
    async fn emit_rows(
        &mut self,
        table: u32,
        rows: &Rows,
        first: u64,
        moment: &Moment,
        newer: Option<&HashSet<String>>,
    ) -> Result<(), Error> {
        let length = |value| if let Value::Text(text) = value { text.len() } else { 0 };
        for (row, ordinal) in rows.iter().zip(first + 1..) {
            if self.sink.is_to_be_cut_before(row.clone().map(length).sum()) {
                // Changes may be in it too, so it has a cursor. That of the table stays: after a crash these rows are
                // read again.
                self.submit().await?;
            }
            let Some(table) = self.tables.by_id(table) else { return Ok(()) };
            let mut event = Emission {
                table,
                moment,
                scratch: &mut self.scratch,
                sink: &mut self.sink,
                ordinal,
                part: 0,
            };
            event.read(row, newer).map_err(|bad| table.refuse_row(&bad))?;
        }
        Ok(())
    }

    async fn copy_begun(&mut self, begun: CopyBegun) -> Result<(), Error> {
        let current = self.tables.by_id(begun.table).filter(|table| table.run == begun.run);
        let Some(table) = current.filter(|table| table.flow == Flow::Wait) else { return Ok(()) };
        let generation = table.generation;
        self.adopt(begun.table, begun.described.layout.clone(), Some(&begun.described)).await?;
        let Some(table) = self.tables.by_id_mut(begun.table).filter(|table| table.run == begun.run) else {
            return Ok(());
        };
        tracing::debug!(table = table.label, from = %begun.from, generation, "a copy begins");
        table.flow = Flow::Wait;
        table.rows_estimate = begun.described.rows_estimate;
        let def = table.def.clone();
        self.submit_and_settle().await?;
        if self.has_events(&def)? {
            self.reset(begun.table, "the table is read again")?;
        }
        self.copying = Some(Copying { table: begun.table, run: begun.run, from: begun.from, rows: 0 });
        let _reader_is_gone = begun.answer.send(());
        Ok(())
    }

    async fn copy_rows(&mut self, table: u32, run: u64, rows: &Rows) -> Result<(), Error> {
        let Some(mut copying) = self.copying.filter(|copying| (copying.table, copying.run) == (table, run))
        else {
            return Ok(());
        };
        let (moment, _) = self.moment_of_read(copying.from);
        self.scratch.name_events(copying.from, "r");
        self.emit_rows(table, rows, copying.rows, &moment, None).await?;
        self.restore_names();
        copying.rows += rows.len() as u64;
        self.copying = Some(copying);
        self.counters.snapshot_rows += rows.len() as u64;
        if let Some(table) = self.tables.by_id_mut(table) {
            table.cursor.rows = copying.rows;
        }
        self.tell_tables();
        if self.sink.is_full() {
            self.submit().await?;
        }
        Ok(())
    }

    /// The reading of a table has ended.
    async fn finished(&mut self, table: u32, run: u64, outcome: Result<(), Error>) -> Result<(), Error> {
        if self.tables.by_id(table).is_none_or(|table| table.run != run) || !self.beside.is_reading(table) {
            return Ok(());
        }
        self.beside.stop(table);
        let copied = self.copying.take_if(|copying| (copying.table, copying.run) == (table, run));
        match (outcome, copied) {
            (Ok(()), Some(copying)) => {
                self.release(table, copying.from).await?;
                if let Some(table) = self.tables.by_id_mut(table) {
                    table.enter(Phase::Done);
                    table.done_with = self.sink.writes + 1;
                }
                self.submit().await?;
            }
            (Ok(()), None) => {}
            (Err(error), _) => {
                let message = crate::status::describe(&error);
                self.copies.roll_back(table, table)?;
                if let Some(table) = self.tables.by_id_mut(table) {
                    tracing::warn!(table = table.label, message, "the table could not be read");
                    table.flow = table.flow_of_phase();
                    table.reading_failed = Some(message);
                }
            }
        }
        self.beside.start_next(&mut self.tables);
        self.tell_tables();
        Ok(())
    }

    /// The watermark of a heartbeat has arrived.
    async fn use_probe(&mut self, probe: Probe) -> Result<(), Error> {
        let ids: Vec<u32> = self.tables.iter().map(|table| table.id).collect();
        for id in ids {
            let described = probe.described.iter().find(|described| described.id == id);
            match described {
                Some(described) => self.look_at(id, described, &probe).await?,
                None => self.is_gone(id, &probe).await?,
            }
        }
        for table in self.tables.iter_mut() {
            table.reading_failed = None;
        }
        let _prober_is_gone = probe.arrived.send(());
        self.begin_anew = self
            .missing
            .iter()
            .any(|(name, _)| probe.described.iter().any(|described| described.name == *name));
        self.beside.start_next(&mut self.tables);
        self.tell_tables();
        Ok(())
    }

    /// A table is there: does it look as we think?
    async fn look_at(&mut self, id: u32, described: &Described, probe: &Probe) -> Result<(), Error> {
        let Some(table) = self.tables.by_id_mut(id) else { return Ok(()) };
        let (label, generation) = (table.label.clone(), table.generation);
        table.rows_estimate = described.rows_estimate.or(table.rows_estimate);
        table.problem = described.obstacle.as_ref().map(|(problem, remedy)| format!("{problem}: {remedy}"));
        if described.name != table.name {
            table.problem = Some(format!(
                "the table is called `{}` now; its changes still go to `{}`: rename it back, or make the source anew",
                described.name, table.def.name
            ));
        }
        let lost = probe.written_over.get(&id).copied().unwrap_or_default();
        table.look_at_lost(lost);
        let stored_anew = table.cursor.storage != described.storage && table.is_done();
        // What the stream has told since the question was asked is newer than the answer.
        let is_current = self.beside.layouts() == probe.layouts && table.flow != Flow::Wait;
        if is_current {
            self.adopt(id, described.layout.clone(), Some(described)).await?;
        }
        if !probe.published.contains(&id) {
            return self.is_unpublished(id, &label).await;
        }
        let Some(table) = self.tables.by_id_mut(id) else { return Ok(()) };
        if stored_anew && table.is_done() && table.generation == generation {
            if described.partitioned {
                // Partitions may have been truncated, attached or detached, which no change tells. What is read follows this
                // look, so that only what differs from it is read once more.
                table.cursor.storage.clone_from(&described.storage);
                self.read_again(id, "its partitions have changed").await?;
            } else if is_current {
                // Otherwise a layout is on its way that has to find the storage changed, or its rows are not read again.
                table.cursor.storage.clone_from(&described.storage);
                table.cursor_changed = true;
            }
        }
        Ok(())
    }

    /// A table is gone; another may have its name.
    async fn is_gone(&mut self, id: u32, probe: &Probe) -> Result<(), Error> {
        let Some(table) = self.tables.by_id(id) else { return Ok(()) };
        let again = probe.described.iter().find(|described| described.name == table.name);
        if let Some(again) = again.filter(|again| again.obstacle.is_none()) {
            return self.replaced(id, again.id, "the table was dropped and made again").await;
        }
        let problem = format!("table `{}` does not exist any more: leave it out of the source", table.label);
        self.beside.stop(id);
        if let Some(table) = self.tables.by_id_mut(id) {
            table.problem = Some(problem);
        }
        Ok(())
    }

    /// Reads a table again from the start, after telling everybody that its rows are gone.
    pub(super) async fn read_again(&mut self, id: u32, why: &str) -> Result<(), Error> {
        self.reset(id, why)?;
        self.restart_reading(id).await
    }

    async fn restart_reading(&mut self, id: u32) -> Result<(), Error> {
        self.beside.stop(id);
        self.copying = self.copying.filter(|copying| copying.table != id);
        self.copies.roll_back(id, id)?;
        let keyed = self.tables.by_id(id).is_some_and(super::super::tables::Table::is_keyed);
        if keyed {
            self.window.watch(id);
        }
        if let Some(table) = self.tables.by_id_mut(id) {
            table.reading_failed = None;
            table.enter(Phase::Pending);
        }
        self.submit_and_settle().await?;
        self.beside.start_next(&mut self.tables);
        self.tell_tables();
        Ok(())
    }

    /// The owner wants all rows of a table again.
    pub(super) async fn resnapshot(&mut self, name: &str) -> Result<(), Error> {
        let found = self
            .tables
            .iter()
            .find(|table| table.label == name || table.def.name.as_str() == name || table.name.table == name);
        match found.map(|table| table.id) {
            Some(id) => self.restart_reading(id).await,
            None => Err(Error::refused(
                format!("`{name}` is no table of source `{}`", self.options.name),
                "name one of its tables as `schema.table`",
            )),
        }
    }

    /// Whether a stream holds anything.
    pub(crate) fn has_events(&self, def: &tw_types::StreamDef) -> Result<bool, Error> {
        super::super::provision::has_events(self.log.as_ref(), def)
    }
}

impl Emission<'_> {
    fn read(
        &mut self,
        row: RowIter<'_>,
        newer: Option<&HashSet<String>>,
    ) -> Result<(), super::super::envelope::BadRow> {
        let encoder = &self.table.encoder;
        let has_subject = encoder.subject(&mut self.scratch.subject, row.clone(), None)?;
        if let (Some(newer), Identity::Key(_)) = (newer, &self.table.layout.identity) {
            let subject = std::str::from_utf8(&self.scratch.subject).unwrap_or_default();
            if newer.contains(subject) {
                return Ok(());
            }
        }
        self.put(Op::Read, None, Some(row), None, has_subject)
    }
}
