//! Operators: which exist for which types, and what they become.

use super::operand::Operand;
use super::{fallible, guard, regex};
use crate::functions::arith::Op;
use crate::functions::function::type_error;
use crate::functions::{json, span};
use crate::types::{self, INTERVAL, Kind, exact_shape, operand_type};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, DataFusionError, Result};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator};
use datafusion::sql::sqlparser::ast::BinaryOperator as Sql;

/// `left op right` with PostgreSQL's meaning; None for operators that are left to DataFusion.
///
/// # Errors
/// There is no such operator for these types.
pub(super) fn binary(op: &Sql, left: Expr, right: Expr, schema: &DFSchema) -> Result<Option<Expr>> {
    let (left, right) = (Operand::new(left, schema)?, Operand::new(right, schema)?);
    let expr = match op {
        Sql::Plus => arithmetic(Op::Add, left, right, schema)?,
        Sql::Minus => arithmetic(Op::Sub, left, right, schema)?,
        Sql::Multiply => arithmetic(Op::Mul, left, right, schema)?,
        Sql::Divide => arithmetic(Op::Div, left, right, schema)?,
        Sql::Modulo => arithmetic(Op::Rem, left, right, schema)?,
        Sql::Eq => compare(Operator::Eq, left, right)?,
        Sql::NotEq => compare(Operator::NotEq, left, right)?,
        Sql::Lt => compare(Operator::Lt, left, right)?,
        Sql::LtEq => compare(Operator::LtEq, left, right)?,
        Sql::Gt => compare(Operator::Gt, left, right)?,
        Sql::GtEq => compare(Operator::GtEq, left, right)?,
        Sql::And => logical(Operator::And, left, right, schema)?,
        Sql::Or => logical(Operator::Or, left, right, schema)?,
        Sql::StringConcat => return concat(left, right),
        Sql::BitwiseAnd => bits(Operator::BitwiseAnd, left, right)?,
        Sql::BitwiseOr => bits(Operator::BitwiseOr, left, right)?,
        Sql::PGBitwiseXor => bits(Operator::BitwiseXor, left, right)?,
        Sql::PGRegexMatch => regex_matching(Operator::RegexMatch, left, right)?,
        Sql::PGRegexIMatch => regex_matching(Operator::RegexIMatch, left, right)?,
        Sql::PGRegexNotMatch => regex_matching(Operator::RegexNotMatch, left, right)?,
        Sql::PGRegexNotIMatch => regex_matching(Operator::RegexNotIMatch, left, right)?,
        Sql::PGLikeMatch => matching(Operator::LikeMatch, left, right)?,
        Sql::PGILikeMatch => matching(Operator::ILikeMatch, left, right)?,
        Sql::PGNotLikeMatch => matching(Operator::NotLikeMatch, left, right)?,
        Sql::PGNotILikeMatch => matching(Operator::NotILikeMatch, left, right)?,
        Sql::Arrow => member(json::Form::Json, left, right)?,
        Sql::LongArrow => member(json::Form::Text, left, right)?,
        Sql::HashArrow => path(json::Form::Json, left, right)?,
        Sql::HashLongArrow => path(json::Form::Text, left, right)?,
        Sql::PGExp => super::functions::power(left, right, schema)?,
        _ if left.kind == Kind::Foreign || right.kind == Kind::Foreign => return Ok(None),
        other => return Err(no_operator(&other.to_string(), &left, &right)),
    };
    Ok(Some(expr))
}

fn no_operator(op: &str, left: &Operand, right: &Operand) -> DataFusionError {
    let (a, b) = (left.type_name(), right.type_name());
    let hint = match (left.kind, right.kind) {
        (Kind::Json, _) | (_, Kind::Json) => ": take a member with ->> first, or cast to text",
        (Kind::Opaque | Kind::Ambiguous | Kind::Uuid, _)
        | (_, Kind::Opaque | Kind::Ambiguous | Kind::Uuid) => {
            ": cast to text to compare or combine the text form"
        }
        _ => ": add a cast",
    };
    type_error(format!("operator does not exist: {a} {op} {b}{hint}"))
}

fn simple(op: Operator, left: Expr, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

pub(super) fn arithmetic(op: Op, left: Operand, right: Operand, schema: &DFSchema) -> Result<Expr> {
    let (left, right) = (left.comparable()?, right.comparable()?);
    let udf = op.udf();
    let call = |left: Expr, right: Expr| udf.call(vec![left, right]);
    if left.kind.is_number() && right.kind.is_number() {
        let ty = arithmetic_type(left.ty(), right.ty());
        let wide = |operand: Operand| match (&ty, exact_shape(operand.ty())) {
            // Each operand of a numeric operation keeps its own scale.
            (DataType::Decimal128(..) | DataType::Decimal256(..), Some((precision, scale))) => {
                operand.cast(&types::decimal(precision, scale))
            }
            _ => operand.cast(&ty),
        };
        return checked(op, call(wide(left.clone())?, wide(right.clone())?), &left, &right, schema);
    }
    if left.is_open() && right.is_open() {
        return Err(no_operator(op.symbol(), &left, &right));
    }
    if left.is_open() || right.is_open() {
        return open_arithmetic(op, left, right);
    }
    let expr = match (op, left.kind, right.kind) {
        (_, Kind::Date, Kind::Int) => call(left.expr.clone(), right.clone().cast(&DataType::Int32)?),
        (_, Kind::Int, Kind::Date) => call(left.clone().cast(&DataType::Int32)?, right.expr.clone()),
        (Op::Mul, Kind::Int, Kind::Interval) => {
            call(right.expr.clone(), left.clone().cast(&DataType::Int64)?)
        }
        (Op::Mul, Kind::Interval, Kind::Int) => {
            call(left.expr.clone(), right.clone().cast(&DataType::Int64)?)
        }
        // A date and an interval make a timestamp; addition goes either way.
        (_, Kind::Date, Kind::Interval) => call(left.clone().cast(&types::TIMESTAMP)?, right.expr.clone()),
        (Op::Add, Kind::Interval, Kind::Date) => {
            call(right.clone().cast(&types::TIMESTAMP)?, left.expr.clone())
        }
        (Op::Add, Kind::Interval, Kind::Timestamp | Kind::TimestampTz | Kind::Time) => {
            call(right.expr.clone(), left.expr.clone())
        }
        (Op::Add, Kind::Time, Kind::Date) => call(right.expr.clone(), left.expr.clone()),
        (Op::Sub, a, b) if a != b && is_moment(a) && is_moment(b) => {
            let ty =
                types::common_type(left.ty(), right.ty()).ok_or_else(|| no_operator("-", &left, &right))?;
            call(left.clone().cast(&ty)?, right.clone().cast(&ty)?)
        }
        _ => call(left.expr.clone(), right.expr.clone()),
    };
    checked(op, expr, &left, &right, schema)
}

fn is_moment(kind: Kind) -> bool {
    matches!(kind, Kind::Date | Kind::Timestamp | Kind::TimestampTz)
}

/// The expression, unless it has no type; then the error names the types as they were written.
fn checked(op: Op, expr: Expr, left: &Operand, right: &Operand, schema: &DFSchema) -> Result<Expr> {
    match expr.get_type(schema) {
        Ok(_) => Ok(expr),
        Err(_) => Err(no_operator(op.symbol(), left, right)),
    }
}

/// The type in which numbers are combined: integers as the wider one, with a float in double precision, otherwise numeric.
fn arithmetic_type(a: &DataType, b: &DataType) -> DataType {
    operand_type(a, b).unwrap_or(types::NUMERIC)
}

/// A literal of open type beside a typed operand is of the type that makes an operator.
fn open_arithmetic(op: Op, left: Operand, right: Operand) -> Result<Expr> {
    let typed = if left.is_open() { &right } else { &left };
    let span_wanted = op == Op::Add && matches!(typed.kind, Kind::Timestamp | Kind::TimestampTz | Kind::Time);
    if span_wanted && right.is_open() {
        let right = right.cast(&INTERVAL)?;
        return Ok(op.udf().call(vec![left.expr, right]));
    }
    let fits =
        typed.kind.is_number() || typed.kind == Kind::Interval || (op == Op::Sub && is_moment(typed.kind));
    if !fits {
        return Err(no_operator(op.symbol(), &left, &right));
    }
    let (left, right) = if left.is_open() {
        let ty = left.clone().adopt(&right)?;
        (ty, right.expr)
    } else {
        let ty = right.adopt(&left)?;
        (left.expr, ty)
    };
    Ok(op.udf().call(vec![left, right]))
}

/// `left op right` for an operator that compares.
pub(super) fn compare(op: Operator, left: Operand, right: Operand) -> Result<Expr> {
    let (left, right) = comparands(&op, left, right)?;
    Ok(simple(op, left, right))
}

/// Both operands of a comparison, brought to one type.
pub(super) fn comparands(op: &Operator, left: Operand, right: Operand) -> Result<(Expr, Expr)> {
    let (left, right) = (left.comparable()?, right.comparable()?);
    let only_equality =
        matches!(op, Operator::Eq | Operator::NotEq | Operator::IsDistinctFrom | Operator::IsNotDistinctFrom);
    let incomparable = |kind: Kind| match kind {
        Kind::Json | Kind::Ambiguous => true,
        Kind::Opaque => !only_equality,
        _ => false,
    };
    if incomparable(left.kind) || incomparable(right.kind) {
        return Err(no_operator(&op.to_string(), &left, &right));
    }
    let pair = match (left.is_open(), right.is_open()) {
        (true, true) => (left.cast(&DataType::Utf8View)?, right.cast(&DataType::Utf8View)?),
        (true, false) => (left.adopt(&right)?, right.expr.clone()),
        (false, true) => {
            let right = right.adopt(&left)?;
            (left.expr, right)
        }
        (false, false) if left.kind == right.kind && left.kind == Kind::Foreign => (left.expr, right.expr),
        (false, false)
            if matches!(left.kind, Kind::Uuid | Kind::Opaque)
                || matches!(right.kind, Kind::Uuid | Kind::Opaque) =>
        {
            if types::field_name(&left.field) != types::field_name(&right.field) {
                return Err(no_operator(&op.to_string(), &left, &right));
            }
            (left.expr, right.expr)
        }
        (false, false) => {
            let Some(ty) = operand_type(left.ty(), right.ty()) else {
                return Err(no_operator(&op.to_string(), &left, &right));
            };
            if ty == INTERVAL {
                let order = span::order();
                return Ok((order.call(vec![left.expr]), order.call(vec![right.expr])));
            }
            (left.cast(&ty)?, right.cast(&ty)?)
        }
    };
    Ok(pair)
}

/// AND and OR. The right side is only computed where the left does not decide, so that it cannot fail there.
fn logical(op: Operator, left: Operand, right: Operand, schema: &DFSchema) -> Result<Expr> {
    let right_fails = fallible::can_fail(&right.expr, schema);
    let (left, right) = (boolean(left, &op)?, boolean(right, &op)?);
    if !right_fails {
        return Ok(simple(op, left, right));
    }
    guard::logical(op, left, right)
}

/// A condition: a boolean, or a literal that can be one.
pub(super) fn boolean(operand: Operand, of: &dyn std::fmt::Display) -> Result<Expr> {
    if operand.kind == Kind::Bool {
        return Ok(operand.expr);
    }
    if operand.is_open() {
        return operand.cast(&DataType::Boolean);
    }
    Err(type_error(format!("argument of {of} must be boolean, not {}", operand.type_name())))
}

fn concat(left: Operand, right: Operand) -> Result<Option<Expr>> {
    if left.kind == Kind::Foreign || right.kind == Kind::Foreign {
        return Ok(None);
    }
    if left.kind == Kind::Bytes || right.kind == Kind::Bytes {
        return Err(type_error("not supported: || for bytea"));
    }
    let texts = [&left, &right].iter().any(|operand| matches!(operand.kind, Kind::Text | Kind::Unknown));
    if !texts {
        return Err(no_operator("||", &left, &right));
    }
    Ok(Some(simple(Operator::StringConcat, left.into_text()?, right.into_text()?)))
}

fn bits(op: Operator, left: Operand, right: Operand) -> Result<Expr> {
    match operand_type(left.ty(), right.ty()) {
        Some(ty) if left.kind == Kind::Int && right.kind == Kind::Int => {
            Ok(simple(op, left.cast(&ty)?, right.cast(&ty)?))
        }
        _ => Err(no_operator(&op.to_string(), &left, &right)),
    }
}

fn matching(op: Operator, left: Operand, right: Operand) -> Result<Expr> {
    let text = |kind: Kind| matches!(kind, Kind::Text | Kind::Unknown);
    if !text(left.kind) || !text(right.kind) {
        return Err(no_operator(&op.to_string(), &left, &right));
    }
    Ok(simple(op, left.into_text()?, right.into_text()?))
}

fn regex_matching(op: Operator, left: Operand, right: Operand) -> Result<Expr> {
    let pattern = regex::translate(regex::literal(&right.expr)?)?;
    matching(op, left, Operand { expr: regex::text(pattern.text), ..right })
}

/// `->` and `->>`: a member by name, an element by number.
fn member(form: json::Form, left: Operand, right: Operand) -> Result<Expr> {
    let symbol = form.symbol();
    if !matches!(left.kind, Kind::Json | Kind::Text | Kind::Unknown) {
        return Err(no_operator(symbol, &left, &right));
    }
    let key = match right.kind {
        Kind::Int => right.cast(&DataType::Int64)?,
        Kind::Text | Kind::Unknown => right.cast(&DataType::Utf8View)?,
        _ => return Err(no_operator(symbol, &left, &right)),
    };
    let left = if left.kind == Kind::Json { left.expr } else { left.cast(&DataType::Utf8View)? };
    Ok(json::member(form).call(vec![left, key]))
}

/// `#>` and `#>>`: by a path such as `'{a,0,b}'`.
fn path(form: json::Form, left: Operand, right: Operand) -> Result<Expr> {
    if !matches!(left.kind, Kind::Json | Kind::Text) || right.open_text().is_none() {
        return Err(no_operator(form.path_symbol(), &left, &right));
    }
    let left = if left.kind == Kind::Json { left.expr } else { left.cast(&DataType::Utf8View)? };
    Ok(json::path(form).call(vec![left, right.cast(&DataType::Utf8View)?]))
}
