//! Small tables that are made at once: what SHOW, DESCRIBE and EXPLAIN answer.

use crate::query::Answer;
use datafusion::arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use std::sync::Arc;

/// Collects the columns of a small table; all have as many values.
#[derive(Default)]
pub(super) struct Listing {
    fields: Vec<Field>,
    columns: Vec<ArrayRef>,
}

impl Listing {
    pub(super) fn text<T: Into<String>>(self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        self.text_or_null(name, values.into_iter().map(Some))
    }

    pub(super) fn text_or_null<T: Into<String>>(
        self,
        name: &str,
        values: impl IntoIterator<Item = Option<T>>,
    ) -> Self {
        let values: StringArray = values.into_iter().map(|value| value.map(Into::into)).collect();
        self.column(name, DataType::Utf8, Arc::new(values))
    }

    pub(super) fn number(self, name: &str, values: impl IntoIterator<Item = Option<u64>>) -> Self {
        let values: Int64Array =
            values.into_iter().map(|value| value.and_then(|value| i64::try_from(value).ok())).collect();
        self.column(name, DataType::Int64, Arc::new(values))
    }

    pub(super) fn truth(self, name: &str, values: impl IntoIterator<Item = bool>) -> Self {
        let values: BooleanArray = values.into_iter().map(Some).collect();
        self.column(name, DataType::Boolean, Arc::new(values))
    }

    fn column(mut self, name: &str, ty: DataType, values: ArrayRef) -> Self {
        self.fields.push(Field::new(name, ty, true));
        self.columns.push(values);
        self
    }

    pub(super) fn answer(self) -> Answer {
        let schema = Arc::new(Schema::new(self.fields));
        // Columns of equal lengths and of these types always make a batch.
        let batch = RecordBatch::try_new(schema.clone(), self.columns)
            .unwrap_or_else(|_| RecordBatch::new_empty(schema));
        Answer::of(batch)
    }
}
