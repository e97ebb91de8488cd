//! Rows of merged streams for whoever is about to change them.

use super::Engine;
use crate::merged::change::ChangeOps;
use crate::view::{stored_subject, view_name_of_latest};
use crate::{Error, MergedRow};
use tw_merge::subject::Subject;
use tw_order::partition_of;
use tw_types::StreamDef;

impl Engine {
    /// A row of a stream whose rows are merged, as the view of its table has stored it; a row without changes if that cannot be read yet, or has none of
    /// it. The changes that came since have to be [added](MergedRow::take). Reads the store: for threads.
    ///
    /// # Errors
    /// Those of the store.
    pub fn merged_row(&self, stream: &StreamDef, subject: &str) -> Result<MergedRow, Error> {
        let columns = stream.schema.iter().flat_map(|schema| &schema.columns);
        let ops = ChangeOps::new(columns.filter(|column| column.merge.is_some()));
        let row = match self.reading(&view_name_of_latest(stream)) {
            Ok(reading) => {
                let partition = partition_of(subject, stream.partitions);
                let snapshot = self.0.store.snapshot();
                stored_subject(&ops, reading.keyspace, snapshot.as_ref(), partition, subject)
                    .map_err(|error| Error::Value(error.to_string()))?
            }
            Err(_) => Subject::new(ops.classes().clone()),
        };
        Ok(MergedRow::new(ops, self.log().clone(), self.knowledge(), row))
    }
}
