//! One column of a batch, ready to be written value by value.

use crate::parts::FIELD_TYPE;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, OffsetSizeTrait};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType, Field, IntervalUnit, TimeUnit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write as _;
use std::io::Write as _;
use tw_types::calendar;

/// The precision and scale of a `numeric` without bounds: its zeros after the last digit mean nothing.
const UNBOUND: (u8, i8) = (76, 38);

/// Whether a type is a `numeric` without bounds.
pub(super) fn is_unbound(ty: &DataType) -> bool {
    *ty == DataType::Decimal256(UNBOUND.0, UNBOUND.1)
}

/// Whether the texts of a column are JSON.
pub(super) fn is_json(field: &Field) -> bool {
    field.metadata().get(FIELD_TYPE).is_some_and(|ty| ty == "json")
}

/// Gives the text, the bytes or whatever else of a row.
type Get<'a, T> = Box<dyn Fn(usize) -> T + Send + 'a>;

/// A column.
pub(super) struct Column<'a> {
    array: &'a dyn Array,
    kind: Kind<'a>,
}

enum Kind<'a> {
    Bool(Get<'a, bool>),
    Int(Get<'a, i128>),
    Float(Get<'a, f64>),
    /// Printed with the digits that a single needs.
    Single(Get<'a, f32>),
    Decimal(Get<'a, String>),
    Text(Get<'a, &'a str>),
    /// A text that is JSON already.
    Json(Get<'a, &'a str>),
    Bytes(Get<'a, &'a [u8]>),
    Interval(Get<'a, IntervalMonthDayNano>),
    List(Box<Column<'a>>, Get<'a, std::ops::Range<usize>>),
    Struct(Vec<(&'a str, Column<'a>)>),
    /// Days since 1970-01-01.
    Date(Get<'a, i32>),
    /// Microseconds since midnight.
    Time(Get<'a, i64>),
    /// Microseconds since 1970-01-01, and whether they are those of UTC.
    Timestamp(Get<'a, i64>, bool),
    /// Anything else, in Arrow's text form.
    Shown(ArrayFormatter<'a>),
}

impl<'a> Column<'a> {
    /// A column; `json` says whether texts in it, however deep in lists, are JSON.
    pub(super) fn new(array: &'a ArrayRef, json: bool) -> Result<Self, ArrowError> {
        macro_rules! int {
            ($ty:ty) => {{
                let values = array.as_primitive::<$ty>();
                Kind::Int(Box::new(|row| i128::from(values.value(row))))
            }};
        }
        macro_rules! get {
            ($kind:ident, $values:expr) => {{
                let values = $values;
                Kind::$kind(Box::new(|row| values.value(row)))
            }};
        }
        let kind = match array.data_type() {
            DataType::Boolean => get!(Bool, array.as_boolean()),
            DataType::Int8 => int!(Int8Type),
            DataType::Int16 => int!(Int16Type),
            DataType::Int32 => int!(Int32Type),
            DataType::Int64 => int!(Int64Type),
            DataType::UInt8 => int!(UInt8Type),
            DataType::UInt16 => int!(UInt16Type),
            DataType::UInt32 => int!(UInt32Type),
            DataType::UInt64 => int!(UInt64Type),
            DataType::Float32 => get!(Single, array.as_primitive::<Float32Type>()),
            DataType::Float64 => get!(Float, array.as_primitive::<Float64Type>()),
            DataType::Decimal128(..) => {
                let values = array.as_primitive::<Decimal128Type>();
                Kind::Decimal(Box::new(|row| values.value_as_string(row)))
            }
            ty @ DataType::Decimal256(..) => {
                let values = array.as_primitive::<Decimal256Type>();
                let unbound = is_unbound(ty);
                Kind::Decimal(Box::new(move |row| {
                    let digits = values.value_as_string(row);
                    if unbound { without_zeros(&digits).to_owned() } else { digits }
                }))
            }
            DataType::Utf8 if json => get!(Json, array.as_string::<i32>()),
            DataType::LargeUtf8 if json => get!(Json, array.as_string::<i64>()),
            DataType::Utf8View if json => get!(Json, array.as_string_view()),
            DataType::Utf8 => get!(Text, array.as_string::<i32>()),
            DataType::LargeUtf8 => get!(Text, array.as_string::<i64>()),
            DataType::Utf8View => get!(Text, array.as_string_view()),
            DataType::Binary => get!(Bytes, array.as_binary::<i32>()),
            DataType::LargeBinary => get!(Bytes, array.as_binary::<i64>()),
            DataType::BinaryView => get!(Bytes, array.as_binary_view()),
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                get!(Interval, array.as_primitive::<IntervalMonthDayNanoType>())
            }
            DataType::Date32 => get!(Date, array.as_primitive::<Date32Type>()),
            DataType::Time64(TimeUnit::Microsecond) => {
                get!(Time, array.as_primitive::<Time64MicrosecondType>())
            }
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let values = array.as_primitive::<TimestampMicrosecondType>();
                Kind::Timestamp(Box::new(|row| values.value(row)), zone.is_some())
            }
            DataType::List(item) => Self::list::<i32>(array, json || is_json(item))?,
            DataType::LargeList(item) => Self::list::<i64>(array, json || is_json(item))?,
            DataType::Struct(fields) => {
                let columns = array.as_struct().columns();
                let named = fields.iter().zip(columns);
                let named = named
                    .map(|(field, column)| Ok((field.name().as_str(), Self::new(column, is_json(field))?)));
                Kind::Struct(named.collect::<Result<_, ArrowError>>()?)
            }
            _ => Kind::Shown(ArrayFormatter::try_new(array, &FormatOptions::default())?),
        };
        Ok(Self { array, kind })
    }

    fn list<O: OffsetSizeTrait + TryInto<usize>>(
        array: &'a ArrayRef,
        json: bool,
    ) -> Result<Kind<'a>, ArrowError> {
        let lists = array.as_list::<O>();
        let offsets = lists.value_offsets();
        let range = move |row| offset(offsets, row)..offset(offsets, row + 1);
        Ok(Kind::List(Box::new(Self::new(lists.values(), json)?), Box::new(range)))
    }

    /// Appends the value of a row as JSON.
    pub(super) fn json(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        if self.array.is_null(row) || *self.array.data_type() == DataType::Null {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match &self.kind {
            Kind::Bool(get) => out.extend_from_slice(if get(row) { b"true" } else { b"false" }),
            Kind::Int(get) => digits(out, get(row)),
            Kind::Float(get) => float(out, get(row), f64::is_finite, true),
            Kind::Single(get) => float(out, get(row), f32::is_finite, true),
            // As a text: a number would be rounded by most readers.
            Kind::Decimal(get) => json_text(out, &get(row)),
            Kind::Text(get) => json_text(out, get(row)),
            Kind::Json(get) => json_value(out, get(row)),
            Kind::Bytes(get) => json_text(out, &STANDARD.encode(get(row))),
            Kind::Interval(get) => json_text(out, &interval(get(row))),
            Kind::Date(_) | Kind::Time(_) | Kind::Timestamp(..) => {
                out.push(b'"');
                self.moment(row, out);
                out.push(b'"');
            }
            Kind::List(items, range) => {
                out.push(b'[');
                for (index, item) in range(row).enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    items.json(item, out)?;
                }
                out.push(b']');
            }
            Kind::Struct(members) => {
                out.push(b'{');
                for (index, (name, column)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    json_text(out, name);
                    out.push(b':');
                    column.json(row, out)?;
                }
                out.push(b'}');
            }
            Kind::Shown(formatter) => json_text(out, &formatter.value(row).try_to_string()?),
        }
        Ok(())
    }

    /// Appends the value of a row as a field of CSV. NULL is empty.
    pub(super) fn csv(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        if self.array.is_null(row) || *self.array.data_type() == DataType::Null {
            return Ok(());
        }
        match &self.kind {
            Kind::Bool(_) | Kind::Int(_) => return self.json(row, out),
            Kind::Decimal(get) => out.extend_from_slice(get(row).as_bytes()),
            Kind::Float(get) => float(out, get(row), f64::is_finite, false),
            Kind::Single(get) => float(out, get(row), f32::is_finite, false),
            Kind::Text(get) | Kind::Json(get) => csv_text(out, get(row)),
            Kind::Date(_) | Kind::Time(_) | Kind::Timestamp(..) => self.moment(row, out),
            Kind::Bytes(get) => {
                out.extend_from_slice(b"\\x");
                for byte in get(row) {
                    let _infallible = write!(out, "{byte:02x}");
                }
            }
            Kind::Interval(get) => csv_text(out, &interval(get(row))),
            Kind::List(..) | Kind::Struct(_) => {
                let mut json = Vec::new();
                self.json(row, &mut json)?;
                csv_text(out, &String::from_utf8_lossy(&json));
            }
            Kind::Shown(formatter) => csv_text(out, &formatter.value(row).try_to_string()?),
        }
        Ok(())
    }

    /// Appends a date or a time, which consists of digits and signs that mean nothing in any format.
    fn moment(&self, row: usize, out: &mut Vec<u8>) {
        let mut text = String::new();
        match &self.kind {
            Kind::Date(get) => calendar::print_date(get(row), &mut text),
            Kind::Time(get) => calendar::print_time(get(row), &mut text),
            Kind::Timestamp(get, with_zone) => {
                // As `to_json` writes it.
                let offset = if *with_zone { "+00:00" } else { "" };
                calendar::print_timestamp(get(row), 'T', offset, &mut text);
            }
            _ => {}
        }
        out.extend_from_slice(text.as_bytes());
    }
}

/// Appends a text that is JSON. It stays as it is, but on one line, because lines mean something where it goes; line feeds
/// are no part of the values in it. What is not JSON after all is a text.
fn json_value(out: &mut Vec<u8>, json: &str) {
    if serde_json::from_str::<serde::de::IgnoredAny>(json).is_err() {
        return json_text(out, json);
    }
    out.extend(json.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
}

/// The row-th offset of a list.
fn offset<T: Copy + TryInto<usize>>(offsets: &[T], row: usize) -> usize {
    offsets.get(row).and_then(|offset| (*offset).try_into().ok()).unwrap_or_default()
}

/// A decimal number without zeros at the end of its fraction.
fn without_zeros(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

fn digits(out: &mut Vec<u8>, number: i128) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// The shortest digits that read back as the same number.
fn float<F: serde::Serialize + std::fmt::Display + Copy + PartialOrd + Default>(
    out: &mut Vec<u8>,
    number: F,
    is_finite: fn(F) -> bool,
    quote: bool,
) {
    if is_finite(number) {
        let _infallible = serde_json::to_writer(out, &number);
        return;
    }
    let zero = F::default();
    let name = if number > zero {
        "Infinity"
    } else if number < zero {
        "-Infinity"
    } else {
        "NaN"
    };
    if quote {
        json_text(out, name);
    } else {
        out.extend_from_slice(name.as_bytes());
    }
}

/// An interval as PostgreSQL writes it: `1 year 2 mons -3 days +00:00:01.5`. A plus shows that a negative part has ended.
fn interval(interval: IntervalMonthDayNano) -> String {
    let (months, micros) = (interval.months, interval.nanoseconds / 1_000);
    let mut text = String::new();
    let mut after_negative = false;
    for (count, unit) in [(months / 12, "year"), (months % 12, "mon"), (interval.days, "day")] {
        if count != 0 {
            let space = if text.is_empty() { "" } else { " " };
            let plus = if after_negative && count > 0 { "+" } else { "" };
            let plural = if count == 1 { "" } else { "s" };
            let _infallible = write!(text, "{space}{plus}{count} {unit}{plural}");
            after_negative = count < 0;
        }
    }
    if text.is_empty() || micros != 0 {
        let space = if text.is_empty() { "" } else { " " };
        let sign = match micros {
            ..0 => "-",
            _ if after_negative => "+",
            _ => "",
        };
        let (seconds, fraction) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
        let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
        let _infallible = write!(text, "{space}{sign}{hours:02}:{minutes:02}:{:02}", seconds % 60);
        if fraction > 0 {
            text.push_str(format!(".{fraction:06}").trim_end_matches('0'));
        }
    }
    text
}

/// Appends a text as JSON.
pub(super) fn json_text(out: &mut Vec<u8>, text: &str) {
    // Writing to memory does not fail.
    let _infallible = serde_json::to_writer(out, text);
}

/// Appends a text as a field of CSV (RFC 4180, section 2): in quotes where it must be, and where it is empty.
pub(super) fn csv_text(out: &mut Vec<u8>, text: &str) {
    let outer_space = text.starts_with(' ') || text.ends_with(' ');
    if !text.is_empty() && !outer_space && !text.contains(['"', ',', '\n', '\r']) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    let _infallible = write!(quoted, "\"{}\"", text.replace('"', "\"\""));
    out.extend_from_slice(quoted.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_written_as_postgresql_writes_them() {
        for (months, days, micros, expected) in [
            (0, 0, 0, "00:00:00"),
            (14, -3, 1_500_000, "1 year 2 mons -3 days +00:00:01.5"),
            (1, 1, 0, "1 mon 1 day"),
            (-13, 2, -90_061_000_001, "-1 years -1 mons +2 days -25:01:01.000001"),
            (24, 0, 360_000_000_000, "2 years 100:00:00"),
            (0, 0, -1, "-00:00:00.000001"),
        ] {
            let value = IntervalMonthDayNano { months, days, nanoseconds: micros * 1_000 };
            assert_eq!(interval(value), expected);
        }
    }
}
