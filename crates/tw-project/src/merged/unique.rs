//! Columns of the class `unique`: which values a change needs, and whether a row may have one still.
//!
//! A value is named by its text, as SQL prints it, so that one value has one name: `1.50` and `1.5` of `numeric(9,2)` are the same.
//! `docs/adr/0027-unique-values-are-claimed.md` says what is made of it.

use super::change::ChangeOps;
use super::row::MergedRow;
use super::value::{Value, slot_text};
use crate::rows::reader::RowError;
use crate::rows::slot::SlotReader;
use tw_merge::{FieldOp, Kind};
use tw_types::Merge;

/// The longest value, in bytes: it is the name of what is claimed.
const VALUE_BYTES_MAX: usize = 512;

/// A value of a column of the class `unique`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UniqueValue {
    /// The column.
    pub column: String,
    /// The value as text.
    pub value: String,
}

impl ChangeOps {
    /// The unique values that a row has by a change; null is none.
    ///
    /// # Errors
    /// A value is too long.
    pub(crate) fn unique(&self, change: &Kind<Value>) -> Result<Vec<UniqueValue>, RowError> {
        let Kind::Put(ops) = change else { return Ok(Vec::new()) };
        let mut values = Vec::new();
        for (field, (column, ty)) in (0u16..).zip(self.columns().zip(self.types())) {
            if column.merge != Some(Merge::Unique) {
                continue;
            }
            let said = ops.iter().find_map(|(named, op)| match op {
                FieldOp::Set(value) if *named == field && *value != Value::Null => Some(value),
                _ => None,
            });
            let Some(value) = said else { continue };
            let value = slot_text(&value.slot(), ty);
            if value.len() > VALUE_BYTES_MAX {
                let (name, bytes) = (&column.name, value.len());
                return Err(RowError::whole(&format!(
                    "column `{name}`: a unique value of {bytes} bytes: at most {VALUE_BYTES_MAX}"
                )));
            }
            values.push(UniqueValue { column: column.name.clone(), value });
        }
        Ok(values)
    }

    /// A value of a unique column that was given as text, with the column's place.
    ///
    /// # Errors
    /// The column is of another class, or the text is no value of it; what to do.
    pub(crate) fn unique_of_text(&self, column: &str, text: &str) -> Result<(u16, Value), String> {
        let found = self.column(column).filter(|(_, found, _)| found.merge == Some(Merge::Unique));
        let (field, _, reader) =
            found.ok_or_else(|| format!("column `{column}` is not of the class `unique`"))?;
        let value = read_text(reader, text).map_err(|why| format!("column `{column}`: {why}"))?;
        if value == Value::Null || text.len() > VALUE_BYTES_MAX {
            return Err(format!(
                "column `{column}`: name a value that is not null, of at most {VALUE_BYTES_MAX} bytes"
            ));
        }
        Ok((field, value))
    }

    /// The same as others name it.
    ///
    /// # Errors
    /// Those of [`ChangeOps::unique_of_text`].
    pub(crate) fn unique_named(&self, column: &str, text: &str) -> Result<UniqueValue, String> {
        let (field, value) = self.unique_of_text(column, text)?;
        let ty = self.types().nth(field.into());
        let value = ty.map_or_else(String::new, |ty| slot_text(&value.slot(), ty));
        Ok(UniqueValue { column: column.to_owned(), value })
    }
}

/// Numbers are numbers in JSON; everything else is a string there.
fn read_text(reader: &SlotReader, text: &str) -> Result<Value, String> {
    let string = serde_json::Value::from(text).to_string();
    match reader.read(&string) {
        Ok(slot) => Ok(Value::of(&slot)),
        Err(why) => {
            let is_number = text.starts_with(|first: char| first.is_ascii_digit() || first == '-');
            let number = if is_number { reader.read(text) } else { Err(why) };
            number.map(|slot| Value::of(&slot))
        }
    }
}

impl MergedRow {
    /// Whether the row has a value, or may have it again without another change that says so.
    ///
    /// # Errors
    /// The column is of another class, or the text is no value of it.
    pub fn may_show(&self, of: &UniqueValue) -> Result<bool, String> {
        let (field, value) = self.ops().unique_of_text(&of.column, &of.value)?;
        Ok(self.state().may_show(field, &value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tw_types::{Column, Data};

    const TYPES: [&str; 8] =
        ["smallint", "integer", "bigint", "numeric(9,2)", "numeric", "text", "date", "uuid"];

    fn ops() -> ChangeOps {
        let column = |ty: &&str| Column {
            name: (*ty).into(),
            ty: ty.parse().unwrap(),
            nullable: true,
            class: Default::default(),
            merge: Some(Merge::Unique),
        };
        ChangeOps::new(&TYPES.iter().map(column).collect::<Vec<_>>())
    }

    fn unique(json: &serde_json::Value) -> Vec<UniqueValue> {
        let change = ops().read(&Data::Json(json.to_string().as_bytes()), true).unwrap();
        ops().unique(&change).unwrap()
    }

    #[test]
    fn a_value_has_one_name_however_it_is_written() {
        let money = |json| unique(&serde_json::json!({ "numeric(9,2)": json }));
        assert_eq!(money(serde_json::json!(1.5)), money(serde_json::json!("1.50")));
        assert_eq!(money(serde_json::json!(1.5))[0].value, "1.50");
        let id = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11";
        assert_eq!(ops().unique_named("uuid", id).unwrap().value, id.to_lowercase());
        assert_eq!(unique(&serde_json::json!({ "text": null })), [], "null is no value");
        let long = serde_json::json!({ "text": "x".repeat(513) });
        let change = ops().read(&Data::Json(long.to_string().as_bytes()), true).unwrap();
        assert!(ops().unique(&change).unwrap_err().message.contains("513 bytes: at most 512"));
        for (column, text) in [("integer", "x"), ("integer", "1.5"), ("gone", "1"), ("uuid", "null")] {
            assert!(ops().unique_of_text(column, text).is_err(), "{column} {text}");
        }
    }

    proptest! {
        #[test]
        fn what_a_change_says_is_read_as_it_is_named(
            small in any::<i16>(), int in any::<i32>(), big in any::<i64>(), cents in -99_999_999i64..99_999_999,
            text in "\\PC{0,20}", day in 0i64..20_000, id in any::<u128>(),
        ) {
            let (sign, cents) = (if cents < 0 { "-" } else { "" }, cents.abs());
            let id = format!("{id:032x}");
            let date = slot_text(&crate::rows::slot::Slot::Int(day), &datafusion::arrow::datatypes::DataType::Date32);
            let json = serde_json::json!({
                "smallint": small, "integer": int, "bigint": big,
                "numeric(9,2)": format!("{sign}{}.{:02}", cents / 100, cents % 100),
                "numeric": format!("{sign}{}.{:02}", cents / 100, cents % 100),
                "text": text, "date": date,
                "uuid": format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]),
            });
            let ops = ops();
            let change = ops.read(&Data::Json(json.to_string().as_bytes()), true).unwrap();
            let named = ops.unique(&change).unwrap();
            prop_assert_eq!(named.len(), TYPES.len());
            let Kind::Put(said) = change else { unreachable!("it has data") };
            for (of, (_, op)) in named.iter().zip(&said) {
                let (_, value) = ops.unique_of_text(&of.column, &of.value).unwrap();
                prop_assert_eq!(op, &FieldOp::Set(value));
                prop_assert_eq!(&ops.unique_named(&of.column, &of.value).unwrap(), of);
            }
        }
    }
}
