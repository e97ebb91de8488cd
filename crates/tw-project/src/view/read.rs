//! Reading a view's state, as it is in one snapshot of the store.

use super::changes::Identity;
use super::rows::{Row, RowKey, read_row};
use crate::operators::aggregate::Aggregate;
use crate::operators::best::stored;
use crate::operators::read::{BATCH_BYTES, BATCH_ROWS, GroupReader, LIST_VALUES_MAX};
use crate::plan::ProjectionPlan;
use crate::plan::steps::{Rows, Step, only, run};
use crate::rows::builder::ColumnBuilder;
use crate::rows::slot::Slot;
use crate::state::key;
use crate::state::layout::{self, Kind};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result};
use std::collections::BTreeSet;
use tw_state::{Keyspace, Range, Snapshot};
use tw_types::PartitionId;

/// A view's state at one moment.
pub(crate) struct ViewReader<'a> {
    plan: &'a ProjectionPlan,
    keyspace: Keyspace,
    snapshot: &'a dyn Snapshot,
    partitions: Vec<(PartitionId, u32)>,
    /// The most bytes that the arrays of a batch can have.
    list_bytes_max: usize,
}

fn state(error: tw_state::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl<'a> ViewReader<'a> {
    /// The state of all partitions, or of `only` one.
    pub(crate) fn new(
        plan: &'a ProjectionPlan,
        keyspace: Keyspace,
        snapshot: &'a dyn Snapshot,
        only: Option<PartitionId>,
        list_bytes_max: usize,
    ) -> Result<Self> {
        let partitions = match only {
            Some(partition) => partition.0..partition.0 + 1,
            None => 0..plan.stream.partitions,
        };
        let partitions = partitions
            .map(|partition| {
                let partition = PartitionId(partition);
                let era = snapshot.get(keyspace, &layout::era_key(partition)).map_err(state)?;
                Ok((partition, layout::take_era(era.as_deref()).map_err(stored)?))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { plan, keyspace, snapshot, partitions, list_bytes_max })
    }

    fn groups<'b>(
        &'b self,
        grouping: &'b crate::operators::aggregator::Grouping,
        key_types: &'b [DataType],
        wanted: Option<&'b BTreeSet<usize>>,
    ) -> GroupReader<'b> {
        GroupReader {
            grouping,
            wanted,
            values_max: LIST_VALUES_MAX,
            list_bytes_max: self.list_bytes_max,
            key_types,
            keyspace: self.keyspace,
            snapshot: self.snapshot,
            partitions: &self.partitions,
        }
    }

    /// Reads the whole result, in batches; stops when `each` says false. `key` are the values of the first columns of the group's
    /// key, if only such groups are wanted; `wanted` are the columns of the result whose values matter, if not all do.
    ///
    /// # Errors
    /// The store failed, or a value of the result does not exist.
    pub(crate) fn read(
        &self,
        key: &[Slot<'_>],
        wanted: Option<&[usize]>,
        mut each: impl FnMut(RecordBatch) -> Result<bool>,
    ) -> Result<()> {
        let Some((grouping, key_types)) = &self.plan.grouping else { return self.read_rows(each) };
        let mut start = Vec::new();
        key.iter().for_each(|slot| key::put(slot, &mut start));
        let fewer =
            wanted.map(|wanted| only(&self.plan.after, wanted.iter().copied().collect())).transpose()?;
        let steps = fewer.as_ref().map_or(&self.plan.after, |(steps, _)| steps);
        let mut give = |columns, rows| {
            let rows = Rows::plain(self.plan.grouped.clone(), columns, rows)?;
            give(run(steps, rows)?.batch, &mut each)
        };
        let reader = self.groups(grouping, key_types, fewer.as_ref().map(|(_, needed)| needed));
        if !key.is_empty() && key.len() == key_types.len() {
            let (columns, rows) = reader.get(&start)?;
            give(columns, rows)?;
            return Ok(());
        }
        reader.read(&start, give)
    }

    /// Rows that are not grouped: what is kept of each goes through the steps.
    fn read_rows(&self, mut each: impl FnMut(RecordBatch) -> Result<bool>) -> Result<()> {
        let mut collected = RowsOut::new(self.plan);
        for (partition, era) in &self.partitions {
            let prefix = layout::prefix(Kind::Row, *partition, *era);
            for entry in self.snapshot.range(self.keyspace, Range::prefix(&prefix)) {
                let (_, value) = entry.map_err(state)?;
                let row = read_row(&value).map_err(stored)?;
                // A row of a table without a key can be there any number of times.
                for _ in 0..row.count {
                    collected.push(&row, value.len());
                    if collected.is_full() && !give(collected.finish()?, &mut each)? {
                        return Ok(());
                    }
                }
            }
        }
        give(collected.finish()?, &mut each).map(drop)
    }

    /// The row of a subject, in its partition.
    pub(crate) fn row(&self, subject: &str) -> Result<RecordBatch> {
        let mut collected = RowsOut::new(self.plan);
        let key = RowKey::subject(subject);
        for (partition, era) in &self.partitions {
            let stored_key = layout::key(&layout::prefix(Kind::Row, *partition, *era), key.bytes());
            if let Some(value) = self.snapshot.get(self.keyspace, &stored_key).map_err(state)? {
                let row = read_row(&value).map_err(stored)?;
                (0..row.count).for_each(|_| collected.push(&row, value.len()));
            }
        }
        collected.finish()
    }
}

/// Gives a batch, unless it is empty.
fn give(batch: RecordBatch, each: &mut impl FnMut(RecordBatch) -> Result<bool>) -> Result<bool> {
    if batch.num_rows() == 0 { Ok(true) } else { each(batch) }
}

/// Collects kept rows into a batch of the result.
struct RowsOut<'a> {
    plan: &'a ProjectionPlan,
    columns: Vec<ColumnBuilder>,
    types: Vec<DataType>,
    rows: usize,
    /// About how many bytes they have.
    bytes: usize,
}

impl<'a> RowsOut<'a> {
    fn new(plan: &'a ProjectionPlan) -> Self {
        let types: Vec<DataType> =
            plan.input.fields().iter().map(|field| field.data_type().clone()).collect();
        Self { plan, columns: types.iter().map(ColumnBuilder::new).collect(), types, rows: 0, bytes: 0 }
    }

    /// Adds a row once; it takes so many bytes in the store.
    fn push(&mut self, row: &Row<'_>, bytes: usize) {
        for (index, (column, ty)) in self.columns.iter_mut().zip(&self.types).enumerate() {
            let slot = row.slots.get(index).unwrap_or(&Slot::Null);
            column.push(&key::typed(slot.clone(), ty));
        }
        self.rows += 1;
        self.bytes += bytes;
    }

    /// Whether a batch has enough rows.
    fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    fn finish(&mut self) -> Result<RecordBatch> {
        self.bytes = 0;
        let columns = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        let rows = Rows::plain(self.plan.input.clone(), columns, std::mem::take(&mut self.rows))?;
        let steps: &[Step] = &self.plan.before;
        Ok(run(steps, rows)?.batch)
    }
}

impl ProjectionPlan {
    /// Whether some of these columns of the result are put together of all entries of a group.
    pub(crate) fn walks(&self, columns: &[usize]) -> Result<bool> {
        let Some((grouping, _)) = &self.grouping else { return Ok(false) };
        let (_, needed) = only(&self.after, columns.iter().copied().collect())?;
        let several = self.stream.partitions > 1;
        let walks = |aggregate: &Aggregate| aggregate.is_walked() || (several && aggregate.is_united());
        let aggregates = grouping.aggregates.iter().enumerate();
        Ok(aggregates.into_iter().any(|(index, one)| walks(one) && needed.contains(&(grouping.keys + index))))
    }

    /// How rows of the stream are told apart.
    pub(crate) fn identity(&self) -> Identity {
        if self.stream.schema.as_ref().is_some_and(|schema| !schema.key.is_empty()) {
            Identity::Key
        } else {
            Identity::WholeRow
        }
    }
}
