//! The tables of one statement: which it names, and what they hold at the moment at which it reads.

use super::Engine;
use super::gather::Cut;
use crate::answers::{Source, State};
use crate::catalog::Table;
use crate::dialect::Tables;
use crate::gather::gathering::Gathering;
use crate::query::Bounds;
use crate::query::history::{Ends, HistoryTable};
use crate::query::state::StateTable;
use crate::rows::columns::TableColumns;
use crate::sql::normal;
use crate::view::{view_name_of_latest, view_name_of_projection};
use crate::{Catalog, Error};
use datafusion::catalog::TableProvider;
use datafusion::common::{DataFusionError, Result as DataFusionResult, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::TableSource;
use datafusion::sql::sqlparser::ast::{ObjectName, Query, visit_relations};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::time::Instant;
use tw_process::View as _;
use tw_types::{Cleanup, Offset, PartitionId, StreamDef, StreamOptions, StreamPartition, Token};

/// The name of a table in a statement: schema and name.
type TableName = (Option<String>, String);

/// The tables of a statement.
pub(super) struct Scope {
    catalog: Catalog,
    tables: BTreeMap<TableName, Arc<dyn TableProvider>>,
    /// The views among them.
    pub(super) views: Vec<Arc<Gathering>>,
    histories: Vec<(Arc<StreamDef>, Ends)>,
    /// All of them, as they are defined.
    pub(super) sources: Vec<Source>,
}

/// What a statement reads at one moment.
pub(super) struct Moment {
    /// Of each stream, up to where.
    pub(super) reflects: Token,
    /// None when it can be another one at the same cut.
    pub(super) state: Option<State>,
    /// Whether other nodes have parts of it.
    pub(super) is_remote: bool,
}

/// The view in which the rows of a table are, if it is one.
pub(super) fn view_name(table: &Table) -> Option<String> {
    match table {
        Table::Projection(def) | Table::Next(def) => Some(view_name_of_projection(&def.name)),
        Table::Latest(stream) => Some(view_name_of_latest(stream)),
        Table::Rows(_) | Table::History(_) => None,
    }
}

/// Schema and name, as [`TableReference`] will have them.
fn table_name(name: &ObjectName) -> Option<TableName> {
    let parts: Vec<String> = name.0.iter().map(|part| part.as_ident().map(normal)).collect::<Option<_>>()?;
    match parts.as_slice() {
        [name] => Some((None, name.clone())),
        [.., schema, name] => Some((Some(schema.clone()), name.clone())),
        [] => None,
    }
}

/// The names of the tables of a statement, those of WITH among them, each once.
fn table_names(query: &Query) -> Vec<TableName> {
    let mut names = Vec::new();
    let _visited: ControlFlow<()> = visit_relations(query, |name| {
        names.extend(table_name(name));
        ControlFlow::Continue(())
    });
    names.sort();
    names.dedup();
    names
}

/// The streams of which the tables of a statement are made, each once.
pub(super) fn streams(catalog: &Catalog, query: &Query) -> Vec<Arc<StreamDef>> {
    let found = table_names(query).into_iter().filter_map(|(schema, name)| {
        let table = catalog.table(schema.as_deref(), &name).ok()?;
        let id = stream_of(catalog, &table).ok()?.id;
        catalog.streams().by_id(id).ok().cloned()
    });
    let mut streams: Vec<Arc<StreamDef>> = found.collect();
    streams.sort_by_key(|stream| stream.id);
    streams.dedup_by_key(|stream| stream.id);
    streams
}

impl Scope {
    /// Finds the tables that `query` names, and waits until they have what `token` demands.
    pub(super) async fn open(
        engine: &Engine,
        query: &Query,
        token: Option<&Token>,
        deadline: Instant,
    ) -> Result<Self, Error> {
        let catalog = engine.catalog();
        let names = table_names(query);
        let mut found = Vec::new();
        for (schema, name) in names {
            // Names of WITH are no tables; one that is nothing at all is found to be missing when the statement is planned.
            let Ok(table) = catalog.table(schema.as_deref(), &name) else { continue };
            // Those who have parts of a view wait themselves.
            if view_name(&table).is_none() || !engine.0.joined {
                wait(engine, &table, token, deadline).await?;
            }
            found.push(((schema, name), table));
        }
        let (tables, views, histories) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut scope = Self { catalog, tables, views, histories, sources: Vec::new() };
        for (name, table) in found {
            if let Some(provider) = scope.provider(engine, &name.1, &table)? {
                scope.tables.insert(name, provider);
            }
        }
        Ok(scope)
    }

    fn provider(
        &mut self,
        engine: &Engine,
        name: &str,
        table: &Table,
    ) -> Result<Option<Arc<dyn TableProvider>>, Error> {
        let (stream, columns) = match (table, view_name(table)) {
            (_, Some(view)) => {
                let next = matches!(table, Table::Next(_));
                let stream = stream_of(&self.catalog, table)?;
                let view =
                    if next { engine.find_next(&view, stream)? } else { engine.find_view(&view, stream)? };
                self.sources.push(Source::View {
                    table: name.to_owned(),
                    view: view.name().to_owned(),
                    definition: view.definition(),
                    partitions: view.plan().stream.partitions,
                });
                let gathering = Gathering::new(name.to_owned(), view, engine.0.joined);
                let gathering = Arc::new(if next { gathering.of_next() } else { gathering });
                self.views.push(gathering.clone());
                return Ok(Some(Arc::new(StateTable { gathering })));
            }
            (Table::Rows(stream), None) => (stream.clone(), TableColumns::of_rows(stream)),
            (Table::History(stream), None) => (stream.clone(), TableColumns::of_history(stream)),
            _ => return Ok(None),
        };
        let as_events = matches!(table, Table::History(_));
        self.sources.push(Source::Events { table: name.to_owned(), stream: stream.clone(), as_events });
        let (schema, ends) = (columns.schema(), Ends::default());
        self.histories.push((stream.clone(), ends.clone()));
        let log = engine.0.log.clone();
        Ok(Some(Arc::new(HistoryTable { log, stream, columns, schema, ends })))
    }

    /// The partitions of each view that a plan reads.
    pub(super) fn needs(&self) -> Vec<Vec<PartitionId>> {
        self.views.iter().map(|view| view.needs()).collect()
    }

    /// Says which partitions of each view a plan will read.
    pub(super) fn need(&self, needs: &[Vec<PartitionId>]) {
        self.views.iter().zip(needs).for_each(|(view, needs)| view.need(needs.iter().copied()));
    }

    /// Fixes what is read by a plan that was made of these tables, for a statement that is `about` something. Gives what that is; None if a view has another definition by now.
    pub(super) async fn fix(
        &self,
        engine: &Engine,
        token: Option<&Token>,
        bounds: Bounds,
        about: Option<&str>,
    ) -> Result<Option<Moment>, Error> {
        // All states of this node are of one moment, which comes before the ends of the histories, as those of other nodes do:
        // whoever joins both finds nothing in a state that its history does not have.
        if !engine.0.joined {
            self.views.iter().for_each(|view| view.need(view.partitions()));
        }
        let nothing = Token::new();
        let Some(cut) = engine.fix(&self.views, token.unwrap_or(&nothing), bounds, about).await? else {
            return Ok(None);
        };
        let Cut { ends: mut reflects, states, is_remote } = cut;
        let mut histories = Vec::new();
        for (stream, ends) in &self.histories {
            let mut all = Vec::with_capacity(stream.partitions as usize);
            for partition in (0..stream.partitions).map(PartitionId) {
                let at = StreamPartition::new(stream.id, partition);
                let bounds = engine.0.log.bounds(at)?;
                reflects.advance(at, bounds.end);
                all.push(bounds.end);
                histories.push((bounds.start, bounds.end));
            }
            let _once = ends.set(all);
        }
        let lasts = self.histories.iter().all(|(stream, _)| keeps_all(stream));
        let state = states.filter(|_| lasts).map(|mut nodes| {
            nodes.sort_unstable();
            State { nodes, histories }
        });
        Ok(Some(Moment { reflects, state, is_remote }))
    }

    /// The streams of which events are read, in their order.
    pub(super) fn streams(&self) -> impl Iterator<Item = &Arc<StreamDef>> {
        self.histories.iter().map(|(stream, _)| stream)
    }
}

/// Whether nothing is ever removed of a stream.
fn keeps_all(stream: &StreamDef) -> bool {
    let StreamOptions { retention_ms, retention_bytes, cleanup, topic, .. } = &stream.options;
    // What others do with a topic of theirs is not known.
    retention_ms.is_none() && retention_bytes.is_none() && *cleanup == Cleanup::Delete && topic.is_none()
}

/// The stream that a table is made of.
pub(super) fn stream_of<'a>(catalog: &'a Catalog, table: &'a Table) -> Result<&'a StreamDef, Error> {
    match table {
        Table::Projection(def) | Table::Next(def) => Ok(catalog.streams().by_id(def.stream)?),
        Table::Latest(stream) | Table::Rows(stream) | Table::History(stream) => Ok(stream),
    }
}

/// Waits until a table has what a token demands of its stream.
pub(super) async fn wait(
    engine: &Engine,
    table: &Table,
    token: Option<&Token>,
    deadline: Instant,
) -> Result<(), Error> {
    let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(()) };
    if matches!(table, Table::Next(_)) {
        // It is read as far as it is.
        return Ok(());
    }
    let left = deadline.saturating_duration_since(Instant::now());
    if let Some(view) = view_name(table) {
        let waited = engine.0.views.wait_for(&view, token, left).await;
        // One that cannot be waited for because it does not run says why.
        return waited.or_else(|error| match error {
            Error::NotReadable { .. } => engine.reading(&view).and(Err(error)),
            error => Err(error),
        });
    }
    let Some(stream) = table.stream() else { return Ok(()) };
    for (at, end) in token.iter().filter(|(at, end)| at.stream == stream.id && *end > Offset::ZERO) {
        let signal = engine.0.log.end_signal(at)?;
        if tokio::time::timeout_at(deadline, signal.over(end.0 - 1)).await.is_err() {
            return Err(Error::TokenTimeout {
                table: stream.name.to_string(),
                timeout_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            });
        }
    }
    Ok(())
}

impl Tables for Scope {
    fn table(&self, name: &TableReference) -> DataFusionResult<Arc<dyn TableSource>> {
        let key = (name.schema().map(str::to_owned), name.table().to_owned());
        match self.tables.get(&key) {
            Some(provider) => Ok(provider_as_source(provider.clone())),
            None => {
                // It was not found before, and is not now: the error says so.
                let error = match self.catalog.table(name.schema(), name.table()) {
                    Err(error) => error,
                    Ok(_) => Error::NotFound { what: "table", name: name.to_string(), hint: String::new() },
                };
                Err(DataFusionError::External(Box::new(error)))
            }
        }
    }
}
