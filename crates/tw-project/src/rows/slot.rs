//! One value of a row, between JSON and Arrow.

use crate::functions::cast::numeric_problem;
use crate::types;
use crate::values::calendar;
use crate::values::decimal;
use crate::values::scan::{self, NoNumber};
use datafusion::arrow::datatypes::{DataType, i256};
use std::borrow::Cow;
use tw_types::ColumnType;

/// What Debezium writes for a large value that an update did not touch.
pub(crate) const UNCHANGED: &str = "__debezium_unavailable_value";

/// The value of a column in one row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Slot<'a> {
    /// The value is NULL, or the member is missing.
    Null,
    /// The value is what it was before the change.
    Unchanged,
    Bool(bool),
    /// Integers, dates, times and instants.
    Int(i64),
    /// Never −0.
    Float4(f32),
    /// Never −0.
    Float8(f64),
    /// An unscaled decimal; the scale is that of the column.
    Decimal(i256),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
}

impl Slot<'_> {
    /// About how many bytes of memory it takes in a column.
    pub(crate) fn bytes(&self) -> usize {
        16 + match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            _ => 0,
        }
    }

    /// The same, without borrowing.
    pub(crate) fn into_owned(self) -> Slot<'static> {
        match self {
            Self::Null => Slot::Null,
            Self::Unchanged => Slot::Unchanged,
            Self::Bool(value) => Slot::Bool(value),
            Self::Int(value) => Slot::Int(value),
            Self::Float4(value) => Slot::Float4(value),
            Self::Float8(value) => Slot::Float8(value),
            Self::Decimal(value) => Slot::Decimal(value),
            Self::Text(text) => Slot::Text(Cow::Owned(text.into_owned())),
            Self::Bytes(bytes) => Slot::Bytes(Cow::Owned(bytes.into_owned())),
        }
    }
}

/// How JSON stands for the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As whoever writes events naturally does: a JSON column is any JSON value.
    Plain,
    /// As in the rows of a change event: a JSON column is a string that contains JSON, and values can be left out.
    Envelope,
}

/// Reads values of one type.
#[derive(Debug, Clone)]
pub(crate) struct SlotReader {
    ty: ColumnType,
    form: Form,
    /// Precision and scale of a numeric.
    shape: (u8, i8),
    arrow: DataType,
}

impl SlotReader {
    pub(crate) fn new(ty: &ColumnType, form: Form) -> Self {
        let arrow = types::arrow_type(ty);
        let shape = types::exact_shape(&arrow).unwrap_or((1, 0));
        Self { ty: ty.clone(), form, shape, arrow }
    }

    /// The column's type in Arrow.
    pub(crate) fn arrow(&self) -> &DataType {
        &self.arrow
    }

    /// Reads a JSON value as it is written, without spaces around it. It must be valid JSON.
    ///
    /// # Errors
    /// What was expected, for a person.
    pub(crate) fn read<'a>(&self, raw: &'a str) -> Result<Slot<'a>, String> {
        match raw.as_bytes().first() {
            Some(b'n') => Ok(Slot::Null),
            Some(b'"') => self.read_string(raw),
            Some(b'{' | b'[') if self.is_plain_json() => Ok(Slot::Text(Cow::Borrowed(raw))),
            Some(b'{') => Err(self.wrong("an object")),
            Some(b'[') => Err(self.wrong("an array")),
            Some(b't' | b'f') => match self.ty {
                ColumnType::Bool => Ok(Slot::Bool(raw == "true")),
                _ if self.is_plain_json() => Ok(Slot::Text(Cow::Borrowed(raw))),
                _ => Err(self.wrong("a boolean")),
            },
            _ => self.read_number(raw),
        }
    }

    fn is_plain_json(&self) -> bool {
        self.ty == ColumnType::Json && self.form == Form::Plain
    }

    fn wrong(&self, found: &str) -> String {
        let wanted = match &self.ty {
            ColumnType::Bool => "true or false",
            ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 => "an integer",
            ColumnType::Float4 | ColumnType::Float8 => "a number, \"NaN\" or \"Infinity\"",
            ColumnType::Numeric(_) => "a number, or a string with one",
            ColumnType::Bytea => "a string in base64",
            ColumnType::Date => "a string such as \"2026-01-31\"",
            ColumnType::Time => "a string such as \"09:30:00\"",
            ColumnType::Timestamp | ColumnType::TimestampTz => "a string such as \"2026-01-31T09:30:00Z\"",
            ColumnType::Interval => "a string such as \"1 day 02:00:00\"",
            _ => "a string",
        };
        format!("expected {wanted} for type {}, found {found}", self.ty)
    }

    fn read_number<'a>(&self, raw: &'a str) -> Result<Slot<'a>, String> {
        let range = || format!("`{}` is out of range for type {}", scan::shorten(raw), self.ty);
        match self.ty {
            ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 => {
                let value: i64 = match scan::parse_int(raw) {
                    Ok(value) => value,
                    Err(NoNumber::Range) => return Err(range()),
                    Err(NoNumber::Syntax) => {
                        return Err(self.wrong("a number with a fraction or an exponent"));
                    }
                };
                let fits = match self.ty {
                    ColumnType::Int2 => i16::try_from(value).is_ok(),
                    ColumnType::Int4 => i32::try_from(value).is_ok(),
                    _ => true,
                };
                if fits { Ok(Slot::Int(value)) } else { Err(range()) }
            }
            ColumnType::Float8 => {
                scan::parse_float8(raw).map(|value| Slot::Float8(value + 0.0)).map_err(|_| range())
            }
            ColumnType::Float4 => {
                scan::parse_float4(raw).map(|value| Slot::Float4(value + 0.0)).map_err(|_| range())
            }
            ColumnType::Numeric(_) => self.read_decimal(raw),
            ColumnType::Json if self.form == Form::Plain => Ok(Slot::Text(Cow::Borrowed(raw))),
            _ => Err(self.wrong("a number")),
        }
    }

    fn read_decimal<'a>(&self, text: &str) -> Result<Slot<'a>, String> {
        let (precision, scale) = self.shape;
        decimal::parse(text.as_bytes(), precision, scale)
            .map(Slot::Decimal)
            .map_err(|unfit| numeric_problem(text, unfit, &self.arrow))
    }

    fn read_string<'a>(&self, raw: &'a str) -> Result<Slot<'a>, String> {
        if self.is_plain_json() {
            return Ok(Slot::Text(Cow::Borrowed(raw)));
        }
        let text = crate::functions::json::unquote(raw).map_err(|_| self.wrong("a damaged string"))?;
        if self.form == Form::Envelope && text == UNCHANGED {
            return Ok(Slot::Unchanged);
        }
        self.read_text(text)
    }

    /// Reads the text of a string.
    fn read_text<'a>(&self, text: Cow<'a, str>) -> Result<Slot<'a>, String> {
        let bad = |text: &str| format!("`{}` is not {}", scan::shorten(text), self.ty);
        Ok(match &self.ty {
            ColumnType::Text | ColumnType::Other(_) => Slot::Text(text),
            ColumnType::Json => Slot::Text(text),
            ColumnType::Uuid => {
                let normal = scan::normal_uuid(&text).ok_or_else(|| bad(&text))?;
                Slot::Text(if normal == *text { text } else { Cow::Owned(normal) })
            }
            ColumnType::Numeric(_) => self.read_decimal(&text)?,
            ColumnType::Date => Slot::Int(i64::from(scan::parse_date(&text)?)),
            ColumnType::Time => Slot::Int(calendar::parse_time(&text).ok_or_else(|| bad(&text))?),
            ColumnType::Timestamp => Slot::Int(scan::parse_timestamp(&text, false)?),
            ColumnType::TimestampTz => Slot::Int(scan::parse_timestamp(&text, true)?),
            ColumnType::Interval => {
                let span = scan::parse_span(&text).ok_or_else(|| bad(&text))?;
                let mut normal = String::new();
                span.print(&mut normal);
                Slot::Text(if normal == *text { text } else { Cow::Owned(normal) })
            }
            ColumnType::Bytea => {
                Slot::Bytes(Cow::Owned(scan::parse_base64(&text).ok_or_else(|| bad(&text))?))
            }
            ColumnType::Float8 if is_special(&text) => {
                Slot::Float8(scan::parse_float8(&text).map_err(|_| bad(&text))?)
            }
            ColumnType::Float4 if is_special(&text) => {
                Slot::Float4(scan::parse_float4(&text).map_err(|_| bad(&text))?)
            }
            _ => return Err(self.wrong("a string")),
        })
    }
}

fn is_special(text: &str) -> bool {
    matches!(text, "NaN" | "Infinity" | "-Infinity")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(ty: &str, raw: &str) -> Result<Slot<'static>, String> {
        SlotReader::new(&ty.parse().unwrap(), Form::Plain).read(raw).map(Slot::into_owned)
    }

    #[test]
    fn each_type_reads_its_json() {
        for (ty, raw, slot) in [
            ("integer", "-5", Slot::Int(-5)),
            ("numeric(12,2)", "12.5", Slot::Decimal(i256::from_i128(1250))),
            ("numeric(12,2)", "\"12.50\"", Slot::Decimal(i256::from_i128(1250))),
            ("double precision", "-0.0", Slot::Float8(0.0)),
            ("double precision", "\"-Infinity\"", Slot::Float8(f64::NEG_INFINITY)),
            ("text", "\"a\\nb\"", Slot::Text("a\nb".into())),
            ("json", "{\"a\": 1}", Slot::Text("{\"a\": 1}".into())),
            ("json", "\"x\"", Slot::Text("\"x\"".into())),
            ("date", "\"1970-01-02\"", Slot::Int(1)),
            ("timestamptz", "\"1970-01-01T01:00:00+01:00\"", Slot::Int(0)),
            ("interval", "\"P1D\"", Slot::Text("1 day".into())),
            ("bytea", "\"AAE=\"", Slot::Bytes(vec![0, 1].into())),
            (
                "uuid",
                "\"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11\"",
                Slot::Text("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11".into()),
            ),
            ("text", "null", Slot::Null),
        ] {
            assert_eq!(read(ty, raw), Ok(slot), "{ty} {raw}");
        }
    }

    #[test]
    fn what_does_not_fit_says_what_was_expected() {
        for (ty, raw, problem) in [
            ("integer", "3000000000", "`3000000000` is out of range for type integer"),
            (
                "integer",
                "1.5",
                "expected an integer for type integer, found a number with a fraction or an exponent",
            ),
            ("integer", "\"1\"", "expected an integer for type integer, found a string"),
            ("numeric(12,2)", "1.234", "`1.234` has more digits after the point than numeric(12,2) allows"),
            ("text", "5", "expected a string for type text, found a number"),
            ("boolean", "[]", "expected true or false for type boolean, found an array"),
            ("date", "\"31.1.2026\"", "`31.1.2026` is not a date: use YYYY-MM-DD"),
        ] {
            assert_eq!(read(ty, raw), Err(problem.to_owned()), "{ty} {raw}");
        }
    }

    proptest! {
        #[test]
        fn any_value_is_read_or_refused(raw in "(\"[ -~]{0,20}\"|-?[0-9]{1,30}(\\.[0-9]{1,5})?(e[0-9]{1,3})?|true|null|\\{\\})", ty in 0usize..16) {
            let types = ["boolean", "smallint", "integer", "bigint", "real", "double precision", "numeric", "numeric(5,2)", "text",
                         "bytea", "date", "time", "timestamp", "timestamptz", "interval", "uuid"];
            let _ = read(types[ty], &raw);
        }
    }
}
