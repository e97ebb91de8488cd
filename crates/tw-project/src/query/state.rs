//! A view's state as a table: a projection's result, or the latest rows of a captured table.

use super::prune;
use crate::plan::ProjectionPlan;
use crate::rows::slot::Slot;
use crate::view::ViewReader;
use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use std::fmt;
use std::sync::Arc;
use tw_order::partition_of;
use tw_state::{Keyspace, Snapshot};
use tw_types::PartitionId;

/// The state of a view in a snapshot, with whatever keeps it from being removed while it is read.
#[derive(Clone)]
pub(crate) struct ViewState {
    pub(crate) plan: Arc<ProjectionPlan>,
    pub(crate) keyspace: Keyspace,
    pub(crate) snapshot: Arc<dyn Snapshot>,
    /// The most bytes that the arrays of a batch can have.
    pub(crate) list_bytes_max: usize,
    pub(crate) _held: Arc<dyn std::any::Any + Send + Sync>,
}

/// See the module's text.
pub(crate) struct StateTable {
    pub(crate) state: ViewState,
}

impl fmt::Debug for StateTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateTable").field("stream", &self.state.plan.stream.name).finish_non_exhaustive()
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

#[async_trait]
impl TableProvider for StateTable {
    fn schema(&self) -> SchemaRef {
        self.state.plan.output.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let schema = self.schema();
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        Ok(prune::pushdown(filters, &columns))
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let part = self.state.plan.part(|column| prune::equal_to(filters, column));
        let (schema, wanted) = (self.schema(), projection.cloned());
        let reader: Arc<dyn PartitionStream> =
            Arc::new(StateReader { state: self.state.clone(), schema: schema.clone(), part, wanted });
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![reader], projection, [], false, limit)?))
    }
}

/// Reads the state.
struct StateReader {
    state: ViewState,
    schema: SchemaRef,
    part: Part,
    /// The columns whose values matter; None: all.
    wanted: Option<Vec<usize>>,
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
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), 2);
        let output = builder.tx();
        let (state, part, wanted) = (self.state.clone(), self.part.clone(), self.wanted.clone());
        builder.spawn_blocking(move || {
            state.read(&part, wanted.as_deref(), |batch| Ok(output.blocking_send(Ok(batch)).is_ok()))
        });
        builder.build()
    }
}

impl ViewState {
    /// Reads a part of the state, of which only the values of the `wanted` columns matter (None: all); stops when `each` says
    /// false.
    pub(crate) fn read(
        &self,
        part: &Part,
        wanted: Option<&[usize]>,
        mut each: impl FnMut(RecordBatch) -> Result<bool>,
    ) -> Result<()> {
        let partition = |subject: &str| -> PartitionId { partition_of(subject, self.plan.stream.partitions) };
        let only = if let Part::Row(subject) = part { Some(partition(subject)) } else { None };
        let reader =
            ViewReader::new(&self.plan, self.keyspace, self.snapshot.as_ref(), only, self.list_bytes_max)?;
        match part {
            Part::All => reader.read(&[], wanted, each),
            Part::Groups(values) => reader.read(values, wanted, each),
            Part::Row(subject) => {
                let batch = reader.row(subject)?;
                if batch.num_rows() > 0 {
                    each(batch)?;
                }
                Ok(())
            }
        }
    }
}
