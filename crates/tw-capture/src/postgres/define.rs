//! The streams of captured tables.

use super::layout::next_version;
use crate::{Error, Options, Preflight};
use std::sync::Arc;
use tw_log::{Log, NewStream};
use tw_types::{RegionId, Schema, StreamDef, StreamKind, StreamMode, StreamName, StreamOptions};

/// The largest event of a captured table: the most that a stream allows.
const EVENT_BYTES_MAX: u32 = 16 << 20;

/// Defines the streams of the tables that a check has found, so that they can be queried before the source has
/// connected. Streams of tables that are there already stay as they are; a source that runs keeps their columns up to
/// date.
///
/// # Errors
/// [`Error::Refused`] with the first problem of the check, or when a stream of that name holds no table;
/// [`Error::Log`].
pub async fn define(
    options: &Options,
    found: &Preflight,
    log: &dyn Log,
) -> Result<Vec<Arc<StreamDef>>, Error> {
    if let Some(first) = found.problems.first() {
        return Err(Error::refused(first.problem.clone(), first.remedy.clone()));
    }
    let mut defined = Vec::with_capacity(found.tables.len());
    for table in &found.tables {
        let name = StreamName::new(&table.stream).map_err(|invalid| Error::Option {
            option: "tables",
            value: table.table.clone(),
            rule: invalid.to_string(),
        })?;
        defined.push(table_stream(log, name, options, table.schema.clone()).await?);
    }
    Ok(defined)
}

/// The stream of a table, which is made when it is not there.
pub(crate) async fn table_stream(
    log: &dyn Log,
    name: StreamName,
    source: &Options,
    schema: Schema,
) -> Result<Arc<StreamDef>, Error> {
    let home = (source.mode == StreamMode::HomeRegion).then(|| log.region());
    if home == Some(RegionId(0)) {
        return Err(Error::refused(
            "the source has the mode `home-region`, and this is no region of several",
            "leave the mode out, or give this installation a number in [region] of its configuration",
        ));
    }
    let options = StreamOptions {
        event_bytes_max: EVENT_BYTES_MAX,
        mode: source.mode,
        home,
        ..StreamOptions::default()
    };
    let stream = NewStream {
        name: name.clone(),
        kind: StreamKind::Table,
        partitions: source.partitions,
        schema: next_version(None, schema),
        options,
    };
    let known = log.streams().get(name.as_str()).ok().cloned();
    let def = match known {
        Some(def) => def,
        None => match log.create_stream(stream).await {
            // Whoever declares the source may define its streams at this very moment.
            Err(tw_log::Error::StreamExists(_)) => log.streams().get(name.as_str())?.clone(),
            outcome => outcome?,
        },
    };
    if def.kind == StreamKind::Table {
        return Ok(def);
    }
    Err(Error::refused(
        format!("there is a stream `{name}` that holds no table"),
        "call the source differently, or drop that stream",
    ))
}
