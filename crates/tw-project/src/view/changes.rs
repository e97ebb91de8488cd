//! Changes of a captured table's rows, as rows that are taken back and added.
//!
//! ```text
//! row.insert, row.read   add the row after; if the subject had a row, take that back
//! row.update             take back the row before, add the row after
//! row.delete             take back the row before
//! table.truncate         all rows are gone
//! ```
//!
//! A row of which a value is neither told nor known from before is left out until it is told as a whole. What a source has
//! read, and every change of a table without a key, is told as a whole: there, the mark of a value that is not told is a text.
//! What was there before is known from what is kept of each subject; a table without a key tells the whole row before.

use super::rows::{RowCache, RowKey, Staged, StoredRow};
use super::signed::{Effect, SignedRows};
use crate::operators::aggregator::RowPlace;
use crate::operators::groups::Error as StateError;
use crate::rows::builder::RowsBuilder;
use crate::rows::columns::{TableColumn, TableColumns};
use crate::rows::reader::{Change, RowReader};
use crate::rows::slot::{Form, Slot, UNCHANGED};
use tw_process::ApplyError;
use tw_state::Store;
use tw_types::{ColumnType, Data, Offset, StoredRef};

/// The type of the event that says that all rows are gone.
pub(crate) const TRUNCATE: &str = "table.truncate";

/// The longest subject of a row: the store's keys have at most 32 KiB.
pub(crate) const SUBJECT_BYTES_MAX: usize = 16 * 1024;

/// What an event does to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Upsert,
    Update,
    Delete,
}

/// How rows are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// By their subject.
    Key,
    /// Not at all: changes tell the whole row before, and equal rows are counted.
    WholeRow,
}

/// Reads change events.
pub(crate) struct ChangeReader {
    reader: RowReader,
    names: Vec<String>,
    /// The columns that can hold any text.
    texts: Vec<bool>,
    /// The first change whose row was left out, until somebody asks.
    left_out: Option<Offset>,
    identity: Identity,
    /// Whether rows are kept, by subject.
    keeps_rows: bool,
    /// Whether equal rows from different places are different.
    places_matter: bool,
    rows: SignedRows,
}

impl ChangeReader {
    pub(crate) fn new(
        columns: &TableColumns,
        identity: Identity,
        keeps_rows: bool,
        places_matter: bool,
    ) -> Self {
        let members: Vec<_> = columns
            .columns
            .iter()
            .filter_map(|column| if let TableColumn::Member(member) = column { Some(member) } else { None })
            .collect();
        let names = members.iter().map(|member| member.name.clone()).collect();
        let texts = members
            .iter()
            .map(|member| matches!(member.ty, ColumnType::Text | ColumnType::Other(_)))
            .collect();
        let reader = RowReader::new(members, Form::Envelope);
        let rows = SignedRows::new(RowsBuilder::new(reader.slots()));
        Self { reader, names, texts, left_out: None, identity, keeps_rows, places_matter, rows }
    }

    /// What `events` do, none of which is a truncation. `cache` is what is known of the rows before; None if there were none.
    ///
    /// # Errors
    /// [`ApplyError::Rejected`] for an event that is not a change of a row, or whose row cannot be read.
    pub(crate) fn read(
        &mut self,
        events: &[StoredRef<'_>],
        mut cache: Option<&mut RowCache>,
        store: &dyn Store,
    ) -> Result<Effect, ApplyError> {
        self.rows.start();
        let mut staged = Staged::new();
        for event in events {
            self.read_one(event, cache.as_deref_mut(), store, &mut staged)?;
        }
        Ok(self.rows.finish(staged))
    }

    /// The first change since the last call whose row was left out.
    pub(crate) fn take_left_out(&mut self) -> Option<Offset> {
        self.left_out.take()
    }

    fn read_one(
        &mut self,
        event: &StoredRef<'_>,
        cache: Option<&mut RowCache>,
        store: &dyn Store,
        staged: &mut Staged,
    ) -> Result<(), ApplyError> {
        let kind = match event.event.ty {
            "row.insert" | "row.read" => Kind::Upsert,
            "row.update" => Kind::Update,
            "row.delete" => Kind::Delete,
            other => return Err(rejected(format!("`{other}` is not a change of a row"))),
        };
        let Data::Json(json) = event.event.data else {
            return Err(rejected("the data of a change is not JSON"));
        };
        let mut change = Change::default();
        self.reader.read_change(json, &mut change).map_err(|error| rejected(error.to_string()))?;
        if event.event.ty == "row.read" || self.identity == Identity::WholeRow {
            let slots =
                change.before.iter_mut().zip(&self.texts).chain(change.after.iter_mut().zip(&self.texts));
            for (slot, _) in slots.filter(|(slot, is_text)| **is_text && **slot == Slot::Unchanged) {
                *slot = Slot::Text(UNCHANGED.into());
            }
        }
        if kind != Kind::Delete && !change.has_after {
            return Err(rejected("the change does not tell the row after it"));
        }
        let place = RowPlace::of(event);
        match self.identity {
            Identity::Key => self.keyed(event, kind, change, place, cache, store, staged),
            Identity::WholeRow => self.whole(event, kind, change, place, cache, store, staged),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one step")]
    fn keyed(
        &mut self,
        event: &StoredRef<'_>,
        kind: Kind,
        change: Change<'_>,
        place: RowPlace,
        cache: Option<&mut RowCache>,
        store: &dyn Store,
        staged: &mut Staged,
    ) -> Result<(), ApplyError> {
        let Some(subject) = event.event.subject else {
            return Err(rejected("the change does not tell which row it is about"));
        };
        if subject.len() > SUBJECT_BYTES_MAX {
            return Err(rejected(format!(
                "a key of {} bytes is too long: at most {SUBJECT_BYTES_MAX} are allowed",
                subject.len()
            )));
        }
        let key = RowKey::subject(subject);
        let before = row_before(&key, cache, store, staged)?;
        let before =
            before.as_ref().map(|row| row.read().map_err(|error| rejected(error.to_string()))).transpose()?;
        if before.is_none() && kind != Kind::Delete && change.after.contains(&Slot::Unchanged) {
            // Nobody knows all of this row yet. A source that reads its tables tells such a row once more, as a whole; until
            // then there is none.
            self.left_out.get_or_insert(event.offset);
            return Ok(());
        }
        let after = match kind {
            Kind::Delete => None,
            Kind::Upsert | Kind::Update => {
                let known = before.as_ref().map(|row| row.slots.as_slice());
                Some(self.fill(change.after, known)?)
            }
        };
        let same = match (&before, &after) {
            (Some(before), Some(after)) => before.slots == *after && !self.places_matter,
            (None, None) => true,
            _ => false,
        };
        if !same {
            if let Some(before) = &before {
                self.rows.push(&before.slots, before.place, true);
            }
            if let Some(after) = &after {
                self.rows.push(after, place, false);
            }
            let stored = after.map(|after| StoredRow::new(1, place, &after));
            drop(before);
            staged.insert(key, stored);
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one step")]
    fn whole(
        &mut self,
        event: &StoredRef<'_>,
        kind: Kind,
        change: Change<'_>,
        place: RowPlace,
        cache: Option<&mut RowCache>,
        store: &dyn Store,
        staged: &mut Staged,
    ) -> Result<(), ApplyError> {
        let before = if kind == Kind::Upsert { None } else { Some(change.before) };
        if before.is_some() && !change.has_before {
            return Err(rejected(
                "the change does not tell the row before it: set REPLICA IDENTITY FULL on the table",
            ));
        }
        let after = match kind {
            Kind::Delete => None,
            Kind::Upsert | Kind::Update => Some(self.fill(change.after, before.as_deref())?),
        };
        if before == after {
            return Ok(());
        }
        let key = event.event.subject.map_or_else(|| RowKey::event(place), RowKey::subject);
        let mut count = 0u64;
        if self.keeps_rows {
            let known = row_before(&key, cache, store, staged)?;
            let known = known
                .as_ref()
                .map(|row| row.read().map_err(|error| rejected(error.to_string())))
                .transpose()?;
            count = known.map_or(0, |row| row.count);
        }
        if let Some(before) = &before {
            self.rows.push(before, place, true);
            count = count.saturating_sub(1);
        }
        if let Some(after) = &after {
            self.rows.push(after, place, false);
            count += 1;
        }
        if self.keeps_rows {
            let row = after.as_ref().or(before.as_ref()).map(Vec::as_slice).unwrap_or_default();
            staged.insert(key, (count > 0).then(|| StoredRow::new(count, place, row)));
        }
        Ok(())
    }

    /// The row with the values that the change did not tell.
    fn fill<'a>(
        &self,
        mut row: Vec<Slot<'a>>,
        before: Option<&[Slot<'a>]>,
    ) -> Result<Vec<Slot<'a>>, ApplyError> {
        for (index, slot) in row.iter_mut().enumerate() {
            if *slot == Slot::Unchanged {
                *slot = before.and_then(|before| before.get(index)).cloned().ok_or_else(|| {
                    let name = self.names.get(index).map(String::as_str).unwrap_or_default();
                    rejected(format!(
                        "the change leaves out the value of `{name}`, which is not known from before"
                    ))
                })?;
            }
        }
        Ok(row)
    }
}

/// The row of a key before the change.
pub(crate) fn row_before(
    key: &RowKey,
    cache: Option<&mut RowCache>,
    store: &dyn Store,
    staged: &Staged,
) -> Result<Option<StoredRow>, ApplyError> {
    if let Some(row) = staged.get(key) {
        return Ok(row.clone());
    }
    let Some(cache) = cache else { return Ok(None) };
    Ok(cache.get(key, store).map_err(state)?.cloned())
}

pub(crate) fn rejected(reason: impl Into<String>) -> ApplyError {
    ApplyError::Rejected(reason.into())
}

/// State that cannot be read stops the view; it does not reject an event.
pub(crate) fn state(error: StateError) -> ApplyError {
    match error {
        StateError::State(error) => ApplyError::State(error),
        StateError::Malformed(malformed) => ApplyError::State(damaged(malformed)),
        StateError::Key(message) => ApplyError::Rejected(message),
    }
}

/// Stored bytes that cannot be read, as an error of the store.
pub(crate) fn damaged(error: crate::state::Malformed) -> tw_state::Error {
    tw_state::Error::Engine { folder: std::path::PathBuf::new(), source: Box::new(error) }
}
