//! Casts, as PostgreSQL makes them: rounding half away from zero for numerics and to even for floats, ranges checked,
//! texts read and printed in PostgreSQL's forms.

use super::arith::{normal_f32, normal_f64};
use super::function::{over_arrays, type_error, value_error};
use crate::types::{self, Kind, exact_shape};
use crate::values::calendar::{self, DAY_US};
use crate::values::decimal::{self, Unfit};
use crate::values::print::{Printer, span_of};
use crate::values::scan::{self, NoNumber};
use datafusion::arrow::array::types::*;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, PrimitiveArray, StringViewArray, StringViewBuilder,
};
use datafusion::arrow::compute;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, i256};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

/// Whether a value of one type can be cast to another.
pub(crate) fn can_cast(from: &DataType, to: &DataType) -> bool {
    use Kind::{
        Bool, Bytes, Date, Float, Foreign, Int, Interval, Numeric, Text, Time, Timestamp, TimestampTz,
        Unknown,
    };
    match (Kind::of(from), Kind::of(to)) {
        (a, b) if a == b => a != Foreign || from == to,
        (Unknown, _) => true,
        (Foreign, Text) => true,
        (Foreign, _) | (_, Foreign | Unknown) => false,
        (_, Text) | (Text, _) => true,
        (Int | Numeric | Float, Int | Numeric | Float) => true,
        (Bool, Int) => *to == DataType::Int32,
        (Int, Bool) => *from == DataType::Int32,
        (Date, Timestamp | TimestampTz) | (Timestamp, Date | Time | TimestampTz) => true,
        (TimestampTz, Date | Time | Timestamp) | (Time, Interval) | (Interval, Time) => true,
        (Bytes, _) | (_, Bytes) => false,
        _ => false,
    }
}

/// `expr` as a value of type `to`; literals are cast at once.
///
/// # Errors
/// There is no such cast, or the literal is not a value of the type.
pub(crate) fn cast(expr: Expr, from: &DataType, to: &DataType) -> Result<Expr> {
    if from == to {
        return Ok(expr);
    }
    if !can_cast(from, to) {
        return Err(type_error(format!("cannot cast type {} to {}", types::name(from), types::name(to))));
    }
    if let Expr::Literal(value, metadata) = &expr {
        let array = cast_array(&value.to_array()?, to)?;
        return Ok(Expr::Literal(ScalarValue::try_from_array(&array, 0)?, metadata.clone()));
    }
    Ok(Cast::of(expr, to))
}

/// The function that casts to one type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cast {
    to: DataType,
    signature: Signature,
}

impl Cast {
    fn new(to: DataType) -> Self {
        Self { to, signature: Signature::user_defined(Volatility::Immutable) }
    }

    /// A cast of `expr`, even if it changes nothing but what the type is called.
    pub(crate) fn of(expr: Expr, to: &DataType) -> Expr {
        ScalarUDF::new_from_impl(Self::new(to.clone())).call(vec![expr])
    }

    /// The type to which it casts.
    pub(crate) fn target(&self) -> &DataType {
        &self.to
    }
}

impl ScalarUDFImpl for Cast {
    fn name(&self) -> &str {
        "cast"
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let arg = args.first().map(|arg| arg.schema_name().to_string()).unwrap_or_default();
        Ok(format!("{arg}::{}", types::name(&self.to)))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new("cast", self.to.clone(), nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_arrays(&args.args, args.number_rows, |arrays| match arrays {
            [array] => cast_array(array, &self.to),
            _ => Err(type_error("a cast takes one value")),
        })
    }
}

/// Whether a cast between these types can fail for a value.
pub(crate) fn can_fail(from: &DataType, to: &DataType) -> bool {
    match (Kind::of(from), Kind::of(to)) {
        (_, Kind::Text) | (Kind::Int, Kind::Float) => false,
        (Kind::Int, Kind::Int) => from.primitive_width() > to.primitive_width(),
        (Kind::Int | Kind::Numeric, Kind::Numeric) => match (exact_shape(from), exact_shape(to)) {
            (Some((pa, sa)), Some((pb, sb))) => {
                i16::from(pa) - i16::from(sa) > i16::from(pb) - i16::from(sb) || sa > sb
            }
            _ => true,
        },
        _ => true,
    }
}

/// Casts every value of `array`.
pub(crate) fn cast_array(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let from = array.data_type();
    if from == to {
        return Ok(array.clone());
    }
    match (Kind::of(from), Kind::of(to)) {
        (Kind::Unknown, _) => Ok(datafusion::arrow::array::new_null_array(to, array.len())),
        (Kind::Text, Kind::Text) | (Kind::Bytes, Kind::Bytes) | (Kind::Int, Kind::Float) => {
            Ok(compute::cast(array, to)?)
        }
        (_, Kind::Text) => to_text(array, to),
        (Kind::Text, _) => from_text(compute::cast(array, &DataType::Utf8View)?.as_string_view(), to),
        (Kind::Bool, Kind::Int) => Ok(compute::cast(array, to)?),
        (Kind::Int, Kind::Bool) => Ok(compute::cast(array, to)?),
        (Kind::Int, Kind::Int) => narrow_int(&compute::cast(array, &DataType::Int64)?, to),
        (Kind::Int | Kind::Numeric, Kind::Numeric) => to_numeric(array, to),
        (Kind::Numeric, Kind::Int) => numeric_to_int(array, to),
        (Kind::Numeric | Kind::Float, Kind::Float) => to_float(array, to),
        (Kind::Float, Kind::Int) => float_to_int(&compute::cast(array, &DataType::Float64)?, to),
        (Kind::Float, Kind::Numeric) => float_to_numeric(array, to),
        _ => temporal(array, to),
    }
}

fn unsupported(from: &DataType, to: &DataType) -> datafusion::common::DataFusionError {
    type_error(format!("cannot cast type {} to {}", types::name(from), types::name(to)))
}

fn to_text(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let printer = Printer::new(array);
    let mut builder = StringViewBuilder::with_capacity(array.len());
    let mut text = String::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.append_null();
            continue;
        }
        text.clear();
        match array.as_boolean_opt() {
            // As a cast, a boolean is a word; only in output it is a letter.
            Some(booleans) => text.push_str(if booleans.value(row) { "true" } else { "false" }),
            None => printer.print(row, &mut text),
        }
        builder.append_value(&text);
    }
    let array: ArrayRef = Arc::new(builder.finish());
    Ok(if *to == DataType::Utf8View { array } else { compute::cast(&array, to)? })
}

/// Reads every text; `read` explains what is wrong with one.
fn read_all<'a, T>(
    texts: &'a StringViewArray,
    read: impl Fn(&'a str) -> Result<T, String>,
) -> Result<Vec<Option<T>>> {
    texts.iter().map(|text| text.map(|text| read(text).map_err(value_error)).transpose()).collect()
}

fn primitive<T: datafusion::arrow::array::ArrowPrimitiveType>(
    values: Vec<Option<T::Native>>,
    ty: &DataType,
) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::from_iter(values).with_data_type(ty.clone()))
}

fn from_text(texts: &StringViewArray, to: &DataType) -> Result<ArrayRef> {
    let wrong =
        |text: &str| format!("invalid input syntax for type {}: `{}`", types::name(to), scan::shorten(text));
    let number = |text: &str, problem: NoNumber| match problem {
        NoNumber::Syntax => wrong(text),
        NoNumber::Range => format!("`{}` is out of range for type {}", scan::shorten(text), types::name(to)),
    };
    Ok(match to {
        DataType::Boolean => Arc::new(BooleanArray::from(read_all(texts, |text| {
            scan::parse_bool(text).ok_or_else(|| wrong(text))
        })?)),
        DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            let values =
                read_all(texts, |text| scan::parse_int(text).map_err(|problem| number(text, problem)))?;
            narrow_int(&primitive::<Int64Type>(values, &DataType::Int64), to)?
        }
        DataType::Float64 => primitive::<Float64Type>(
            read_all(texts, |text| {
                scan::parse_float8(text).map(normal_f64).map_err(|problem| number(text, problem))
            })?,
            to,
        ),
        DataType::Float32 => primitive::<Float32Type>(
            read_all(texts, |text| {
                scan::parse_float4(text).map(normal_f32).map_err(|problem| number(text, problem))
            })?,
            to,
        ),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            let values = read_all(texts, |text| {
                decimal::parse_rounded(text.trim().as_bytes(), *precision, *scale)
                    .map_err(|unfit| numeric_problem(text, unfit, to))
            })?;
            decimals(values, to)?
        }
        DataType::Date32 => primitive::<Date32Type>(read_all(texts, scan::parse_date)?, to),
        DataType::Time64(_) => primitive::<Time64MicrosecondType>(
            read_all(texts, |text| calendar::parse_time(text).ok_or_else(|| wrong(text)))?,
            to,
        ),
        DataType::Timestamp(_, zone) => primitive::<TimestampMicrosecondType>(
            read_all(texts, |text| scan::parse_timestamp(text, zone.is_some()))?,
            to,
        ),
        DataType::Interval(_) => primitive::<IntervalMonthDayNanoType>(
            read_all(texts, |text| {
                let span = scan::parse_span(text).ok_or_else(|| wrong(text))?;
                super::span::interval(span).map_err(|_| number(text, NoNumber::Range))
            })?,
            to,
        ),
        DataType::Binary => {
            let mut builder = BinaryBuilder::new();
            for text in texts {
                match text {
                    Some(text) => {
                        builder.append_value(read_bytes(text).ok_or_else(|| value_error(wrong(text)))?);
                    }
                    None => builder.append_null(),
                }
            }
            Arc::new(builder.finish())
        }
        _ => return Err(unsupported(&DataType::Utf8View, to)),
    })
}

fn read_bytes(text: &str) -> Option<Vec<u8>> {
    if text.starts_with("\\x") {
        scan::parse_hex_bytes(text)
    } else {
        (!text.contains('\\')).then(|| text.as_bytes().to_vec())
    }
}

/// What is wrong with the text of a numeric.
pub(crate) fn numeric_problem(text: &str, unfit: Unfit, ty: &DataType) -> String {
    let text = scan::shorten(text);
    let ty = types::name(ty);
    match unfit {
        Unfit::Syntax => format!("invalid input syntax for type {ty}: `{text}`"),
        Unfit::NotFinite => format!("`{text}` cannot be kept: numerics here are finite"),
        Unfit::Fraction => format!("`{text}` has more digits after the point than {ty} allows"),
        Unfit::Integer if ty == "numeric" => format!("`{text}` has more than 38 digits before the point"),
        Unfit::Integer => format!("numeric field overflow: `{text}` does not fit in {ty}"),
    }
}

fn narrow_int(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let out_of_range = || value_error(format!("{} out of range", types::name(to)));
    let values = array.as_primitive::<Int64Type>();
    Ok(match to {
        DataType::Int64 => array.clone(),
        DataType::Int32 => Arc::new(
            values.try_unary::<_, Int32Type, _>(|value| i32::try_from(value).map_err(|_| out_of_range()))?,
        ),
        DataType::Int16 => Arc::new(
            values.try_unary::<_, Int16Type, _>(|value| i16::try_from(value).map_err(|_| out_of_range()))?,
        ),
        _ => return Err(unsupported(&DataType::Int64, to)),
    })
}

/// Numbers of a decimal type, widened to 256 bits; the scale is that of the type.
fn wide(array: &ArrayRef) -> Result<(datafusion::arrow::array::Decimal256Array, i8)> {
    let array = match array.data_type() {
        DataType::Decimal128(precision, scale) => {
            compute::cast(array, &DataType::Decimal256(*precision, *scale))?
        }
        DataType::Decimal256(..) => array.clone(),
        _ => {
            let values = compute::cast(array, &DataType::Int64)?;
            let wide: PrimitiveArray<Decimal256Type> =
                values.as_primitive::<Int64Type>().unary(|value| i256::from_i128(i128::from(value)));
            Arc::new(wide.with_data_type(DataType::Decimal256(19, 0)))
        }
    };
    let scale = exact_shape(array.data_type()).map_or(0, |(_, scale)| scale);
    Ok((array.as_primitive::<Decimal256Type>().clone(), scale))
}

fn decimals(values: Vec<Option<i256>>, ty: &DataType) -> Result<ArrayRef> {
    Ok(match ty {
        DataType::Decimal128(..) => {
            let values = values.into_iter().map(|value| value.map(i256::as_i128)).collect();
            primitive::<Decimal128Type>(values, ty)
        }
        _ => primitive::<Decimal256Type>(values, ty),
    })
}

fn to_numeric(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let Some((precision, scale)) = exact_shape(to) else { return Err(unsupported(array.data_type(), to)) };
    if let (Some((from_precision, from_scale)), DataType::Decimal128(..)) =
        (exact_shape(array.data_type()), to)
        && !matches!(array.data_type(), DataType::Decimal256(..))
        && from_scale <= scale
        && from_precision.saturating_add_signed(scale - from_scale) <= precision
    {
        // Nothing can be lost, so Arrow's own cast is the same, and faster.
        return Ok(compute::cast(array, to)?);
    }
    let (values, from_scale) = wide(array)?;
    let scaled = values
        .iter()
        .map(|value| {
            let Some(value) = value else { return Ok(None) };
            decimal::rescale(value, from_scale, scale, precision).map(Some).ok_or_else(|| {
                let mut text = String::new();
                decimal::print(value, from_scale, true, &mut text);
                value_error(numeric_problem(&text, Unfit::Integer, to))
            })
        })
        .collect::<Result<Vec<_>>>()?;
    decimals(scaled, to)
}

fn numeric_to_int(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let (values, scale) = wide(array)?;
    let whole = values.try_unary::<_, Int64Type, _>(|value| {
        decimal::rescale(value, scale, 0, decimal::DIGITS_MAX)
            .and_then(i256::to_i128)
            .and_then(|value| i64::try_from(value).ok())
            .ok_or_else(|| value_error(format!("{} out of range", types::name(to))))
    })?;
    narrow_int(&(Arc::new(whole) as ArrayRef), to)
}

/// The double that is nearest to a decimal.
pub(crate) fn decimal_to_f64(value: i256, scale: i8) -> f64 {
    const EXACT: i128 = 1 << 53;
    if let Some(small) = value.to_i128()
        && small.abs() <= EXACT
        && (0..=22).contains(&scale)
    {
        // Both are exact doubles, so the division rounds once.
        return small as f64 / 10f64.powi(i32::from(scale));
    }
    let mut text = String::new();
    decimal::print(value, scale, true, &mut text);
    text.parse().unwrap_or(f64::NAN)
}

fn to_float(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    match (array.data_type(), to) {
        (DataType::Float32, DataType::Float64) => Ok(compute::cast(array, to)?),
        (DataType::Float64, DataType::Float32) => {
            let narrowed = array.as_primitive::<Float64Type>().try_unary::<_, Float32Type, _>(|value| {
                let narrow = value as f32;
                if narrow.is_infinite() && value.is_finite() {
                    return Err(value_error("value out of range: overflow"));
                }
                if narrow == 0.0 && value != 0.0 {
                    return Err(value_error("value out of range: underflow"));
                }
                Ok(narrow)
            })?;
            Ok(Arc::new(narrowed))
        }
        (_, DataType::Float64) => {
            let (values, scale) = wide(array)?;
            Ok(Arc::new(values.unary::<_, Float64Type>(|value| decimal_to_f64(value, scale))))
        }
        _ => {
            let (values, scale) = wide(array)?;
            let narrowed = values.try_unary::<_, Float32Type, _>(|value| {
                let mut text = String::new();
                decimal::print(value, scale, true, &mut text);
                scan::parse_float4(&text)
                    .map_err(|_| value_error(format!("`{text}` is out of range for type real")))
            })?;
            Ok(Arc::new(narrowed))
        }
    }
}

fn float_to_int(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let out_of_range = || value_error(format!("{} out of range", types::name(to)));
    let values = array.as_primitive::<Float64Type>().try_unary::<_, Int64Type, _>(|value| {
        let rounded = value.round_ties_even();
        let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded);
        if fits { Ok(rounded as i64) } else { Err(out_of_range()) }
    })?;
    narrow_int(&(Arc::new(values) as ArrayRef), to)
}

/// PostgreSQL keeps 15 significant digits of a double and 6 of a real.
fn float_to_numeric(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let Some((precision, scale)) = exact_shape(to) else { return Err(unsupported(array.data_type(), to)) };
    let digits = if *array.data_type() == DataType::Float32 { 5 } else { 14 };
    let values = compute::cast(array, &DataType::Float64)?;
    let values = values
        .as_primitive::<Float64Type>()
        .iter()
        .map(|value| {
            let Some(value) = value else { return Ok(None) };
            let text = if value.is_finite() { format!("{value:.digits$e}") } else { value.to_string() };
            decimal::parse_rounded(text.as_bytes(), precision, scale)
                .map(Some)
                .map_err(|unfit| value_error(numeric_problem(&text, unfit, to)))
        })
        .collect::<Result<Vec<_>>>()?;
    decimals(values, to)
}

fn temporal(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let from = array.data_type();
    Ok(match (Kind::of(from), Kind::of(to)) {
        (Kind::Date, Kind::Timestamp | Kind::TimestampTz) => {
            let instants =
                array.as_primitive::<Date32Type>().try_unary::<_, TimestampMicrosecondType, _>(|day| {
                    calendar::start_of_day(day).ok_or_else(|| value_error("date out of range for timestamp"))
                })?;
            Arc::new(instants.with_data_type(to.clone()))
        }
        (Kind::Timestamp | Kind::TimestampTz, Kind::Timestamp | Kind::TimestampTz) => {
            Arc::new(array.as_primitive::<TimestampMicrosecondType>().clone().with_data_type(to.clone()))
        }
        (Kind::Timestamp | Kind::TimestampTz, Kind::Date) => Arc::new(
            array.as_primitive::<TimestampMicrosecondType>().unary::<_, Date32Type>(calendar::day_of),
        ),
        (Kind::Timestamp | Kind::TimestampTz, Kind::Time) => Arc::new(
            array
                .as_primitive::<TimestampMicrosecondType>()
                // The ends of time have no time of day.
                .unary_opt::<_, Time64MicrosecondType>(|us| {
                    (!calendar::is_endless(us)).then(|| us.rem_euclid(DAY_US))
                }),
        ),
        (Kind::Interval, Kind::Time) => Arc::new(
            array
                .as_primitive::<IntervalMonthDayNanoType>()
                .unary::<_, Time64MicrosecondType>(|span| span_of(span).us.rem_euclid(DAY_US)),
        ),
        (Kind::Time, Kind::Interval) => {
            Arc::new(array.as_primitive::<Time64MicrosecondType>().unary::<_, IntervalMonthDayNanoType>(
                |us| datafusion::arrow::datatypes::IntervalMonthDayNano {
                    months: 0,
                    days: 0,
                    nanoseconds: us * 1_000,
                },
            ))
        }
        _ => return Err(unsupported(from, to)),
    })
}
