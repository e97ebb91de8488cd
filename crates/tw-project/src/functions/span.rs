//! Arithmetic with dates, times and intervals.

use super::arith::Op;
use super::function::{Function, arrow_error, type_error, zip};
use crate::types::{INTERVAL, Kind, TIME, TIMESTAMP};
use crate::values::calendar::{self, DAY_US, Span};
use crate::values::print::span_of;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::array::types::{
    Date32Type, Decimal128Type, Int32Type, Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNano};
use datafusion::arrow::error::ArrowError;
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF};
use std::sync::Arc;

type Ts = TimestampMicrosecondType;
type Iv = IntervalMonthDayNanoType;

/// The type of `a op b` if that is arithmetic with time; integers are brought to Int32 (days) or Int64 (factors) by the binder.
pub(crate) fn result(op: Op, a: &DataType, b: &DataType) -> Option<DataType> {
    use Kind::{Date, Int, Interval, Time, Timestamp, TimestampTz};
    Some(match (op, Kind::of(a), Kind::of(b)) {
        (Op::Add | Op::Sub, Date, Int) | (Op::Add, Int, Date) => DataType::Date32,
        (Op::Sub, Date, Date) => DataType::Int32,
        (Op::Add | Op::Sub, Timestamp, Interval) => TIMESTAMP,
        (Op::Add | Op::Sub, TimestampTz, Interval) => a.clone(),
        (Op::Add | Op::Sub, Time, Interval) => TIME,
        (Op::Add, Date, Time) => TIMESTAMP,
        (Op::Sub, Timestamp, Timestamp) | (Op::Sub, TimestampTz, TimestampTz) | (Op::Sub, Time, Time) => {
            INTERVAL
        }
        (Op::Add | Op::Sub, Interval, Interval) | (Op::Mul, Interval, Int) => INTERVAL,
        _ => return None,
    })
}

pub(crate) fn call(op: Op, args: &[ColumnarValue], ty: &DataType) -> Result<ColumnarValue> {
    use Kind::{Date, Int, Interval, Time};
    let sign = if op == Op::Sub { -1 } else { 1 };
    let kind = |at: usize| args.get(at).map_or(Kind::Unknown, |arg| Kind::of(&arg.data_type()));
    match (kind(0), kind(1)) {
        (Date, Int) => zip::<Date32Type, Int32Type, Date32Type>(args, ty, |day, days| {
            later_day(day, sign * i64::from(days))
        }),
        (Int, Date) => {
            zip::<Int32Type, Date32Type, Date32Type>(args, ty, |days, day| later_day(day, i64::from(days)))
        }
        (Date, Date) => zip::<Date32Type, Date32Type, Int32Type>(args, ty, |a, b| {
            if calendar::is_endless_day(a) || calendar::is_endless_day(b) {
                return Err(arrow_error("cannot subtract infinite dates"));
            }
            a.checked_sub(b).ok_or_else(|| arrow_error("integer out of range"))
        }),
        (Date, Time) => zip::<Date32Type, Time64MicrosecondType, Ts>(args, ty, |day, us| {
            let start = calendar::start_of_day(day).ok_or_else(out_of_range)?;
            if calendar::is_endless(start) {
                return Ok(start);
            }
            start.checked_add(us).and_then(calendar::in_range).ok_or_else(out_of_range)
        }),
        (Time, Interval) => {
            zip::<Time64MicrosecondType, Iv, Time64MicrosecondType>(args, ty, |time, span| {
                Ok((time + sign * (span_of(span).us % DAY_US)).rem_euclid(DAY_US))
            })
        }
        (Interval, Interval) => zip::<Iv, Iv, Iv>(args, ty, |a, b| sum(span_of(a), span_of(b), sign)),
        (Interval, Int) => zip::<Iv, Int64Type, Iv>(args, ty, |span, factor| times(span_of(span), factor)),
        (_, Interval) => zip::<Ts, Iv, Ts>(args, ty, |instant, span| {
            let span = times(span_of(span), sign).map(span_of)?;
            calendar::add_span(instant, span).ok_or_else(out_of_range)
        }),
        (Time, Time) => zip::<Time64MicrosecondType, Time64MicrosecondType, Iv>(args, ty, |a, b| {
            interval(Span { us: a - b, ..Span::default() })
        }),
        _ => zip::<Ts, Ts, Iv>(args, ty, |a, b| {
            if calendar::is_endless(a) || calendar::is_endless(b) {
                return Err(arrow_error("cannot subtract infinite timestamps: intervals here are finite"));
            }
            let us = a.checked_sub(b).ok_or_else(out_of_range)?;
            let days = i32::try_from(us / DAY_US).map_err(|_| out_of_range())?;
            interval(Span { months: 0, days, us: us % DAY_US })
        }),
    }
}

fn out_of_range() -> ArrowError {
    arrow_error("timestamp out of range")
}

fn later_day(day: i32, days: i64) -> Result<i32, ArrowError> {
    if calendar::is_endless_day(day) {
        return Ok(day);
    }
    calendar::day_in_range(i64::from(day) + days).ok_or_else(|| arrow_error("date out of range"))
}

/// Arrow keeps nanoseconds, so that its intervals end at 292 years of time; months and days count apart.
pub(crate) fn interval(span: Span) -> Result<IntervalMonthDayNano, ArrowError> {
    let nanoseconds = span.us.checked_mul(1_000).ok_or_else(|| arrow_error("interval out of range"))?;
    Ok(IntervalMonthDayNano { months: span.months, days: span.days, nanoseconds })
}

fn sum(a: Span, b: Span, sign: i64) -> Result<IntervalMonthDayNano, ArrowError> {
    let part = |a: i64, b: i64| a.checked_add(b.checked_mul(sign)?);
    let small = |a: i32, b: i32| part(i64::from(a), i64::from(b)).and_then(|sum| i32::try_from(sum).ok());
    match (small(a.months, b.months), small(a.days, b.days), part(a.us, b.us)) {
        (Some(months), Some(days), Some(us)) => interval(Span { months, days, us }),
        _ => Err(arrow_error("interval out of range")),
    }
}

fn times(span: Span, factor: i64) -> Result<IntervalMonthDayNano, ArrowError> {
    let small = |part: i32| i64::from(part).checked_mul(factor).and_then(|part| i32::try_from(part).ok());
    match (small(span.months), small(span.days), span.us.checked_mul(factor)) {
        (Some(months), Some(days), Some(us)) => interval(Span { months, days, us }),
        _ => Err(arrow_error("interval out of range")),
    }
}

/// What intervals are compared by: microseconds, a month being 30 days and a day 24 hours.
pub(crate) fn order() -> Arc<ScalarUDF> {
    const ORDER: DataType = DataType::Decimal128(38, 0);
    Function::giving("interval_order", ORDER, |arrays| match arrays {
        [spans] => {
            let order = spans.as_primitive::<Iv>().unary::<_, Decimal128Type>(|span| span_of(span).order());
            Ok(Arc::new(order.with_data_type(ORDER)))
        }
        _ => Err(type_error("interval_order takes an interval")),
    })
}
