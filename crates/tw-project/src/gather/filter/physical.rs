//! Conditions from the expressions of a plan that can be run: those of `FILTER (WHERE …)`.

use super::{DEPTH_MAX, Filter, LIST_MAX};
use datafusion::arrow::datatypes::Schema;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, Literal, NotExpr,
};

impl Filter {
    /// An expression over the columns of a table as a condition; None if it has another form.
    pub(crate) fn of_physical(expr: &dyn PhysicalExpr, schema: &Schema) -> Option<Self> {
        within(expr, schema, DEPTH_MAX)
    }
}

fn within(expr: &dyn PhysicalExpr, schema: &Schema, depth: usize) -> Option<Filter> {
    let inner = |expr: &dyn PhysicalExpr| within(expr, schema, depth.checked_sub(1)?);
    let column = |expr: &dyn PhysicalExpr| expr.downcast_ref::<Column>().map(Column::index);
    let compare = |left: &dyn PhysicalExpr, op: Operator, right: &dyn PhysicalExpr| {
        let value = right.downcast_ref::<Literal>()?.value();
        Filter::compare_at(column(left)?, op, value, schema)
    };
    if let Some(both) = expr.downcast_ref::<BinaryExpr>() {
        let (left, right) = (both.left().as_ref(), both.right().as_ref());
        return match both.op() {
            Operator::And => Some(Filter::All(vec![inner(left)?, inner(right)?])),
            Operator::Or => Some(Filter::Any(vec![inner(left)?, inner(right)?])),
            op => compare(left, *op, right).or_else(|| compare(right, op.swap()?, left)),
        };
    }
    if let Some(not) = expr.downcast_ref::<NotExpr>() {
        return Some(Filter::Not(Box::new(inner(not.arg().as_ref())?)));
    }
    if let Some(null) = expr.downcast_ref::<IsNullExpr>() {
        return Some(Filter::Null(column(null.arg().as_ref())?));
    }
    if let Some(value) = expr.downcast_ref::<IsNotNullExpr>() {
        return Some(Filter::NotNull(column(value.arg().as_ref())?));
    }
    if let Some(list) = expr.downcast_ref::<InListExpr>() {
        if list.list().len() > LIST_MAX {
            return None;
        }
        let equal =
            list.list().iter().map(|value| compare(list.expr().as_ref(), Operator::Eq, value.as_ref()));
        let any = Filter::Any(equal.collect::<Option<_>>()?);
        return Some(if list.negated() { Filter::Not(Box::new(any)) } else { any });
    }
    Filter::is_true(column(expr)?, schema)
}
