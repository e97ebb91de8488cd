//! From the expression of a column of the class `custom` to what computes it.

use super::walk::Walker;
use crate::Error;
use crate::dialect::{Dialect, Tables, plan_query, varies};
use crate::functions::cast::Cast;
use crate::rows::slot::Slot;
use crate::state::key::KeyColumn;
use crate::types;
use crate::{session, sql};
use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, Result as DataFusionResult, TableReference};
use datafusion::logical_expr::logical_plan::builder::LogicalTableSource;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, TableSource};
use datafusion::physical_expr::PhysicalExpr;
use std::sync::Arc;
use tw_types::{ColumnType, MergeExpr};

/// Computes an expression over `old` and `new`.
#[derive(Debug)]
pub(crate) struct FoldPlan {
    expr: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
}

impl FoldPlan {
    /// The value for one pair, each an array of one value of the column's type.
    ///
    /// # Errors
    /// It has none: overflow, division by zero, a text that is not a number.
    pub(crate) fn run(&self, old: ArrayRef, new: ArrayRef) -> DataFusionResult<Slot<'static>> {
        let pair = RecordBatch::try_new(self.schema.clone(), vec![old, new])?;
        let value = self.expr.evaluate(&pair)?.into_array(1)?;
        let column = KeyColumn::new(&value).ok_or_else(|| {
            DataFusionError::Internal(format!("`custom` gave a value of type {}", value.data_type()))
        })?;
        Ok(column.slot(0).into_owned())
    }
}

/// Plans the expression of a column of type `ty`.
///
/// # Errors
/// It makes no sense; it gives another type; or its value depends on more than `old` and `new`. The text says why.
pub(crate) fn compile_fold(ty: &ColumnType, expr: &MergeExpr) -> Result<FoldPlan, Error> {
    // What is more than one expression, or has a FROM of its own, is no single column of this table.
    let query = sql::parse_query(&format!("SELECT {} FROM changes", sql::parse_expr(expr.as_str())?))?;
    if varies(&query) {
        return refuse("its value would be another one each time: use `old` and `new` alone");
    }
    let query = sql::lower(query, &[])?.query;
    let dialect = Dialect { now_us: None };
    let state = session::state(dialect, None, 1);
    let fields = ["old", "new"].map(|name| types::field(name, ty, true));
    let [to, _] = &fields;
    let to = to.clone();
    let schema: SchemaRef = Arc::new(Schema::new(fields.to_vec()));
    let plan = plan_query(dialect, &Pair(schema.clone()), &state, query)?;
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
    let (expr, input) = single(&plan)?;
    check_floats(&expr, input)?;
    let expr = assign(expr, input, &to)?;
    let expr = Walker { state: &state, has_places: false }.physical(&expr, input)?;
    Ok(FoldPlan { expr, schema })
}

fn refuse<T>(why: &str) -> Result<T, Error> {
    Err(Error::Refused(format!("the expression of `custom` cannot be used: {why}")))
}

/// The one expression of a plan that only computes that.
fn single(plan: &LogicalPlan) -> Result<(Expr, &DFSchema), Error> {
    const ALONE: &str =
        "it is one expression over `old` and `new`, without aggregates, windows, subqueries and tables";
    let LogicalPlan::Projection(projection) = plan else { return refuse(ALONE) };
    let ([expr], LogicalPlan::TableScan(_)) = (projection.expr.as_slice(), projection.input.as_ref()) else {
        return refuse(ALONE);
    };
    let mut reads_more = false;
    let walked = expr.apply(|expr| {
        reads_more = matches!(
            expr,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::SetComparison(_)
                | Expr::Unnest(_)
        );
        Ok(if reads_more { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    if walked.is_err() || reads_more {
        return refuse(ALONE);
    }
    Ok((expr.clone().unalias_nested().data, projection.input.schema()))
}

/// What functions of floating point numbers give differs between machines.
fn check_floats(expr: &Expr, input: &DFSchema) -> Result<(), Error> {
    let mut has_floats = false;
    let is_float = |expr: &Expr| {
        matches!(expr.get_type(input), Ok(DataType::Float16 | DataType::Float32 | DataType::Float64))
    };
    expr.apply(|expr| {
        has_floats = is_float(expr);
        Ok(if has_floats { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if has_floats {
        return refuse(
            "it computes with floating point numbers, whose last digit differs between machines: use numeric",
        );
    }
    Ok(())
}

/// The expression as a value of the column: numbers fit any column of numbers, all else has its column's type.
fn assign(expr: Expr, input: &DFSchema, to: &Field) -> Result<Expr, Error> {
    let (_, from) = expr.to_field(input)?;
    let is_number = |ty: &DataType| ty.is_integer() || ty.is_decimal();
    let (want, got) = (types::field_name(to), types::field_name(&from));
    let fits =
        want == got || from.data_type().is_null() || is_number(from.data_type()) && is_number(to.data_type());
    if !fits {
        return refuse(&format!("it gives {got}, and the column is {want}: cast it, as in (…)::{want}"));
    }
    if from.data_type() == to.data_type() {
        return Ok(expr);
    }
    Ok(Cast::of(expr, to.data_type()))
}

/// The table that has `old` and `new`, whatever it is called.
struct Pair(SchemaRef);

impl Tables for Pair {
    fn table(&self, _: &TableReference) -> DataFusionResult<Arc<dyn TableSource>> {
        Ok(Arc::new(LogicalTableSource::new(self.0.clone())))
    }
}
