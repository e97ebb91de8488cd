//! A view's state as a table: a projection's result, or the latest rows of a captured table.

use super::gather::GatherExec;
use super::produce::produce;
use super::prune;
use crate::gather::filter::{Filter, keep};
use crate::gather::gathering::{Gathering, RemotePart};
use crate::gather::groups::{Budget, Feed, FetchedGroups};
use crate::gather::request::{Get, GetGroups, GetRows, Hex};
use crate::plan::ProjectionPlan;
use crate::rows::slot::Slot;
use crate::view::{ViewReader, key_start};
use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures_util::future::try_join_all;
use std::fmt;
use std::sync::Arc;
use tokio::sync::mpsc::Sender;
use tw_order::partition_of;
use tw_state::{Keyspace, Snapshot};
use tw_types::PartitionId;

/// The state of some partitions of a view in a snapshot, with whatever keeps it from being removed while it is read.
#[derive(Clone)]
pub(crate) struct ViewState {
    pub(crate) plan: Arc<ProjectionPlan>,
    pub(crate) keyspace: Keyspace,
    pub(crate) snapshot: Arc<dyn Snapshot>,
    pub(crate) partitions: Vec<PartitionId>,
    /// The most bytes that the arrays of a batch can have.
    pub(crate) list_bytes_max: usize,
    pub(crate) _held: Arc<dyn std::any::Any + Send + Sync>,
}

/// See the module's text.
pub(crate) struct StateTable {
    pub(crate) gathering: Arc<Gathering>,
}

impl fmt::Debug for StateTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateTable").field("table", &self.gathering.table).finish_non_exhaustive()
    }
}

/// What is read of the state.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    /// Everything.
    All,
    /// The groups whose keys start with these values.
    Groups(Vec<Slot<'static>>),
    /// The row of this subject.
    Row(String),
}

impl ProjectionPlan {
    /// The part of the state in which the rows are whose columns have these values.
    pub(crate) fn part(&self, value_of: impl Fn(&str) -> Option<ScalarValue>) -> Part {
        if self.grouping.is_some() {
            let mut values = Vec::new();
            for output in self.key_outputs.iter().map_while(Option::as_ref) {
                let Some(value) = self.output.fields().get(*output).and_then(|field| {
                    value_of(field.name()).filter(|value| {
                        value.data_type().equals_datatype(field.data_type())
                            || both_text(value, field.data_type())
                    })
                }) else {
                    break;
                };
                let Some(slot) = prune::slot(&value) else { break };
                values.push(slot);
            }
            return if values.is_empty() { Part::All } else { Part::Groups(values) };
        }
        self.subject(value_of).map_or(Part::All, Part::Row)
    }

    /// The subject of the row whose key has these values, as capture writes it: the text of a key of one column, a JSON array of
    /// texts for others.
    fn subject(&self, value_of: impl Fn(&str) -> Option<ScalarValue>) -> Option<String> {
        let schema = self.stream.schema.as_ref()?;
        // Only where the result has the table's columns under their own names.
        if !self.before.is_empty() || schema.key.is_empty() {
            return None;
        }
        if schema.merges() {
            return prune::text(&value_of(tw_types::Schema::SUBJECT)?).map(str::to_owned);
        }
        let texts = schema
            .key
            .iter()
            .map(|name| {
                let value = value_of(name)?;
                match &value {
                    ScalarValue::Int16(_) | ScalarValue::Int32(_) | ScalarValue::Int64(_) => {
                        Some(value.to_string())
                    }
                    other => prune::text(other).map(str::to_owned),
                }
            })
            .collect::<Option<Vec<String>>>()?;
        match texts.as_slice() {
            [one] if !one.is_empty() && !one.starts_with('[') => Some(one.clone()),
            many => serde_json::to_string(many).ok(),
        }
    }
}

fn both_text(value: &ScalarValue, ty: &DataType) -> bool {
    prune::text(value).is_some() && *ty == DataType::Utf8View
}

impl StateTable {
    fn plan(&self) -> &ProjectionPlan {
        self.gathering.plan()
    }

    /// Whether rows are filtered where they are.
    fn filters_rows(&self) -> bool {
        self.gathering.joined && self.plan().grouping.is_none()
    }
}

#[async_trait]
impl TableProvider for StateTable {
    fn schema(&self) -> SchemaRef {
        self.plan().output.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let schema = self.schema();
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let mut support = prune::pushdown(filters, &columns);
        if self.filters_rows() {
            for (filter, support) in filters.iter().zip(&mut support) {
                if Filter::of(filter, &schema).is_some() {
                    *support = TableProviderFilterPushDown::Exact;
                }
            }
        }
        Ok(support)
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = self.plan();
        let part = plan.part(|column| prune::equal_to(filters, column));
        self.gathering.need(plan.partitions_of(&part));
        let (schema, wanted) = (self.schema(), projection.cloned());
        let gathering = self.gathering.clone();
        if !self.filters_rows() {
            let reader = StateReader { gathering, schema: schema.clone(), part, wanted, rows: None };
            let readers: Vec<Arc<dyn PartitionStream>> = vec![Arc::new(reader)];
            return Ok(Arc::new(StreamingTableExec::try_new(schema, readers, projection, [], false, limit)?));
        }
        let conditions: Vec<_> = filters.iter().filter_map(|filter| Filter::of(filter, &schema)).collect();
        // What is checked above may leave out rows that were read.
        let rows_max = limit.filter(|_| conditions.len() == filters.len()).map(|limit| limit as u64);
        let rows = Some(RowsWanted { filter: Filter::all(conditions), rows_max });
        let schema = match projection {
            Some(columns) => Arc::new(schema.project(columns)?),
            None => schema,
        };
        let reader = StateReader { gathering, schema, part, wanted, rows };
        Ok(Arc::new(GatherExec::rows(reader, limit)?))
    }
}

/// Which rows are wanted of a view that is not grouped.
#[derive(Debug, Clone)]
pub(super) struct RowsWanted {
    pub(super) filter: Option<Filter>,
    /// So many of each node are enough.
    pub(super) rows_max: Option<u64>,
}

/// Reads the state.
#[derive(Clone)]
pub(super) struct StateReader {
    pub(super) gathering: Arc<Gathering>,
    /// That of the batches.
    pub(super) schema: SchemaRef,
    pub(super) part: Part,
    /// The columns whose values matter; None: all.
    pub(super) wanted: Option<Vec<usize>>,
    /// Which rows are wanted, of which only those columns are given; None if that is not up to the reader.
    pub(super) rows: Option<RowsWanted>,
}

impl fmt::Debug for StateReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateReader").field("part", &self.part).finish_non_exhaustive()
    }
}

impl PartitionStream for StateReader {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        produce(&self.schema, |builder| self.start(builder))
    }
}

impl StateReader {
    fn start(&self, builder: &mut RecordBatchReceiverStreamBuilder) -> Result<()> {
        let fixed = self.gathering.fixed()?;
        if fixed.remote.is_empty() || self.rows.is_some() {
            if let Some(state) = fixed.local.clone() {
                let (reader, output) = (self.clone(), builder.tx());
                builder.spawn_blocking(move || reader.read_here(&state, &[], &output));
            }
            for remote in &fixed.remote {
                self.start_rows(remote, builder);
            }
            return Ok(());
        }
        let get = self.gathering.plan().groups_wanted(&self.part, self.wanted.as_deref())?;
        let budget = Budget::new(fixed.asking.bounds.memory_bytes_max);
        if get.one {
            let (reader, output) = (self.clone(), builder.tx());
            builder.spawn(async move { reader.read_group(get, &budget, output).await });
            return Ok(());
        }
        let mut fetched = Vec::new();
        for remote in &fixed.remote {
            for &partition in &remote.partitions {
                // One is read while the next one comes.
                let (sender, frames) = tokio::sync::mpsc::channel(2);
                fetched.push(FetchedGroups::new(partition, Feed::Channel(frames), budget.clone()));
                let (gathering, remote, get) = (self.gathering.clone(), remote.clone(), get.clone());
                builder.spawn(async move {
                    gathering.fetch_groups(&remote, partition, Get::Groups(get), &sender).await
                });
            }
        }
        let (reader, output) = (self.clone(), builder.tx());
        builder.spawn_blocking(move || reader.read_groups(&fetched, &output));
        Ok(())
    }

    /// Fetches the rows that another node has.
    fn start_rows(&self, remote: &RemotePart, builder: &mut RecordBatchReceiverStreamBuilder) {
        let needed = self.gathering.plan().partitions_of(&self.part);
        let partitions: Vec<_> =
            remote.partitions.iter().copied().filter(|one| needed.contains(one)).collect();
        if partitions.is_empty() {
            return;
        }
        let subject = if let Part::Row(subject) = &self.part { Some(subject.clone()) } else { None };
        let (filter, rows_max) = self.rows.clone().map_or((None, None), |rows| (rows.filter, rows.rows_max));
        let get = Get::Rows(GetRows { subject, columns: self.wanted.clone(), filter, rows_max });
        let (gathering, remote, output) = (self.gathering.clone(), remote.clone(), builder.tx());
        let schema = self.schema.clone();
        builder.spawn(async move { gathering.fetch_rows(&remote, partitions, get, &schema, &output).await });
    }

    /// Reads what is here, together with groups that were fetched.
    fn read_here(
        &self,
        state: &ViewState,
        fetched: &[FetchedGroups],
        output: &Sender<Result<RecordBatch>>,
    ) -> Result<()> {
        let filter = self.rows.as_ref().and_then(|rows| rows.filter.as_ref());
        let condition = filter.map(|filter| filter.expression(&state.plan.output)).transpose()?;
        state.read(&self.part, self.wanted.as_deref(), fetched, |mut batch| {
            if let Some(condition) = &condition {
                batch = keep(condition, batch)?;
            }
            if let (Some(_), Some(wanted)) = (&self.rows, &self.wanted) {
                batch = batch.project(wanted)?;
            }
            Ok(output.blocking_send(Ok(batch)).is_ok())
        })
    }

    fn read_groups(&self, fetched: &[FetchedGroups], output: &Sender<Result<RecordBatch>>) -> Result<()> {
        let fixed = self.gathering.fixed()?;
        match &fixed.local {
            Some(state) => self.read_here(state, fetched, output),
            None => {
                let bytes_max = fixed.asking.bounds.memory_bytes_max;
                let reader = ViewReader::elsewhere(self.gathering.plan(), bytes_max).with(fetched);
                reader.read(self.part.key(), self.wanted.as_deref(), |batch| {
                    Ok(output.blocking_send(Ok(batch)).is_ok())
                })
            }
        }
    }

    /// Reads one group: everything is fetched first.
    async fn read_group(
        self,
        get: GetGroups,
        budget: &Arc<Budget>,
        output: Sender<Result<RecordBatch>>,
    ) -> Result<()> {
        let remote = self.gathering.fixed()?.remote.clone();
        let fetches =
            remote.iter().map(|remote| self.gathering.fetch_group(remote, Get::Groups(get.clone()), budget));
        let fetched: Vec<FetchedGroups> = try_join_all(fetches).await?.into_iter().flatten().collect();
        let reader = self.clone();
        let read = tokio::task::spawn_blocking(move || reader.read_groups(&fetched, &output)).await;
        read.unwrap_or_else(|error| Err(DataFusionError::External(Box::new(error))))
    }
}

impl Part {
    /// The values that the keys of the wanted groups start with.
    pub(crate) fn key(&self) -> &[Slot<'static>] {
        if let Self::Groups(values) = self { values } else { &[] }
    }
}

impl ProjectionPlan {
    /// The partitions in which a part of the state is.
    pub(crate) fn partitions_of(&self, part: &Part) -> Vec<PartitionId> {
        match part {
            Part::Row(subject) => vec![partition_of(subject, self.stream.partitions)],
            Part::All | Part::Groups(_) => (0..self.stream.partitions).map(PartitionId).collect(),
        }
    }

    /// What to ask another node for, to read a part of the groups, of which only some columns matter (None: all).
    pub(crate) fn groups_wanted(&self, part: &Part, wanted: Option<&[usize]>) -> Result<GetGroups> {
        let keys = self.grouping.as_ref().map_or(0, |(_, key_types)| key_types.len());
        let key = part.key();
        Ok(GetGroups {
            start: Hex(key_start(key)),
            one: !key.is_empty() && key.len() == keys,
            aggregates: self.walked(wanted)?,
        })
    }
}

impl ViewState {
    /// Reads a part of the state, of which only the values of the `wanted` columns matter (None: all), together with groups of
    /// other partitions; stops when `each` says false.
    pub(crate) fn read(
        &self,
        part: &Part,
        wanted: Option<&[usize]>,
        fetched: &[FetchedGroups],
        mut each: impl FnMut(RecordBatch) -> Result<bool>,
    ) -> Result<()> {
        let mut partitions = self.partitions.clone();
        if let Part::Row(_) = part {
            let only = self.plan.partitions_of(part);
            partitions.retain(|partition| only.contains(partition));
        }
        let snapshot = self.snapshot.as_ref();
        let reader = ViewReader::new(&self.plan, self.keyspace, snapshot, &partitions, self.list_bytes_max)?;
        let Part::Row(subject) = part else { return reader.with(fetched).read(part.key(), wanted, each) };
        let batch = reader.row(subject)?;
        if batch.num_rows() > 0 {
            each(batch)?;
        }
        Ok(())
    }
}
