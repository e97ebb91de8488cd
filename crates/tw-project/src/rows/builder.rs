//! Collects rows into an Arrow batch.

use super::slot::{Slot, SlotReader};
use datafusion::arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Decimal256Builder,
    Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder, StringViewBuilder,
    Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use datafusion::arrow::datatypes::{DataType, i256};
use std::sync::Arc;

/// Collects the values of one column.
#[derive(Debug)]
pub(crate) enum ColumnBuilder {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Narrow(Decimal128Builder, DataType),
    Wide(Decimal256Builder, DataType),
    Text(StringViewBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Instant(TimestampMicrosecondBuilder, DataType),
}

impl ColumnBuilder {
    /// A builder for values of an Arrow type that columns have.
    pub(crate) fn new(ty: &DataType) -> Self {
        match ty {
            DataType::Boolean => Self::Bool(BooleanBuilder::new()),
            DataType::Int16 => Self::Int2(Int16Builder::new()),
            DataType::Int32 => Self::Int4(Int32Builder::new()),
            DataType::Int64 => Self::Int8(Int64Builder::new()),
            DataType::Float32 => Self::Float4(Float32Builder::new()),
            DataType::Float64 => Self::Float8(Float64Builder::new()),
            DataType::Decimal128(..) => Self::Narrow(Decimal128Builder::new(), ty.clone()),
            DataType::Decimal256(..) => Self::Wide(Decimal256Builder::new(), ty.clone()),
            DataType::Binary => Self::Bytes(BinaryBuilder::new()),
            DataType::Date32 => Self::Date(Date32Builder::new()),
            DataType::Time64(_) => Self::Time(Time64MicrosecondBuilder::new()),
            DataType::Timestamp(..) => Self::Instant(TimestampMicrosecondBuilder::new(), ty.clone()),
            _ => Self::Text(StringViewBuilder::new()),
        }
    }

    /// Adds a value, which the column's own reader has made; any other becomes NULL, as an unchanged one does.
    pub(crate) fn push(&mut self, slot: &Slot<'_>) {
        match (self, slot) {
            (Self::Bool(builder), Slot::Bool(value)) => builder.append_value(*value),
            (Self::Int2(builder), Slot::Int(value)) => builder.append_value(*value as i16),
            (Self::Int4(builder), Slot::Int(value)) => builder.append_value(*value as i32),
            (Self::Int8(builder), Slot::Int(value)) => builder.append_value(*value),
            (Self::Float4(builder), Slot::Float4(value)) => builder.append_value(*value),
            (Self::Float8(builder), Slot::Float8(value)) => builder.append_value(*value),
            (Self::Narrow(builder, _), Slot::Decimal(value)) => builder.append_value(i256::as_i128(*value)),
            (Self::Wide(builder, _), Slot::Decimal(value)) => builder.append_value(*value),
            (Self::Text(builder), Slot::Text(text)) => builder.append_value(text),
            (Self::Bytes(builder), Slot::Bytes(bytes)) => builder.append_value(bytes),
            (Self::Date(builder), Slot::Int(value)) => builder.append_value(*value as i32),
            (Self::Time(builder), Slot::Int(value)) => builder.append_value(*value),
            (Self::Instant(builder, _), Slot::Int(value)) => builder.append_value(*value),
            (builder, _) => builder.push_null(),
        }
    }

    fn push_null(&mut self) {
        match self {
            Self::Bool(builder) => builder.append_null(),
            Self::Int2(builder) => builder.append_null(),
            Self::Int4(builder) => builder.append_null(),
            Self::Int8(builder) => builder.append_null(),
            Self::Float4(builder) => builder.append_null(),
            Self::Float8(builder) => builder.append_null(),
            Self::Narrow(builder, _) => builder.append_null(),
            Self::Wide(builder, _) => builder.append_null(),
            Self::Text(builder) => builder.append_null(),
            Self::Bytes(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Time(builder) => builder.append_null(),
            Self::Instant(builder, _) => builder.append_null(),
        }
    }

    /// The column so far; the builder starts again.
    pub(crate) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Bool(builder) => Arc::new(builder.finish()),
            Self::Int2(builder) => Arc::new(builder.finish()),
            Self::Int4(builder) => Arc::new(builder.finish()),
            Self::Int8(builder) => Arc::new(builder.finish()),
            Self::Float4(builder) => Arc::new(builder.finish()),
            Self::Float8(builder) => Arc::new(builder.finish()),
            Self::Narrow(builder, ty) => Arc::new(builder.finish().with_data_type(ty.clone())),
            Self::Wide(builder, ty) => Arc::new(builder.finish().with_data_type(ty.clone())),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Bytes(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Instant(builder, ty) => Arc::new(builder.finish().with_data_type(ty.clone())),
        }
    }
}

/// Collects rows of several columns.
#[derive(Debug)]
pub(crate) struct RowsBuilder {
    columns: Vec<ColumnBuilder>,
    rows: usize,
}

impl RowsBuilder {
    /// A builder for rows that `slots` read.
    pub(crate) fn new(slots: &[SlotReader]) -> Self {
        Self { columns: slots.iter().map(|slot| ColumnBuilder::new(slot.arrow())).collect(), rows: 0 }
    }

    /// A builder for rows of columns of these types.
    pub(crate) fn of<'a>(types: impl IntoIterator<Item = &'a DataType>) -> Self {
        Self { columns: types.into_iter().map(ColumnBuilder::new).collect(), rows: 0 }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: &[Slot<'_>]) {
        for (column, slot) in self.columns.iter_mut().zip(row) {
            column.push(slot);
        }
        self.rows += 1;
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// The columns; the builder starts again.
    pub(crate) fn finish(&mut self) -> Vec<ArrayRef> {
        self.rows = 0;
        self.columns.iter_mut().map(ColumnBuilder::finish).collect()
    }
}
