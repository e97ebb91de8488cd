//! PostgreSQL's types: which column type of the log they become, and which form their values have in JSON.

use super::json::Form;
use tw_types::ColumnType;

/// A type as the catalogue describes it, domains resolved to what they are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BaseType {
    /// The number of the type; those of built-in types never change (PostgreSQL, `pg_type.dat`).
    pub(crate) id: u32,
    /// Its modifier (length, precision), −1 for none.
    pub(crate) modifier: i32,
    /// Its name as `format_type` writes it.
    pub(crate) name: String,
}

impl BaseType {
    /// The form that a value has in JSON.
    pub(crate) fn form(&self) -> Form {
        match self.id {
            16 => Form::Bool,
            17 => Form::Bytes,
            20 | 21 | 23 | 26 => Form::Integer,
            700 | 701 => Form::Float,
            _ => Form::Text,
        }
    }

    /// The column type of the stream.
    pub(crate) fn column_type(&self) -> ColumnType {
        match self.id {
            16 => ColumnType::Bool,
            17 => ColumnType::Bytea,
            // An oid is an unsigned number of 32 bits.
            20 | 26 => ColumnType::Int8,
            21 => ColumnType::Int2,
            23 => ColumnType::Int4,
            700 => ColumnType::Float4,
            701 => ColumnType::Float8,
            1700 => ColumnType::Numeric(numeric_bounds(self.modifier)),
            // "char", name, text, varchar(n); char(n) is none of them: the spaces at its end count for nothing
            18 | 19 | 25 | 1043 => ColumnType::Text,
            114 | 3802 => ColumnType::Json,
            1082 => ColumnType::Date,
            1083 => ColumnType::Time,
            1114 => ColumnType::Timestamp,
            1184 => ColumnType::TimestampTz,
            1186 => ColumnType::Interval,
            2950 => ColumnType::Uuid,
            _ => ColumnType::Other(self.name.clone()),
        }
    }
}

/// Precision and scale of a numeric type's modifier: 4 more than precision in the upper 16 bits, scale in the lower 11,
/// signed since version 15 (PostgreSQL, `numeric.c`, `make_numeric_typmod`).
fn numeric_bounds(modifier: i32) -> Option<(u16, i16)> {
    let packed = u32::try_from(modifier.checked_sub(4)?).ok()?;
    let scale = ((packed & 0x7ff) ^ 1024) as i16 - 1024;
    Some(((packed >> 16) as u16, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(precision: i32, scale: i32) -> ColumnType {
        let modifier = ((precision << 16) | (scale & 0x7ff)) + 4;
        BaseType { id: 1700, modifier, name: "numeric".into() }.column_type()
    }

    #[test]
    fn bounds_of_numerics_are_understood() {
        assert_eq!(numeric(12, 2), ColumnType::Numeric(Some((12, 2))));
        assert_eq!(numeric(1000, 1000), ColumnType::Numeric(Some((1000, 1000))));
        assert_eq!(numeric(3, -5), ColumnType::Numeric(Some((3, -5))));
        assert_eq!(
            BaseType { id: 1700, modifier: -1, name: "numeric".into() }.column_type(),
            ColumnType::Numeric(None)
        );
    }

    #[test]
    fn padded_texts_are_not_texts() {
        let ty = |id, name: &str| BaseType { id, modifier: 9, name: name.into() }.column_type();
        assert_eq!(ty(1042, "character(5)"), ColumnType::Other("character(5)".into()));
        assert_eq!(ty(1043, "character varying(5)"), ColumnType::Text);
    }

    #[test]
    fn unknown_types_keep_their_name() {
        let ty = BaseType { id: 3904, modifier: -1, name: "int4range".into() };
        assert_eq!((ty.column_type(), ty.form()), (ColumnType::Other("int4range".into()), Form::Text));
    }
}
