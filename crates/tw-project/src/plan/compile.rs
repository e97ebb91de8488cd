//! From the text of a projection's SELECT to what keeps it up to date.

use super::regions;
use super::steps::Step;
use super::walk::{Chain, Walker};
use crate::Error;
use crate::catalog::{Catalog, Table};
use crate::dialect::{Dialect, Tables, plan_query};
use crate::operators::aggregator::Grouping;
use crate::rows::columns::{Reading, TableColumns};
use crate::session;
use crate::sql::{self, Lowered};
use crate::types;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{Result as DataFusionResult, TableReference};
use datafusion::execution::SessionState;
use datafusion::logical_expr::logical_plan::builder::LogicalTableSource;
use datafusion::logical_expr::{LogicalPlan, TableSource};
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use std::collections::BTreeSet;
use std::sync::Arc;
use tw_types::StreamDef;

/// What a projection does.
#[derive(Debug)]
pub(crate) struct ProjectionPlan {
    /// The stream that it reads.
    pub(crate) stream: Arc<StreamDef>,
    /// The columns of the stream's table that it needs.
    pub(crate) columns: TableColumns,
    /// Their schema.
    pub(crate) input: SchemaRef,
    /// What happens to each row.
    pub(crate) before: Vec<Step>,
    /// How rows are grouped, and the types of the group's key; None if each row of the stream gives one of the result.
    pub(crate) grouping: Option<(Arc<Grouping>, Vec<DataType>)>,
    /// The columns between the grouping and what follows it.
    pub(crate) grouped: SchemaRef,
    /// What happens to the grouped rows when they are read.
    pub(crate) after: Vec<Step>,
    /// The columns of the result.
    pub(crate) output: SchemaRef,
    /// For each column of the group's key the column of the result that is the same, if there is one.
    pub(crate) key_outputs: Vec<Option<usize>>,
}

impl ProjectionPlan {
    /// The plan that keeps all columns as they are: that of a table of latest rows.
    pub(crate) fn all_columns(stream: Arc<StreamDef>, columns: TableColumns) -> Self {
        let schema = columns.schema();
        Self {
            stream,
            columns,
            input: schema.clone(),
            before: Vec::new(),
            grouping: None,
            grouped: schema.clone(),
            after: Vec::new(),
            output: schema,
            key_outputs: Vec::new(),
        }
    }

    /// The columns of the result that tell its rows apart, if it has such.
    pub(crate) fn key_names(&self) -> Option<Vec<&str>> {
        let key: Vec<&str> = match (&self.grouping, &self.stream.schema) {
            (Some(_), _) => {
                let name = |output: &Option<usize>| {
                    let field = self.output.fields().get((*output)?)?;
                    Some(field.name().as_str())
                };
                self.key_outputs.iter().map(name).collect::<Option<_>>()?
            }
            (None, Some(schema)) if self.before.is_empty() => schema.key.iter().map(String::as_str).collect(),
            _ => return None,
        };
        Some(key).filter(|key| !key.is_empty())
    }

    /// A number that is another one for another definition, for other types of the columns that are used, for another mode of the
    /// stream, or for another layout of the state: state that one has built is of no use to the other.
    pub(crate) fn fingerprint(&self, query: &str, version: u64) -> u64 {
        let mut text = format!(
            "4|{}|{version}|{query}|{}|{}|",
            self.stream.options.mode.as_str(),
            self.stream.id,
            self.stream.schema.as_ref().is_some_and(|schema| schema.key.is_empty())
        );
        for field in self.input.fields() {
            text += &format!("{} {}|", field.name(), types::field_name(field));
        }
        xxhash_rust::xxh3::xxh3_64(text.as_bytes())
    }
}

/// Plans a projection.
///
/// # Errors
/// The SELECT makes no sense, or cannot be kept up to date; the text says why.
pub(crate) fn compile(catalog: &Catalog, query: &str) -> Result<ProjectionPlan, Error> {
    let Lowered { query, names } = sql::lower(sql::parse_query(query)?, &[])?;
    let dialect = Dialect { now_us: None };
    let state = session::state(dialect, None, 1);
    let tables = OneTable { catalog, found: std::sync::Mutex::default() };
    let plan = plan_query(dialect, &tables, &state, query)?;
    let plan = analyse(&state, plan)?;
    let found = tables.found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (stream, columns) = found.ok_or_else(|| {
        Error::Refused("not supported in a projection: a SELECT without a stream: add FROM".into())
    })?;
    let has_places = columns.reading == Reading::Events
        || stream.schema.as_ref().is_some_and(|schema| !schema.key.is_empty());
    let names = match names {
        Some(names) => names,
        None => plan.schema().fields().iter().map(|field| field.name().clone()).collect(),
    };
    check_names(&names)?;
    let chain = Walker { state: &state, has_places }.walk(&plan)?;
    finish(stream, columns, chain, &names)
}

/// Analyses a plan, and simplifies its expressions.
fn analyse(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan, Error> {
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
    let optimizer = Optimizer::with_rules(vec![Arc::new(SimplifyExpressions::new())]);
    let context = OptimizerContext::new().with_max_passes(2);
    Ok(optimizer.optimize(plan, &context, |_, _| {})?)
}

fn check_names(names: &[String]) -> Result<(), Error> {
    for (index, name) in names.iter().enumerate() {
        if name == "?column?" {
            return Err(Error::Refused(format!(
                "column {} of the result has no name: add AS name",
                index + 1
            )));
        }
        if names.iter().take(index).any(|other| other == name) {
            return Err(Error::Refused(format!(
                "the result has two columns `{name}`: give one of them another name with AS"
            )));
        }
    }
    Ok(())
}

fn finish(
    stream: Arc<StreamDef>,
    columns: TableColumns,
    chain: Chain,
    names: &[String],
) -> Result<ProjectionPlan, Error> {
    let Chain { mut before, grouping, mut after, .. } = chain;
    let used = narrow(&mut before, columns.columns.len())?;
    let columns = columns.only(&used);
    regions::check(&stream, &columns)?;
    let input = columns.schema();
    let (grouping, grouped) = match grouping {
        Some(grouped) => (Some((Arc::new(grouped.grouping), grouped.key_types)), grouped.schema),
        None => (None, last_schema(&before).unwrap_or_else(|| input.clone())),
    };
    let last = last_schema(&after).unwrap_or_else(|| grouped.clone());
    let fields: Vec<Field> =
        last.fields().iter().zip(names).map(|(field, name)| field.as_ref().clone().with_name(name)).collect();
    let output: SchemaRef = Arc::new(Schema::new(fields));
    // The last map gives the columns their names.
    let steps = if grouping.is_some() { &mut after } else { &mut before };
    if let Some(Step::Map(_, schema)) = steps.iter_mut().rev().find(|step| matches!(step, Step::Map(..))) {
        *schema = output.clone();
    }
    let grouped = if grouping.is_some() { grouped } else { output.clone() };
    let keys = grouping.as_ref().map_or(0, |(grouping, _)| grouping.keys);
    let key_outputs = (0..keys).map(|key| output_of(key, &after)).collect();
    Ok(ProjectionPlan { stream, columns, input, before, grouping, grouped, after, output, key_outputs })
}

/// Where a column is after some steps, if it is passed on as it is.
fn output_of(column: usize, steps: &[Step]) -> Option<usize> {
    steps.iter().try_fold(column, |at, step| match step {
        Step::Filter(_) => Some(at),
        Step::Map(exprs, _) => exprs
            .iter()
            .position(|expr| expr.downcast_ref::<Column>().is_some_and(|column| column.index() == at)),
    })
}

fn last_schema(steps: &[Step]) -> Option<SchemaRef> {
    steps.iter().rev().find_map(|step| match step {
        Step::Map(_, schema) => Some(schema.clone()),
        Step::Filter(_) => None,
    })
}

/// Leaves out the columns that no step uses, up to the first map, which makes new ones. Gives the indexes of those that stay.
fn narrow(steps: &mut [Step], all: usize) -> Result<Vec<usize>, Error> {
    let first_map = steps.iter().position(|step| matches!(step, Step::Map(..)));
    let Some(first_map) = first_map else { return Ok((0..all).collect()) };
    let mut used = BTreeSet::new();
    for step in steps.iter().take(first_map + 1) {
        match step {
            Step::Filter(condition) => used.extend(collect_columns(condition).iter().map(Column::index)),
            Step::Map(exprs, _) => {
                used.extend(exprs.iter().flat_map(collect_columns).map(|column| column.index()));
            }
        }
    }
    let used: Vec<usize> = used.into_iter().collect();
    for step in steps.iter_mut().take(first_map + 1) {
        match step {
            Step::Filter(condition) => *condition = renumber(condition, &used)?,
            Step::Map(exprs, _) => {
                for expr in exprs {
                    *expr = renumber(expr, &used)?;
                }
            }
        }
    }
    Ok(used)
}

fn renumber(
    expr: &Arc<dyn datafusion::physical_expr::PhysicalExpr>,
    used: &[usize],
) -> Result<Arc<dyn datafusion::physical_expr::PhysicalExpr>, Error> {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    let expr = expr.clone().transform(|expr| {
        let Some(column) = expr.downcast_ref::<Column>() else { return Ok(Transformed::no(expr)) };
        let index = used.binary_search(&column.index()).unwrap_or_default();
        Ok(Transformed::yes(Arc::new(Column::new(column.name(), index)) as _))
    })?;
    Ok(expr.data)
}

/// Lets a statement name one stream.
struct OneTable<'a> {
    catalog: &'a Catalog,
    found: std::sync::Mutex<Option<(Arc<StreamDef>, TableColumns)>>,
}

impl Tables for OneTable<'_> {
    fn table(&self, name: &TableReference) -> DataFusionResult<Arc<dyn TableSource>> {
        let external = |error: Error| datafusion::common::DataFusionError::External(Box::new(error));
        let table = self.catalog.table(name.schema(), name.table()).map_err(external)?;
        let (stream, columns) = match table {
            Table::Projection(projection) | Table::Next(projection) => {
                let reason = format!(
                    "not supported in a projection: reading the projection `{}`: read its stream",
                    projection.name
                );
                return Err(external(Error::Refused(reason)));
            }
            Table::Latest(stream) | Table::Rows(stream) => {
                let columns = TableColumns::of_rows(&stream);
                (stream, columns)
            }
            Table::History(stream) => {
                let columns = TableColumns::of_history(&stream);
                (stream, columns)
            }
        };
        let schema = columns.schema();
        let mut found = self.found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *found = Some((stream, columns));
        Ok(Arc::new(LogicalTableSource::new(schema)))
    }
}
