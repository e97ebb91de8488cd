//! From the aggregates of a plan to those of our operators.

use crate::Error;
use crate::operators::aggregate::{Aggregate, Function};
use crate::state::key::Direction;
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment};
use datafusion::logical_expr::{Expr, ExprSchemable};

/// The columns that the aggregates of a plan need, collected one after the other.
pub(super) struct Columns<'a> {
    pub(super) schema: &'a DFSchema,
    /// The expressions of the columns, the group's key first.
    pub(super) exprs: Vec<Expr>,
    /// Whether rows of the input can be told apart when they are taken back.
    pub(super) has_places: bool,
}

impl Columns<'_> {
    /// The column of an expression, a new one if need be.
    fn column(&mut self, expr: Expr) -> usize {
        match self.exprs.iter().position(|known| *known == expr) {
            Some(index) => index,
            None => {
                self.exprs.push(expr);
                self.exprs.len() - 1
            }
        }
    }

    /// The aggregate of an expression of the plan.
    ///
    /// # Errors
    /// It cannot be kept up to date.
    pub(super) fn aggregate(&mut self, expr: &Expr) -> Result<Aggregate, Error> {
        let expr = if let Expr::Alias(alias) = expr { alias.expr.as_ref() } else { expr };
        let Expr::AggregateFunction(AggregateFunction { func, params }) = expr else {
            return Err(Error::Refused(format!("not supported in a projection: the aggregate {expr}")));
        };
        let name = func.name();
        let function = Function::of(name).ok_or_else(|| {
            Error::Refused(format!(
                "not supported in a projection: {name}(): use count, sum, avg, min, max, first, last, array_agg, bool_and or bool_or, or aggregate when you query"
            ))
        })?;
        let [argument] = params.args.as_slice() else {
            return Err(Error::Refused(format!("{name}() takes one argument here")));
        };
        if params.null_treatment == Some(NullTreatment::IgnoreNulls) {
            return Err(Error::Refused(format!(
                "not supported in a projection: IGNORE NULLS: add FILTER (WHERE x IS NOT NULL) to {name}()"
            )));
        }
        let input = argument.get_type(self.schema)?;
        // How often a value is there does not matter to these.
        let distinct = params.distinct
            && !matches!(function, Function::Min | Function::Max | Function::BoolAnd | Function::BoolOr);
        let output = Aggregate::result_type(function, distinct, &input)?;
        let counts_rows = function == Function::Count && !distinct && is_value(argument);
        let mut aggregate =
            Aggregate { function, distinct, argument: None, filter: None, order: Vec::new(), input, output };
        if aggregate.needs_place() && !self.has_places {
            return Err(Error::Refused(format!(
                "not supported in a projection: {name}() of a table without a key: equal rows cannot be told apart when one of them goes"
            )));
        }
        if distinct && matches!(function, Function::First | Function::Last) {
            return Err(Error::Refused(format!(
                "not supported in a projection: {name}(DISTINCT …): leave DISTINCT out"
            )));
        }
        if !counts_rows {
            aggregate.argument = Some(self.column(argument.clone()));
        }
        aggregate.filter = params.filter.as_ref().map(|filter| self.column(filter.as_ref().clone()));
        if matches!(function, Function::First | Function::Last | Function::List) {
            for sort in &params.order_by {
                let direction =
                    Direction { descending: !sort.asc, nulls_moved: sort.nulls_first == sort.asc };
                let column = self.column(sort.expr.clone());
                aggregate.order.push((column, direction));
            }
        }
        if function == Function::List
            && distinct
            && aggregate.order.iter().any(|(column, _)| Some(*column) != aggregate.argument)
        {
            return Err(Error::Refused("array_agg(DISTINCT x) can only be ordered by x".into()));
        }
        Ok(aggregate)
    }
}

/// Whether an argument is a constant that is not NULL, as in `count(*)`, which DataFusion writes as `count(1)`.
fn is_value(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if !value.is_null())
}
