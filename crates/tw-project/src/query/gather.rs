//! The leaf of a plan that reads a view whose partitions may be on several nodes: its rows, or parts of groups of them.

use super::state::StateReader;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use std::fmt;
use std::sync::Arc;

/// See the module's text. It is a [`StreamingTableExec`] that knows what it reads, and says so.
#[derive(Debug)]
pub(super) struct GatherExec {
    inner: Arc<dyn ExecutionPlan>,
    /// What reads the rows, as long as nothing is done with them here.
    rows: Option<StateReader>,
    told: String,
}

impl GatherExec {
    /// The rows that a reader gives, or so many of them.
    pub(super) fn rows(reader: StateReader, limit: Option<usize>) -> Result<Self> {
        let columns: Vec<&str> = reader.schema.fields().iter().map(|field| field.name().as_str()).collect();
        let filtered = reader.rows.as_ref().is_some_and(|rows| rows.filter.is_some());
        let told = format!(
            "rows of {}{}: {}",
            reader.gathering.table,
            if filtered { ", filtered there" } else { "" },
            columns.join(", ")
        );
        Ok(Self { inner: streaming(Arc::new(reader.clone()), limit)?, rows: Some(reader), told })
    }

    /// What is computed of rows where they are.
    pub(super) fn partials(reader: Arc<dyn PartitionStream>, told: String) -> Result<Self> {
        Ok(Self { inner: streaming(reader, None)?, rows: None, told })
    }

    /// The reader of all rows that pass its filter; None if this gives something else.
    pub(super) fn all_rows(&self) -> Option<&StateReader> {
        self.rows.as_ref().filter(|_| self.inner.fetch().is_none())
    }
}

fn streaming(reader: Arc<dyn PartitionStream>, limit: Option<usize>) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = reader.schema().clone();
    Ok(Arc::new(StreamingTableExec::try_new(schema, vec![reader], None, [], false, limit)?))
}

impl DisplayAs for GatherExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GatherExec: {}", self.told)?;
        self.inner.fetch().map_or(Ok(()), |fetch| write!(f, ", fetch={fetch}"))
    }
}

impl ExecutionPlan for GatherExec {
    fn name(&self) -> &str {
        "GatherExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.inner.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.as_slice() {
            [] => Ok(self),
            _ => Err(DataFusionError::Internal("a leaf of a plan gets no children".into())),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.inner.execute(partition, context)
    }

    fn fetch(&self) -> Option<usize> {
        self.inner.fetch()
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        let inner = self.inner.with_fetch(limit)?;
        Some(Arc::new(Self { inner, rows: self.rows.clone(), told: self.told.clone() }))
    }
}
