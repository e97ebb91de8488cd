//! Results as JSON.
//!
//! | type | JSON |
//! |---|---|
//! | boolean | `true`, `false` |
//! | smallint, integer, bigint | number |
//! | numeric | string of decimal digits, so that no reader rounds it |
//! | real, double precision | number; `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | text, uuid, and types of other databases | string |
//! | date, time | `"2026-01-31"`, `"09:30:00.5"` |
//! | timestamp, timestamptz | `"2026-01-31T09:30:00"`, `"2026-01-31T09:30:00+00:00"` |
//! | interval | `"1 day 02:00:00"` |
//! | bytea | base64 |
//! | json | as it is |
//! | arrays | arrays |
//! | NULL | `null` |

use super::answer::is_json;
use crate::values::calendar;
use crate::values::print::{Printer, base64};
use datafusion::arrow::array::types::*;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use std::io::Write as _;

/// Writes the rows of batches as JSON. Names are written once, so it is made once per result.
pub struct JsonWriter {
    /// `"name":` of each column.
    labels: Vec<Vec<u8>>,
    json: Vec<bool>,
}

impl JsonWriter {
    /// A writer for results with these columns.
    pub fn new(schema: &datafusion::arrow::datatypes::Schema) -> Self {
        let label = |name: &str| {
            let mut label = serde_json::to_vec(name).unwrap_or_default();
            label.push(b':');
            label
        };
        Self {
            labels: schema.fields().iter().map(|field| label(field.name())).collect(),
            json: schema.fields().iter().map(|field| is_json(field)).collect(),
        }
    }

    /// Appends a row as an object.
    pub fn object(&self, batch: &RecordBatch, row: usize, out: &mut Vec<u8>) {
        out.push(b'{');
        for (index, column) in batch.columns().iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(self.labels.get(index).map_or(&[], Vec::as_slice));
            value(column, row, self.json.get(index) == Some(&true), out);
        }
        out.push(b'}');
    }

    /// Appends a row as an array.
    pub fn array(&self, batch: &RecordBatch, row: usize, out: &mut Vec<u8>) {
        out.push(b'[');
        for (index, column) in batch.columns().iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            value(column, row, self.json.get(index) == Some(&true), out);
        }
        out.push(b']');
    }
}

fn string(text: &str, out: &mut Vec<u8>) {
    // A text always has a JSON form, and a buffer takes it.
    let _written = serde_json::to_writer(out, text);
}

/// Appends a value.
fn value(array: &ArrayRef, row: usize, is_json: bool, out: &mut Vec<u8>) {
    if array.is_null(row) {
        out.extend_from_slice(b"null");
        return;
    }
    match array.data_type() {
        DataType::Boolean => {
            out.extend_from_slice(if array.as_boolean().value(row) { b"true" } else { b"false" });
        }
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => plain(array, row, out),
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => plain(array, row, out),
        DataType::Float32 if array.as_primitive::<Float32Type>().value(row).is_finite() => {
            plain(array, row, out);
        }
        DataType::Float64 if array.as_primitive::<Float64Type>().value(row).is_finite() => {
            plain(array, row, out);
        }
        DataType::Utf8 if is_json && is_value(array.as_string::<i32>().value(row)) => {
            out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes());
        }
        DataType::Utf8 => string(array.as_string::<i32>().value(row), out),
        DataType::Binary => {
            let _written = write!(out, "\"{}\"", base64(array.as_binary::<i32>().value(row)));
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let mut text = String::new();
            let instant = array.as_primitive::<TimestampMicrosecondType>().value(row);
            calendar::print_timestamp(instant, false, &mut text);
            let zone = if zone.is_some() && !calendar::is_endless(instant) { "+00:00" } else { "" };
            let _written = match text.strip_suffix(" BC") {
                Some(before) => write!(out, "\"{}{zone} BC\"", before.replacen(' ', "T", 1)),
                None => write!(out, "\"{}{zone}\"", text.replacen(' ', "T", 1)),
            };
        }
        DataType::List(_) => {
            out.push(b'[');
            let values = array.as_list::<i32>().value(row);
            for index in 0..values.len() {
                if index > 0 {
                    out.push(b',');
                }
                value(&values, index, is_json, out);
            }
            out.push(b']');
        }
        _ => {
            let mut text = String::new();
            Printer::new(array).print(row, &mut text);
            string(&text, out);
        }
    }
}

fn plain(array: &ArrayRef, row: usize, out: &mut Vec<u8>) {
    let mut text = String::new();
    Printer::new(array).print(row, &mut text);
    // PostgreSQL's exponents, such as 1e+15, are JSON's, too.
    out.extend_from_slice(text.as_bytes());
}

fn is_value(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// A value as PostgreSQL prints it, for tables and CSV; None for NULL.
pub fn text(array: &ArrayRef, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    let mut out = String::new();
    Printer::new(array).print(row, &mut out);
    Some(out)
}
