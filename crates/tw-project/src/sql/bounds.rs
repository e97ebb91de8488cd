//! How large a SELECT may be: planning it takes time that grows with the square of its depth, and more.

use super::SyntaxError;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArguments, Query, Select, Spanned, Visit, Visitor,
};
use std::ops::ControlFlow;

/// The most expressions within one another; a chain of AND and OR counts as one.
const DEPTH_MAX: usize = 100;
/// The most arguments of a function, as in PostgreSQL.
const ARGUMENTS_MAX: usize = 100;
/// The most tables between the commas of a FROM: their joins are as deep as they are many.
const TABLES_MAX: usize = 100;

/// Checks that a SELECT is within its bounds.
///
/// # Errors
/// Which bound it exceeds, and where.
pub(super) fn check(query: &Query) -> Result<(), SyntaxError> {
    match Visit::visit(query, &mut Bounds { depth: 0 }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Bounds {
    depth: usize,
}

impl Visitor for Bounds {
    type Break = SyntaxError;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<SyntaxError> {
        self.depth += usize::from(!is_link(expr));
        if self.depth > DEPTH_MAX {
            let message = format!("more than {DEPTH_MAX} expressions within one another");
            return ControlFlow::Break(SyntaxError::new(message, expr.span()));
        }
        if let Expr::Function(function) = expr
            && let FunctionArguments::List(list) = &function.args
            && list.args.len() > ARGUMENTS_MAX
        {
            let message =
                format!("{}() has {} arguments, more than {ARGUMENTS_MAX}", function.name, list.args.len());
            return ControlFlow::Break(SyntaxError::new(message, expr.span()));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<SyntaxError> {
        self.depth -= usize::from(!is_link(expr));
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<SyntaxError> {
        if select.from.len() <= TABLES_MAX {
            return ControlFlow::Continue(());
        }
        let message = format!("FROM names {} tables, more than {TABLES_MAX}", select.from.len());
        ControlFlow::Break(SyntaxError::new(message, select.span()))
    }
}

fn is_link(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. })
}
