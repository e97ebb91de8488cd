//! SHOW and DESCRIBE.

use super::listing::Listing;
use super::{Engine, ViewStanding};
use crate::catalog::Table;
use crate::query::Answer;
use crate::rows::columns::TableColumns;
use crate::sql::{self, Name};
use crate::view::view_name_of_projection;
use crate::{Catalog, Error, plan, types};
use datafusion::arrow::datatypes::Schema;
use std::collections::BTreeMap;
use tw_types::{DataClass, PartitionId, StreamDef, StreamKind, StreamPartition};

/// What there is of a kind.
pub(super) fn show(engine: &Engine, catalog: &Catalog, listing: sql::Listing) -> Answer {
    match listing {
        sql::Listing::Streams => streams(engine, catalog),
        sql::Listing::Sources => engine.show_sources(&BTreeMap::new()),
        sql::Listing::Projections => projections(catalog, &engine.standings()),
        sql::Listing::Tables => tables(catalog),
    }
}

impl Engine {
    /// How the projections are on this node, by their names; those that do not run are left out.
    pub fn standings(&self) -> BTreeMap<String, ViewStanding> {
        let catalog = self.catalog();
        let names = catalog.projections().map(|projection| projection.def.name.clone());
        let standing = |name: String| {
            self.views_seam().standing(&view_name_of_projection(&name)).map(|standing| (name, standing))
        };
        names.filter_map(standing).collect()
    }

    /// SHOW PROJECTIONS, with how they are: on this node, as [`Engine::standings`] says, or on several
    /// ([`ViewStanding::merge`]).
    pub fn show_projections(&self, standings: &BTreeMap<String, ViewStanding>) -> Answer {
        projections(&self.catalog(), standings)
    }
}

fn kind_of(stream: &StreamDef) -> &'static str {
    match stream.kind {
        StreamKind::Table => "table",
        StreamKind::Events if stream.merges() => "merged",
        StreamKind::Events => "events",
    }
}

fn streams(engine: &Engine, catalog: &Catalog) -> Answer {
    let streams: Vec<&StreamDef> = catalog.streams().iter().map(AsRef::as_ref).collect();
    let events = |stream: &StreamDef| {
        (0..stream.partitions).try_fold(0u64, |sum, partition| {
            let bounds = engine.log().bounds(StreamPartition::new(stream.id, PartitionId(partition))).ok()?;
            Some(sum + bounds.end.0.saturating_sub(bounds.start.0))
        })
    };
    Listing::default()
        .text("name", streams.iter().map(|stream| stream.name.as_str()))
        .text("kind", streams.iter().map(|stream| kind_of(stream)))
        .number("partitions", streams.iter().map(|stream| Some(u64::from(stream.partitions))))
        .number(
            "columns",
            streams.iter().map(|stream| stream.schema.as_ref().map(|schema| schema.columns.len() as u64)),
        )
        .number("events", streams.iter().map(|stream| events(stream)))
        .answer()
}

fn projections(catalog: &Catalog, standings: &BTreeMap<String, ViewStanding>) -> Answer {
    let projections: Vec<_> = catalog.projections().collect();
    let standings: Vec<_> =
        projections.iter().map(|projection| standings.get(&projection.def.name)).collect();
    let stream = |id| catalog.streams().by_id(id).ok().map(|stream| stream.name.to_string());
    Listing::default()
        .text("name", projections.iter().map(|projection| projection.def.name.as_str()))
        .text_or_null("stream", projections.iter().map(|projection| stream(projection.def.stream)))
        .text_or_null(
            "state",
            standings.iter().map(|standing| standing.map(|standing| standing.state.as_str())),
        )
        .number("lag_events", standings.iter().map(|standing| standing.map(|standing| standing.lag_events)))
        .text_or_null(
            "error",
            standings.iter().map(|standing| standing.and_then(|standing| standing.error.as_deref())),
        )
        .text("query", projections.iter().map(|projection| projection.def.query.as_str()))
        .answer()
}

fn tables(catalog: &Catalog) -> Answer {
    let mut rows: Vec<(String, &str)> = catalog
        .streams()
        .iter()
        .map(|stream| (stream.name.to_string(), if stream.is_table() { "table" } else { "stream" }))
        .chain(catalog.projections().map(|projection| (projection.def.name.clone(), "projection")))
        .collect();
    rows.sort();
    Listing::default()
        .text("name", rows.iter().map(|(name, _)| name.as_str()))
        .text("kind", rows.iter().map(|(_, kind)| *kind))
        .answer()
}

/// The columns of a table, or the tables of a source.
pub(super) fn describe(engine: &Engine, catalog: &Catalog, name: &Name) -> Result<Answer, Error> {
    let table = match catalog.table(name.schema.as_deref(), &name.name) {
        Err(Error::NotFound { .. }) if name.schema.is_none() && catalog.source(&name.name).is_ok() => {
            return source(catalog, &name.name);
        }
        table => table?,
    };
    Ok(match table {
        Table::Projection(ref def) | Table::Next(ref def) => {
            // What is read may still be an older definition; without any, it is what will be.
            let view = engine
                .reading_for(&view_name_of_projection(&def.name), matches!(table, Table::Next(_)))
                .and_then(|reading| reading.state_view());
            let plan = view
                .map(|view| view.plan().clone())
                .or_else(|_| plan::compile(catalog, &def.query).map(std::sync::Arc::new))?;
            let key: Vec<usize> = plan.key_outputs.iter().flatten().copied().collect();
            columns(&plan.output, |index, _| key.contains(&index), None)
        }
        Table::Latest(stream) | Table::Rows(stream) => {
            let schema = TableColumns::of_rows(&stream).schema();
            let key = stream.schema.as_ref().map(|schema| schema.key.clone()).unwrap_or_default();
            columns(&schema, |_, name| key.iter().any(|key| key == name), Some(&stream))
        }
        Table::History(stream) => columns(&TableColumns::of_history(&stream).schema(), |_, _| false, None),
    })
}

fn columns(schema: &Schema, is_key: impl Fn(usize, &str) -> bool, stream: Option<&StreamDef>) -> Answer {
    let declared =
        |name: &str| stream.and_then(|stream| stream.schema.as_ref()).and_then(|schema| schema.column(name));
    let fields = schema.fields();
    let listing = Listing::default()
        .text("column", fields.iter().map(|field| field.name().as_str()))
        .text("type", fields.iter().map(|field| types::field_name(field)))
        .truth(
            "nullable",
            fields.iter().map(|field| match declared(field.name()) {
                Some(column) => column.nullable,
                None => !stream.is_some_and(StreamDef::merges),
            }),
        )
        .truth("key", fields.iter().enumerate().map(|(index, field)| is_key(index, field.name())))
        .text_or_null(
            "class",
            fields.iter().map(|field| {
                declared(field.name())
                    .filter(|column| column.class != DataClass::default())
                    .map(|column| column.class.to_string())
            }),
        );
    if !stream.is_some_and(StreamDef::merges) {
        return listing.answer();
    }
    let merge = |name: &str| declared(name)?.merge.as_ref().map(ToString::to_string);
    listing.text_or_null("merge", fields.iter().map(|field| merge(field.name()))).answer()
}

fn source(catalog: &Catalog, name: &str) -> Result<Answer, Error> {
    let source = &catalog.source(name)?.def;
    let table = |full: &str| match full.strip_prefix("public.") {
        Some(table) => format!("{name}.{table}"),
        None => format!("{name}.{full}"),
    };
    Ok(Listing::default()
        .text("table", source.tables.iter().map(String::as_str))
        .text("stream", source.tables.iter().map(|full| table(full)))
        .answer())
}
