//! What relations look like, and what follows when that changes.

use super::Session;
use super::changes::Emission;
use crate::Error;
use crate::cursor::Phase;
use crate::postgres::catalog;
use crate::postgres::envelope::Moment;
use crate::postgres::layout::{self, Anew, Described, Layout};
use crate::postgres::name::TableName;
use crate::postgres::pgoutput::{self, Message, Relation};
use crate::postgres::tables::Naming;
use tw_log::NewStream;
use tw_types::{Schema, Timestamp};

/// The latest relation message of a relation.
#[derive(Debug)]
pub(crate) struct Remembered {
    /// The message, as it is outside a block.
    pub(super) bytes: Vec<u8>,
    /// Whether it has been looked at.
    applied: bool,
    /// Whether it waits before the changes that wait for a copy.
    pub(super) waits: bool,
}

impl Session {
    /// Remembers a relation message until the first change that needs it: while changes are skipped that are in the log
    /// already, old relation messages must not change anything.
    pub(super) fn remember(&mut self, relation: &Relation<'_>, bytes: &[u8], in_stream: bool) {
        let (tag, rest) = bytes.split_at_checked(1).unwrap_or_default();
        let body = if in_stream { rest.get(4..).unwrap_or_default() } else { rest };
        let plain = [tag, body].concat();
        if self.relations.get(&relation.id).is_none_or(|known| known.bytes != plain) {
            self.relations.insert(relation.id, Remembered { bytes: plain, applied: false, waits: false });
        }
    }

    /// Whether this relation is none of the captured tables, but may have taken the place of one.
    pub(super) fn is_new_table(&self, relation: u32) -> bool {
        self.relations.get(&relation).is_some_and(|known| !known.applied)
    }

    /// Sees to it that changes of `relation` are read as the latest relation message says.
    pub(super) async fn prepare(&mut self, relation: u32) -> Result<(), Error> {
        match self.relations.get_mut(&relation) {
            Some(known) if known.applied => return Ok(()),
            Some(known) => known.applied = true,
            None => return Err(Error::Protocol(format!("relation {relation} was not described"))),
        }
        let bytes = self.relations.get(&relation).map(|known| known.bytes.clone()).unwrap_or_default();
        let Ok((_, Message::Relation(told))) = pgoutput::decode(&bytes, false) else { return Ok(()) };
        if self.tables.by_id(relation).is_none() {
            let name = TableName::new(told.schema, told.name);
            let Some(replaced) = self.tables.by_name(&name).map(|table| table.id) else { return Ok(()) };
            self.replaced(replaced, relation, "the table was dropped and made again").await?;
        }
        let found = catalog::describe(&mut self.catalog, &[], &[relation], &self.publications).await?;
        let now = found.into_iter().next();
        let layout = catalog::layout_of(&mut self.catalog, &told, now.as_ref()).await?;
        self.adopt(relation, layout, now.as_ref()).await
    }

    /// Lets a table have this layout from here on. `now` is what the catalogue says at present.
    pub(crate) async fn adopt(
        &mut self,
        id: u32,
        layout: Layout,
        now: Option<&Described>,
    ) -> Result<(), Error> {
        let Some(table) = self.tables.by_id(id) else { return Ok(()) };
        if table.is_settled && table.layout == layout {
            return Ok(());
        }
        let before: Option<Schema> = table.def.schema.clone();
        let schema = layout::next_version(before.as_ref(), layout.schema());
        let key = |schema: Option<&Schema>| schema.map(|schema| schema.key.clone());
        let rekeyed = table.cursor.identity != layout.identity.label()
            || (schema.is_some() && key(before.as_ref()) != key(schema.as_ref()));
        let cursor = &table.cursor;
        let seen = now.filter(|_| cursor.phase != Phase::Pending);
        let anew = seen.and_then(|now| now.anew(before.as_ref(), cursor));
        let reset = if rekeyed { Some("the key has changed") } else { anew.and_then(Anew::reset) };
        let is_anew = rekeyed || anew.is_some();
        let label = table.label.clone();
        if rekeyed {
            self.move_between_publications(id, &layout).await?;
        }
        if is_anew {
            let why = reset.unwrap_or("rows were written anew");
            tracing::info!(table = label, why, "the table is read again");
            self.start_over(id, reset)?;
            // It may have a key only now.
            self.window.watch(id);
        }
        self.note_layout(id, &layout, now);
        if schema.is_some() || is_anew {
            // First it is durable that the table is to be read again, then that it looks different: a crash in between
            // reads it once too often.
            self.submit_and_settle().await?;
        }
        self.use_layout(id, layout, schema).await?;
        self.beside.start_next(&mut self.tables);
        self.tell_tables();
        Ok(())
    }

    fn note_layout(&mut self, id: u32, layout: &Layout, now: Option<&Described>) {
        let Some(table) = self.tables.by_id_mut(id) else { return };
        let mut cursor = table.cursor.clone();
        if cursor.phase != Phase::Pending {
            let before = table.def.schema.iter().flat_map(|schema| &schema.columns);
            let dropped = before.filter(|column| layout.columns.iter().all(|now| now.name != column.name));
            cursor.dropped.extend(dropped.map(|column| column.name.clone()));
        }
        cursor.shape = layout.shape();
        cursor.identity = layout.identity.label().to_owned();
        if let Some(now) = now {
            cursor.storage.clone_from(&now.storage);
            cursor.columns = Some(now.columns.clone());
        }
        if cursor != table.cursor {
            table.cursor = cursor;
            table.cursor_changed = true;
        }
    }

    async fn use_layout(&mut self, id: u32, layout: Layout, schema: Option<Schema>) -> Result<(), Error> {
        let naming = Naming { source: &self.options.name, database: &self.database };
        let Some(table) = self.tables.by_id_mut(id) else { return Ok(()) };
        if let Some(schema) = schema {
            let def = &table.def;
            let changed = NewStream {
                name: def.name.clone(),
                kind: def.kind,
                partitions: def.partitions,
                schema: Some(schema),
                options: def.options.clone(),
            };
            let def = self.log.alter_stream(changed).await?;
            table.use_stream(def);
            self.counters.schema_changes += 1;
        }
        table.use_layout(&naming, layout);
        self.beside.layout_changed();
        // An append-only table is read as a whole, a keyed one while its changes go on.
        if !table.is_done() {
            table.flow = table.flow_of_phase();
        }
        if !table.is_keyed() {
            self.window.unwatch(id);
        }
        Ok(())
    }

    /// Tells everybody who follows the table's stream that all rows are gone, and why.
    pub(crate) fn reset(&mut self, id: u32, why: &str) -> Result<(), Error> {
        let Some(table) = self.tables.by_id(id) else { return Ok(()) };
        let now_ms = self.env.clock.now_ms();
        let time = Timestamp::from_millis(i64::try_from(now_ms).unwrap_or(i64::MAX));
        let moment = Moment::new(time, now_ms, None, self.cursor.lsn, "incremental");
        self.scratch.name_events(self.cursor.lsn, &format!("reset.{:016x}.", self.env.random.next_u64()));
        let mut event = Emission {
            table,
            moment: &moment,
            scratch: &mut self.scratch,
            sink: &mut self.sink,
            ordinal: 0,
            part: 0,
        };
        event.truncate(Some(why)).map_err(|bad| table.refuse(self.cursor.lsn, &bad))?;
        if let Some(transaction) = &self.transaction {
            self.scratch.name_events(transaction.lsn, "");
        }
        Ok(())
    }
}
