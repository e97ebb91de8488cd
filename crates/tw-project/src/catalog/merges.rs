//! Streams whose rows are merged: whether the classes that are declared can work.

use super::streams::refuse;
use crate::Error;
use crate::merged::custom;
use tw_log::NewStream;
use tw_merge::declare::{self, Field, Mode};
use tw_types::{Cleanup, Merge, StreamMode};

fn in_column(name: &str, error: &Error) -> Error {
    Error::Refused(format!("column `{name}`: {error}"))
}

/// Checks the classes of a new stream's columns, or of a stream as it is to become.
///
/// # Errors
/// [`Error::Refused`].
pub(crate) fn check_merges(new: &NewStream) -> Result<(), Error> {
    let Some(schema) = new.schema.as_ref().filter(|schema| schema.merges()) else { return Ok(()) };
    let lww = Merge::Lww;
    let fields: Vec<Field<'_>> = schema
        .columns
        .iter()
        .map(|column| Field {
            name: &column.name,
            ty: &column.ty,
            not_null: !column.nullable,
            unique: false,
            merge: column.merge.as_ref().unwrap_or(&lww),
        })
        .collect();
    for field in &fields {
        match field.merge {
            Merge::Unique if new.options.mode == StreamMode::ActiveActive && new.options.home.is_none() => {
                return refuse(format!(
                    "the column `{}` is `unique`, and it is not said which region decides who has a value: create the stream WITH (home = 1), which may be \
                     any region and can be moved later",
                    field.name
                ));
            }
            Merge::Lww | Merge::Max | Merge::Min | Merge::Unique | Merge::Custom(_) if field.not_null => {
                return refuse(format!(
                    "the column `{}` cannot be NOT NULL: a change may leave it out, and a delete that another region has seen may take it away: leave \
                     NOT NULL out",
                    field.name
                ));
            }
            _ => {}
        }
    }
    let has_unique = fields.iter().any(|field| *field.merge == Merge::Unique);
    if has_unique && let Err(error) = new.name.of_claims() {
        return refuse(format!(
            "its unique values need a stream of their own, and {error}: take a shorter name"
        ));
    }
    let mode = match new.options.mode {
        StreamMode::ActiveActive => Mode::ActiveActive,
        StreamMode::HomeRegion => Mode::HomeRegion,
        StreamMode::Local => Mode::Local,
    };
    declare::check(&fields, mode).map_err(|error| Error::Refused(error.to_string()))?;
    for field in &fields {
        if let Merge::Custom(expr) = field.merge {
            custom::check(field.ty, expr).map_err(|error| in_column(field.name, &error))?;
        }
    }
    if schema.key != [tw_types::Schema::SUBJECT] {
        return refuse(
            "rows that are merged are told apart by the subject of their events: leave the key out"
                .to_owned(),
        );
    }
    if new.options.cleanup == Cleanup::Compact {
        return refuse(
            "rows that are merged need all changes: use the cleanup `delete` instead of `compact`".to_owned(),
        );
    }
    if new.options.retention_ms.is_some() || new.options.retention_bytes.is_some() {
        return refuse("rows that are merged need all changes: leave retention out".to_owned());
    }
    Ok(())
}
