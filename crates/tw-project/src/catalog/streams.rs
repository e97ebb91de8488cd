//! Streams that are defined without a statement: the rules of CREATE STREAM and ALTER STREAM hold for them too.

use super::{Catalog, check_merges};
use crate::Error;
use crate::plan::check_mode;
use crate::rows::columns::is_reserved;
use tw_log::NewStream;
use tw_types::{Cleanup, Column, Schema, StreamDef, StreamKind, StreamOptions};

impl Catalog {
    /// Checks a new stream: its name, and the columns that it declares.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Refused`].
    pub fn check_new_stream(&self, new: &NewStream) -> Result<(), Error> {
        self.check_new_name("stream", new.name.as_str())?;
        check_merges(new)?;
        new.schema.iter().flat_map(|schema| &schema.columns).try_for_each(check_column_name)
    }

    /// Checks what a stream is to become. Columns can be added, because events that are there already do without them; what
    /// is declared stays, because those events were checked against it and are read by it. Only how sensitive a column is
    /// can change.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Refused`].
    pub fn check_altered_stream(&self, changed: &NewStream) -> Result<(), Error> {
        let name = changed.name.as_str();
        let before = self.streams.get(name).map_err(|_| self.no_stream(name))?;
        if before.name.is_system() {
            return refuse(format!("`{name}` is one of the platform's own streams, which cannot be changed"));
        }
        check_cleanup(before, &changed.options)?;
        check_merges(changed)?;
        check_mode(self, before, &changed.options)?;
        match (&before.schema, &changed.schema) {
            (None, None) => Ok(()),
            (Some(before), Some(after)) if (&before.columns, &before.key) == (&after.columns, &after.key) => {
                Ok(())
            }
            _ if before.kind == StreamKind::Table => refuse(of_source(before)),
            (None, Some(_)) => refuse(format!(
                "`{name}` is a stream of plain JSON, which has no declared columns: create another stream with columns"
            )),
            (Some(_), None) => refuse(format!(
                "the columns of `{name}` cannot be removed: create another stream without columns"
            )),
            (Some(before), Some(after)) => check_columns(name, before, after),
        }
    }
}

/// Checks that a captured table is not to be compacted: its changes need not tell whole rows, and what is compacted could not be
/// put together again.
///
/// # Errors
/// [`Error::Refused`].
pub(crate) fn check_cleanup(before: &StreamDef, options: &StreamOptions) -> Result<(), Error> {
    let begins = options.cleanup == Cleanup::Compact && before.options.cleanup != Cleanup::Compact;
    if before.kind != StreamKind::Table || !begins {
        return Ok(());
    }
    refuse(format!(
        "`{}` is a captured table, which cannot be compacted: a change need not tell the whole row, so that rows would be lost",
        before.name
    ))
}

/// Checks that the columns of a stream are those of before, and new ones.
fn check_columns(name: &str, before: &Schema, after: &Schema) -> Result<(), Error> {
    if before.key != after.key {
        return refuse(format!("the key of `{name}` cannot be changed: create another stream"));
    }
    for (index, old) in before.columns.iter().enumerate() {
        let same = |new: &&Column| {
            (&new.name, &new.ty, new.nullable, &new.merge) == (&old.name, &old.ty, old.nullable, &old.merge)
        };
        if after.columns.get(index).filter(same).is_none() {
            return refuse(format!(
                "the column `{}` of `{name}` has to stay as it is, at its place: columns can be added at the end, not changed or removed",
                old.name
            ));
        }
    }
    let merges = before.merges();
    after.columns.iter().skip(before.columns.len()).try_for_each(|column| check_added_column(column, merges))
}

/// Checks a column that is added to a stream; `merges`: to one whose rows are merged, where a counter is 0 and a set is empty without a change.
///
/// # Errors
/// [`Error::Refused`].
pub(crate) fn check_added_column(column: &Column, merges: bool) -> Result<(), Error> {
    check_column_name(column)?;
    if !merges && column.merge.is_some() {
        return refuse(format!(
            "the new column `{}` cannot have a class: the other columns have none, so the stream's events are no changes of rows: create another stream",
            column.name
        ));
    }
    if column.nullable || merges {
        return Ok(());
    }
    refuse(format!("the new column `{}` cannot be NOT NULL: earlier events do not have it", column.name))
}

fn check_column_name(column: &Column) -> Result<(), Error> {
    if !is_reserved(&column.name) {
        return Ok(());
    }
    refuse(format!(
        "the column `{}` cannot be declared: names that start with `_` are the platform's own",
        column.name
    ))
}

/// Why the columns of a captured table are not changed here.
pub(crate) fn of_source(table: &StreamDef) -> String {
    format!("`{}` is a captured table: its columns are those of its source", table.name)
}

pub(super) fn refuse(reason: String) -> Result<(), Error> {
    Err(Error::Refused(reason))
}
