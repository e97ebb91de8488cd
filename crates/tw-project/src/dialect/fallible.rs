//! Which expressions can fail for some rows.

use super::functions::is_total;
use crate::functions::cast::{self, Cast};
use crate::functions::function::Function;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, ExprSchemable};

/// Whether computing `expr` can fail: overflow, division by zero, a text that is not a number.
pub(super) fn can_fail(expr: &Expr, schema: &DFSchema) -> bool {
    let mut fails = false;
    let walked = expr.apply(|expr| {
        if let Expr::ScalarFunction(function) = expr {
            let implementation = function.func.inner();
            fails = if let Some(target) = implementation.downcast_ref::<Cast>() {
                let from = function.args.first().and_then(|arg| arg.get_type(schema).ok());
                from.is_none_or(|from| cast::can_fail(&from, target.target()))
            } else if let Some(ours) = implementation.downcast_ref::<Function>() {
                !ours.is_total()
            } else {
                !is_total(function.func.name())
            };
        }
        Ok(if fails { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    fails || walked.is_err()
}
