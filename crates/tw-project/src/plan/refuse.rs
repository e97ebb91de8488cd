//! What a projection cannot keep up to date, and why.

use crate::Error;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};

/// The error for a plan node that is not an operator of projections.
pub(super) fn node(plan: &LogicalPlan) -> Error {
    let reason = match plan {
        LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => {
            "ORDER BY and LIMIT: a projection is a table, and tables have no order: use them when you query it"
        }
        LogicalPlan::Join(_) => {
            "joins: a projection reads one stream: join projections and tables when you query them"
        }
        LogicalPlan::Union(_) => {
            "UNION: a projection reads one stream: make two projections, and unite them when you query"
        }
        LogicalPlan::Window(_) => {
            "window functions: one new row could change all others: use them when you query"
        }
        LogicalPlan::Subquery(_) => "subqueries: a projection reads one stream: use them when you query",
        LogicalPlan::Distinct(Distinct::On(_)) => "DISTINCT ON: use first(x) or last(x) with GROUP BY",
        LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => "a SELECT without a stream: add FROM",
        LogicalPlan::Unnest(_) => "unnest: a row would become many: use it when you query",
        LogicalPlan::RecursiveQuery(_) => "recursive queries: use them when you query",
        LogicalPlan::Aggregate(_) => {
            "aggregates of aggregates: make a projection, and aggregate again when you query it"
        }
        _ => "this kind of statement",
    };
    Error::Refused(format!("not supported in a projection: {reason}"))
}

/// Refuses expressions that read tables, or that depend on more than their row.
pub(super) fn expr(expr: &Expr) -> Result<(), Error> {
    let mut reason = None;
    let walked = expr.apply(|expr| {
        reason = match expr {
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_) => {
                Some("subqueries: a projection reads one stream: use them when you query")
            }
            Expr::WindowFunction(_) => {
                Some("window functions: one new row could change all others: use them when you query")
            }
            Expr::GroupingSet(_) => Some("GROUPING SETS, ROLLUP and CUBE: make a projection for each"),
            Expr::Unnest(_) => Some("unnest: a row would become many: use it when you query"),
            Expr::Placeholder(_) => Some("parameters: a projection has no values for them"),
            _ => None,
        };
        Ok(if reason.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    match (walked, reason) {
        (Ok(_), None) => Ok(()),
        (_, reason) => Err(Error::Refused(format!(
            "not supported in a projection: {}",
            reason.unwrap_or("this expression")
        ))),
    }
}
