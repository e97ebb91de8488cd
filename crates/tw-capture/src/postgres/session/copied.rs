//! Tables that have no key, read as a whole: their rows as they come, and the end of a reading.

use super::Session;
use crate::cursor::Phase;
use crate::postgres::snapshot::copy::CopyBegun;
use crate::postgres::snapshot::rows::Rows;
use crate::postgres::tables::Flow;
use crate::{Error, Lsn};
use tw_types::chain;

/// A copy that is being written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Copying {
    pub(super) table: u32,
    run: u64,
    from: Lsn,
    rows: u64,
}

impl Session {
    pub(super) async fn copy_begun(&mut self, begun: CopyBegun) -> Result<(), Error> {
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

    pub(super) async fn copy_rows(&mut self, table: u32, run: u64, rows: &Rows) -> Result<(), Error> {
        let written = self.write_copied(table, run, rows).await;
        self.unless_a_row_is_bad(table, run, written).await
    }

    async fn write_copied(&mut self, table: u32, run: u64, rows: &Rows) -> Result<(), Error> {
        let Some(mut copying) = self.copying.filter(|copying| (copying.table, copying.run) == (table, run))
        else {
            return Ok(());
        };
        let (moment, _) = self.moment_of_read(copying.from);
        self.scratch.name_events(copying.from, "r");
        let emitted = self.emit_rows(table, rows, copying.rows, &moment, None).await;
        self.restore_names();
        emitted?;
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
    pub(super) async fn finished(
        &mut self,
        table: u32,
        run: u64,
        outcome: Result<(), Error>,
    ) -> Result<(), Error> {
        if self.tables.by_id(table).is_none_or(|table| table.run != run) || !self.beside.is_reading(table) {
            return Ok(());
        }
        self.beside.stop(table);
        let copied = self.copying.take_if(|copying| (copying.table, copying.run) == (table, run));
        match (outcome, copied) {
            (Ok(()), Some(copying)) => {
                self.release(table, copying.from).await?;
                // What waited may have told of a key, with which the table is read in another way.
                if let Some(table) = self.tables.by_id_mut(table).filter(|table| table.run == run) {
                    table.enter(Phase::Done);
                    table.bad_rows = 0;
                    table.done_with = self.sink.writes + 1;
                }
                self.submit().await?;
            }
            (Ok(()), None) => {}
            (Err(error), _) => {
                let message = chain(&error);
                self.drop_copy(table)?;
                if let Some(table) = self.tables.by_id_mut(table) {
                    tracing::warn!(table = table.label, message, "the table could not be read");
                    table.flow = table.flow_of_phase();
                    table.reading_failed = Some(message);
                    table.rest(matches!(error, Error::Row { .. }));
                }
            }
        }
        self.beside.start_next(&mut self.tables);
        self.tell_tables();
        Ok(())
    }

    /// Whether a stream holds anything.
    pub(crate) fn has_events(&self, def: &tw_types::StreamDef) -> Result<bool, Error> {
        crate::postgres::provision::has_events(self.log.as_ref(), def)
    }
}
