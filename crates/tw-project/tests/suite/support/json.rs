//! Rows as JSON, so that a test can say what it expects of any type. The product's own writer is in `tw-api`.

use tw_project::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use tw_project::arrow::datatypes::{DataType, Schema};

/// A row as a JSON array.
pub fn array(schema: &Schema, batch: &RecordBatch, row: usize) -> String {
    let values = batch.columns().iter().zip(schema.fields());
    let values = values.map(|(array, field)| value(array, row, tw_project::type_name(field) == "json"));
    format!("[{}]", values.collect::<Vec<_>>().join(","))
}

fn value(array: &ArrayRef, row: usize, is_json: bool) -> String {
    let Some(text) = tw_project::text(array, row) else { return "null".to_owned() };
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        ty if (ty.is_integer() || ty.is_floating()) && !text.ends_with(char::is_alphabetic) => text,
        DataType::Utf8 if is_json && serde_json::from_str::<serde_json::Value>(&text).is_ok() => text,
        DataType::Timestamp(..) => {
            let (time, era) = text.strip_suffix(" BC").map_or((text.as_str(), ""), |time| (time, " BC"));
            let zone = if time.ends_with("+00") { ":00" } else { "" };
            format!("\"{}{zone}{era}\"", time.replacen(' ', "T", 1))
        }
        DataType::List(_) => {
            let values = array.as_list::<i32>().value(row);
            let values = (0..values.len()).map(|index| value(&values, index, is_json));
            format!("[{}]", values.collect::<Vec<_>>().join(","))
        }
        _ => serde_json::to_string(&text).unwrap(),
    }
}
