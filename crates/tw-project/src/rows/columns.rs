//! The columns of a stream's tables.

use super::slot::Form;
use crate::types::{self, timestamptz};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;
use tw_types::{Column, ColumnType, DataClass, StreamDef, StreamKind};

/// What every event has beside its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Meta {
    Partition,
    Offset,
    Version,
    Id,
    Source,
    Type,
    Subject,
    Time,
    Hlc,
}

const META: [Meta; 9] = [
    Meta::Partition,
    Meta::Offset,
    Meta::Version,
    Meta::Id,
    Meta::Source,
    Meta::Type,
    Meta::Subject,
    Meta::Time,
    Meta::Hlc,
];

impl Meta {
    /// The name of its column.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Partition => "_partition",
            Self::Offset => "_offset",
            Self::Version => "_version",
            Self::Id => "_id",
            Self::Source => "_source",
            Self::Type => "_type",
            Self::Subject => "_subject",
            Self::Time => "_time",
            Self::Hlc => "_hlc",
        }
    }

    /// Its type.
    pub(crate) fn ty(self) -> DataType {
        match self {
            Self::Partition => DataType::Int32,
            Self::Offset | Self::Version | Self::Hlc => DataType::Int64,
            Self::Id | Self::Source | Self::Type | Self::Subject => DataType::Utf8View,
            Self::Time => timestamptz(),
        }
    }
}

/// A column of a table that is made of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TableColumn {
    /// A member of the data, or of the row that a change event tells of.
    Member(Column),
    /// What the event has beside its data.
    Meta(Meta),
    /// The data as JSON text.
    Data,
}

impl TableColumn {
    /// Its field.
    pub(crate) fn field(&self) -> Field {
        match self {
            Self::Member(column) => types::field(&column.name, &column.ty, true),
            Self::Meta(meta) => Field::new(meta.name(), meta.ty(), true),
            Self::Data => types::field("data", &ColumnType::Json, true),
        }
    }
}

/// How the events of a stream become rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Each event is a row.
    Events,
    /// Each event adds, changes or removes a row of a captured table.
    Changes,
    /// Each event is a change of the row of its subject, which is merged.
    Merges,
}

/// The columns of a stream as a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableColumns {
    pub(crate) reading: Reading,
    pub(crate) columns: Vec<TableColumn>,
}

impl TableColumns {
    /// Of the rows of a stream: its declared columns, or its data as JSON text; then, unless it is a captured table, what events
    /// have beside their data.
    pub(crate) fn of_rows(stream: &StreamDef) -> Self {
        let declared =
            stream.schema.iter().flat_map(|schema| &schema.columns).cloned().map(TableColumn::Member);
        if stream.kind == StreamKind::Table {
            return Self { reading: Reading::Changes, columns: declared.collect() };
        }
        if stream.merges() {
            let columns = std::iter::once(TableColumn::Meta(Meta::Subject)).chain(declared).collect();
            return Self { reading: Reading::Merges, columns };
        }
        let mut columns: Vec<TableColumn> = declared.collect();
        if stream.schema.is_none() {
            columns.push(TableColumn::Data);
        }
        columns.extend(META.map(TableColumn::Meta));
        Self { reading: Reading::Events, columns }
    }

    /// Of the history of a stream: what events have beside their data, then the data as JSON text; of a captured table also
    /// what happened to the row, and the row before and after.
    pub(crate) fn of_history(stream: &StreamDef) -> Self {
        let mut columns: Vec<TableColumn> = META.map(TableColumn::Meta).into();
        columns.push(TableColumn::Data);
        if stream.kind == StreamKind::Table {
            let member = |name: &str, ty| {
                TableColumn::Member(Column {
                    name: name.into(),
                    ty,
                    nullable: true,
                    class: DataClass::default(),
                    merge: None,
                })
            };
            columns.push(member("op", ColumnType::Text));
            columns.push(member("before", ColumnType::Json));
            columns.push(member("after", ColumnType::Json));
        }
        Self { reading: Reading::Events, columns }
    }

    /// The columns as an Arrow schema.
    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(TableColumn::field).collect::<Vec<_>>()))
    }

    /// How JSON stands for the values of the members.
    pub(crate) fn form(&self) -> Form {
        if self.reading == Reading::Changes { Form::Envelope } else { Form::Plain }
    }

    /// Only the columns at `indexes`, in that order.
    pub(crate) fn only(&self, indexes: &[usize]) -> Self {
        let columns = indexes.iter().filter_map(|index| self.columns.get(*index)).cloned().collect();
        Self { reading: self.reading, columns }
    }
}

/// Whether a declared column may have this name.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.starts_with('_')
}
