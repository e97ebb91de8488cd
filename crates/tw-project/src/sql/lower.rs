//! What is changed in a parsed SELECT before DataFusion plans it, so that it means what PostgreSQL means by it.
//!
//! Numbers get PostgreSQL's types (`integer` if they fit, then `bigint`, then `numeric`), parameters become literals, intervals
//! and time zones become casts and function calls of ours. Names are the matter of [`names`].

use super::params::Param;
use super::{SyntaxError, bounds, casts, names};
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, GroupByExpr, Ident, LimitClause, ObjectName, OrderByKind, Query, Select,
    UnaryOperator, Value, ValueWithSpan, VisitMut, VisitorMut, WindowFrameBound, WindowType,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use std::ops::ControlFlow;

/// A SELECT that DataFusion can plan.
#[derive(Debug, Clone)]
pub(crate) struct Lowered {
    /// The statement.
    pub(crate) query: Query,
    /// The names of the result's columns; None where a `*` decides them, or a set operation.
    pub(crate) names: Option<Vec<String>>,
}

/// Prepares `query`; `params` are the values of `$1`, `$2` and so on.
///
/// # Errors
/// A bound that is exceeded, a parameter that has no value, a number with more than 76 digits, or syntax that would be silently ignored.
pub(crate) fn lower(mut query: Query, params: &[Param]) -> Result<Lowered, SyntaxError> {
    refuse_ignored(&query)?;
    bounds::check(&query)?;
    let mut lowering = Lowering { params };
    if let ControlFlow::Break(error) = VisitMut::visit(&mut query, &mut lowering) {
        return Err(error);
    }
    let names = names::name_columns(&mut query)?;
    casts::tell_apart(&mut query);
    Ok(Lowered { query, names })
}

/// Clauses that DataFusion would not carry out.
fn refuse_ignored(query: &Query) -> Result<(), SyntaxError> {
    let what = if !query.locks.is_empty() {
        "FOR UPDATE and FOR SHARE: nothing is locked by reading"
    } else if query.for_clause.is_some() || query.settings.is_some() || query.format_clause.is_some() {
        "FOR, SETTINGS and FORMAT clauses"
    } else if query.fetch.as_ref().is_some_and(|fetch| fetch.percent || fetch.with_ties) {
        "FETCH with PERCENT or TIES"
    } else {
        return Ok(());
    };
    Err(SyntaxError::new(format!("not supported: {what}"), Span::empty()))
}

struct Lowering<'a> {
    params: &'a [Param],
}

impl VisitorMut for Lowering<'_> {
    type Break = SyntaxError;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SyntaxError> {
        match self.lower_expr(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<SyntaxError> {
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            exprs.iter_mut().for_each(bare_number);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<SyntaxError> {
        if let Some(order_by) = &mut query.order_by
            && let OrderByKind::Expressions(exprs) = &mut order_by.kind
        {
            exprs.iter_mut().for_each(|order| bare_number(&mut order.expr));
        }
        match &mut query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                limit.iter_mut().for_each(bare_number);
                offset.iter_mut().for_each(|offset| bare_number(&mut offset.value));
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
                bare_number(offset);
                bare_number(limit);
            }
            None => {}
        }
        if let Some(quantity) = query.fetch.as_mut().and_then(|fetch| fetch.quantity.as_mut()) {
            bare_number(quantity);
        }
        ControlFlow::Continue(())
    }
}

impl Lowering<'_> {
    fn lower_expr(&self, expr: &mut Expr) -> Result<(), SyntaxError> {
        match expr {
            Expr::Value(ValueWithSpan { value: Value::Placeholder(name), span }) => {
                let param = name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
                let value = param.and_then(|number| self.params.get(number.checked_sub(1)?));
                let missing = || {
                    let given = match self.params.len() {
                        0 => "none has a value".to_owned(),
                        count => format!("{count} have a value"),
                    };
                    SyntaxError::new(format!("there is no parameter `{name}`: {given}"), *span)
                };
                let span = *span;
                *expr = match value.ok_or_else(missing)? {
                    Param::Number(number) => typed_number(number, span)?,
                    other => Expr::Value(other.to_sql().with_span(span)),
                };
            }
            Expr::Value(ValueWithSpan { value: Value::Number(number, _), span }) => {
                let number = number.replace('_', "");
                *expr = typed_number(&number, *span)?;
            }
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => {
                if let Some((number, span)) = number_of(inner)
                    && !number.starts_with('-')
                {
                    *expr = typed_number(&format!("-{number}"), span)?;
                }
            }
            Expr::Interval(interval) => {
                if let (Expr::Value(value), None, None) =
                    (interval.value.as_ref(), &interval.leading_precision, &interval.last_field)
                    && let Value::SingleQuotedString(text) = &value.value
                {
                    let text = match &interval.leading_field {
                        Some(field) => format!("{text} {}", field.to_string().to_lowercase()),
                        None => text.clone(),
                    };
                    let value = Value::SingleQuotedString(text).with_span(value.span);
                    *expr = cast(value, DataType::Interval { fields: None, precision: None });
                } else {
                    let message = "not supported: intervals other than INTERVAL '1 day' or INTERVAL '1' DAY";
                    return Err(SyntaxError::new(message.to_owned(), Span::empty()));
                }
            }
            Expr::AtTimeZone { timestamp, time_zone } => {
                *expr = call("timezone", [time_zone.as_ref().clone(), timestamp.as_ref().clone()]);
            }
            Expr::Function(function) => bare_frame(function),
            _ => {}
        }
        Ok(())
    }
}

/// The frame of a window counts rows with plain numbers.
fn bare_frame(function: &mut Function) {
    let Some(WindowType::WindowSpec(spec)) = &mut function.over else { return };
    let Some(frame) = &mut spec.window_frame else { return };
    for bound in std::iter::once(&mut frame.start_bound).chain(frame.end_bound.as_mut()) {
        if let WindowFrameBound::Preceding(Some(count)) | WindowFrameBound::Following(Some(count)) = bound {
            bare_number(count);
        }
    }
}

pub(super) fn call<const N: usize>(name: &str, args: [Expr; N]) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

fn cast(value: ValueWithSpan, data_type: DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Value(value)),
        data_type,
        array: false,
        format: None,
    }
}

/// A number with the type that PostgreSQL gives it. It stays a cast, so that its own text can be found again.
fn typed_number(text: &str, span: Span) -> Result<Expr, SyntaxError> {
    if let Ok(value) = text.parse::<i64>() {
        let ty = if i32::try_from(value).is_ok() { DataType::Integer(None) } else { DataType::BigInt(None) };
        return Ok(cast(Value::SingleQuotedString(text.to_owned()).with_span(span), ty));
    }
    let too_long = || SyntaxError::new(format!("the number `{text}` has more than 76 digits"), span);
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let exponent: i64 = exponent.parse().map_err(|_| too_long())?;
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let scale = (fraction.len() as i64).saturating_sub(exponent).max(0);
    let whole = (integer.trim_start_matches('0').len() as i64).saturating_add(exponent).max(0);
    let precision = whole.saturating_add(scale).max(1);
    if precision > 76 {
        return Err(too_long());
    }
    let bounds = ExactNumberInfo::PrecisionAndScale(precision as u64, scale);
    Ok(cast(Value::SingleQuotedString(text.to_owned()).with_span(span), DataType::Numeric(bounds)))
}

/// The text of a number that [`typed_number`] made.
fn number_of(expr: &Expr) -> Option<(&str, Span)> {
    let Expr::Cast { kind: CastKind::Cast, expr, data_type, .. } = expr else { return None };
    let numeric = matches!(
        data_type,
        DataType::Integer(None)
            | DataType::BigInt(None)
            | DataType::Numeric(ExactNumberInfo::PrecisionAndScale(..))
    );
    match expr.as_ref() {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), span }) if numeric => {
            Some((text, *span))
        }
        _ => None,
    }
}

pub(super) fn is_number(expr: &Expr) -> bool {
    number_of(expr).is_some()
}

/// Makes a number plain again, where it is a position or a count.
fn bare_number(expr: &mut Expr) {
    if let Some((text, span)) = number_of(expr) {
        *expr = match text.strip_prefix('-') {
            Some(digits) => Expr::UnaryOp {
                op: UnaryOperator::Minus,
                expr: Box::new(Expr::Value(Value::Number(digits.to_owned(), false).with_span(span))),
            },
            None => Expr::Value(Value::Number(text.to_owned(), false).with_span(span)),
        };
    }
}
