//! Types: what PostgreSQL calls them, and what Arrow stores.
//!
//! ```text
//! boolean               Boolean
//! smallint … bigint     Int16 Int32 Int64
//! real, double          Float32 Float64, never −0 and only one NaN
//! numeric(p,s)          Decimal128(p,s) up to 38 digits, Decimal256(p,s) up to 76
//! numeric               Decimal256(76,38)
//! text, json, uuid      Utf8View, as is every type of a captured database that is not listed here
//! bytea                 Binary
//! date, time            Date32, Time64(µs)
//! timestamp, timestamptz  Timestamp(µs), Timestamp(µs, UTC)
//! interval              Utf8View in tables, Interval(MonthDayNano) in expressions
//! ```

use crate::values::decimal::{DIGITS_MAX, UNBOUND_SCALE};
use datafusion::arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use std::sync::Arc;
use tw_types::ColumnType;

/// `numeric` without bounds: 38 digits before the point and 38 after it.
pub(crate) const NUMERIC: DataType = DataType::Decimal256(DIGITS_MAX, UNBOUND_SCALE);
/// `interval` in expressions.
pub(crate) const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);
/// `timestamp` without time zone.
pub(crate) const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);
/// `time` without time zone.
pub(crate) const TIME: DataType = DataType::Time64(TimeUnit::Microsecond);

/// `timestamptz`.
pub(crate) fn timestamptz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}

/// The decimal type of a precision and a scale that fit in 76 digits.
pub(crate) fn decimal(precision: u8, scale: i8) -> DataType {
    if precision <= 38 {
        DataType::Decimal128(precision, scale)
    } else {
        DataType::Decimal256(precision, scale)
    }
}

/// How a column is stored in Arrow arrays.
pub(crate) fn arrow_type(ty: &ColumnType) -> DataType {
    match ty {
        ColumnType::Bool => DataType::Boolean,
        ColumnType::Int2 => DataType::Int16,
        ColumnType::Int4 => DataType::Int32,
        ColumnType::Int8 => DataType::Int64,
        ColumnType::Float4 => DataType::Float32,
        ColumnType::Float8 => DataType::Float64,
        ColumnType::Numeric(bounds) => bounds.and_then(bounded).unwrap_or(NUMERIC),
        ColumnType::Bytea => DataType::Binary,
        ColumnType::Date => DataType::Date32,
        ColumnType::Time => TIME,
        ColumnType::Timestamp => TIMESTAMP,
        ColumnType::TimestampTz => timestamptz(),
        ColumnType::Text
        | ColumnType::Interval
        | ColumnType::Uuid
        | ColumnType::Json
        | ColumnType::Other(_) => DataType::Utf8View,
    }
}

/// The key of a field's metadata that names the type of what is kept as text, but is not `text`.
const LOGICAL: &str = "tradewind.type";

/// The field of a column.
pub(crate) fn field(name: &str, ty: &ColumnType, nullable: bool) -> Field {
    let field = Field::new(name, arrow_type(ty), nullable);
    let logical = match ty {
        ColumnType::Uuid => "uuid",
        ColumnType::Json => "json",
        ColumnType::Interval => "interval",
        ColumnType::Other(other) => other,
        _ => return field,
    };
    field.with_metadata([(LOGICAL.to_owned(), logical.to_owned())].into())
}

/// The field of an expression that gives JSON.
pub(crate) fn as_json(field: Field) -> Field {
    field.with_metadata([(LOGICAL.to_owned(), "json".to_owned())].into())
}

/// What PostgreSQL calls the type of a column or an expression.
pub fn field_name(field: &Field) -> String {
    field.metadata().get(LOGICAL).cloned().unwrap_or_else(|| name(field.data_type()))
}

/// The name of a type without its schema, which PostgreSQL says of what an extension brings: `citext` of `public.citext`.
fn without_schema(ty: &str) -> &str {
    let mut quoted = false;
    let mut start = 0;
    for (at, c) in ty.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => start = at + 1,
            '(' if !quoted => break,
            _ => {}
        }
    }
    ty.get(start..).unwrap_or(ty)
}

/// Types whose equal values can have different texts, so that comparing the texts would be wrong.
fn is_ambiguous(ty: &str) -> bool {
    const NAMES: [&str; 18] = [
        "bpchar",
        "character",
        "geography",
        "geometry",
        "citext",
        "hstore",
        "jsonb",
        "xml",
        "jsonpath",
        "point",
        "box",
        "path",
        "polygon",
        "circle",
        "line",
        "lseg",
        "numrange",
        "nummultirange",
    ];
    const ELEMENTS: [&str; 8] =
        ["numeric", "real", "float4", "double precision", "float8", "interval", "char", "json"];
    let ty = without_schema(ty);
    let element = ty.strip_suffix("[]").or_else(|| ty.strip_prefix('_'));
    let base = element.unwrap_or(ty).split('(').next().unwrap_or(ty).trim();
    NAMES.contains(&base) || (element.is_some() && ELEMENTS.contains(&base))
}

/// Types of which PostgreSQL reads other texts than those that it prints, so that a literal would have to be read as there.
fn is_normalised(ty: &str) -> bool {
    const NAMES: [&str; 37] = [
        "bit",
        "bit varying",
        "cid",
        "cidr",
        "cube",
        "halfvec",
        "inet",
        "int2vector",
        "ltree",
        "macaddr",
        "macaddr8",
        "money",
        "oidvector",
        "pg_lsn",
        "pg_snapshot",
        "regclass",
        "regcollation",
        "regconfig",
        "regdictionary",
        "regnamespace",
        "regoper",
        "regoperator",
        "regproc",
        "regprocedure",
        "regrole",
        "regtype",
        "sparsevec",
        "tid",
        "time with time zone",
        "timetz",
        "tsquery",
        "tsvector",
        "txid_snapshot",
        "varbit",
        "vector",
        "xid",
        "xid8",
    ];
    let ty = without_schema(ty);
    let base = ty.split('(').next().unwrap_or(ty).trim();
    ty.ends_with("[]")
        || ty.starts_with('_')
        || base.ends_with("range")
        // `time(3) with time zone`
        || ty.ends_with("with time zone")
        || NAMES.contains(&base)
}

/// Whether equal texts are equal values when one of them is a literal: a row, a range or an array can be written in many ways, whatever its
/// type is called; the value of an enumeration in one.
pub(crate) fn takes_literal(field: &Field, literal: &str) -> bool {
    !is_normalised(&field_name(field)) && !literal.trim_start().starts_with(['(', '[', '{'])
}

/// Whether a type is PostgreSQL's `char(n)`, whose values end with spaces that count for nothing.
pub(crate) fn is_padded(field: &Field) -> bool {
    let name = field_name(field);
    matches!(name.split('(').next(), Some("character" | "bpchar")) && !name.ends_with("[]")
}

/// The decimal type of declared bounds; None if they are beyond 76 digits.
pub(crate) fn bounded((precision, scale): (u16, i16)) -> Option<DataType> {
    // With a negative scale, p digits stand before −s zeros; with a scale over the precision there are only decimals.
    let digits = if scale < 0 {
        i32::from(precision) - i32::from(scale)
    } else {
        i32::from(precision).max(i32::from(scale))
    };
    let digits = u8::try_from(digits).ok().filter(|digits| *digits <= DIGITS_MAX)?;
    Some(decimal(digits, i8::try_from(scale.max(0)).ok()?))
}

/// What PostgreSQL calls a type; Arrow's name for one that PostgreSQL does not have.
pub(crate) fn name(ty: &DataType) -> String {
    match ty {
        DataType::Null => "unknown".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Int8 | DataType::Int16 => "smallint".into(),
        DataType::Int32 => "integer".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Float32 => "real".into(),
        DataType::Float64 => "double precision".into(),
        ty if *ty == NUMERIC => "numeric".into(),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            format!("numeric({precision},{scale})")
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytea".into(),
        DataType::Date32 => "date".into(),
        DataType::Time64(_) => "time".into(),
        DataType::Timestamp(_, None) => "timestamp".into(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".into(),
        DataType::Interval(_) => "interval".into(),
        DataType::List(field) | DataType::LargeList(field) => format!("{}[]", name(field.data_type())),
        other => other.to_string(),
    }
}

/// What operators and functions tell types apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// NULL without a type.
    Unknown,
    Bool,
    Int,
    Numeric,
    Float,
    Text,
    Bytes,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Interval,
    /// `uuid`, kept as text in its normal form.
    Uuid,
    /// `json`, kept as text.
    Json,
    /// `interval`, kept as text.
    SpanText,
    /// Another type of a captured database, kept as text; equal values have equal texts.
    Opaque,
    /// The same, but equal values may have different texts.
    Ambiguous,
    /// A type that PostgreSQL does not have in this form.
    Foreign,
}

impl Kind {
    /// The kind of an Arrow type.
    pub(crate) fn of(ty: &DataType) -> Self {
        match ty {
            DataType::Null => Self::Unknown,
            DataType::Boolean => Self::Bool,
            DataType::Int16 | DataType::Int32 | DataType::Int64 => Self::Int,
            DataType::Decimal128(..) | DataType::Decimal256(..) => Self::Numeric,
            DataType::Float32 | DataType::Float64 => Self::Float,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Self::Bytes,
            DataType::Date32 => Self::Date,
            DataType::Time64(TimeUnit::Microsecond) => Self::Time,
            DataType::Timestamp(TimeUnit::Microsecond, None) => Self::Timestamp,
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Self::TimestampTz,
            DataType::Interval(IntervalUnit::MonthDayNano) => Self::Interval,
            _ => Self::Foreign,
        }
    }

    /// The kind of a column or an expression, which may be kept as text without being text.
    pub(crate) fn of_field(field: &Field) -> Self {
        match field.metadata().get(LOGICAL).map(String::as_str) {
            Some("uuid") => Self::Uuid,
            Some("json") => Self::Json,
            Some("interval") => Self::SpanText,
            Some(other) if is_ambiguous(other) => Self::Ambiguous,
            Some(_) => Self::Opaque,
            None => Self::of(field.data_type()),
        }
    }

    /// Whether it is kept as text without being text.
    pub(crate) fn is_textual(self) -> bool {
        matches!(self, Self::Uuid | Self::Json | Self::SpanText | Self::Opaque | Self::Ambiguous)
    }

    /// Whether it is a number.
    pub(crate) fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Numeric | Self::Float)
    }
}

/// Precision and scale of a number that is exact; an integer has scale 0.
pub(crate) fn exact_shape(ty: &DataType) -> Option<(u8, i8)> {
    match ty {
        DataType::Int16 => Some((5, 0)),
        DataType::Int32 => Some((10, 0)),
        DataType::Int64 => Some((19, 0)),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            Some((*precision, *scale))
        }
        _ => None,
    }
}

/// The decimal type that holds the values of both; beyond 76 digits the integer part gives way.
fn common_decimal(a: (u8, i8), b: (u8, i8)) -> DataType {
    let scale = a.1.max(b.1);
    let integer = (i16::from(a.0) - i16::from(a.1)).max(i16::from(b.0) - i16::from(b.1));
    let precision = (integer + i16::from(scale)).clamp(1, i16::from(DIGITS_MAX)) as u8;
    decimal(precision, scale)
}

/// The type to which PostgreSQL brings the two operands of an operator that has no version for the pair; None if there is none.
pub(crate) fn operand_type(a: &DataType, b: &DataType) -> Option<DataType> {
    match (Kind::of(a), Kind::of(b)) {
        // An operator takes two reals only if both are; every other mix with a float is done in double precision.
        (Kind::Float, Kind::Float) if a == b => Some(a.clone()),
        (Kind::Float, other) | (other, Kind::Float) if other.is_number() => Some(DataType::Float64),
        _ => common_type(a, b),
    }
}

/// The type of an expression that can have values of both: of CASE, COALESCE, UNION; None if there is none.
pub(crate) fn common_type(a: &DataType, b: &DataType) -> Option<DataType> {
    use Kind::{Bytes, Date, Float, Int, Numeric, Text, Timestamp, TimestampTz, Unknown};
    if a == b {
        return Some(a.clone());
    }
    match (Kind::of(a), Kind::of(b)) {
        (Unknown, _) => Some(b.clone()),
        (_, Unknown) => Some(a.clone()),
        (Int, Int) => Some(if a.primitive_width() > b.primitive_width() { a.clone() } else { b.clone() }),
        (Int | Numeric, Int | Numeric) => Some(common_decimal(exact_shape(a)?, exact_shape(b)?)),
        (Float, Float) => Some(DataType::Float64),
        (Float, Int | Numeric) => Some(a.clone()),
        (Int | Numeric, Float) => Some(b.clone()),
        (Text, Text) => Some(DataType::Utf8View),
        (Bytes, Bytes) => Some(DataType::Binary),
        (Date, Timestamp) | (Timestamp, Date) => Some(TIMESTAMP),
        (Date | Timestamp | TimestampTz, Date | Timestamp | TimestampTz) => Some(timestamptz()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_come_together_as_in_postgresql() {
        for (a, b, operand, common) in [
            (DataType::Int16, DataType::Int32, "integer", "integer"),
            (DataType::Int32, decimal(12, 2), "numeric(12,2)", "numeric(12,2)"),
            (DataType::Int64, decimal(12, 2), "numeric(21,2)", "numeric(21,2)"),
            (DataType::Int32, DataType::Float32, "double precision", "real"),
            (DataType::Float32, DataType::Float64, "double precision", "double precision"),
            (decimal(5, 1), DataType::Float64, "double precision", "double precision"),
            (DataType::Date32, TIMESTAMP, "timestamp", "timestamp"),
            (DataType::Date32, timestamptz(), "timestamptz", "timestamptz"),
            (DataType::Null, DataType::Utf8View, "text", "text"),
        ] {
            assert_eq!(name(&operand_type(&a, &b).unwrap()), operand, "{a} {b}");
            assert_eq!(name(&common_type(&b, &a).unwrap()), common, "{a} {b}");
        }
        assert_eq!(common_type(&DataType::Int32, &DataType::Utf8View), None);
        assert_eq!(common_type(&DataType::Boolean, &DataType::Int32), None);
    }

    #[test]
    fn literals_are_compared_with_what_has_one_text() {
        let takes =
            |ty: &str, text: &str| takes_literal(&field("x", &ColumnType::Other(ty.to_owned()), true), text);
        assert!(takes("mood", "happy") && takes("public.mood", ""));
        for (ty, text) in [
            ("inet", "10.0.0.1/32"),
            ("int4range", "[1,3]"),
            ("macaddr", "AA:bb:cc:dd:ee:ff"),
            ("text[]", "{1, 2}"),
            ("bit(3)", "101"),
            ("bit varying(5)", "101"),
            ("time(3) with time zone", "10:00+01"),
            ("address", "(1, Main Street)"),
            ("public.ltree", "a.b"),
            ("\"My schema\".vector(3)", "1"),
        ] {
            assert!(!takes(ty, text), "{ty}");
        }
    }

    #[test]
    fn types_of_extensions_are_known_in_any_schema() {
        let kind = |ty: &str| Kind::of_field(&field("x", &ColumnType::Other(ty.to_owned()), true));
        for ty in [
            "citext",
            "public.citext",
            "\"a.b\".citext",
            "public.citext[]",
            "public.hstore",
            "gis.geometry(Point,4326)",
            "gis.geography",
        ] {
            assert_eq!(kind(ty), Kind::Ambiguous, "{ty}");
        }
        for ty in ["public.mood", "\"public.citext\"", "citext.mood", "public.\"Citext\""] {
            assert_eq!(kind(ty), Kind::Opaque, "{ty}");
        }
    }

    #[test]
    fn numeric_bounds_that_arrow_does_not_know_become_ones_that_it_knows() {
        assert_eq!(arrow_type(&ColumnType::Numeric(Some((3, 5)))), decimal(5, 5));
        assert_eq!(arrow_type(&ColumnType::Numeric(Some((3, -2)))), decimal(5, 0));
        assert_eq!(arrow_type(&ColumnType::Numeric(Some((100, 2)))), NUMERIC);
    }
}
