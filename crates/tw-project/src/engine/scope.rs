//! The tables of one statement: which it names, and what they held at the moment at which it reads.

use super::{Engine, ViewReading};
use crate::catalog::Table;
use crate::dialect::Tables;
use crate::query::history::HistoryTable;
use crate::query::state::{StateTable, ViewState};
use crate::rows::columns::TableColumns;
use crate::sql::normal;
use crate::view::{view_name_of_latest, view_name_of_projection};
use crate::{Catalog, Error, StateView};
use datafusion::catalog::TableProvider;
use datafusion::common::{DataFusionError, Result as DataFusionResult, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::TableSource;
use datafusion::sql::sqlparser::ast::{ObjectName, Query, visit_relations};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::time::Instant;
use tw_state::Snapshot;
use tw_types::{Offset, PartitionId, StreamDef, StreamPartition, Token};

/// The name of a table in a statement: schema and name.
type TableName = (Option<String>, String);

/// The tables of a statement, at one moment.
pub(super) struct Scope {
    catalog: Catalog,
    tables: BTreeMap<TableName, Arc<dyn TableProvider>>,
    /// What they reflect.
    pub(super) reflects: Token,
}

/// A table before it is read.
enum Source {
    State(ViewReading, Arc<StateView>),
    History(Arc<StreamDef>, TableColumns),
}

/// The view in which the rows of a table are, if it is one.
pub(super) fn view_name(table: &Table) -> Option<String> {
    match table {
        Table::Projection(def) => Some(view_name_of_projection(&def.name)),
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

impl Scope {
    /// Finds the tables that `query` names, waits until they have what `token` demands, and fixes what is read of them.
    pub(super) async fn open(
        engine: &Engine,
        query: &Query,
        token: Option<&Token>,
        deadline: Instant,
    ) -> Result<Self, Error> {
        let catalog = engine.catalog();
        let mut names = Vec::new();
        let _visited: ControlFlow<()> = visit_relations(query, |name| {
            names.extend(table_name(name));
            ControlFlow::Continue(())
        });
        names.sort();
        names.dedup();
        let mut found = Vec::new();
        for (schema, name) in names {
            // Names of WITH are no tables; one that is nothing at all is found to be missing when the statement is planned.
            let Ok(table) = catalog.table(schema.as_deref(), &name) else { continue };
            wait(engine, &table, token, deadline).await?;
            found.push(((schema, name), table));
        }
        let mut sources = Vec::new();
        for (name, table) in found {
            let source = match (&table, view_name(&table)) {
                (_, Some(view)) => {
                    let reading = engine.reading(&view)?;
                    let state_view = reading.state_view()?;
                    Source::State(reading, state_view)
                }
                (Table::Rows(stream), None) => Source::History(stream.clone(), TableColumns::of_rows(stream)),
                (Table::History(stream), None) => {
                    Source::History(stream.clone(), TableColumns::of_history(stream))
                }
                _ => continue,
            };
            sources.push((name, source));
        }
        let mut scope = Self { catalog, tables: BTreeMap::new(), reflects: Token::new() };
        // All states are of one moment, which comes before the ends of the histories: whoever joins both finds nothing in a
        // state that its history does not have.
        let snapshot: Arc<dyn Snapshot> = Arc::from(engine.0.store.snapshot());
        for (name, source) in sources {
            let provider = scope.provider(engine, source, &snapshot)?;
            scope.tables.insert(name, provider);
        }
        Ok(scope)
    }

    fn provider(
        &mut self,
        engine: &Engine,
        source: Source,
        snapshot: &Arc<dyn Snapshot>,
    ) -> Result<Arc<dyn TableProvider>, Error> {
        Ok(match source {
            Source::State(reading, view) => {
                let stream = &view.plan().stream;
                for partition in (0..stream.partitions).map(PartitionId) {
                    let end = engine.0.views.committed(snapshot.as_ref(), reading.keyspace, partition)?;
                    self.reflects
                        .advance(StreamPartition::new(stream.id, partition), end.unwrap_or(Offset::ZERO));
                }
                let state = ViewState {
                    plan: view.plan().clone(),
                    keyspace: reading.keyspace,
                    snapshot: snapshot.clone(),
                    list_bytes_max: engine.options().query_memory_bytes_max,
                    _held: reading.held,
                };
                Arc::new(StateTable { state })
            }
            Source::History(stream, columns) => {
                let mut ends = Vec::with_capacity(stream.partitions as usize);
                for partition in (0..stream.partitions).map(PartitionId) {
                    let at = StreamPartition::new(stream.id, partition);
                    let end = engine.0.log.bounds(at)?.end;
                    self.reflects.advance(at, end);
                    ends.push(end);
                }
                let schema = columns.schema();
                Arc::new(HistoryTable { log: engine.0.log.clone(), stream, columns, schema, ends })
            }
        })
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
