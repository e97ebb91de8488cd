//! Rows that are read once more, because a change did not tell all of their values and the log may not know the rest.
//!
//! The server does not send a large value that an update has not touched. Usually the log has it from before. It has not
//! when the row has got another key, and so begins another history; and when a chunk is too old to tell the row, while the
//! change that made it so left a value out. Such rows are read by their keys, under the same rule as every chunk.

use super::Session;
use crate::Error;
use crate::postgres::layout::{Identity, Layout};
use crate::postgres::pgoutput::{Message, Value};
use crate::postgres::snapshot::chunk::{Chunk, key_of};
use crate::postgres::tables::Table;

/// How many rows of a table may wait to be read once more; beyond that, the table is.
const AGAIN_MAX: usize = 1_000;

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
        if table.cursor.again.len() >= AGAIN_MAX {
            self.start_over(relation, None)?;
        } else {
            table.note_again(key);
            // From before the reading begins.
            self.window.watch(relation);
        }
        self.beside.start_next(&mut self.tables);
        Ok(())
    }

    /// The keys of those rows of a chunk that are too old, though what is newer left a value out.
    pub(super) fn left_out(&self, chunk: &Chunk) -> Result<Vec<Vec<String>>, Error> {
        let Some(table) = self.tables.by_id(chunk.table) else { return Ok(Vec::new()) };
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

    /// Whether so many rows more may wait to be read once more. Otherwise those that wait have their turn first, and
    /// the reading goes on where it is afterwards.
    pub(super) fn has_room_for(&mut self, table: u32, count: usize) -> bool {
        let waiting = self.tables.by_id(table).map_or(0, |table| table.cursor.again.len());
        if waiting == 0 || waiting + count <= AGAIN_MAX {
            return true;
        }
        self.beside.stop(table);
        self.beside.start_next(&mut self.tables);
        false
    }
}

impl Table {
    /// The row with this key is to be read once more.
    pub(super) fn note_again(&mut self, key: Vec<String>) {
        if !self.cursor.again.contains(&key) {
            self.cursor.again.push(key);
            self.cursor_changed = true;
        }
    }

    /// These rows have been read once more.
    pub(super) fn forget_again(&mut self, keys: &[Vec<String>]) {
        self.cursor.again.retain(|key| !keys.contains(key));
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
