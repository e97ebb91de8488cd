//! From a logical plan to a chain of our operators.

use super::aggregates::Columns;
use super::refuse;
use super::steps::Step;
use crate::Error;
use crate::functions::cast::Cast;
use crate::operators::aggregator::Grouping;
use crate::operators::entries::AGGREGATES_MAX;
use crate::state::key::is_key_type;
use crate::types;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::execution::SessionState;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Aggregate as PlanAggregate, Distinct, Expr, ExprSchemable, LogicalPlan};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use std::sync::Arc;

/// A plan as a chain: steps over the rows of the stream, then perhaps a grouping, then steps over its result.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) before: Vec<Step>,
    pub(super) grouping: Option<Grouped>,
    pub(super) after: Vec<Step>,
}

/// A grouping, and what its result looks like.
#[derive(Debug)]
pub(super) struct Grouped {
    pub(super) grouping: Grouping,
    pub(super) key_types: Vec<DataType>,
    pub(super) schema: SchemaRef,
}

/// Builds chains.
pub(super) struct Walker<'a> {
    pub(super) state: &'a SessionState,
    /// Whether rows can be told apart when they are taken back.
    pub(super) has_places: bool,
}

impl Walker<'_> {
    /// The chain of a plan.
    ///
    /// # Errors
    /// The plan cannot be kept up to date.
    pub(super) fn walk(&self, plan: &LogicalPlan) -> Result<Chain, Error> {
        match plan {
            LogicalPlan::TableScan(_) => Ok(Chain::default()),
            LogicalPlan::SubqueryAlias(alias) => self.walk(&alias.input),
            LogicalPlan::Filter(filter) => {
                let mut chain = self.walk(&filter.input)?;
                let condition = self.physical(&filter.predicate, filter.input.schema())?;
                chain.steps().push(Step::Filter(condition));
                Ok(chain)
            }
            LogicalPlan::Projection(projection) => {
                let mut chain = self.walk(&projection.input)?;
                let map = self.map(&projection.expr, projection.input.schema())?;
                chain.steps().push(map);
                Ok(chain)
            }
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let exprs: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
                self.group(input, &exprs, &[])
            }
            LogicalPlan::Aggregate(PlanAggregate { input, group_expr, aggr_expr, .. }) => {
                self.group(input, group_expr, aggr_expr)
            }
            other => Err(refuse::node(other)),
        }
    }

    fn group(&self, input: &Arc<LogicalPlan>, keys: &[Expr], aggregates: &[Expr]) -> Result<Chain, Error> {
        let mut chain = self.walk(input)?;
        if chain.grouping.is_some() {
            return Err(Error::Refused(
                "not supported in a projection: aggregates of aggregates: make a projection, and aggregate again when you query it".into(),
            ));
        }
        if aggregates.len() > AGGREGATES_MAX {
            return Err(Error::Refused(format!(
                "not supported in a projection: {} aggregates: at most {AGGREGATES_MAX}: make two projections, and join them when you query",
                aggregates.len()
            )));
        }
        let schema = input.schema();
        // What is there twice is one column of the result.
        let mut unique: Vec<Expr> = Vec::with_capacity(keys.len());
        keys.iter().for_each(|key| {
            if !unique.contains(key) {
                unique.push(key.clone());
            }
        });
        let keys = unique.as_slice();
        keys.iter().chain(aggregates).try_for_each(refuse::expr)?;
        let exprs = keys.iter().map(|key| canonical(unalias(key), schema)).collect::<Result<Vec<_>, _>>()?;
        let mut columns = Columns { schema, exprs, has_places: self.has_places };
        let aggregates = aggregates
            .iter()
            .map(|aggregate| {
                let prepared = canonical_arguments(aggregate, schema)?;
                columns.aggregate(&prepared)
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let exprs = columns.exprs;
        let key_types =
            exprs.iter().take(keys.len()).map(|expr| expr.get_type(schema)).collect::<Result<Vec<_>, _>>()?;
        if let Some(ty) = key_types.iter().find(|ty| !is_key_type(ty)) {
            return Err(Error::Refused(format!(
                "not supported in a projection: GROUP BY a value of type {}",
                types::name(ty)
            )));
        }
        let map = self.map(&exprs, schema)?;
        chain.before.push(map);
        let mut fields: Vec<Field> = key_types.iter().map(|ty| Field::new("key", ty.clone(), true)).collect();
        fields.extend(
            aggregates.iter().map(|aggregate| Field::new("aggregate", aggregate.output.clone(), true)),
        );
        let grouping = Grouping { keys: keys.len(), aggregates };
        chain.grouping = Some(Grouped { grouping, key_types, schema: Arc::new(Schema::new(fields)) });
        Ok(chain)
    }

    fn map(&self, exprs: &[Expr], schema: &DFSchema) -> Result<Step, Error> {
        let mut fields = Vec::with_capacity(exprs.len());
        let mut physical = Vec::with_capacity(exprs.len());
        for expr in exprs {
            refuse::expr(expr)?;
            let expr = canonical(unalias(expr), schema)?;
            let (_, field) = expr.to_field(schema)?;
            fields.push(
                Field::new(expr.schema_name().to_string(), field.data_type().clone(), true)
                    .with_metadata(field.metadata().clone()),
            );
            physical.push(self.physical(&expr, schema)?);
        }
        Ok(Step::Map(physical, Arc::new(Schema::new(fields))))
    }

    pub(super) fn physical(&self, expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>, Error> {
        refuse::expr(expr)?;
        let props: &ExecutionProps = self.state.execution_props();
        Ok(create_physical_expr(expr, schema, props, &PhysicalPlanningContext::default())?)
    }
}

impl Chain {
    /// The steps to which the next one is added.
    fn steps(&mut self) -> &mut Vec<Step> {
        if self.grouping.is_some() { &mut self.after } else { &mut self.before }
    }
}

/// The expression itself: names do not matter here.
fn unalias(expr: &Expr) -> Expr {
    match expr {
        Expr::Alias(alias) => unalias(&alias.expr),
        other => other.clone(),
    }
}

/// The expression as one of the types that are stored: functions of DataFusion's may give others.
fn canonical(expr: Expr, schema: &DFSchema) -> Result<Expr, Error> {
    let to = match expr.get_type(schema)? {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Null => DataType::Utf8View,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Int8 => DataType::Int16,
        _ => return Ok(expr),
    };
    Ok(Cast::of(expr, &to))
}

/// An aggregate whose arguments have the types that are stored.
fn canonical_arguments(expr: &Expr, schema: &DFSchema) -> Result<Expr, Error> {
    let mut expr = unalias(expr);
    if let Expr::AggregateFunction(aggregate) = &mut expr {
        for argument in &mut aggregate.params.args {
            // What is counted can be of any type, and a constant that is counted stays one.
            if aggregate.func.name() != "count" || aggregate.params.distinct {
                *argument = canonical(argument.clone(), schema)?;
            }
        }
        for sort in &mut aggregate.params.order_by {
            sort.expr = canonical(sort.expr.clone(), schema)?;
        }
    }
    Ok(expr)
}
