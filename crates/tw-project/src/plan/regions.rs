//! What a projection of a stream that is in several regions must not use.
//!
//! Regions that have received the same events show the same (REG-1), so a projection can only use what is the same everywhere.
//! Everything that an event brings along is, and its partition is, too; its offset and its version are given by each region as the
//! event arrives (`docs/adr/0018`). This is checked where a projection is defined, and where its stream gets another mode; never
//! while events are processed.

use super::{ProjectionPlan, compile};
use crate::Error;
use crate::catalog::Catalog;
use crate::rows::columns::{Meta, TableColumn, TableColumns};
use tw_types::{StreamDef, StreamMode, StreamOptions};

/// Whether each region has a value of its own for a column.
fn differs(column: &TableColumn) -> bool {
    match column {
        TableColumn::Meta(Meta::Offset | Meta::Version) => true,
        TableColumn::Meta(
            Meta::Partition | Meta::Id | Meta::Source | Meta::Type | Meta::Subject | Meta::Time | Meta::Hlc,
        )
        | TableColumn::Member(_)
        | TableColumn::Data => false,
    }
}

/// The name of the first of these columns that is another one in each region.
fn first_that_differs(columns: &TableColumns) -> Option<&'static str> {
    columns.columns.iter().find_map(|column| match column {
        TableColumn::Meta(meta) if differs(column) => Some(meta.name()),
        _ => None,
    })
}

/// Refuses a projection of a stream of several regions that uses what is another one in each region.
///
/// # Errors
/// [`Error::Refused`].
pub(super) fn check(stream: &StreamDef, columns: &TableColumns) -> Result<(), Error> {
    match first_that_differs(columns) {
        Some(column) if stream.options.mode != StreamMode::Local => Err(Error::Refused(format!(
            "not supported in a projection of `{}`: `{column}`: the stream is {}, and this column differs from region to region: name the columns that you need instead of *, and put events in order by `_hlc`",
            stream.name,
            stream.options.mode.as_str(),
        ))),
        _ => Ok(()),
    }
}

/// Checks that the projections of a stream allow the mode that it is to get.
///
/// # Errors
/// [`Error::Refused`] with the first one that does not.
pub(crate) fn check_mode(
    catalog: &Catalog,
    before: &StreamDef,
    options: &StreamOptions,
) -> Result<(), Error> {
    if options.mode == before.options.mode || options.mode == StreamMode::Local {
        return Ok(());
    }
    for projection in catalog.readers(before.id) {
        let query = &catalog.projection(projection)?.def.query;
        // One that does not fit its stream any more shows nothing that could differ.
        let Ok(ProjectionPlan { columns, .. }) = compile(catalog, query) else { continue };
        if let Some(column) = first_that_differs(&columns) {
            return Err(Error::Refused(format!(
                "`{}` cannot become {}: the projection `{projection}` uses `{column}`, which would differ from region to region: drop the projection, or replace it by one without that column",
                before.name,
                options.mode.as_str(),
            )));
        }
    }
    Ok(())
}
