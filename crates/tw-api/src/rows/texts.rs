//! Rows as texts, for whoever has to compare rows rather than send them.

use super::{Encoder, Format};
use crate::Problem;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

/// Gives the text of each row of a batch, as a line of `application/x-ndjson` has it, without its line feed: every digit, names
/// in the order of the columns. Two rows have the same text exactly when a client is sent the same.
///
/// # Errors
/// A column of a type that cannot be written.
pub fn row_texts(
    schema: &SchemaRef,
    batch: &RecordBatch,
    each: &mut dyn FnMut(&[u8]),
) -> Result<(), Problem> {
    let mut lines = Vec::new();
    Encoder::new(Format::Lines, schema)?.batch(batch, &mut lines)?;
    // A line feed inside a text is written as an escape.
    lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).for_each(each);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{ArrayRef, Decimal128Array, StringArray};
    use std::sync::Arc;

    #[test]
    fn each_row_is_one_text_with_every_digit_whatever_is_in_it() {
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("two\nlines"), None]));
        let totals = Decimal128Array::from(vec![1_050, 7]).with_precision_and_scale(12, 2).unwrap();
        let batch = RecordBatch::try_from_iter([("name", names), ("total", Arc::new(totals) as ArrayRef)]);
        let batch = batch.unwrap();
        let mut texts = Vec::new();
        row_texts(&batch.schema(), &batch, &mut |text| texts.push(String::from_utf8(text.to_vec()).unwrap()))
            .unwrap();
        assert_eq!(texts, [r#"{"name":"two\nlines","total":"10.50"}"#, r#"{"name":null,"total":"0.07"}"#]);
    }
}
