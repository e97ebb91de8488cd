//! Reading the wanted members of a JSON object, and of the rows in a change event.
//!
//! The text is walked once, with serde_json; members that nobody wants are skipped (and still checked to be JSON). Of two
//! members of the same name the last one counts.

use super::slot::{Form, Slot, SlotReader};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::sync::Arc;
use tw_types::Column;

/// Why the data of an event is not a row, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (line {line}, column {column})")]
pub struct RowError {
    /// What is wrong.
    pub message: String,
    /// The line of the JSON text, from 1.
    pub line: usize,
    /// The column in bytes, from 1: where the offending value ends.
    pub column: usize,
}

impl RowError {
    pub(crate) fn of(error: &serde_json::Error) -> Self {
        let full = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let message = full.strip_suffix(&place).unwrap_or(&full).to_owned();
        Self { message, line: error.line(), column: error.column() }
    }

    pub(crate) fn whole(message: &str) -> Self {
        Self { message: message.to_owned(), line: 1, column: 1 }
    }
}

/// Reads the columns that are wanted.
#[derive(Debug, Clone)]
pub(crate) struct RowReader {
    names: Vec<String>,
    slots: Vec<SlotReader>,
    schema: SchemaRef,
}

impl RowReader {
    /// A reader of `columns`, in this order.
    pub(crate) fn new<'a>(columns: impl IntoIterator<Item = &'a Column>, form: Form) -> Self {
        let (mut names, mut slots, mut fields) = (Vec::new(), Vec::new(), Vec::new());
        for column in columns {
            names.push(column.name.clone());
            slots.push(SlotReader::new(&column.ty, form));
            // Old events may lack what is declared NOT NULL now.
            fields.push(crate::types::field(&column.name, &column.ty, true));
        }
        Self { names, slots, schema: Arc::new(Schema::new(fields)) }
    }

    /// The columns as Arrow fields.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &Arc<Field>> {
        self.schema.fields().iter()
    }

    /// The readers of the columns.
    pub(crate) fn slots(&self) -> &[SlotReader] {
        &self.slots
    }

    /// How many columns there are.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    fn position(&self, name: &str, expected: usize) -> Option<usize> {
        // Members mostly come in the order in which they are declared.
        if self.names.get(expected).is_some_and(|known| known == name) {
            return Some(expected);
        }
        self.names.iter().position(|known| known == name)
    }

    /// Reads an object into `row`, one slot for each column; members that are missing leave NULL.
    ///
    /// # Errors
    /// [`RowError`].
    pub(crate) fn read<'a>(&self, json: &'a [u8], row: &mut Vec<Slot<'a>>) -> Result<(), RowError> {
        self.read_with(json, row, None)
    }

    /// As [`RowReader::read`]; `unknown` says what is wrong with a member that is not wanted.
    pub(super) fn read_with<'a>(
        &self,
        json: &'a [u8],
        row: &mut Vec<Slot<'a>>,
        unknown: Unknown<'_>,
    ) -> Result<(), RowError> {
        let text = text(json)?;
        clear(row, self.len());
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let object = Object { reader: self, row, unknown };
        object
            .deserialize(&mut deserializer)
            .and_then(|_| deserializer.end())
            .map_err(|error| RowError::of(&error))
    }

    /// Reads the rows of a change event: `before` and `after`, where it has them.
    ///
    /// # Errors
    /// [`RowError`].
    pub(crate) fn read_change<'a>(&self, json: &'a [u8], change: &mut Change<'a>) -> Result<(), RowError> {
        let text = text(json)?;
        clear(&mut change.before, self.len());
        clear(&mut change.after, self.len());
        (change.has_before, change.has_after) = (false, false);
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let envelope = Envelope { reader: self, change };
        deserializer
            .deserialize_map(envelope)
            .and_then(|()| deserializer.end())
            .map_err(|error| RowError::of(&error))
    }
}

/// What is wrong with a member of this name.
type Unknown<'a> = Option<&'a dyn Fn(&str) -> String>;

fn text(json: &[u8]) -> Result<&str, RowError> {
    std::str::from_utf8(json).map_err(|_| RowError::whole("the data is not UTF-8"))
}

fn clear<'a>(row: &mut Vec<Slot<'a>>, len: usize) {
    row.clear();
    row.resize(len, Slot::Null);
}

/// The rows of a change event. Only the wanted columns are kept.
#[derive(Debug, Default)]
pub(crate) struct Change<'a> {
    pub(crate) before: Vec<Slot<'a>>,
    pub(crate) after: Vec<Slot<'a>>,
    pub(crate) has_before: bool,
    pub(crate) has_after: bool,
}

struct Envelope<'r, 'a> {
    reader: &'r RowReader,
    change: &'r mut Change<'a>,
}

impl<'de> Visitor<'de> for Envelope<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a change event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(part) = map.next_key_seed(Part)? {
            match part {
                Side::Before => {
                    let row = Object { reader: self.reader, row: &mut self.change.before, unknown: None };
                    self.change.has_before = map.next_value_seed(row)?;
                }
                Side::After => {
                    let row = Object { reader: self.reader, row: &mut self.change.after, unknown: None };
                    self.change.has_after = map.next_value_seed(row)?;
                }
                Side::Neither => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// A member of a change event.
enum Side {
    Before,
    After,
    Neither,
}

struct Part;

impl<'de> DeserializeSeed<'de> for Part {
    type Value = Side;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Side, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Part {
    type Value = Side;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Side, E> {
        Ok(match key {
            "before" => Side::Before,
            "after" => Side::After,
            _ => Side::Neither,
        })
    }
}

/// Reads one object, or null; gives whether it was an object.
struct Object<'r, 'a> {
    reader: &'r RowReader,
    row: &'r mut Vec<Slot<'a>>,
    unknown: Unknown<'r>,
}

impl<'de> DeserializeSeed<'de> for Object<'_, 'de> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, 'de> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut expected = 0;
        while let Some(found) =
            map.next_key_seed(Key { reader: self.reader, expected, unknown: self.unknown })?
        {
            let Some(index) = found else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let raw: &RawValue = map.next_value()?;
            let (Some(reader), Some(slot)) = (self.reader.slots.get(index), self.row.get_mut(index)) else {
                continue;
            };
            *slot = reader.read(raw.get()).map_err(|problem| {
                let name = self.reader.names.get(index).map(String::as_str).unwrap_or_default();
                A::Error::custom(format_args!("column `{name}`: {problem}"))
            })?;
            expected = index + 1;
        }
        Ok(true)
    }
}

/// Finds the column of a key.
struct Key<'r> {
    reader: &'r RowReader,
    expected: usize,
    unknown: Unknown<'r>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Option<usize>, E> {
        match (self.reader.position(key, self.expected), self.unknown) {
            (None, Some(unknown)) => Err(E::custom(unknown(key))),
            (found, _) => Ok(found),
        }
    }
}
