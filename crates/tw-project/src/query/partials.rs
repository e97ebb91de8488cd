//! Aggregates over rows of a view are computed where the rows are: only parts of groups cross.
//!
//! DataFusion splits an aggregation in two: one that makes parts of groups of rows, and one that puts them together. Where the first
//! one reads nothing but rows of a view, of which it needs columns as they are, every node does it for the rows that it has. The
//! second one stays as it is, so that the result is the one of the usual way: counts and best values are put together by the same
//! functions, and totals cross in their exact form. What has another form is left alone: expressions, which might fail for a row,
//! DISTINCT, lists, and what depends on an order.

use super::gather::GatherExec;
use super::produce::produce;
use super::state::{Part, StateReader, ViewState};
use crate::gather::filter::{Filter, keep};
use crate::gather::partials::{Compute, GetPartials, Wanted};
use crate::plan::steps::batch;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{Partitioning, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use std::fmt;
use std::sync::Arc;
use tokio::sync::mpsc::Sender;

/// The rule that finds such aggregations; see the module's text.
#[derive(Debug)]
pub(crate) struct AggregateThere;

impl PhysicalOptimizerRule for AggregateThere {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let optimized = plan.transform_up(|plan| {
            let Some(aggregate) = plan.downcast_ref::<AggregateExec>() else {
                return Ok(Transformed::no(plan));
            };
            Ok(match there(aggregate)? {
                Some(there) => Transformed::yes(there),
                None => Transformed::no(plan),
            })
        });
        optimized.map(|plan| plan.data)
    }

    fn name(&self) -> &str {
        "aggregate_there"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// An aggregation of rows as one that is done where they are; None if that cannot be.
fn there(aggregate: &AggregateExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(rows) = Rows::of(aggregate.input())? else { return Ok(None) };
    let Some(get) = wanted(aggregate, &rows)? else { return Ok(None) };
    let Ok(partials) = get.partials(&rows.schema(), usize::MAX) else { return Ok(None) };
    let is_same = |schema: &Schema| {
        let types = |schema: &Schema| -> Vec<_> {
            schema.fields().iter().map(|field| field.data_type().clone()).collect()
        };
        types(schema) == types(partials.schema())
    };
    let gathered = |schema: SchemaRef| -> Result<Arc<dyn ExecutionPlan>> {
        let told =
            format!("parts of groups of {}: {}", rows.reader.gathering.table, get.told(&rows.schema()));
        let reader = PartialsReader { rows: rows.reader.clone(), get: get.clone(), schema };
        Ok(Arc::new(GatherExec::partials(Arc::new(reader), told)?))
    };
    match aggregate.mode() {
        AggregateMode::Partial if is_same(&aggregate.schema()) => gathered(aggregate.schema()).map(Some),
        AggregateMode::Single => {
            let (group_by, exprs) = (aggregate.group_expr(), aggregate.aggr_expr().to_vec());
            let filters = aggregate.filter_expr().to_vec();
            let (input, schema) = (aggregate.input().clone(), aggregate.input_schema());
            let first = AggregateExec::try_new(
                AggregateMode::Partial,
                group_by.clone(),
                exprs.clone(),
                filters.clone(),
                input,
                schema.clone(),
            )?;
            if !is_same(&first.schema()) {
                return Ok(None);
            }
            let parts = gathered(first.schema())?;
            let (mode, group_by) = (AggregateMode::Final, group_by.as_final());
            let last = AggregateExec::try_new(mode, group_by, exprs, filters, parts, schema)?;
            Ok((last.schema() == aggregate.schema()).then(|| Arc::new(last) as _))
        }
        _ => Ok(None),
    }
}

/// What nodes are asked for; None if it has another form.
fn wanted(aggregate: &AggregateExec, rows: &Rows<'_>) -> Result<Option<GetPartials>> {
    let group_by = aggregate.group_expr();
    if group_by.has_grouping_set() || group_by.groups().len() > 1 {
        return Ok(None);
    }
    let mut keys = Vec::new();
    for (expr, _) in group_by.expr() {
        let Some(column) = rows.column(expr)? else { return Ok(None) };
        keys.push(column);
    }
    let mut aggregates = Vec::new();
    for (expr, filter) in aggregate.aggr_expr().iter().zip(aggregate.filter_expr()) {
        let Some(mut one) = wanted_one(expr, rows)? else { return Ok(None) };
        if let Some(filter) = filter {
            one.filter = Filter::of_physical(rows.of_table(filter)?.as_ref(), &rows.schema());
            if one.filter.is_none() {
                return Ok(None);
            }
        }
        aggregates.push(one);
    }
    let filter = rows.reader.rows.as_ref().and_then(|rows| rows.filter.clone());
    let get = GetPartials::new(keys, aggregates, filter);
    Ok(get.problem().is_none().then_some(get))
}

fn wanted_one(expr: &AggregateFunctionExpr, rows: &Rows<'_>) -> Result<Option<Wanted>> {
    let is_plain = !expr.is_distinct() && !expr.ignore_nulls() && expr.order_bys().is_empty();
    let (Some(compute), true) = (Compute::of(expr.fun().name()), is_plain) else { return Ok(None) };
    let arguments = expr.expressions();
    let [argument] = arguments.as_slice() else { return Ok(None) };
    let counted = argument.downcast_ref::<Literal>().is_some_and(|literal| !literal.value().is_null());
    let of = match compute {
        Compute::Count if counted => None,
        _ => match rows.column(argument)? {
            None => return Ok(None),
            column => column,
        },
    };
    Ok(Some(Wanted { compute, of, filter: None }))
}

/// Rows of a view, as they are kept.
struct Rows<'a> {
    reader: &'a StateReader,
    /// What a plan makes of them, of the columns of the view.
    columns: Vec<Arc<dyn PhysicalExpr>>,
}

impl<'a> Rows<'a> {
    /// What a plan gives, if these are rows of a view.
    fn of(plan: &'a Arc<dyn ExecutionPlan>) -> Result<Option<Self>> {
        if let Some(gather) = plan.downcast_ref::<GatherExec>() {
            let Some(reader) = gather.all_rows() else { return Ok(None) };
            // One row is not worth it.
            if reader.part != Part::All || reader.rows.as_ref().is_none_or(|rows| rows.rows_max.is_some()) {
                return Ok(None);
            }
            let table = &reader.gathering.plan().output;
            let all = || (0..table.fields().len()).collect();
            let columns: Vec<usize> = reader.wanted.clone().unwrap_or_else(all);
            let column = |index: usize| -> Arc<dyn PhysicalExpr> {
                Arc::new(Column::new(table.fields().get(index).map_or("", |field| field.name()), index))
            };
            return Ok(Some(Self { reader, columns: columns.into_iter().map(column).collect() }));
        }
        if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
            let Some(rows) = Self::of(projection.input())? else { return Ok(None) };
            let columns =
                projection.expr().iter().map(|one| rows.of_table(&one.expr)).collect::<Result<_>>()?;
            return Ok(Some(Self { columns, ..rows }));
        }
        // These give the same rows.
        if let Some(coalesce) = plan.downcast_ref::<CoalescePartitionsExec>() {
            return if coalesce.fetch().is_none() { Self::of(coalesce.input()) } else { Ok(None) };
        }
        match plan.downcast_ref::<RepartitionExec>() {
            Some(spread) if matches!(spread.partitioning(), Partitioning::RoundRobinBatch(_)) => {
                Self::of(spread.input())
            }
            _ => Ok(None),
        }
    }

    fn schema(&self) -> SchemaRef {
        self.reader.gathering.plan().output.clone()
    }

    /// An expression of what the plan gives as one of the columns of the view.
    fn of_table(&self, expr: &Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let expr = expr.clone().transform_up(|expr| {
            let column = expr.downcast_ref::<Column>().and_then(|column| self.columns.get(column.index()));
            Ok(match column {
                Some(column) => Transformed::yes(column.clone()),
                None => Transformed::no(expr),
            })
        });
        expr.map(|expr| expr.data)
    }

    /// The column of the view that an expression is.
    fn column(&self, expr: &Arc<dyn PhysicalExpr>) -> Result<Option<usize>> {
        Ok(self.of_table(expr)?.downcast_ref::<Column>().map(Column::index))
    }
}

/// Gives parts of groups: those of the rows that are here, and those that other nodes give.
#[derive(Clone)]
struct PartialsReader {
    rows: StateReader,
    get: GetPartials,
    /// That of the batches.
    schema: SchemaRef,
}

impl fmt::Debug for PartialsReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartialsReader").field("get", &self.get).finish_non_exhaustive()
    }
}

impl PartitionStream for PartialsReader {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        produce(&self.schema, |builder| self.start(builder))
    }
}

impl PartialsReader {
    fn start(&self, builder: &mut RecordBatchReceiverStreamBuilder) -> Result<()> {
        let fixed = self.rows.gathering.fixed()?;
        if let Some(state) = fixed.local.clone() {
            let (reader, output) = (self.clone(), builder.tx());
            let query_bytes_max = fixed.asking.bounds.memory_bytes_max;
            builder.spawn_blocking(move || reader.read_here(&state, query_bytes_max, &output));
        }
        for remote in &fixed.remote {
            let (reader, remote, output) = (self.clone(), remote.clone(), builder.tx());
            builder.spawn(async move {
                let gathering = &reader.rows.gathering;
                gathering.fetch_partials(&remote, &reader.get, &reader.schema, &output).await
            });
        }
        Ok(())
    }

    fn read_here(
        &self,
        state: &ViewState,
        query_bytes_max: usize,
        output: &Sender<Result<RecordBatch>>,
    ) -> Result<()> {
        let table = &state.plan.output;
        let condition = self.get.filter.as_ref().map(|filter| filter.expression(table)).transpose()?;
        let mut partials = self.get.partials(table, query_bytes_max)?;
        let give = |groups: Option<RecordBatch>| {
            let Some(groups) = groups else { return Ok(true) };
            let groups = batch(self.schema.clone(), groups.columns().to_vec(), groups.num_rows())?;
            Ok(output.blocking_send(Ok(groups)).is_ok())
        };
        state.read(&Part::All, None, &[], |mut rows| {
            if let Some(condition) = &condition {
                rows = keep(condition, rows)?;
            }
            partials.add(&rows)?;
            if partials.is_full() { give(partials.take()?) } else { Ok(!output.is_closed()) }
        })?;
        give(partials.take()?).map(drop)
    }
}
