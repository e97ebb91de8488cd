//! The check at the door: whether the data of an event fits the declared columns of its stream.

use super::reader::{RowError, RowReader};
use super::slot::{Form, Slot};
use crate::dialect::suggest;
use crate::merged::change::ChangeOps;
use crate::merged::unique::UniqueValue;
use tw_merge::class::ReserveOp;
use tw_merge::{FieldOp, Kind};
use tw_types::{Data, Merge, Schema};

/// Checks events of one stream before they are accepted.
///
/// ```
/// use tw_project::RowCheck;
/// use tw_types::{Column, ColumnType, DataClass, Schema};
/// let column = |name: &str, ty: &str| Column { name: name.into(), ty: ty.parse().unwrap(), nullable: false, class: DataClass::Internal, merge: None };
/// let schema = Schema { version: 1, columns: vec![column("id", "bigint"), column("total", "numeric(12,2)")], key: vec![] };
/// let check = RowCheck::new(&schema);
/// assert!(check.check(br#"{"id": 1, "total": 9.99}"#).is_ok());
/// assert_eq!(
///     check.check(br#"{"id": 1, "totl": 9.99}"#).unwrap_err().message,
///     "member `totl` is not declared: did you mean `total`?"
/// );
/// ```
#[derive(Debug, Clone)]
pub struct RowCheck(Check);

#[derive(Debug, Clone)]
enum Check {
    /// Each event is a row.
    Row { reader: RowReader, required: Vec<(usize, String)> },
    /// Each event is a change of a row.
    Change(ChangeOps),
}

impl RowCheck {
    /// A check of the columns of `schema`.
    pub fn new(schema: &Schema) -> Self {
        if schema.merges() {
            return Self(Check::Change(ChangeOps::new(&schema.columns)));
        }
        let required = schema
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| !column.nullable)
            .map(|(index, column)| (index, column.name.clone()))
            .collect();
        Self(Check::Row { reader: RowReader::new(&schema.columns, Form::Plain), required })
    }

    /// Whether a change with these data has to be asked for before it is accepted: it uses rights to a `reserve`, gives them away, or deletes a row that
    /// may have some.
    ///
    /// # Errors
    /// Those of [`RowCheck::check`].
    pub fn needs_rights(&self, data: &Data<&[u8]>) -> Result<bool, RowError> {
        let Check::Change(ops) = &self.0 else { return Ok(false) };
        Ok(match ops.read(data, true)? {
            Kind::Delete => ops.columns().any(|column| column.merge == Some(Merge::Reserve)),
            Kind::Put(changed) => changed
                .iter()
                .any(|(_, op)| matches!(op, FieldOp::Reserve(op) if !matches!(op, ReserveOp::Produce(_)))),
        })
    }

    /// The values of unique columns that a row has by a change with these data: they are claimed before it is accepted.
    ///
    /// # Errors
    /// Those of [`RowCheck::check`]; a value is too long.
    pub fn unique(&self, data: &Data<&[u8]>) -> Result<Vec<UniqueValue>, RowError> {
        let Check::Change(ops) = &self.0 else { return Ok(Vec::new()) };
        ops.unique(&ops.read(data, true)?)
    }

    /// The value of a unique column that a text means, as changes name it.
    ///
    /// # Errors
    /// There is no such column, or the text is no value of it.
    pub fn unique_named(&self, column: &str, text: &str) -> Result<UniqueValue, String> {
        match &self.0 {
            Check::Change(ops) => ops.unique_named(column, text),
            Check::Row { .. } => Err("rows of this stream are not merged".to_owned()),
        }
    }

    /// Checks the JSON data of one event: an object whose members are declared, with values of their types, none missing
    /// that is NOT NULL; where rows are merged, with operations of their classes.
    ///
    /// # Errors
    /// The first thing that does not fit, which column it is, and where.
    pub fn check(&self, json: &[u8]) -> Result<(), RowError> {
        let (reader, required) = match &self.0 {
            Check::Row { reader, required } => (reader, required),
            Check::Change(ops) => return ops.read(&Data::Json(json), true).map(drop),
        };
        let mut row = Vec::with_capacity(reader.len());
        let unknown = |name: &str| {
            let known = reader.fields().map(|field| field.name().as_str());
            format!("member `{name}` is not declared{}", suggest::did_you_mean(name, known))
        };
        reader.read_with(json, &mut row, Some(&unknown))?;
        for (index, name) in required {
            if row.get(*index) == Some(&Slot::Null) {
                return Err(RowError::whole(&format!(
                    "column `{name}` is declared NOT NULL, but is missing or null"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tw_types::{Column, DataClass};

    fn check() -> RowCheck {
        let column = |name: &str, ty: &str, nullable| Column {
            name: name.into(),
            ty: ty.parse().unwrap(),
            nullable,
            class: DataClass::Internal,
            merge: None,
        };
        let columns =
            vec![column("id", "bigint", false), column("note", "text", true), column("doc", "json", true)];
        RowCheck::new(&Schema { version: 1, columns, key: vec![] })
    }

    #[test]
    fn what_fits_is_accepted() {
        for json in [r#"{"id":1}"#, r#" {"doc":[1,{}],"note":null,"id":9223372036854775807} "#] {
            check().check(json.as_bytes()).unwrap();
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_column_and_place() {
        for (json, problem) in [
            ("", "EOF while parsing a value (line 1, column 0)"),
            ("[]", "invalid type: sequence, expected an object (line 1, column 2)"),
            ("null", "column `id` is declared NOT NULL, but is missing or null (line 1, column 1)"),
            (r#"{"id":1}x"#, "trailing characters (line 1, column 9)"),
            (
                r#"{"id":"1"}"#,
                "column `id`: expected an integer for type bigint, found a string (line 1, column 10)",
            ),
            (
                "{\"id\":1,\n\"notes\":\"\"}",
                "member `notes` is not declared: did you mean `note`? (line 2, column 7)",
            ),
            (
                r#"{"note":"a"}"#,
                "column `id` is declared NOT NULL, but is missing or null (line 1, column 1)",
            ),
        ] {
            assert_eq!(check().check(json.as_bytes()).unwrap_err().to_string(), problem);
        }
        assert!(check().check(b"{\"note\":\"\xff\"}").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted_or_refused(bytes: Vec<u8>) {
            let _ = check().check(&bytes);
        }

        #[test]
        fn mutated_rows_are_accepted_or_refused(at in 0usize..40, byte: u8) {
            let mut json = br#"{"id":12,"note":"a\u00fcb","doc":{"x":[1]}}"#.to_vec();
            if let Some(place) = json.get_mut(at) {
                *place = byte;
            }
            let _ = check().check(&json);
        }
    }
}
