//! Arithmetic: `+ - * / %` and the sign, as PostgreSQL computes them.
//!
//! Overflow and division by zero are errors. Integers stay integers of the wider type, and division truncates. Numerics
//! are exact: the result has the digits that addition, subtraction and multiplication need, and a quotient those that
//! PostgreSQL gives it. Floats that overflow or underflow are errors too; no result is −0.

use super::function::{Function, arrow_error, type_error, zip};
use super::span;
use crate::types::{self, Kind, NUMERIC, exact_shape};
use crate::values::decimal::{self, DIGITS_MAX, NoQuotient};
use datafusion::arrow::array::ArrowNativeTypeOp;
use datafusion::arrow::array::types::{
    Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
};
use datafusion::arrow::datatypes::{ArrowPrimitiveType, DataType, i256};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF};
use std::sync::Arc;

/// An arithmetic operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
}

impl Op {
    /// How it is written.
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Rem => "%",
        }
    }

    /// Its function.
    pub(crate) fn udf(self) -> Arc<ScalarUDF> {
        let name = match self {
            Self::Add => "add",
            Self::Sub => "subtract",
            Self::Mul => "multiply",
            Self::Div => "divide",
            Self::Rem => "modulo",
        };
        Function::operator(
            name,
            self.symbol(),
            move |types, _| result(self, types),
            move |args, _, ty| call(self, args, ty),
        )
    }
}

/// The type of `a op b`, both of which are of the same kind of number.
fn result(op: Op, types: &[DataType]) -> Result<DataType> {
    let [a, b] = types else { return Err(type_error("an operator takes two operands")) };
    if let Some(ty) = span::result(op, a, b) {
        return Ok(ty);
    }
    match (Kind::of(a), Kind::of(b)) {
        (Kind::Int, Kind::Int) if a == b => Ok(a.clone()),
        (Kind::Float, Kind::Float) if a == b && op != Op::Rem => Ok(a.clone()),
        (Kind::Numeric, Kind::Numeric) => Ok(numeric_result(op, exact_shape(a), exact_shape(b))),
        _ => Err(type_error(format!(
            "operator does not exist: {} {} {}",
            types::name(a),
            op.symbol(),
            types::name(b)
        ))),
    }
}

/// A result that needs more than 76 digits keeps its scale as far as the operands have it, and may overflow.
fn numeric_result(op: Op, a: Option<(u8, i8)>, b: Option<(u8, i8)>) -> DataType {
    let (Some((pa, sa)), Some((pb, sb))) = (a, b) else { return NUMERIC };
    let max = i16::from(DIGITS_MAX);
    let (pa, sa, pb, sb) = (i16::from(pa), i16::from(sa), i16::from(pb), i16::from(sb));
    let (precision, scale) = match op {
        Op::Add | Op::Sub => {
            let scale = sa.max(sb);
            ((pa - sa).max(pb - sb) + 1 + scale, scale)
        }
        Op::Mul if pa + pb <= max => (pa + pb, sa + sb),
        Op::Mul => (max, (sa + sb).min(i16::from(decimal::UNBOUND_SCALE)).max(sa).max(sb)),
        Op::Rem => {
            let scale = sa.max(sb);
            ((pa - sa).min(pb - sb) + scale, scale)
        }
        Op::Div => return NUMERIC,
    };
    types::decimal(precision.clamp(1, max) as u8, scale as i8)
}

fn call(op: Op, args: &[ColumnarValue], ty: &DataType) -> Result<ColumnarValue> {
    let kinds: Vec<Kind> = args.iter().map(|arg| Kind::of(&arg.data_type())).collect();
    if !kinds.iter().all(|kind| kind.is_number()) {
        return span::call(op, args, ty);
    }
    match ty {
        DataType::Int16 => integers::<Int16Type>(op, args, ty),
        DataType::Int32 => integers::<Int32Type>(op, args, ty),
        DataType::Int64 => integers::<Int64Type>(op, args, ty),
        DataType::Float32 => floats::<Float32Type>(op, args, ty),
        DataType::Float64 => floats::<Float64Type>(op, args, ty),
        _ => numerics(op, args, ty),
    }
}

fn integers<T: ArrowPrimitiveType>(op: Op, args: &[ColumnarValue], ty: &DataType) -> Result<ColumnarValue>
where
    T::Native: ArrowNativeTypeOp,
{
    let out_of_range = || arrow_error(format!("{} out of range", types::name(&T::DATA_TYPE)));
    zip::<T, T, T>(args, ty, |a, b| match op {
        Op::Add => a.add_checked(b).map_err(|_| out_of_range()),
        Op::Sub => a.sub_checked(b).map_err(|_| out_of_range()),
        Op::Mul => a.mul_checked(b).map_err(|_| out_of_range()),
        Op::Div | Op::Rem if b.is_zero() => Err(arrow_error("division by zero")),
        Op::Div => a.div_checked(b).map_err(|_| out_of_range()),
        // The smallest integer by −1 leaves no remainder.
        Op::Rem => Ok(a.mod_wrapping(b)),
    })
}

/// What floats need beyond Arrow's operations.
trait Float: ArrowNativeTypeOp {
    fn finite(self) -> bool;
    fn nan(self) -> bool;
    fn normal_form(self) -> Self;
}

impl Float for f64 {
    fn finite(self) -> bool {
        self.is_finite()
    }
    fn nan(self) -> bool {
        self.is_nan()
    }
    fn normal_form(self) -> Self {
        normal_f64(self)
    }
}

impl Float for f32 {
    fn finite(self) -> bool {
        self.is_finite()
    }
    fn nan(self) -> bool {
        self.is_nan()
    }
    fn normal_form(self) -> Self {
        normal_f32(self)
    }
}

/// The one form of equal floats: no −0, one NaN.
pub(crate) fn normal_f64(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

/// The one form of equal floats: no −0, one NaN.
pub(crate) fn normal_f32(value: f32) -> f32 {
    if value.is_nan() { f32::NAN } else { value + 0.0 }
}

fn floats<T: ArrowPrimitiveType>(op: Op, args: &[ColumnarValue], ty: &DataType) -> Result<ColumnarValue>
where
    T::Native: Float,
{
    zip::<T, T, T>(args, ty, |a, b| {
        let value = match op {
            Op::Add => a.add_wrapping(b),
            Op::Sub => a.sub_wrapping(b),
            Op::Mul => a.mul_wrapping(b),
            Op::Div if b.is_zero() && !a.nan() => return Err(arrow_error("division by zero")),
            Op::Div => a.div_wrapping(b),
            Op::Rem => a.mod_wrapping(b),
        };
        if !value.finite() && a.finite() && b.finite() {
            return Err(arrow_error("value out of range: overflow"));
        }
        let can_underflow = matches!(op, Op::Mul | Op::Div) && b.finite();
        if can_underflow && value.is_zero() && !a.is_zero() && !b.is_zero() {
            return Err(arrow_error("value out of range: underflow"));
        }
        Ok(value.normal_form())
    })
}

fn numerics(op: Op, args: &[ColumnarValue], ty: &DataType) -> Result<ColumnarValue> {
    let inputs: Vec<DataType> = args.iter().map(ColumnarValue::data_type).collect();
    let narrow = |ty: &DataType| matches!(ty, DataType::Decimal128(..));
    let shape = |at: usize| inputs.get(at).and_then(exact_shape).unwrap_or((DIGITS_MAX, 0));
    let ((_, sa), (_, sb)) = (shape(0), shape(1));
    let (precision, scale) = exact_shape(ty).unwrap_or((DIGITS_MAX, decimal::UNBOUND_SCALE));
    if narrow(ty) && inputs.iter().all(narrow) {
        // The result has at most 38 digits, so nothing here can overflow 128 bits.
        let (up_a, up_b) = if op == Op::Mul { (1, 1) } else { (power(scale - sa), power(scale - sb)) };
        return zip::<Decimal128Type, Decimal128Type, Decimal128Type>(args, ty, |a, b| match op {
            Op::Add => Ok(a.wrapping_mul(up_a).wrapping_add(b.wrapping_mul(up_b))),
            Op::Sub => Ok(a.wrapping_mul(up_a).wrapping_sub(b.wrapping_mul(up_b))),
            Op::Mul => Ok(a.wrapping_mul(b)),
            Op::Rem => narrow_remainder(a, up_a, b, up_b),
            Op::Div => Err(arrow_error("numeric out of range")),
        });
    }
    let args = args.iter().map(widen).collect::<Result<Vec<_>>>()?;
    let trims: Vec<bool> = inputs.iter().map(crate::values::print::trims).collect();
    let (trim_a, trim_b) = (trims.first() == Some(&true), trims.get(1) == Some(&true));
    zip::<Decimal256Type, Decimal256Type, Decimal256Type>(&args, ty, |a, b| {
        let value = match op {
            Op::Add => aligned(a, sa, b, sb, scale).and_then(|(a, b)| a.checked_add(b)),
            Op::Sub => aligned(a, sa, b, sb, scale).and_then(|(a, b)| a.checked_sub(b)),
            Op::Mul => product(a, b, i16::from(sa) + i16::from(sb) - i16::from(scale))?,
            Op::Rem if b == i256::ZERO => return Err(arrow_error("division by zero")),
            Op::Rem => wide_remainder(a, sa, b, sb, scale),
            Op::Div => match decimal::divide((a, sa, trim_a), (b, sb, trim_b)) {
                Ok(value) => Some(value),
                Err(NoQuotient::Zero) => return Err(arrow_error("division by zero")),
                Err(NoQuotient::Range) => None,
            },
        };
        value.filter(|value| decimal::fits(*value, precision)).ok_or_else(|| {
            arrow_error(format!(
                "numeric out of range: the result of `{}` needs more than {DIGITS_MAX} digits",
                op.symbol()
            ))
        })
    })
}

fn power(exponent: i8) -> i128 {
    10i128.pow(exponent.max(0).unsigned_abs().into())
}

fn narrow_remainder(a: i128, up_a: i128, b: i128, up_b: i128) -> Result<i128, ArrowError> {
    if b == 0 {
        return Err(arrow_error("division by zero"));
    }
    // The result type is as narrow as the narrower operand, so the wider one may not fit when it is brought to its scale.
    match (a.checked_mul(up_a), b.checked_mul(up_b)) {
        (Some(a), Some(b)) => Ok(a.wrapping_rem(b)),
        _ => {
            let (a, b) = (i256::from_i128(a), i256::from_i128(b));
            let a = a.wrapping_mul(i256::from_i128(up_a));
            let b = b.wrapping_mul(i256::from_i128(up_b));
            a.wrapping_rem(b).to_i128().ok_or_else(|| arrow_error("numeric out of range"))
        }
    }
}

fn aligned(a: i256, sa: i8, b: i256, sb: i8, scale: i8) -> Option<(i256, i256)> {
    let up = |value: i256, from: i8| {
        if value == i256::ZERO {
            Some(value)
        } else {
            value.checked_mul(decimal::pow10((scale - from).max(0).unsigned_abs().into()))
        }
    };
    Some((up(a, sa)?, up(b, sb)?))
}

fn wide_remainder(a: i256, sa: i8, b: i256, sb: i8, scale: i8) -> Option<i256> {
    if let Some((a, b)) = aligned(a, sa, b, sb, scale) {
        return a.checked_rem(b);
    }
    let up = |value: i256, from: i8| {
        decimal::to_big(value)
            * num_bigint::BigInt::from(10u8).pow((scale - from).max(0).unsigned_abs().into())
    };
    decimal::from_big(&(up(a, sa) % up(b, sb)))
}

/// The product without its last `drop` digits, which must be zeros.
fn product(a: i256, b: i256, drop: i16) -> Result<Option<i256>, ArrowError> {
    if drop <= 0 {
        return Ok(a.checked_mul(b));
    }
    let power = num_bigint::BigInt::from(10u8).pow(drop.unsigned_abs().into());
    let product = decimal::to_big(a) * decimal::to_big(b);
    if &product % &power != num_bigint::BigInt::ZERO {
        return Err(arrow_error(format!(
            "numeric out of range: the product has more than {} digits after the point: round() the operands",
            decimal::UNBOUND_SCALE
        )));
    }
    Ok(decimal::from_big(&(product / power)))
}

/// Decimals of 38 digits as decimals of 76.
fn widen(arg: &ColumnarValue) -> Result<ColumnarValue> {
    match arg.data_type() {
        DataType::Decimal128(precision, scale) => arg.cast_to(&DataType::Decimal256(precision, scale), None),
        _ => Ok(arg.clone()),
    }
}

/// The sign: `-x`.
pub(crate) fn negate() -> Arc<ScalarUDF> {
    Function::operator("negate", "-", |types, _| negated_type(types), |args, _, ty| negate_values(args, ty))
}

fn negated_type(types: &[DataType]) -> Result<DataType> {
    match types {
        [ty] if Kind::of(ty).is_number() || Kind::of(ty) == Kind::Interval => Ok(ty.clone()),
        [ty] => Err(type_error(format!("operator does not exist: - {}", types::name(ty)))),
        _ => Err(type_error("the sign takes one operand")),
    }
}

fn negate_values(args: &[ColumnarValue], ty: &DataType) -> Result<ColumnarValue> {
    let [arg] = args else { return Err(DataFusionError::Internal("the sign takes one operand".into())) };
    let zero = if let DataType::Interval(_) = ty {
        ScalarValue::IntervalMonthDayNano(Some(Default::default()))
    } else {
        ScalarValue::new_zero(ty)?
    };
    let args = [ColumnarValue::Scalar(zero), arg.clone()];
    match ty {
        DataType::Decimal128(..) => {
            zip::<Decimal128Type, Decimal128Type, Decimal128Type>(&args, ty, |_, b| Ok(b.wrapping_neg()))
        }
        DataType::Decimal256(..) => {
            zip::<Decimal256Type, Decimal256Type, Decimal256Type>(&args, ty, |_, b| Ok(b.wrapping_neg()))
        }
        _ => call(Op::Sub, &args, ty),
    }
}
