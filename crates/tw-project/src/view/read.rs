//! Reading a view's state, as it is in one snapshot of the store.

use super::changes::Identity;
use super::rows::{Row, RowKey, read_row};
use crate::gather::groups::FetchedGroups;
use crate::operators::best::stored;
use crate::operators::part::{Part, StoredPart, state};
use crate::operators::read::{BATCH_BYTES, BATCH_ROWS, GroupReader, LIST_VALUES_MAX};
use crate::plan::ProjectionPlan;
use crate::plan::steps::{Rows, Step, only, run};
use crate::rows::builder::ColumnBuilder;
use crate::rows::slot::Slot;
use crate::state::key;
use crate::state::layout::{self, Kind};
use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use std::collections::BTreeSet;
use tw_state::{Keyspace, Range, Snapshot};
use tw_types::PartitionId;

/// A view's state at one moment.
pub(crate) struct ViewReader<'a> {
    plan: &'a ProjectionPlan,
    stored: Vec<StoredPart<'a>>,
    /// What other partitions have, which are kept elsewhere.
    fetched: &'a [FetchedGroups],
    /// The most bytes that the arrays of a batch can have.
    list_bytes_max: usize,
}

/// How far rows were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RowsCursor {
    /// How many partitions were read to their ends.
    parts: usize,
    /// The last row of the next one that was read, by its key.
    after: Option<Bytes>,
    /// How often the row after that was given already.
    repeated: u64,
}

impl RowsCursor {
    /// Behind every row.
    pub(crate) fn ended() -> Self {
        Self { parts: usize::MAX, ..Self::default() }
    }
}

impl<'a> ViewReader<'a> {
    /// The state of some partitions.
    pub(crate) fn new(
        plan: &'a ProjectionPlan,
        keyspace: Keyspace,
        snapshot: &'a dyn Snapshot,
        partitions: &[PartitionId],
        list_bytes_max: usize,
    ) -> Result<Self> {
        let stored = partitions
            .iter()
            .map(|&partition| {
                let era = snapshot.get(keyspace, &layout::era_key(partition)).map_err(state)?;
                let era = layout::take_era(era.as_deref()).map_err(stored)?;
                Ok(StoredPart { snapshot, keyspace, partition, era })
            })
            .collect::<Result<_>>()?;
        Ok(Self { plan, stored, fetched: &[], list_bytes_max })
    }

    /// The state of which nothing is here.
    pub(crate) fn elsewhere(plan: &'a ProjectionPlan, list_bytes_max: usize) -> Self {
        Self { plan, stored: Vec::new(), fetched: &[], list_bytes_max }
    }

    /// The same with the groups of other partitions.
    pub(crate) fn with(mut self, fetched: &'a [FetchedGroups]) -> Self {
        self.fetched = fetched;
        self
    }

    /// What the store has of each partition.
    pub(crate) fn stored(&self) -> &[StoredPart<'a>] {
        &self.stored
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
        let start = key_start(key);
        let fewer =
            wanted.map(|wanted| only(&self.plan.after, wanted.iter().copied().collect())).transpose()?;
        let steps = fewer.as_ref().map_or(&self.plan.after, |(steps, _)| steps);
        let mut give = |columns, rows| {
            let rows = Rows::plain(self.plan.grouped.clone(), columns, rows)?;
            give(run(steps, rows)?.batch, &mut each)
        };
        let stored = self.stored.iter().map(|part| -> &dyn Part { part });
        let parts: Vec<&dyn Part> =
            stored.chain(self.fetched.iter().map(|part| -> &dyn Part { part })).collect();
        let reader = GroupReader {
            grouping,
            key_types,
            parts: &parts,
            wanted: fewer.as_ref().map(|(_, needed)| needed),
            values_max: LIST_VALUES_MAX,
            list_bytes_max: self.list_bytes_max,
        };
        if !key.is_empty() && key.len() == key_types.len() {
            let (columns, rows) = reader.get(&start)?;
            give(columns, rows)?;
            return Ok(());
        }
        reader.read(&start, give)
    }

    /// Rows that are not grouped: what is kept of each goes through the steps.
    fn read_rows(&self, mut each: impl FnMut(RecordBatch) -> Result<bool>) -> Result<()> {
        let (mut collected, mut at) = (RowsOut::new(self.plan), RowsCursor::default());
        while let Some(batch) = self.next_rows(&mut collected, &mut at)? {
            if !give(batch, &mut each)? {
                break;
            }
        }
        Ok(())
    }

    /// The next batch of rows, which may be empty; None at the end.
    pub(crate) fn next_rows(
        &self,
        collected: &mut RowsOut<'_>,
        at: &mut RowsCursor,
    ) -> Result<Option<RecordBatch>> {
        while let Some(part) = self.stored.get(at.parts) {
            let mut range = Range::prefix(&layout::prefix(Kind::Row, part.partition, part.era));
            if let Some(after) = &at.after {
                range = range.after(after);
            }
            for entry in part.snapshot.range(part.keyspace, range) {
                let (key, value) = entry.map_err(state)?;
                let row = read_row(&value).map_err(stored)?;
                // A row of a table without a key can be there any number of times.
                while at.repeated < row.count && !collected.is_full() {
                    collected.push(&row, value.len());
                    at.repeated += 1;
                }
                if at.repeated == row.count {
                    (at.after, at.repeated) = (Some(key), 0);
                }
                if collected.is_full() {
                    return collected.finish().map(Some);
                }
            }
            *at = RowsCursor { parts: at.parts + 1, ..RowsCursor::default() };
        }
        if collected.rows == 0 { Ok(None) } else { collected.finish().map(Some) }
    }

    /// The row of a subject, in its partition.
    pub(crate) fn row(&self, subject: &str) -> Result<RecordBatch> {
        let mut collected = RowsOut::new(self.plan);
        let key = RowKey::subject(subject);
        for part in &self.stored {
            let prefix = layout::prefix(Kind::Row, part.partition, part.era);
            let stored_key = layout::key(&prefix, key.bytes());
            if let Some(value) = part.snapshot.get(part.keyspace, &stored_key).map_err(state)? {
                let row = read_row(&value).map_err(stored)?;
                (0..row.count).for_each(|_| collected.push(&row, value.len()));
            }
        }
        collected.finish()
    }
}

/// What the stored keys of groups start with whose keys start with these values.
pub(crate) fn key_start(key: &[Slot<'_>]) -> Vec<u8> {
    let mut start = Vec::new();
    key.iter().for_each(|slot| key::put(slot, &mut start));
    start
}

/// Gives a batch, unless it is empty.
fn give(batch: RecordBatch, each: &mut impl FnMut(RecordBatch) -> Result<bool>) -> Result<bool> {
    if batch.num_rows() == 0 { Ok(true) } else { each(batch) }
}

/// Collects kept rows into a batch of the result.
pub(crate) struct RowsOut<'a> {
    plan: &'a ProjectionPlan,
    columns: Vec<ColumnBuilder>,
    types: Vec<DataType>,
    rows: usize,
    /// About how many bytes they have.
    bytes: usize,
}

impl<'a> RowsOut<'a> {
    pub(crate) fn new(plan: &'a ProjectionPlan) -> Self {
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
        Ok(!self.walked(Some(columns))?.is_empty())
    }

    /// The aggregates of whose groups entries are read for these columns of the result; None: for all.
    pub(crate) fn walked(&self, columns: Option<&[usize]>) -> Result<Vec<u8>> {
        let Some((grouping, _)) = &self.grouping else { return Ok(Vec::new()) };
        let wanted: BTreeSet<usize> = match columns {
            Some(columns) => columns.iter().copied().collect(),
            None => (0..self.output.fields().len()).collect(),
        };
        let (_, needed) = only(&self.after, wanted)?;
        let several = self.stream.partitions > 1;
        let aggregates = (0u8..=u8::MAX).zip(&grouping.aggregates);
        Ok(aggregates
            .filter(|(index, one)| {
                (one.is_walked() || (several && one.is_united()))
                    && needed.contains(&(grouping.keys + usize::from(*index)))
            })
            .map(|(index, _)| index)
            .collect())
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
