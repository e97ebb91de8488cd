//! Functions of numbers, with PostgreSQL's errors where a result does not exist.

use super::arith::normal_f64;
use super::function::{Function, arrow_error, over_arrays, type_error, value_error, zip};
use crate::types::{self, exact_shape};
use crate::values::decimal::{self, DIGITS_MAX};
use datafusion::arrow::array::types::{
    Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
};
use datafusion::arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use datafusion::arrow::compute;
use datafusion::arrow::datatypes::{DataType, i256};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::ScalarUDF;
use std::sync::Arc;

type OfOne = fn(f64) -> Result<f64, &'static str>;

const RANGE: &str = "input is out of range";
const OVERFLOW: &str = "value out of range: overflow";
const UNDERFLOW: &str = "value out of range: underflow";

/// Functions of one double.
const OF_ONE: [(&str, OfOne); 23] = [
    ("sqrt", |x| if x < 0.0 { Err("cannot take square root of a negative number") } else { Ok(x.sqrt()) }),
    ("cbrt", |x| Ok(x.cbrt())),
    ("exp", |x| checked(x, x.exp())),
    ("ln", |x| logarithm(x, f64::ln)),
    ("log", |x| logarithm(x, f64::log10)),
    ("log10", |x| logarithm(x, f64::log10)),
    ("sin", |x| finite(x, f64::sin)),
    ("cos", |x| finite(x, f64::cos)),
    ("tan", |x| finite(x, f64::tan)),
    ("cot", |x| finite(x, |x| 1.0 / x.tan())),
    ("asin", |x| within_one(x, f64::asin)),
    ("acos", |x| within_one(x, f64::acos)),
    ("atan", |x| Ok(x.atan())),
    ("sinh", |x| Ok(x.sinh())),
    ("cosh", |x| Ok(x.cosh())),
    ("tanh", |x| Ok(x.tanh())),
    ("asinh", |x| Ok(x.asinh())),
    ("acosh", |x| if x < 1.0 { Err(RANGE) } else { Ok(x.acosh()) }),
    ("atanh", |x| within_one(x, f64::atanh)),
    ("degrees", |x| checked(x, x / 0.017_453_292_519_943_295)),
    ("radians", |x| Ok(x * 0.017_453_292_519_943_295)),
    ("ceil", |x| Ok(x.ceil())),
    ("floor", |x| Ok(x.floor())),
];

fn checked(input: f64, result: f64) -> Result<f64, &'static str> {
    if result.is_infinite() && input.is_finite() {
        Err(OVERFLOW)
    } else if result == 0.0 && input != 0.0 && input.is_finite() {
        Err(UNDERFLOW)
    } else {
        Ok(result)
    }
}

fn logarithm(x: f64, log: fn(f64) -> f64) -> Result<f64, &'static str> {
    if x == 0.0 {
        Err("cannot take logarithm of zero")
    } else if x < 0.0 {
        Err("cannot take logarithm of a negative number")
    } else {
        Ok(log(x))
    }
}

fn finite(x: f64, f: fn(f64) -> f64) -> Result<f64, &'static str> {
    if x.is_infinite() { Err(RANGE) } else { Ok(f(x)) }
}

fn within_one(x: f64, f: fn(f64) -> f64) -> Result<f64, &'static str> {
    if x.abs() > 1.0 { Err(RANGE) } else { Ok(f(x)) }
}

/// The names of the functions of one double.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    OF_ONE.iter().map(|(name, _)| *name)
}

/// The function of one double that is called `name`, if there is one.
pub(crate) fn of_one(name: &str) -> Option<Arc<ScalarUDF>> {
    let (name, f) = OF_ONE.iter().find(|(known, _)| *known == name)?;
    Some(doubles(name, f))
}

fn doubles(
    name: &'static str,
    f: impl Fn(f64) -> Result<f64, &'static str> + Send + Sync + 'static,
) -> Arc<ScalarUDF> {
    Function::giving(name, DataType::Float64, move |arrays| match arrays {
        [array] => {
            let values = array.as_primitive::<Float64Type>();
            Ok(Arc::new(
                values.try_unary::<_, Float64Type, _>(|x| f(x).map(normal_f64).map_err(value_error))?,
            ))
        }
        _ => Err(type_error("a function of one number")),
    })
}

/// Functions of one double that only rounding to an integer needs: `round` to even, `trunc` towards zero, `sign`.
pub(crate) fn whole(name: &str) -> Option<Arc<ScalarUDF>> {
    Some(match name {
        "round" => doubles("round", |x| Ok(x.round_ties_even())),
        "trunc" => doubles("trunc", |x| Ok(x.trunc())),
        "sign" => doubles("sign", |x| Ok(if x == 0.0 || x.is_nan() { x } else { x.signum() })),
        _ => return None,
    })
}

/// A function of two numbers; why it has no value.
type OfTwo = fn(f64, f64) -> Result<f64, &'static str>;

/// Functions of two doubles: `power`, `atan2`.
pub(crate) fn of_two(name: &str) -> Option<Arc<ScalarUDF>> {
    let (name, f): (_, OfTwo) = match name {
        "power" => ("power", power),
        "atan2" => ("atan2", |y, x| Ok(y.atan2(x))),
        _ => return None,
    };
    Some(Function::of(
        name,
        |_, _| Ok(DataType::Float64),
        move |args, _, ty| {
            zip::<Float64Type, Float64Type, Float64Type>(args, ty, |a, b| {
                f(a, b).map(normal_f64).map_err(arrow_error)
            })
        },
    ))
}

fn power(base: f64, exponent: f64) -> Result<f64, &'static str> {
    if base == 0.0 && exponent < 0.0 {
        return Err("zero raised to a negative power is undefined");
    }
    if base < 0.0 && exponent.is_finite() && exponent.fract() != 0.0 {
        return Err("a negative number raised to a non-integer power yields a complex result");
    }
    let result = base.powf(exponent);
    let finite = base.is_finite() && exponent.is_finite();
    if result.is_infinite() && finite {
        Err(OVERFLOW)
    } else if result == 0.0 && base != 0.0 && finite {
        Err(UNDERFLOW)
    } else {
        Ok(result)
    }
}

/// How a numeric is brought to fewer digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// Half away from zero.
    Nearest,
    /// Towards zero.
    Truncate,
    Up,
    Down,
}

impl Rounding {
    fn name(self) -> &'static str {
        match self {
            Self::Nearest => "round",
            Self::Truncate => "trunc",
            Self::Up => "ceil",
            Self::Down => "floor",
        }
    }

    /// `value` without its last `drop` digits.
    fn apply(self, value: i256, drop: u32) -> i256 {
        if drop > u32::from(DIGITS_MAX) {
            let sign = if value.is_negative() { i256::MINUS_ONE } else { i256::ONE };
            let away =
                (self == Self::Up && value > i256::ZERO) || (self == Self::Down && value.is_negative());
            return if away { sign } else { i256::ZERO };
        }
        let power = decimal::pow10(drop);
        let (quotient, rest) = (value.wrapping_div(power), value.wrapping_rem(power));
        if rest == i256::ZERO {
            return quotient;
        }
        let twice = rest.wrapping_abs().wrapping_add(rest.wrapping_abs());
        let step = match self {
            Self::Nearest if twice >= power => {
                if value.is_negative() {
                    i256::MINUS_ONE
                } else {
                    i256::ONE
                }
            }
            Self::Up if !value.is_negative() => i256::ONE,
            Self::Down if value.is_negative() => i256::MINUS_ONE,
            _ => i256::ZERO,
        };
        quotient.wrapping_add(step)
    }
}

/// `round`, `trunc`, `ceil` and `floor` of a numeric; the second argument, the number of digits, must be known when the
/// statement is planned, because it decides the type.
pub(crate) fn round_numeric(rounding: Rounding) -> Arc<ScalarUDF> {
    Function::of(
        rounding.name(),
        |types, scalars| {
            let (precision, scale) =
                types.first().and_then(exact_shape).ok_or_else(|| type_error("round takes a numeric"))?;
            let digits = digits(types, scalars)?;
            let to = scale.min(i8::try_from(digits.clamp(0, i64::from(i8::MAX))).unwrap_or(i8::MAX));
            let wide = i16::from(precision) - i16::from(scale) + i16::from(to) + 1;
            Ok(types::decimal(wide.clamp(1, i16::from(DIGITS_MAX)) as u8, to))
        },
        move |args, rows, ty| {
            let digits = match args.get(1) {
                Some(datafusion::logical_expr::ColumnarValue::Scalar(value)) => integer(value).unwrap_or(0),
                _ => 0,
            };
            over_arrays(args, rows, |arrays| {
                let array = arrays.first().ok_or_else(|| type_error("round takes a numeric"))?;
                let (values, scale) = wide(array)?;
                let (precision, to) = exact_shape(ty).unwrap_or((DIGITS_MAX, 0));
                // Digits before the point become zeros.
                let drop = i64::from(scale) - digits.min(i64::from(scale));
                let back = decimal::pow10(
                    u32::try_from((i64::from(to) - digits).clamp(0, i64::from(DIGITS_MAX))).unwrap_or(0),
                );
                let rounded = values.try_unary::<_, Decimal256Type, _>(|value| {
                    let short = rounding.apply(value, u32::try_from(drop).unwrap_or(0));
                    short
                        .checked_mul(back)
                        .filter(|value| decimal::fits(*value, precision))
                        .ok_or_else(|| value_error("numeric out of range"))
                })?;
                narrow(rounded, ty)
            })
        },
    )
}

fn digits(types: &[DataType], scalars: &[Option<&ScalarValue>]) -> Result<i64> {
    if types.len() < 2 {
        return Ok(0);
    }
    scalars.get(1).copied().flatten().and_then(integer).ok_or_else(|| {
        type_error("not supported: round() and trunc() to a number of digits that is not a constant")
    })
}

fn integer(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Int16(value) => value.map(i64::from),
        ScalarValue::Int32(value) => value.map(i64::from),
        ScalarValue::Int64(value) => *value,
        _ => None,
    }
}

fn wide(array: &ArrayRef) -> Result<(PrimitiveArray<Decimal256Type>, i8)> {
    let (precision, scale) =
        exact_shape(array.data_type()).ok_or_else(|| type_error("expected a numeric"))?;
    let wide = compute::cast(array, &DataType::Decimal256(precision, scale))?;
    Ok((wide.as_primitive::<Decimal256Type>().clone(), scale))
}

fn narrow(values: PrimitiveArray<Decimal256Type>, ty: &DataType) -> Result<ArrayRef> {
    Ok(match ty {
        DataType::Decimal128(..) => {
            Arc::new(values.unary::<_, Decimal128Type>(i256::as_i128).with_data_type(ty.clone()))
        }
        _ => Arc::new(values.with_data_type(ty.clone())),
    })
}

/// `abs` of any number.
pub(crate) fn abs() -> Arc<ScalarUDF> {
    Function::of(
        "abs",
        |types, _| types.first().cloned().ok_or_else(|| type_error("abs takes a number")),
        |args, rows, ty| {
            over_arrays(args, rows, |arrays| {
                let array = arrays.first().ok_or_else(|| type_error("abs takes a number"))?;
                let range = || value_error(format!("{} out of range", types::name(ty)));
                Ok(match ty {
                    DataType::Int16 => each::<Int16Type>(array, |x| x.checked_abs().ok_or_else(range))?,
                    DataType::Int32 => each::<Int32Type>(array, |x| x.checked_abs().ok_or_else(range))?,
                    DataType::Int64 => each::<Int64Type>(array, |x| x.checked_abs().ok_or_else(range))?,
                    DataType::Float32 => each::<Float32Type>(array, |x| Ok(x.abs()))?,
                    DataType::Float64 => each::<Float64Type>(array, |x| Ok(x.abs()))?,
                    DataType::Decimal128(..) => each::<Decimal128Type>(array, |x| Ok(x.wrapping_abs()))?,
                    _ => each::<Decimal256Type>(array, |x| Ok(x.wrapping_abs()))?,
                })
            })
        },
    )
}

fn each<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    f: impl Fn(T::Native) -> Result<T::Native>,
) -> Result<ArrayRef> {
    let values = array.as_primitive::<T>().try_unary::<_, T, _>(f)?;
    Ok(Arc::new(values.with_data_type(array.data_type().clone())))
}

/// `sign` of a numeric: −1, 0 or 1.
pub(crate) fn sign_numeric() -> Arc<ScalarUDF> {
    const SIGN: DataType = DataType::Decimal128(1, 0);
    Function::giving("sign", SIGN, |arrays| {
        let array = arrays.first().ok_or_else(|| type_error("sign takes a number"))?;
        let (values, _) = wide(array)?;
        let signs = values.unary::<_, Decimal128Type>(|value| match value.cmp(&i256::ZERO) {
            std::cmp::Ordering::Less => -1,
            std::cmp::Ordering::Equal => 0,
            std::cmp::Ordering::Greater => 1,
        });
        Ok(Arc::new(signs.with_data_type(SIGN)))
    })
}
