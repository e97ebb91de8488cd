//! Casts get names of their own.
//!
//! DataFusion calls `x::numeric` like `x`, and takes expressions of the same name for the same: `GROUP BY x::numeric, x`
//! would have one key. So the operand of a cast becomes a call that names the type too, and that the dialect takes away.

use super::lower::call;
use super::names::column_name;
use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, Select, SelectItem, Value, VisitMut, VisitorMut};
use datafusion::sql::sqlparser::tokenizer::Span;
use std::ops::ControlFlow;

/// The function that stands around the operand of a cast.
pub(crate) const OPERAND: &str = "cast operand";

/// Gives casts of anything but literals names that tell their types.
pub(super) fn tell_apart(query: &mut Query) {
    let _never: ControlFlow<()> = VisitMut::visit(query, &mut Casts);
}

struct Casts;

impl VisitorMut for Casts {
    type Break = ();

    /// Whoever reads a subquery knows its columns by the names that they would have.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr @ Expr::Cast { .. }) = item {
                let alias = Ident::with_quote('"', column_name(expr));
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Cast { expr: operand, data_type, .. } = expr
            && !matches!(operand.as_ref(), Expr::Value(_))
        {
            let ty = Value::SingleQuotedString(data_type.to_string());
            let inner = std::mem::replace(operand.as_mut(), Expr::value(Value::Null));
            **operand = call(OPERAND, [inner, Expr::Value(ty.with_span(Span::empty()))]);
        }
        ControlFlow::Continue(())
    }
}
