//! Functions of dates, times and instants: `extract`, `date_trunc`, `date_bin`, `to_timestamp`, `make_date`.

use super::function::{Function, over_arrays, type_error, value_error};
use crate::types::{self, Kind, timestamptz};
use crate::values::calendar::{self, DAY_US, civil_from_days, days_from_civil};
use crate::values::print::span_of;
use datafusion::arrow::array::types::{
    Date32Type, Decimal128Type, Float64Type, Int32Type, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;
use std::sync::Arc;

const SECOND_US: i64 = 1_000_000;

/// A part of a date, a time or an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Microseconds,
    Milliseconds,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    Dow,
    IsoDow,
    Doy,
    IsoYear,
    Epoch,
}

impl Field {
    /// The field that a text names, in any of the usual spellings.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text.trim().to_ascii_lowercase().as_str() {
            "microsecond" | "microseconds" | "us" => Self::Microseconds,
            "millisecond" | "milliseconds" | "ms" => Self::Milliseconds,
            "second" | "seconds" | "s" | "sec" => Self::Second,
            "minute" | "minutes" | "min" => Self::Minute,
            "hour" | "hours" | "h" => Self::Hour,
            "day" | "days" | "d" => Self::Day,
            "week" | "weeks" | "w" => Self::Week,
            "month" | "months" | "mon" => Self::Month,
            "quarter" | "quarters" | "qtr" => Self::Quarter,
            "year" | "years" | "y" => Self::Year,
            "decade" | "decades" => Self::Decade,
            "century" | "centuries" => Self::Century,
            "millennium" | "millennia" => Self::Millennium,
            "dow" => Self::Dow,
            "isodow" => Self::IsoDow,
            "doy" => Self::Doy,
            "isoyear" => Self::IsoYear,
            "epoch" => Self::Epoch,
            _ => return None,
        })
    }

    /// Digits after the point that an extracted value has.
    fn scale(self, kind: Kind) -> i8 {
        match self {
            Self::Second => 6,
            Self::Epoch if kind != Kind::Date => 6,
            Self::Milliseconds => 3,
            _ => 0,
        }
    }

    /// Whether it only grows with time, so that it has no end where time has none; of the others there is nothing at the ends of time.
    fn is_endless(self) -> bool {
        matches!(
            self,
            Self::Year | Self::Decade | Self::Century | Self::Millennium | Self::IsoYear | Self::Epoch
        )
    }

    fn is_time(self) -> bool {
        matches!(self, Self::Microseconds | Self::Milliseconds | Self::Second | Self::Minute | Self::Hour)
    }

    /// Whether there is such a field in values of a kind.
    pub(crate) fn is_of(self, kind: Kind) -> bool {
        match kind {
            Kind::Timestamp | Kind::TimestampTz => true,
            Kind::Date => !self.is_time(),
            Kind::Time => self.is_time() || self == Self::Epoch,
            Kind::Interval => {
                !matches!(self, Self::Week | Self::Dow | Self::IsoDow | Self::Doy | Self::IsoYear)
            }
            _ => false,
        }
    }
}

/// The century, or the millennium, of a year; there is no year 0.
fn span_of_years(year: i64, length: i64) -> i64 {
    if year > 0 { (year + length - 1) / length } else { -((length - year) / length) }
}

/// Monday is 1, Sunday 7.
fn iso_weekday(days: i64) -> i64 {
    (days + 3).rem_euclid(7) + 1
}

/// The ISO 8601 year and week of a day.
fn iso_week(days: i64) -> (i64, i64) {
    // The week belongs to the year of its Thursday.
    let thursday = days + 4 - iso_weekday(days);
    let (year, _, _) = civil_from_days(thursday);
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

/// A field of a day, as an integer.
fn of_day(field: Field, days: i64) -> i64 {
    let (year, month, day) = civil_from_days(days);
    // Years before 1 are counted from 1 BC backwards.
    let shown = |year: i64| if year > 0 { year } else { year - 1 };
    match field {
        Field::Day => i64::from(day),
        Field::Month => i64::from(month),
        Field::Quarter => i64::from((month - 1) / 3 + 1),
        Field::Year => shown(year),
        Field::IsoYear => shown(iso_week(days).0),
        Field::Decade => year.div_euclid(10),
        Field::Century => span_of_years(year, 100),
        Field::Millennium => span_of_years(year, 1000),
        Field::Week => iso_week(days).1,
        Field::Dow => iso_weekday(days) % 7,
        Field::IsoDow => iso_weekday(days),
        Field::Doy => days - days_from_civil(year, 1, 1) + 1,
        _ => days * 86_400,
    }
}

/// A field of a time of day, unscaled by the field's scale.
fn of_time(field: Field, us: i64) -> i64 {
    match field {
        Field::Hour => us / (3600 * SECOND_US),
        Field::Minute => us / (60 * SECOND_US) % 60,
        Field::Epoch => us,
        // Seconds with six digits after the point, milliseconds with three, microseconds: all the same digits.
        _ => us % (60 * SECOND_US),
    }
}

fn of_instant(field: Field, instant: i64) -> i64 {
    if field == Field::Epoch {
        instant
    } else if field.is_time() {
        of_time(field, instant.rem_euclid(DAY_US))
    } else {
        of_day(field, instant.div_euclid(DAY_US))
    }
}

fn of_span(field: Field, span: calendar::Span) -> i64 {
    let (years, months) = (i64::from(span.months / 12), i64::from(span.months % 12));
    match field {
        Field::Year => years,
        Field::Month => months,
        Field::Quarter => months / 3 + 1,
        Field::Decade => years / 10,
        Field::Century => years / 100,
        Field::Millennium => years / 1000,
        Field::Day => i64::from(span.days),
        // A year has 365.25 days here, a month 30.
        Field::Epoch => {
            (years * 31_557_600 + months * 2_592_000 + i64::from(span.days) * 86_400) * SECOND_US + span.us
        }
        Field::Hour => span.us / (3600 * SECOND_US),
        Field::Minute => span.us / (60 * SECOND_US) % 60,
        _ => span.us % (60 * SECOND_US),
    }
}

/// `extract(field from x)`, a numeric.
pub(crate) fn extract(field: Field) -> Arc<ScalarUDF> {
    Function::of(
        name_of(field),
        move |types, _| {
            let kind = types.first().map_or(Kind::Unknown, Kind::of);
            Ok(types::decimal(if field.scale(kind) > 0 { 25 } else { 19 }, field.scale(kind)))
        },
        move |args, rows, ty| {
            over_arrays(args, rows, |arrays| {
                let array = arrays.first().ok_or_else(|| type_error("extract takes a value"))?;
                let values: PrimitiveArray<Decimal128Type> = match Kind::of(array.data_type()) {
                    Kind::Date => finite(
                        field,
                        array.as_primitive::<Date32Type>().iter(),
                        calendar::is_endless_day,
                        |day| of_day(field, i64::from(day)),
                    )?,
                    Kind::Time => array
                        .as_primitive::<Time64MicrosecondType>()
                        .unary(|us| i128::from(of_time(field, us))),
                    Kind::Interval => array
                        .as_primitive::<IntervalMonthDayNanoType>()
                        .unary(|span| i128::from(of_span(field, span_of(span)))),
                    _ => finite(
                        field,
                        array.as_primitive::<TimestampMicrosecondType>().iter(),
                        calendar::is_endless,
                        |us| of_instant(field, us),
                    )?,
                };
                Ok(Arc::new(values.with_data_type(ty.clone())))
            })
        },
    )
}

/// A field of values that may be endless.
fn finite<T: Copy>(
    field: Field,
    values: impl Iterator<Item = Option<T>>,
    is_endless: impl Fn(T) -> bool,
    of: impl Fn(T) -> i64,
) -> Result<PrimitiveArray<Decimal128Type>> {
    let of = |value: T| match is_endless(value) {
        false => Ok(Some(i128::from(of(value)))),
        true if field.is_endless() => {
            let name = format!("{field:?}").to_lowercase();
            Err(value_error(format!("the {name} of infinity cannot be kept: numerics here are finite")))
        }
        true => Ok(None),
    };
    values.map(|value| value.map_or(Ok(None), of)).collect()
}

/// Functions are the same if they have the same name, so each field needs its own.
fn name_of(field: Field) -> &'static str {
    match field {
        Field::Microseconds => "extract_microseconds",
        Field::Milliseconds => "extract_milliseconds",
        Field::Second => "extract_second",
        Field::Minute => "extract_minute",
        Field::Hour => "extract_hour",
        Field::Day => "extract_day",
        Field::Week => "extract_week",
        Field::Month => "extract_month",
        Field::Quarter => "extract_quarter",
        Field::Year => "extract_year",
        Field::Decade => "extract_decade",
        Field::Century => "extract_century",
        Field::Millennium => "extract_millennium",
        Field::Dow => "extract_dow",
        Field::IsoDow => "extract_isodow",
        Field::Doy => "extract_doy",
        Field::IsoYear => "extract_isoyear",
        Field::Epoch => "extract_epoch",
    }
}

/// The start of the unit in which an instant lies; None for units that have no start.
fn truncate(field: Field, instant: i64) -> Option<i64> {
    if calendar::is_endless(instant) {
        return Some(instant);
    }
    let days = instant.div_euclid(DAY_US);
    let (year, month, _) = civil_from_days(days);
    let first = |year: i64| days_from_civil(year, 1, 1);
    let day = match field {
        Field::Microseconds => return Some(instant),
        Field::Milliseconds => return Some(instant - instant.rem_euclid(1_000)),
        Field::Second => return Some(instant - instant.rem_euclid(SECOND_US)),
        Field::Minute => return Some(instant - instant.rem_euclid(60 * SECOND_US)),
        Field::Hour => return Some(instant - instant.rem_euclid(3600 * SECOND_US)),
        Field::Day => days,
        Field::Week => days - iso_weekday(days) + 1,
        Field::Month => days_from_civil(year, month, 1),
        Field::Quarter => days_from_civil(year, (month - 1) / 3 * 3 + 1, 1),
        Field::Year => first(year),
        Field::Decade => first(year.div_euclid(10) * 10),
        Field::Century => first((year - 1).div_euclid(100) * 100 + 1),
        Field::Millennium => first((year - 1).div_euclid(1000) * 1000 + 1),
        _ => return None,
    };
    day.checked_mul(DAY_US)
}

/// `date_trunc(unit, instant)`; the type stays.
pub(crate) fn date_trunc() -> Arc<ScalarUDF> {
    Function::of(
        "date_trunc",
        |types, _| types.get(1).cloned().ok_or_else(|| type_error("date_trunc takes a unit and a timestamp")),
        |args, rows, ty| {
            over_arrays(args, rows, |arrays| {
                let [units, instants] = arrays else {
                    return Err(type_error("date_trunc takes two arguments"));
                };
                let units = units.as_string_view();
                let instants = instants.as_primitive::<TimestampMicrosecondType>();
                let mut known = ("", None);
                let values = (0..instants.len())
                    .map(|row| {
                        if units.is_null(row) || instants.is_null(row) {
                            return Ok(None);
                        }
                        let unit = units.value(row);
                        if unit != known.0 || known.1.is_none() {
                            known = (unit, Field::parse(unit));
                        }
                        let truncated = known.1.and_then(|field| truncate(field, instants.value(row)));
                        let problem = || {
                            value_error(format!(
                                "unit `{unit}` is not known to date_trunc, or the result is out of range"
                            ))
                        };
                        let in_range = |us: i64| {
                            if calendar::is_endless(us) { Some(us) } else { calendar::in_range(us) }
                        };
                        truncated.and_then(in_range).map(Some).ok_or_else(problem)
                    })
                    .collect::<Result<PrimitiveArray<TimestampMicrosecondType>>>()?;
                Ok(Arc::new(values.with_data_type(ty.clone())))
            })
        },
    )
}

/// `date_bin(stride, source, origin)`; the stride is an interval without months.
pub(crate) fn date_bin() -> Arc<ScalarUDF> {
    Function::of(
        "date_bin",
        |types, _| {
            types
                .get(1)
                .cloned()
                .ok_or_else(|| type_error("date_bin takes a stride, a timestamp and an origin"))
        },
        |args, rows, ty| {
            over_arrays(args, rows, |arrays| {
                let [strides, sources, origins] = arrays else {
                    return Err(type_error("date_bin takes three arguments"));
                };
                let strides = strides.as_primitive::<IntervalMonthDayNanoType>();
                let sources = sources.as_primitive::<TimestampMicrosecondType>();
                let origins = origins.as_primitive::<TimestampMicrosecondType>();
                let values = strides
                    .iter()
                    .zip(sources)
                    .zip(origins)
                    .map(|((stride, source), origin)| match (stride, source, origin) {
                        (Some(stride), Some(source), Some(origin)) => {
                            let stride = crate::values::scan::span_us(span_of(stride))
                                .filter(|stride| *stride > 0)
                                .ok_or_else(|| {
                                    value_error(
                                        "the stride of date_bin must be greater than zero and without months",
                                    )
                                })?;
                            if calendar::is_endless(source) {
                                return Ok(Some(source));
                            }
                            if calendar::is_endless(origin) {
                                return Err(value_error("origin out of range"));
                            }
                            let distance = source
                                .checked_sub(origin)
                                .ok_or_else(|| value_error("timestamp out of range"))?;
                            Ok(Some(source - distance.rem_euclid(stride)))
                        }
                        _ => Ok(None),
                    })
                    .collect::<Result<PrimitiveArray<TimestampMicrosecondType>>>()?;
                Ok(Arc::new(values.with_data_type(ty.clone())))
            })
        },
    )
}

/// `to_timestamp(seconds)`: an instant from seconds since 1970.
pub(crate) fn to_timestamp() -> Arc<ScalarUDF> {
    Function::giving("to_timestamp", timestamptz(), |arrays| {
        let seconds = arrays.first().ok_or_else(|| type_error("to_timestamp takes a number"))?;
        let instants =
            seconds.as_primitive::<Float64Type>().try_unary::<_, TimestampMicrosecondType, _>(|seconds| {
                if seconds.is_infinite() {
                    return Ok(if seconds > 0.0 { i64::MAX } else { i64::MIN });
                }
                let us = (seconds * SECOND_US as f64).round_ties_even();
                let instant = if us.abs() < 9.2e18 { calendar::in_range(us as i64) } else { None };
                instant.ok_or_else(|| value_error("timestamp out of range"))
            })?;
        Ok(Arc::new(instants.with_data_type(timestamptz())))
    })
}

/// `make_date(year, month, day)`.
pub(crate) fn make_date() -> Arc<ScalarUDF> {
    Function::giving("make_date", DataType::Date32, |arrays| {
        let [years, months, days] = arrays else { return Err(type_error("make_date takes three integers")) };
        let part = |array: &ArrayRef| array.as_primitive::<Int32Type>().clone();
        let (years, months, days) = (part(years), part(months), part(days));
        let dates = years
            .iter()
            .zip(&months)
            .zip(&days)
            .map(|((year, month), day)| match (year, month, day) {
                (Some(year), Some(month), Some(day)) => date(year, month, day).map(Some),
                _ => Ok(None),
            })
            .collect::<Result<PrimitiveArray<Date32Type>>>()?;
        Ok(Arc::new(dates))
    })
}

fn date(year: i32, month: i32, day: i32) -> Result<i32> {
    let problem = || value_error(format!("date field value out of range: {year}-{month:02}-{day:02}"));
    let (month, day) =
        (u32::try_from(month).map_err(|_| problem())?, u32::try_from(day).map_err(|_| problem())?);
    // A negative year is one before Christ.
    let astronomical = if year < 0 { i64::from(year) + 1 } else { i64::from(year) };
    if year == 0
        || !(1..=12).contains(&month)
        || day == 0
        || day > calendar::days_in_month(astronomical, month)
    {
        return Err(problem());
    }
    calendar::day_in_range(days_from_civil(astronomical, month, day)).ok_or_else(problem)
}
