//! Printing the values of Arrow arrays as PostgreSQL prints them.

use super::calendar::{self, Span};
use super::decimal;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, types::*};
use datafusion::arrow::datatypes::{DataType, IntervalUnit, TimeUnit, i256};
use std::fmt::Write as _;

/// Prints a double as PostgreSQL does: the shortest digits that read back, exponents from 1e+15 on and below 1e-04.
pub(crate) fn float8(value: f64, out: &mut String) {
    float(value.is_nan(), value.is_infinite(), value.is_sign_negative(), &format!("{value:e}"), 15, out);
}

/// Prints a single-precision float; exponents from 1e+06 on and below 1e-04.
pub(crate) fn float4(value: f32, out: &mut String) {
    float(value.is_nan(), value.is_infinite(), value.is_sign_negative(), &format!("{value:e}"), 6, out);
}

fn float(nan: bool, infinite: bool, negative: bool, scientific: &str, exponent_min: i32, out: &mut String) {
    if nan {
        out.push_str("NaN");
        return;
    }
    if negative {
        out.push('-');
    }
    if infinite {
        out.push_str("Infinity");
        return;
    }
    // Rust prints the shortest digits as d[.ddd]e[-]x.
    let (mantissa, exponent) =
        scientific.trim_start_matches('-').split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    if exponent < -4 || exponent >= exponent_min {
        out.push_str(mantissa);
        let sign = if exponent < 0 { '-' } else { '+' };
        let _written = write!(out, "e{sign}{:02}", exponent.unsigned_abs());
    } else if exponent < 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', (-exponent - 1) as usize));
        out.push_str(&digits);
    } else {
        let whole = exponent as usize + 1;
        let (integer, fraction) = digits.split_at(whole.min(digits.len()));
        out.push_str(integer);
        out.extend(std::iter::repeat_n('0', whole - integer.len()));
        if !fraction.is_empty() {
            out.push('.');
            out.push_str(fraction);
        }
    }
}

/// Whether zeros at the end of a decimal's fraction are left out: those of `numeric` without bounds, which has no scale of its own.
pub(crate) fn trims(ty: &DataType) -> bool {
    matches!(ty, DataType::Decimal256(decimal::DIGITS_MAX, decimal::UNBOUND_SCALE))
}

/// A column, ready to print its values one by one.
pub(crate) struct Printer<'a> {
    array: &'a dyn Array,
    inner: Option<Box<Printer<'a>>>,
}

impl<'a> Printer<'a> {
    /// A printer of `array`.
    pub(crate) fn new(array: &'a ArrayRef) -> Self {
        let inner = match array.data_type() {
            DataType::List(_) => Some(Box::new(Self::new(array.as_list::<i32>().values()))),
            DataType::LargeList(_) => Some(Box::new(Self::new(array.as_list::<i64>().values()))),
            _ => None,
        };
        Self { array, inner }
    }

    /// Prints the value at `row`; nothing for null. Arrays are printed as `{a,b}`.
    pub(crate) fn print(&self, row: usize, out: &mut String) {
        let array = self.array;
        if array.is_null(row) {
            return;
        }
        match array.data_type() {
            DataType::Boolean => out.push(if array.as_boolean().value(row) { 't' } else { 'f' }),
            DataType::Int8 => int(array.as_primitive::<Int8Type>().value(row), out),
            DataType::Int16 => int(array.as_primitive::<Int16Type>().value(row), out),
            DataType::Int32 => int(array.as_primitive::<Int32Type>().value(row), out),
            DataType::Int64 => int(array.as_primitive::<Int64Type>().value(row), out),
            DataType::UInt8 => int(array.as_primitive::<UInt8Type>().value(row), out),
            DataType::UInt16 => int(array.as_primitive::<UInt16Type>().value(row), out),
            DataType::UInt32 => int(array.as_primitive::<UInt32Type>().value(row), out),
            DataType::UInt64 => int(array.as_primitive::<UInt64Type>().value(row), out),
            DataType::Float32 => float4(array.as_primitive::<Float32Type>().value(row), out),
            DataType::Float64 => float8(array.as_primitive::<Float64Type>().value(row), out),
            DataType::Decimal128(_, scale) => {
                decimal::print(
                    i256::from_i128(array.as_primitive::<Decimal128Type>().value(row)),
                    *scale,
                    false,
                    out,
                );
            }
            ty @ DataType::Decimal256(_, scale) => {
                decimal::print(array.as_primitive::<Decimal256Type>().value(row), *scale, trims(ty), out);
            }
            DataType::Utf8 => out.push_str(array.as_string::<i32>().value(row)),
            DataType::LargeUtf8 => out.push_str(array.as_string::<i64>().value(row)),
            DataType::Utf8View => out.push_str(array.as_string_view().value(row)),
            DataType::Binary => hex(array.as_binary::<i32>().value(row), out),
            DataType::LargeBinary => hex(array.as_binary::<i64>().value(row), out),
            DataType::BinaryView => hex(array.as_binary_view().value(row), out),
            DataType::List(_) => {
                let offsets = array.as_list::<i32>().value_offsets();
                let range = |at: usize| offsets.get(at).map_or(0, |offset| *offset as usize);
                self.list(range(row)..range(row + 1), out);
            }
            DataType::LargeList(_) => {
                let offsets = array.as_list::<i64>().value_offsets();
                let range = |at: usize| offsets.get(at).map_or(0, |offset| *offset as usize);
                self.list(range(row)..range(row + 1), out);
            }
            _ => self.temporal(row, out),
        }
    }

    fn temporal(&self, row: usize, out: &mut String) {
        let array = self.array;
        match array.data_type() {
            DataType::Date32 => calendar::print_date(array.as_primitive::<Date32Type>().value(row), out),
            DataType::Time64(TimeUnit::Microsecond) => {
                calendar::print_time(array.as_primitive::<Time64MicrosecondType>().value(row), out);
            }
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let us = array.as_primitive::<TimestampMicrosecondType>().value(row);
                calendar::print_timestamp(us, zone.is_some(), out);
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                span_of(array.as_primitive::<IntervalMonthDayNanoType>().value(row)).print(out);
            }
            // A type of DataFusion's that PostgreSQL does not have: structs, maps, other units.
            _ => {
                let options = datafusion::arrow::util::display::FormatOptions::default();
                if let Ok(formatter) =
                    datafusion::arrow::util::display::ArrayFormatter::try_new(array, &options)
                {
                    let _written = write!(out, "{}", formatter.value(row));
                }
            }
        }
    }

    fn list(&self, range: std::ops::Range<usize>, out: &mut String) {
        let Some(inner) = &self.inner else { return };
        out.push('{');
        for (index, row) in range.enumerate() {
            if index > 0 {
                out.push(',');
            }
            if inner.array.is_null(row) {
                out.push_str("NULL");
                continue;
            }
            let start = out.len();
            inner.print(row, out);
            if inner.inner.is_none() {
                quote_element(out, start);
            }
        }
        out.push('}');
    }
}

/// Puts quotes around the array element that `out` ends with, from `start` on, if it needs them.
fn quote_element(out: &mut String, start: usize) {
    let element = out.get(start..).unwrap_or_default();
    let plain = !element.is_empty()
        && !element.eq_ignore_ascii_case("null")
        && !element.contains(['{', '}', ',', '"', '\\'])
        && !element.contains(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
    if !plain {
        let escaped = element.replace('\\', "\\\\").replace('"', "\\\"");
        out.truncate(start);
        let _written = write!(out, "\"{escaped}\"");
    }
}

/// An Arrow interval as a span; what is below a microsecond is not ours and is dropped.
pub(crate) fn span_of(value: datafusion::arrow::datatypes::IntervalMonthDayNano) -> Span {
    Span { months: value.months, days: value.days, us: value.nanoseconds / 1_000 }
}

fn int(value: impl std::fmt::Display, out: &mut String) {
    let _written = write!(out, "{value}");
}

fn hex(bytes: &[u8], out: &mut String) {
    out.push_str("\\x");
    for byte in bytes {
        let _written = write!(out, "{byte:02x}");
    }
}

/// Bytes in base64 of the standard alphabet, padded.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word =
            group.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for position in 0..4 {
            let digit = (word >> (18 - 6 * position) & 63) as usize;
            let letter = ALPHABET.get(digit).map_or('=', |letter| *letter as char);
            out.push(if position <= group.len() { letter } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_in_postgresql() {
        for (value, printed) in [
            (0.0, "0"),
            (-0.5, "-0.5"),
            (1e15, "1e+15"),
            (123_456_789_012_345.0, "123456789012345"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e300, "1.5e+300"),
            (100.0, "100"),
            (12.25, "12.25"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            let mut out = String::new();
            float8(value, &mut out);
            assert_eq!(out, printed);
        }
        let mut out = String::new();
        float4(1e6, &mut out);
        assert_eq!(out, "1e+06");
    }

    #[test]
    fn base64_reads_back() {
        for bytes in [&b""[..], b"a", b"ab", b"abc", b"\xff\x00\xfe\x01"] {
            assert_eq!(crate::values::scan::parse_base64(&base64(bytes)).as_deref(), Some(bytes));
        }
    }
}
