//! What the tasks beside the session have found out, put where it belongs in the stream.

use super::Session;
use super::changes::Emission;
use crate::cursor::Phase;
use crate::postgres::beside::{Arrival, Awaited, PREFIX};
use crate::postgres::envelope::{Moment, Op};
use crate::postgres::layout::Identity;
use crate::postgres::pgoutput::Value;
use crate::postgres::snapshot::chunk::{Answer, Chunk};
use crate::postgres::snapshot::rows::{RowIter, Rows};
use crate::postgres::snapshot::window::Verdict;
use crate::{Error, Lsn};
use std::collections::HashSet;
use tw_types::Timestamp;

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
            Some(Awaited::Chunk(chunk)) => {
                let (table, run) = (chunk.table, chunk.run);
                let used = self.use_chunk(*chunk, at.unwrap_or(self.cursor.lsn)).await;
                self.unless_a_row_is_bad(table, run, used).await
            }
            Some(Awaited::Probe(probe)) => self.use_probe(*probe).await,
            Some(Awaited::Copied(copied)) => {
                let _reader_is_gone = copied.arrived.send(());
                Ok(())
            }
            // From before a restart.
            None => Ok(()),
        }
    }

    /// What is wrong with a row that was read is a matter of its table: the others go on.
    pub(super) async fn unless_a_row_is_bad(
        &mut self,
        table: u32,
        run: u64,
        outcome: Result<(), Error>,
    ) -> Result<(), Error> {
        match outcome {
            Err(error @ Error::Row { .. }) => self.finished(table, run, Err(error)).await,
            outcome => outcome,
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
        if self.tables.by_id(chunk.table).is_none_or(|table| table.run != chunk.run) {
            return Ok(());
        }
        let newer: HashSet<String> = match self.window.judge(chunk.table, &chunk.seen) {
            Verdict::Again { xmin } => return self.repeat(chunk, xmin),
            Verdict::Emit(newer) => newer.into_iter().map(str::to_owned).collect(),
        };
        let left_out = self.left_out(&chunk)?;
        if !self.has_room_for(&chunk, &left_out) {
            return self.make_room(chunk);
        }
        let (moment, now_ms) = self.moment_of_read(at);
        tracing::debug!(
            table = chunk.described.name.to_string(),
            rows = chunk.rows.len(),
            newer = newer.len(),
            now_ms,
            "a chunk is used"
        );
        self.scratch.name_events(at, "r");
        let emitted = self.emit_rows(chunk.table, &chunk.rows, 0, &moment, Some(&newer)).await;
        self.restore_names();
        emitted?;
        self.window.settle(&chunk.seen);
        let Some(table) = self.tables.by_id_mut(chunk.table) else { return Ok(()) };
        let rows = chunk.rows.len() as u64;
        table.rows_estimate = chunk.described.rows_estimate.or(table.rows_estimate);
        table.bad_rows = 0;
        if chunk.keys.is_empty() {
            table.enter(chunk.next.map_or(Phase::Done, |after| Phase::Running { after }));
            table.cursor.rows += rows;
            table.done_with = self.sink.writes + 1;
        } else {
            table.unread.forget(&chunk.keys, chunk.noted);
            table.cursor_changed = true;
        }
        left_out.into_iter().for_each(|key| table.note_again(key));
        self.counters.snapshot_rows += rows;
        if chunk.keys.is_empty() && table.is_done() && table.cursor.all_again {
            self.start_over(chunk.table, None)?;
            self.beside.start_next(&mut self.tables);
            self.tell_tables();
            return Ok(());
        }
        if table.is_read() {
            self.window.unwatch(chunk.table);
        }
        let generation = table.generation;
        self.tell_tables();
        let _reader_is_gone = chunk.answer.send(Answer::Used { generation });
        Ok(())
    }

    pub(super) fn repeat(&mut self, chunk: Chunk, xmin: u64) -> Result<(), Error> {
        self.counters.chunks_repeated += 1;
        let generation = self.tables.by_id(chunk.table).map_or(0, |table| table.generation);
        let _reader_is_gone = chunk.answer.send(Answer::Again { xmin, generation });
        Ok(())
    }

    pub(super) fn moment_of_read(&self, at: Lsn) -> (Moment, u64) {
        let now_ms = self.env.clock.now_ms();
        let time = Timestamp::from_millis(i64::try_from(now_ms).unwrap_or(i64::MAX));
        (Moment::new(time, now_ms, None, at, "incremental"), now_ms)
    }

    pub(super) fn restore_names(&mut self) {
        if let Some(transaction) = &self.transaction {
            self.scratch.name_events(transaction.lsn, "");
        }
    }

    /// Writes a read event for each row whose subject is not among `newer`; `first` rows of this read came before.
    pub(super) async fn emit_rows(
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
