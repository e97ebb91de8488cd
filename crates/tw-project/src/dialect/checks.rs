//! What must not be grouped, sorted, joined or aggregated, because the result would not be PostgreSQL's.

use super::operand::Operand;
use crate::functions::function::type_error;
use crate::types::{self, Kind};
use datafusion::arrow::datatypes::Field;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{AggregateFunction, Sort};
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
            for expr in &aggregate.group_expr {
                let members =
                    if let Expr::GroupingSet(set) = expr { set.distinct_expr() } else { vec![expr] };
                for expr in members {
                    check_expr(expr, &schema, Use::Equality, "GROUP BY")?;
                }
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
        LogicalPlan::Distinct(Distinct::On(distinct)) => {
            for expr in &distinct.on_expr {
                check_expr(expr, &schema, Use::Equality, "DISTINCT ON")?;
            }
            check_order(distinct.sort_expr.iter().flatten(), &schema)?;
        }
        LogicalPlan::Sort(sort) => check_order(&sort.expr, &schema)?,
        LogicalPlan::Window(window) => {
            for expr in &window.window_expr {
                check_window(expr, &schema)?;
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

/// Checks two columns that a join with USING compares.
///
/// # Errors
/// They cannot be compared as PostgreSQL does.
pub(super) fn check_joined(left: &Operand, right: &Operand) -> Result<()> {
    for side in [left, right] {
        check(side.kind, &side.type_name(), Use::Equality, "JOIN on")?;
    }
    if types::operand_type(left.ty(), right.ty()).is_none() {
        let (a, b) = (left.type_name(), right.type_name());
        return Err(type_error(format!(
            "operator does not exist: {a} = {b}: add a cast to the join condition"
        )));
    }
    Ok(())
}

fn check_order<'a>(order: impl IntoIterator<Item = &'a Sort>, schema: &DFSchema) -> Result<()> {
    order.into_iter().try_for_each(|sort| check_expr(&sort.expr, schema, Use::Order, "ORDER BY"))
}

fn without_alias(expr: &Expr) -> &Expr {
    if let Expr::Alias(alias) = expr { without_alias(&alias.expr) } else { expr }
}

fn check_arguments(name: &str, distinct: bool, args: &[Expr], schema: &DFSchema) -> Result<()> {
    args.iter().try_for_each(|arg| match name {
        "min" | "max" => check_expr(arg, schema, Use::Order, &format!("{name}() of")),
        _ if distinct => check_expr(arg, schema, Use::Equality, &format!("{name}(DISTINCT …) of")),
        _ => Ok(()),
    })
}

fn check_aggregate(expr: &Expr, schema: &DFSchema) -> Result<()> {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = without_alias(expr) else {
        return Ok(());
    };
    check_arguments(func.name(), params.distinct, &params.args, schema)?;
    check_order(&params.order_by, schema)
}

fn check_window(expr: &Expr, schema: &DFSchema) -> Result<()> {
    let Expr::WindowFunction(window) = without_alias(expr) else { return Ok(()) };
    let params = &window.params;
    check_arguments(window.fun.name(), params.distinct, &params.args, schema)?;
    for expr in &params.partition_by {
        check_expr(expr, schema, Use::Equality, "PARTITION BY")?;
    }
    check_order(&params.order_by, schema)
}
