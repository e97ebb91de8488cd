//! Reads events as rows, one row for each.

use super::builder::ColumnBuilder;
use super::columns::{Meta, TableColumn, TableColumns};
use super::reader::{RowError, RowReader};
use super::slot::Slot;
use datafusion::arrow::array::ArrayRef;
use std::borrow::Cow;
use tw_types::{Data, PartitionId, StoredRef};

/// Collects events of one partition as rows of the wanted columns.
pub(crate) struct EventRows {
    partition: PartitionId,
    columns: Vec<(Place, ColumnBuilder)>,
    members: RowReader,
    rows: usize,
}

/// Where the value of a column is.
#[derive(Debug, Clone, Copy)]
enum Place {
    Member(usize),
    Meta(Meta),
    Data,
}

impl EventRows {
    /// A collector of `columns`.
    pub(crate) fn new(columns: &TableColumns, partition: PartitionId) -> Self {
        let mut members = Vec::new();
        let places = columns
            .columns
            .iter()
            .map(|column| {
                let place = match column {
                    TableColumn::Member(member) => {
                        members.push(member);
                        Place::Member(members.len() - 1)
                    }
                    TableColumn::Meta(meta) => Place::Meta(*meta),
                    TableColumn::Data => Place::Data,
                };
                (place, ColumnBuilder::new(column.field().data_type()))
            })
            .collect();
        Self { partition, columns: places, members: RowReader::new(members, columns.form()), rows: 0 }
    }

    /// Adds an event.
    ///
    /// # Errors
    /// Its data does not fit the declared columns; then the rows so far are of no use.
    pub(crate) fn push(&mut self, event: &StoredRef<'_>) -> Result<(), RowError> {
        let mut row = Vec::new();
        if self.members.len() > 0 {
            match event.event.data {
                Data::Json(json) => self.members.read(json, &mut row)?,
                Data::None => row.resize(self.members.len(), Slot::Null),
                Data::Text(_) | Data::Binary(_) => return Err(RowError::whole("the data is not JSON")),
            }
        }
        for (place, builder) in &mut self.columns {
            match place {
                Place::Member(index) => builder.push(row.get(*index).unwrap_or(&Slot::Null)),
                Place::Meta(meta) => builder.push(&meta_slot(*meta, self.partition, event)),
                Place::Data => builder.push(&data_slot(&event.event.data)),
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// The columns; the collector starts again.
    pub(crate) fn finish(&mut self) -> Vec<ArrayRef> {
        self.rows = 0;
        self.columns.iter_mut().map(|(_, builder)| builder.finish()).collect()
    }
}

fn meta_slot<'a>(meta: Meta, partition: PartitionId, event: &StoredRef<'a>) -> Slot<'a> {
    let text = |text: &'a str| Slot::Text(Cow::Borrowed(text));
    match meta {
        Meta::Partition => Slot::Int(i64::from(partition.0)),
        Meta::Offset => Slot::Int(event.offset.0 as i64),
        Meta::Version => Slot::Int(event.version.0 as i64),
        Meta::Id => text(event.event.id),
        Meta::Source => text(event.event.source),
        Meta::Type => text(event.event.ty),
        Meta::Subject => event.event.subject.map_or(Slot::Null, text),
        Meta::Time => event.event.time.map_or(Slot::Null, |time| Slot::Int(time.nanos().div_euclid(1_000))),
        Meta::Hlc => Slot::Int(event.hlc.as_u64() as i64),
    }
}

/// The data as JSON text: text and bytes (in base64) become strings.
fn data_slot<'a>(data: &Data<&'a [u8]>) -> Slot<'a> {
    let quoted =
        |text: &str| serde_json::to_string(text).map_or(Slot::Null, |json| Slot::Text(Cow::Owned(json)));
    match data {
        Data::None => Slot::Null,
        Data::Json(json) => Slot::Text(String::from_utf8_lossy(json)),
        Data::Text(text) => quoted(&String::from_utf8_lossy(text)),
        Data::Binary(bytes) => quoted(&crate::values::print::base64(bytes)),
    }
}
