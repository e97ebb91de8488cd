//! Rows that are read once more, because a change did not tell all of their values and the log may not know the rest.
//!
//! The server does not send a large value that an update has not touched. Usually the log has it from before. It has not
//! when the row has got another key, and so begins another history; and when a chunk is too old to tell the row, while the
//! change that made it so left a value out. Such rows are read by their keys, under the same rule as every chunk.

use super::Session;
use crate::postgres::layout::{Identity, Layout};
use crate::postgres::pgoutput::{Message, Value};
use crate::postgres::snapshot::chunk::{Chunk, key_of};
use crate::postgres::tables::Table;
use crate::{Error, SnapshotMode};

/// How many rows of a table wait at most before they have their turn, while the rest of it is being read.
const WAITING_MAX: usize = 1_000;

impl Session {
    /// Remembers a change of a row whose subjects are in the scratch buffers.
    pub(super) fn note_row(&mut self, relation: u32, message: &Message<'_>) -> Result<(), Error> {
        let Some(transaction) = &self.transaction else { return Ok(()) };
        let leaves_out = leaves_out(message);
        if self.window.watches(relation) {
            for subject in [&self.scratch.subject, &self.scratch.old_subject] {
                if !subject.is_empty() {
                    // Subjects were checked to be UTF-8 when they were written.
                    let subject = String::from_utf8_lossy(subject);
                    self.window.changed(transaction.xid, relation, Some(&subject));
                }
            }
            if leaves_out {
                let subject = String::from_utf8_lossy(&self.scratch.subject);
                self.window.left_out(transaction.xid, relation, &subject);
            }
        }
        let moved = !self.scratch.old_subject.is_empty();
        if moved && leaves_out { self.note_moved(relation, message) } else { Ok(()) }
    }

    /// A row has got another key, and not all of its values were told.
    fn note_moved(&mut self, relation: u32, message: &Message<'_>) -> Result<(), Error> {
        let Some(table) = self.tables.by_id_mut(relation) else { return Ok(()) };
        let Some(key) = key_texts(&table.layout, message) else { return Ok(()) };
        if table.will_be_read_twice() {
            return Ok(());
        }
        if !table.unread.has_room_for(std::slice::from_ref(&key)) {
            return self.note_all(relation);
        }
        table.note_again(key);
        let waiting = table.unread.len();
        // From before the reading begins.
        self.window.watch(relation);
        if waiting >= WAITING_MAX && self.beside.is_reading_all(relation) {
            // They have their turn first, and the reading goes on where it is afterwards.
            self.beside.stop(relation);
        }
        self.beside.start_next(&mut self.tables);
        Ok(())
    }

    /// More rows are to be read once more than can be named.
    fn note_all(&mut self, relation: u32) -> Result<(), Error> {
        let only_changes = self.options.snapshot == SnapshotMode::Never;
        let Some(table) = self.tables.by_id_mut(relation) else { return Ok(()) };
        if !table.is_done() {
            // What has been read of the table stays, and is read a second time at the end.
            tracing::info!(
                table = table.label,
                "the table will be read twice: too many rows get another key"
            );
            table.unread.clear();
        } else if !only_changes {
            tracing::info!(table = table.label, "the table is read again: too many rows got another key");
            self.start_over(relation, None)?;
            self.beside.start_next(&mut self.tables);
            return Ok(());
        }
        table.cursor.all_again = true;
        table.cursor_changed = true;
        self.tell_tables();
        Ok(())
    }

    /// The keys of those rows of a chunk that are too old, though what is newer left a value out.
    pub(super) fn left_out(&self, chunk: &Chunk) -> Result<Vec<Vec<String>>, Error> {
        let Some(table) = self.tables.by_id(chunk.table) else { return Ok(Vec::new()) };
        if table.will_be_read_twice() {
            return Ok(Vec::new());
        }
        let newer = self.window.newer_left_out(chunk.table, &chunk.seen);
        if newer.is_empty() {
            return Ok(Vec::new());
        }
        let mut keys = Vec::new();
        let mut subject = Vec::new();
        for row in chunk.rows.iter() {
            table.encoder.subject(&mut subject, row.clone(), None).map_err(|bad| table.refuse_row(&bad))?;
            if std::str::from_utf8(&subject).is_ok_and(|subject| newer.contains(subject)) {
                keys.push(key_of(&chunk.described, row)?);
            }
        }
        Ok(keys)
    }

    /// Whether these rows of a chunk may be noted to be read once more.
    pub(super) fn has_room_for(&self, chunk: &Chunk, left_out: &[Vec<String>]) -> bool {
        let Some(unread) = self.tables.by_id(chunk.table).map(|table| &table.unread) else { return true };
        let few = unread.is_empty() || unread.len() + left_out.len() <= WAITING_MAX;
        unread.has_room_for(left_out) && (few || !chunk.keys.is_empty())
    }

    /// There is no room for what a chunk leaves out. The rows that wait have their turn first, and the reading goes on where
    /// it is afterwards; if there are none, the chunk is read until it is new enough.
    pub(super) fn make_room(&mut self, chunk: Chunk) -> Result<(), Error> {
        let is_first = self.tables.by_id(chunk.table).is_none_or(|table| table.unread.is_empty());
        if is_first || !chunk.keys.is_empty() {
            return self.repeat(chunk, 0);
        }
        self.beside.stop(chunk.table);
        self.beside.start_next(&mut self.tables);
        Ok(())
    }
}

impl Table {
    /// Whether all of its rows are read once more when the reading under way has ended.
    fn will_be_read_twice(&self) -> bool {
        self.cursor.all_again && !self.is_done()
    }

    /// The row with this key is to be read once more.
    pub(super) fn note_again(&mut self, key: Vec<String>) {
        self.unread.add(key);
        self.cursor_changed = true;
    }
}

/// The texts of the key of the row after an update, in the order of the key.
fn key_texts(layout: &Layout, message: &Message<'_>) -> Option<Vec<String>> {
    let (Message::Update { old, new, .. }, Identity::Key(key)) = (message, &layout.identity) else {
        return None;
    };
    let text = |index: usize| match new.values().nth(index)? {
        Value::Text(text) => Some(text),
        Value::Unchanged => match old.as_ref()?.tuple().values().nth(index)? {
            Value::Text(text) => Some(text),
            _ => None,
        },
        Value::Null => None,
    };
    key.iter().map(|index| String::from_utf8(text(*index)?.to_vec()).ok()).collect()
}

/// Whether the row after a change has a value that is told neither with it nor with the row before.
fn leaves_out(message: &Message<'_>) -> bool {
    let Message::Update { old, new, .. } = message else { return false };
    old.and_then(|old| old.full()).is_none() && new.values().any(|value| value == Value::Unchanged)
}
