//! What must not be grouped, sorted, joined or aggregated, because the result would not be PostgreSQL's.

use super::operand::Operand;
use crate::functions::function::type_error;
use crate::types::{self, Kind};
use datafusion::arrow::datatypes::Field;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};

/// What is done with values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Only equality matters: GROUP BY, DISTINCT, joins.
    Equality,
    /// They are put into an order: ORDER BY, min, max.
    Order,
}

fn check(kind: Kind, name: &str, used: Use, by: &str) -> Result<()> {
    let wrong = match kind {
        Kind::Json | Kind::Ambiguous | Kind::SpanText | Kind::Interval => true,
        Kind::Opaque => used == Use::Order,
        _ => false,
    };
    if wrong {
        let remedy = match kind {
            Kind::Json => "take a member with ->>, or cast to text",
            Kind::Interval | Kind::SpanText => "use extract(epoch from x), or cast to text",
            _ => "cast to text to use the text form",
        };
        return Err(type_error(format!("not supported: {by} a value of type {name}: {remedy}")));
    }
    Ok(())
}

fn check_expr(expr: &Expr, schema: &DFSchema, used: Use, by: &str) -> Result<()> {
    let operand = Operand::new(expr.clone(), schema)?;
    check(operand.kind, &operand.type_name(), used, by)
}

fn check_field(field: &Field, used: Use, by: &str) -> Result<()> {
    check(Kind::of_field(field), &types::field_name(field), used, by)
}

/// Checks one node of a plan whose expressions are rewritten.
///
/// # Errors
/// The first thing that would not be done as PostgreSQL does it.
pub(super) fn check_plan(plan: &LogicalPlan) -> Result<()> {
    let schema = merge_schema(&plan.inputs());
    match plan {
        LogicalPlan::Aggregate(aggregate) => {
            for expr in aggregate.group_expr.iter().filter(|expr| !matches!(expr, Expr::GroupingSet(_))) {
                check_expr(expr, &schema, Use::Equality, "GROUP BY")?;
            }
            for expr in &aggregate.aggr_expr {
                check_aggregate(expr, &schema)?;
            }
        }
        LogicalPlan::Distinct(Distinct::All(input)) => {
            for field in input.schema().fields() {
                check_field(field, Use::Equality, "SELECT DISTINCT of")?;
            }
        }
        LogicalPlan::Sort(sort) => {
            for order in &sort.expr {
                check_expr(&order.expr, &schema, Use::Order, "ORDER BY")?;
            }
        }
        LogicalPlan::Join(join) => {
            for (left, right) in &join.on {
                let left = Operand::new(left.clone(), join.left.schema())?;
                let right = Operand::new(right.clone(), join.right.schema())?;
                check(left.kind, &left.type_name(), Use::Equality, "JOIN on")?;
                if types::operand_type(left.ty(), right.ty()).is_none() {
                    let (a, b) = (left.type_name(), right.type_name());
                    return Err(type_error(format!(
                        "operator does not exist: {a} = {b}: add a cast to the join condition"
                    )));
                }
            }
        }
        LogicalPlan::Union(union) => {
            let Some((first, others)) = union.inputs.split_first() else { return Ok(()) };
            for other in others {
                for (a, b) in first.schema().fields().iter().zip(other.schema().fields()) {
                    if types::common_type(a.data_type(), b.data_type()).is_none() {
                        let (a, b) = (types::field_name(a), types::field_name(b));
                        return Err(type_error(format!(
                            "UNION types {a} and {b} cannot be matched: add a cast"
                        )));
                    }
                }
            }
        }
        _ => {}
    }
    Ok(())
}

fn check_aggregate(expr: &Expr, schema: &DFSchema) -> Result<()> {
    let expr = if let Expr::Alias(alias) = expr { alias.expr.as_ref() } else { expr };
    let Expr::AggregateFunction(AggregateFunction { func, params }) = expr else { return Ok(()) };
    let name = func.name();
    for arg in &params.args {
        let by = format!("{name}() of");
        match name {
            "min" | "max" => check_expr(arg, schema, Use::Order, &by)?,
            _ if params.distinct => {
                check_expr(arg, schema, Use::Equality, &format!("{name}(DISTINCT …) of"))?;
            }
            _ => {}
        }
    }
    for order in &params.order_by {
        check_expr(&order.expr, schema, Use::Order, "ORDER BY")?;
    }
    Ok(())
}
