//! The captured tables of a running source.

use super::envelope::{BadRow, Encoder};
use super::layout::{Described, Identity, Layout};
use super::name::TableName;
use super::unread::Unread;
use crate::cursor::{Phase, TableCursor};
use crate::status::{SnapshotPhase, TableIdentity, TableStatus};
use crate::{Error, Lsn};
use hashbrown::HashMap;
use std::sync::Arc;
use tw_types::StreamDef;

/// A table that is captured.
pub(crate) struct Table {
    pub(crate) id: u32,
    pub(crate) name: TableName,
    /// `schema.table`, by which the log remembers it.
    pub(crate) label: String,
    pub(crate) def: Arc<StreamDef>,
    /// The `source` of its events.
    pub(crate) source: String,
    /// The `dataschema` of its events.
    pub(crate) dataschema: String,
    pub(crate) layout: Layout,
    pub(crate) encoder: Encoder,
    /// Without the rows to be read once more, which are `unread` until it is written.
    pub(crate) cursor: TableCursor,
    /// Rows that are to be read once more.
    pub(crate) unread: Unread,
    /// Whether the cursor has changed since it was last written.
    pub(crate) cursor_changed: bool,
    /// Whether the layout is what the stream has told, or the catalogue at a known place of it.
    pub(crate) is_settled: bool,
    /// Rises with every change of the layout.
    pub(crate) generation: u64,
    /// Rises with every new start of the snapshot.
    pub(crate) run: u64,
    pub(crate) rows_estimate: Option<u64>,
    /// What is wrong with the table itself.
    pub(crate) problem: Option<String>,
    /// Why its rows could not be read at the last try.
    pub(crate) reading_failed: Option<String>,
    /// How many heartbeats pass before that is tried again.
    rests: u32,
    /// How often in a row that was because of a row that had been read.
    pub(crate) bad_rows: u32,
    /// Whether it is known to be a partition of another captured table, as whose its changes are told.
    pub(crate) is_part: bool,
    /// What happens to the table's changes.
    pub(crate) flow: Flow,
    /// The number of the write that tells that all rows have been read; 0 if that was before.
    pub(crate) done_with: u64,
}

/// What happens to the changes of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// They become events.
    Events,
    /// They are left out: a consistent copy of the table is still to come.
    Ignore,
    /// They wait until a copy is complete that is being read; those before it are left out then.
    Wait,
}

/// What a source is called, and its database: what every event of it tells.
pub(crate) struct Naming<'a> {
    pub(crate) source: &'a str,
    pub(crate) database: &'a str,
}

impl Table {
    pub(crate) fn new(
        naming: &Naming<'_>,
        name: &TableName,
        described: &Described,
        def: Arc<StreamDef>,
        mut cursor: TableCursor,
    ) -> Self {
        let unread = Unread::new(std::mem::take(&mut cursor.again));
        let layout = described.layout.clone();
        let mut table = Self {
            id: described.id,
            name: name.clone(),
            label: name.to_string(),
            source: crate::cursor::source_uri(naming.source),
            dataschema: String::new(),
            encoder: Encoder::new(naming.source, naming.database, name, &layout),
            layout,
            cursor,
            unread,
            cursor_changed: false,
            is_settled: false,
            generation: 0,
            run: 0,
            rows_estimate: described.rows_estimate,
            problem: None,
            reading_failed: None,
            rests: 0,
            bad_rows: 0,
            is_part: false,
            flow: Flow::Events,
            done_with: 0,
            def,
        };
        table.use_stream(table.def.clone());
        table.flow = table.flow_of_phase();
        table
    }

    /// Uses a new definition of the stream.
    pub(crate) fn use_stream(&mut self, def: Arc<StreamDef>) {
        let version = def.schema.as_ref().map_or(0, |schema| schema.version);
        self.dataschema = dataschema(&def, version);
        self.def = def;
    }

    /// Uses a new layout.
    pub(crate) fn use_layout(&mut self, naming: &Naming<'_>, layout: Layout) {
        self.encoder = Encoder::new(naming.source, naming.database, &self.name, &layout);
        self.layout = layout;
        self.generation += 1;
        self.is_settled = true;
    }

    /// Whether its rows have a key by which they can be read in chunks.
    pub(crate) fn is_keyed(&self) -> bool {
        matches!(self.layout.identity, Identity::Key(_))
    }

    /// Whether its rows are all there.
    pub(crate) fn is_done(&self) -> bool {
        self.cursor.phase == Phase::Done
    }

    /// Whether nothing of it is to be read, not even rows once more.
    pub(crate) fn is_read(&self) -> bool {
        self.is_done() && self.unread.is_empty()
    }

    pub(crate) fn flow_of_phase(&self) -> Flow {
        if self.is_keyed() || self.is_done() { Flow::Events } else { Flow::Ignore }
    }

    /// Sets how far the snapshot is.
    pub(crate) fn enter(&mut self, phase: Phase) {
        if phase == Phase::Pending {
            self.cursor.rows = 0;
            self.cursor.written_over = None;
            self.unread.clear();
            self.cursor.all_again = false;
            self.cursor.dropped.clear();
            self.run += 1;
        }
        self.cursor.phase = phase;
        self.cursor_changed = true;
        self.flow = self.flow_of_phase();
    }

    /// Its rows could not be read; because of a row, if so. The rows before a bad one are in the log then, so that is tried
    /// again more and more rarely.
    pub(crate) fn rest(&mut self, bad_row: bool) {
        /// Some ten minutes, by default.
        const DOUBLINGS_MAX: u32 = 6;
        self.rests = if bad_row { 1 << self.bad_rows.min(DOUBLINGS_MAX) } else { 1 };
        self.bad_rows = if bad_row { self.bad_rows.saturating_add(1) } else { 0 };
    }

    /// A heartbeat has passed.
    pub(crate) fn heartbeat(&mut self) {
        self.rests = self.rests.saturating_sub(1);
        if self.rests == 0 {
            self.reading_failed = None;
        }
    }

    /// Compares what the server has counted of updates and deletes with what it had: those of an append-only table are
    /// not captured, and that must not go unnoticed.
    pub(crate) fn look_at_lost(&mut self, counted: u64) {
        if self.layout.identity != Identity::Nothing {
            return;
        }
        match self.cursor.written_over {
            Some(before) if self.is_done() && counted > before => {
                self.problem = Some(format!(
                    "{} updates or deletes in table `{}` were not captured, because it has no key: add a primary key, \
                     or ALTER TABLE {} REPLICA IDENTITY FULL",
                    counted - before,
                    self.label,
                    self.name.quoted()
                ));
            }
            Some(before) if before == counted => {}
            // The first look since the copy, or the counters were reset.
            _ if self.is_done() => {
                self.cursor.written_over = Some(counted);
                self.cursor_changed = true;
            }
            _ => {}
        }
    }

    /// How the table is, when the first `settled` writes are durable.
    pub(crate) fn status(&self, settled: u64) -> TableStatus {
        TableStatus {
            table: self.label.clone(),
            stream: self.def.name.to_string(),
            identity: match self.layout.identity {
                Identity::Key(_) => TableIdentity::Key,
                Identity::WholeRow => TableIdentity::WholeRow,
                Identity::Nothing => TableIdentity::AppendOnly,
            },
            snapshot: match self.cursor.phase {
                Phase::Pending => SnapshotPhase::Pending,
                Phase::Done if self.done_with <= settled => SnapshotPhase::Done,
                Phase::Running { .. } | Phase::Done => SnapshotPhase::Running,
            },
            snapshot_rows: self.cursor.rows,
            rows_estimate: self.rows_estimate,
            problem: self
                .problem
                .clone()
                .or_else(|| self.reading_failed.clone())
                .or_else(|| self.lacks_values()),
        }
    }

    /// What is wrong when values of rows were left out and nobody reads them: only changes are captured, and too many rows
    /// got another key.
    fn lacks_values(&self) -> Option<String> {
        (self.cursor.all_again && self.is_done()).then(|| {
            format!(
                "more rows of table `{}` got another key at once than can be read once more, and large values of theirs \
                 are not in the log: read the table again",
                self.label
            )
        })
    }

    /// An error about a change of this table.
    pub(crate) fn refuse(&self, lsn: Lsn, bad: &BadRow) -> Error {
        Error::Change { table: self.label.clone(), lsn, reason: bad.to_string() }
    }

    /// An error about a row that a snapshot has read.
    pub(crate) fn refuse_row(&self, bad: &BadRow) -> Error {
        Error::Row { table: self.label.clone(), reason: bad.to_string() }
    }
}

/// The `dataschema` attribute of events: the version of the stream's schema that their data follow.
pub(crate) fn dataschema(def: &StreamDef, version: u32) -> String {
    format!("/streams/{}/schemas/{version}", def.name)
}

/// All captured tables.
#[derive(Default)]
pub(crate) struct Tables {
    list: Vec<Table>,
    by_id: HashMap<u32, usize>,
}

impl Tables {
    pub(crate) fn add(&mut self, table: Table) {
        self.by_id.insert(table.id, self.list.len());
        self.list.push(table);
    }

    pub(crate) fn index_of(&self, id: u32) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn by_id(&self, id: u32) -> Option<&Table> {
        self.list.get(self.index_of(id)?)
    }

    pub(crate) fn by_id_mut(&mut self, id: u32) -> Option<&mut Table> {
        let index = self.index_of(id)?;
        self.list.get_mut(index)
    }

    pub(crate) fn by_name(&self, name: &TableName) -> Option<&Table> {
        self.list.iter().find(|table| table.name == *name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Table> {
        self.list.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Table> {
        self.list.iter_mut()
    }

    /// The table was dropped and made again: the same name, another number.
    pub(crate) fn renumber(&mut self, old: u32, new: u32) {
        if let Some(index) = self.by_id.remove(&old) {
            self.by_id.insert(new, index);
            if let Some(table) = self.list.get_mut(index) {
                table.id = new;
                table.cursor.id = new;
                table.cursor_changed = true;
            }
        }
    }

    /// Takes the cursors that have changed.
    pub(crate) fn take_changed_cursors(&mut self) -> Vec<(String, TableCursor)> {
        let take = |table: &mut Table| {
            std::mem::take(&mut table.cursor_changed).then(|| {
                let again = table.unread.keys().cloned().collect();
                (table.label.clone(), TableCursor { again, ..table.cursor.clone() })
            })
        };
        self.list.iter_mut().filter_map(take).collect()
    }
}
