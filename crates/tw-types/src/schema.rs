//! Declared columns: what the data of a stream's events look like.

use crate::{DataClass, Merge};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The type of a column, named as PostgreSQL names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// `boolean`
    Bool,
    /// `smallint`, 16 bits
    Int2,
    /// `integer`, 32 bits
    Int4,
    /// `bigint`, 64 bits
    Int8,
    /// `real`, IEEE 754 single
    Float4,
    /// `double precision`, IEEE 754 double
    Float8,
    /// `numeric(precision, scale)`, or `numeric` without bounds
    Numeric(Option<(u16, i16)>),
    /// `text`, `varchar(n)`, `char(n)`, `name`
    Text,
    /// `bytea`; base64 in JSON
    Bytea,
    /// `date`
    Date,
    /// `time` without time zone, microseconds
    Time,
    /// `timestamp` without time zone, microseconds
    Timestamp,
    /// `timestamp with time zone`, microseconds, kept in UTC
    TimestampTz,
    /// `interval`
    Interval,
    /// `uuid`
    Uuid,
    /// `json` and `jsonb`: kept as text
    Json,
    /// Any other type of a captured database, by its own name; its values are that database's text form.
    Other(String),
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "boolean",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Float4 => "real",
            Self::Float8 => "double precision",
            Self::Numeric(None) => "numeric",
            Self::Numeric(Some((precision, scale))) => return write!(f, "numeric({precision},{scale})"),
            Self::Text => "text",
            Self::Bytea => "bytea",
            Self::Date => "date",
            Self::Time => "time",
            Self::Timestamp => "timestamp",
            Self::TimestampTz => "timestamptz",
            Self::Interval => "interval",
            Self::Uuid => "uuid",
            Self::Json => "json",
            Self::Other(name) => return write!(f, "other({name})"),
        })
    }
}

/// A type name that is not one of [`ColumnType`]'s.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown column type `{0}`: use boolean, smallint, integer, bigint, real, double precision, numeric(p,s), text, bytea, date, time, timestamp, timestamptz, interval, uuid or json"
)]
pub struct UnknownType(pub String);

impl FromStr for ColumnType {
    type Err = UnknownType;

    /// Reads what [`fmt::Display`] prints, and PostgreSQL's usual aliases; case does not matter.
    fn from_str(s: &str) -> Result<Self, UnknownType> {
        let unknown = || UnknownType(s.to_owned());
        if let Some(inner) = s.strip_prefix("other(").and_then(|rest| rest.strip_suffix(')')) {
            return Ok(Self::Other(inner.to_owned()));
        }
        let lower = s.trim().to_ascii_lowercase();
        let (base, arguments) = match lower.split_once('(') {
            Some((base, rest)) => (base.trim_end(), Some(rest.strip_suffix(')').ok_or_else(unknown)?)),
            None => (lower.as_str(), None),
        };
        let parsed = match (base, arguments) {
            ("boolean" | "bool", None) => Self::Bool,
            ("smallint" | "int2", None) => Self::Int2,
            ("integer" | "int" | "int4", None) => Self::Int4,
            ("bigint" | "int8", None) => Self::Int8,
            ("real" | "float4", None) => Self::Float4,
            ("double precision" | "double" | "float8" | "float", None) => Self::Float8,
            ("numeric" | "decimal", None) => Self::Numeric(None),
            ("numeric" | "decimal", Some(arguments)) => {
                Self::Numeric(Some(numeric_bounds(arguments).ok_or_else(unknown)?))
            }
            ("text" | "varchar" | "character varying" | "string", None) => Self::Text,
            ("varchar" | "character varying" | "char" | "character", Some(n)) if n.parse::<u32>().is_ok() => {
                Self::Text
            }
            ("bytea", None) => Self::Bytea,
            ("date", None) => Self::Date,
            ("time" | "time without time zone", None) => Self::Time,
            ("timestamp" | "timestamp without time zone", None) => Self::Timestamp,
            ("timestamptz" | "timestamp with time zone", None) => Self::TimestampTz,
            ("interval", None) => Self::Interval,
            ("uuid", None) => Self::Uuid,
            ("json" | "jsonb", None) => Self::Json,
            _ => return Err(unknown()),
        };
        Ok(parsed)
    }
}

/// `p`, or `p,s` with 1 ≤ p ≤ 1000 and −1000 ≤ s ≤ 1000, as PostgreSQL allows.
fn numeric_bounds(arguments: &str) -> Option<(u16, i16)> {
    let (precision, scale) = arguments.split_once(',').unwrap_or((arguments, "0"));
    let precision: u16 = precision.trim().parse().ok()?;
    let scale: i16 = scale.trim().parse().ok()?;
    ((1..=1000).contains(&precision) && (-1000..=1000).contains(&scale)).then_some((precision, scale))
}

impl Serialize for ColumnType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ColumnType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One declared column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The member of the event's JSON data that holds the value.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: ColumnType,
    /// Whether the value may be absent or null.
    pub nullable: bool,
    /// How sensitive it is.
    #[serde(default)]
    pub class: DataClass,
    /// What it is after changes in several regions that did not know of each other, if its stream keeps a row of each subject ([`Schema::merges`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<Merge>,
}

/// The columns of a stream. Changing them makes a new version; each version is an event of `$config`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Schema {
    /// 1 for the first version.
    pub version: u32,
    /// The columns in the order of their declaration.
    pub columns: Vec<Column>,
    /// The names of the columns that identify a row, in key order; empty for append-only streams.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
}

impl Schema {
    /// The column that is the subject of an event.
    pub const SUBJECT: &str = "_subject";

    /// The column called `name`.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// What a declaration says without saying it: if one column has a class of conflicts, the others are `lww`, and rows are told apart by their subject.
    #[must_use]
    pub fn completed(mut self) -> Self {
        if self.merges() {
            for column in &mut self.columns {
                column.merge.get_or_insert(Merge::Lww);
            }
            if self.key.is_empty() {
                self.key = vec![Self::SUBJECT.to_owned()];
            }
        }
        self
    }

    /// Whether events are changes of the row of their subject, which are merged. Then every column has a class, and [`Schema::key`] is the subject.
    pub fn merges(&self) -> bool {
        self.columns.iter().any(|column| column.merge.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_reads_back_what_it_prints() {
        for text in [
            "boolean",
            "smallint",
            "integer",
            "bigint",
            "real",
            "double precision",
            "numeric",
            "numeric(12,2)",
            "numeric(3,-2)",
            "text",
            "bytea",
            "date",
            "time",
            "timestamp",
            "timestamptz",
            "interval",
            "uuid",
            "json",
            "other(int4range)",
        ] {
            assert_eq!(text.parse::<ColumnType>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn aliases_are_understood_and_nonsense_is_not() {
        assert_eq!("VARCHAR(20)".parse(), Ok(ColumnType::Text));
        assert_eq!("decimal(10, 2)".parse(), Ok(ColumnType::Numeric(Some((10, 2)))));
        for text in ["", "int(4)", "numeric(0)", "numeric(10,2", "money4"] {
            assert!(text.parse::<ColumnType>().is_err(), "{text}");
        }
    }
}
