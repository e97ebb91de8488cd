//! GROUP BY of one partition: takes batches of rows in, and gives the changes of state.

use super::accumulator::Rows;
use super::aggregate::{Aggregate, Function, Keeps};
use super::best::entry_value;
use super::entries::{Entries, Place};
use super::groups::{Error, Groups};
use crate::state::key::{self, KeyColumn};
use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray};
use std::sync::Arc;
use tw_state::{Batch, Keyspace, Store};
use tw_types::{Hlc, Origin, PartitionId, StoredRef};

/// What rows are grouped by, and what is computed of each group. Columns are those of the batches that are taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grouping {
    /// The columns of the group's key come first: `0..keys`.
    pub(crate) keys: usize,
    pub(crate) aggregates: Vec<Aggregate>,
}

/// When and where the event of a row was accepted: what orders rows that are otherwise equal, and tells them apart within a
/// partition. It is the same in every region that has the event (REG-1), as its offset and its version are not. In a
/// region's own events it rises with the offset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowPlace {
    pub(crate) hlc: Hlc,
    pub(crate) origin: Origin,
}

/// The length of a place, in bytes.
pub(crate) const PLACE_BYTES: usize = 22;

impl RowPlace {
    /// The place of an event's row.
    pub(crate) fn of(event: &StoredRef<'_>) -> Self {
        Self { hlc: event.hlc, origin: event.origin }
    }

    /// Appends what sorts rows by their time, then by region, epoch and sequence: [`PLACE_BYTES`].
    pub(crate) fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.hlc.as_u64().to_be_bytes());
        out.extend_from_slice(&self.origin.region.0.to_be_bytes());
        out.extend_from_slice(&self.origin.epoch.0.to_be_bytes());
        out.extend_from_slice(&self.origin.sequence.0.to_be_bytes());
    }
}

/// Rows that are taken in together.
pub(crate) struct Input<'a> {
    pub(crate) columns: &'a [ArrayRef],
    pub(crate) rows: usize,
    /// True for rows that are taken back; None if all are added.
    pub(crate) taken_back: Option<&'a [bool]>,
    /// One for each row; empty if no aggregate needs them.
    pub(crate) places: &'a [RowPlace],
}

/// The groups of one partition, and what has changed.
pub(crate) struct Aggregator {
    grouping: Arc<Grouping>,
    partition: PartitionId,
    keyspace: Keyspace,
    era: u32,
    only_added: bool,
    groups: Groups,
    entries: Entries,
    slots: Vec<u32>,
}

impl Aggregator {
    /// Goes on with what the store has. `only_added` says that no row is ever taken back.
    pub(crate) fn open(
        grouping: Arc<Grouping>,
        partition: PartitionId,
        keyspace: Keyspace,
        era: u32,
        only_added: bool,
        store: &dyn Store,
        cache_bytes_max: usize,
    ) -> Result<Self, Error> {
        let groups = Groups::open(partition, keyspace, era, &grouping.aggregates, store, cache_bytes_max)?;
        Ok(Self {
            grouping,
            partition,
            keyspace,
            era,
            only_added,
            groups,
            entries: Entries::default(),
            slots: Vec::new(),
        })
    }

    /// Checks that no row has a value that is too long for the keys under which it would be stored.
    ///
    /// # Errors
    /// [`Error::Key`]; then nothing has changed.
    pub(crate) fn check(&self, input: &Input<'_>) -> Result<(), Error> {
        check_lengths(input, 0..self.grouping.keys, GROUP_KEY_BYTES_MAX, "GROUP BY")?;
        for aggregate in &self.grouping.aggregates {
            let keyed = match aggregate.function {
                Function::Min | Function::Max => true,
                _ => aggregate.distinct,
            };
            if keyed {
                check_lengths(input, aggregate.argument, ENTRY_KEY_BYTES_MAX, aggregate.function.name())?;
            }
            check_lengths(
                input,
                aggregate.order.iter().map(|(column, _)| *column),
                ENTRY_KEY_BYTES_MAX,
                "ORDER BY",
            )?;
        }
        Ok(())
    }

    /// Takes rows in, which have been checked.
    ///
    /// # Errors
    /// The store failed; the changes so far are then of no use.
    pub(crate) fn take_in(&mut self, input: &Input<'_>, store: &dyn Store) -> Result<(), Error> {
        self.find_slots(input, store)?;
        let grouping = self.grouping.clone();
        for (index, aggregate) in grouping.aggregates.iter().enumerate() {
            match aggregate.keeps(self.only_added) {
                Keeps::Nothing if aggregate.needs_place() => self.offer_rows(index, aggregate, input),
                Keeps::Nothing => {
                    let rows = rows_of(aggregate, input, &self.slots);
                    if let Some(accumulator) = self.groups.accumulators().get_mut(index) {
                        accumulator.update(&rows);
                    }
                }
                Keeps::Values => self.keep_values(index, aggregate, input),
                Keeps::Rows => self.keep_rows(index, aggregate, input),
            }
        }
        Ok(())
    }

    fn find_slots(&mut self, input: &Input<'_>, store: &dyn Store) -> Result<(), Error> {
        let columns: Vec<KeyColumn<'_>> =
            input.columns.iter().take(self.grouping.keys).filter_map(KeyColumn::new).collect();
        let mut key = Vec::new();
        let mut slots = std::mem::take(&mut self.slots);
        slots.clear();
        slots.reserve(input.rows);
        for row in 0..input.rows {
            key.clear();
            columns.iter().for_each(|column| column.put(row, &mut key));
            let slot = self.groups.slot(&key, store)?;
            self.groups
                .touch(slot, input.taken_back.is_some_and(|taken_back| taken_back.get(row) == Some(&true)));
            slots.push(slot);
        }
        self.slots = slots;
        Ok(())
    }

    /// `first` and `last` of rows that are only added.
    fn offer_rows(&mut self, index: usize, aggregate: &Aggregate, input: &Input<'_>) {
        let order = Order::new(aggregate, input, self.partition);
        let Some(values) = value_column(aggregate, input) else { return };
        let rows = every_row(aggregate, input, &self.slots);
        let Some(best) =
            self.groups.accumulators().get_mut(index).and_then(|accumulator| accumulator.as_best())
        else {
            return;
        };
        let mut key = Vec::new();
        rows.for_each(|row, slot, _| {
            order.put(row, &mut key);
            best.offer(slot, &key, || entry_value(&values.slot(row)));
        });
    }

    fn keep_values(&mut self, index: usize, aggregate: &Aggregate, input: &Input<'_>) {
        let Some(values) = value_column(aggregate, input) else { return };
        // Only a list has NULLs.
        let rows = if aggregate.function == Function::List {
            every_row(aggregate, input, &self.slots)
        } else {
            rows_of(aggregate, input, &self.slots)
        };
        let direction = aggregate.order.first().map(|(_, direction)| *direction).unwrap_or_default();
        let mut key = Vec::new();
        rows.for_each(|row, slot, taken_back| {
            key.clear();
            key::put_directed(&values.slot(row), direction, &mut key);
            let slot = slot as u32;
            // A descending key does not read back, so that the value stands beside it.
            let value = || {
                if direction == key::Direction::default() {
                    Vec::new()
                } else {
                    entry_value(&values.slot(row))
                }
            };
            self.entries.add(slot, self.groups.key(slot), index, &key, value, taken_back);
        });
    }

    fn keep_rows(&mut self, index: usize, aggregate: &Aggregate, input: &Input<'_>) {
        let order = Order::new(aggregate, input, self.partition);
        let Some(values) = value_column(aggregate, input) else { return };
        let rows = every_row(aggregate, input, &self.slots);
        let mut key = Vec::new();
        rows.for_each(|row, slot, taken_back| {
            order.put(row, &mut key);
            let slot = slot as u32;
            self.entries.add(
                slot,
                self.groups.key(slot),
                index,
                &key,
                || entry_value(&values.slot(row)),
                taken_back,
            );
        });
    }

    /// About how many bytes of changes there are.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.groups.pending_bytes() + self.entries.pending_bytes()
    }

    /// Adds the changes to `batch`.
    ///
    /// # Errors
    /// The store failed; this value is then of no use.
    pub(crate) fn flush(
        &mut self,
        batch: &mut Batch,
        store: &dyn Store,
        cache_bytes_max: usize,
    ) -> Result<(), Error> {
        if self.entries.pending_bytes() > 0 {
            let snapshot = store.snapshot();
            let place = Place {
                partition: self.partition,
                era: self.era,
                keyspace: self.keyspace,
                snapshot: snapshot.as_ref(),
            };
            self.entries.flush(&place, &self.grouping.aggregates, self.groups.accumulators(), batch)?;
        }
        self.groups.flush(batch, cache_bytes_max);
        Ok(())
    }

    /// Starts an empty era: all rows are gone.
    pub(crate) fn start_era(&mut self, era: u32) {
        self.era = era;
        self.entries.clear();
        self.groups.start_era(era);
    }
}

/// The store's keys have at most 32 KiB: a group's key, and an entry's behind it. Texts with zero bytes take up to twice their length.
const GROUP_KEY_BYTES_MAX: usize = 8 * 1024;
const ENTRY_KEY_BYTES_MAX: usize = 4 * 1024;

fn check_lengths(
    input: &Input<'_>,
    columns: impl IntoIterator<Item = usize>,
    bytes_max: usize,
    by: &str,
) -> Result<(), Error> {
    let columns: Vec<KeyColumn<'_>> = columns
        .into_iter()
        .filter_map(|column| input.columns.get(column).and_then(KeyColumn::new))
        .filter(|column| matches!(column, KeyColumn::Text(_) | KeyColumn::Bytes(_)))
        .collect();
    if columns.is_empty() {
        return Ok(());
    }
    for row in 0..input.rows {
        let bytes: usize = columns.iter().map(|column| column.len(row)).sum();
        if bytes > bytes_max {
            return Err(Error::Key(format!(
                "a value of {bytes} bytes is too long for {by}: at most {bytes_max} are allowed: use left(x, n) or md5(x)"
            )));
        }
    }
    Ok(())
}

fn filter_of<'a>(aggregate: &Aggregate, input: &Input<'a>) -> Option<&'a BooleanArray> {
    aggregate.filter.and_then(|column| input.columns.get(column)).and_then(|column| column.as_boolean_opt())
}

/// The rows of which an aggregate takes in what is not NULL.
fn rows_of<'a>(aggregate: &Aggregate, input: &Input<'a>, slots: &'a [u32]) -> Rows<'a> {
    let values = aggregate.argument.and_then(|column| input.columns.get(column));
    Rows { slots, values, filter: filter_of(aggregate, input), taken_back: input.taken_back }
}

/// The rows of which an aggregate takes in everything.
fn every_row<'a>(aggregate: &Aggregate, input: &Input<'a>, slots: &'a [u32]) -> Rows<'a> {
    Rows { slots, values: None, filter: filter_of(aggregate, input), taken_back: input.taken_back }
}

fn value_column<'a>(aggregate: &Aggregate, input: &Input<'a>) -> Option<KeyColumn<'a>> {
    aggregate.argument.and_then(|column| input.columns.get(column)).and_then(KeyColumn::new)
}

/// What puts the rows of an aggregate in order.
struct Order<'a> {
    columns: Vec<(KeyColumn<'a>, key::Direction)>,
    places: &'a [RowPlace],
    partition: PartitionId,
}

impl<'a> Order<'a> {
    fn new(aggregate: &Aggregate, input: &Input<'a>, partition: PartitionId) -> Self {
        let columns = aggregate
            .order
            .iter()
            .filter_map(|(column, direction)| {
                Some((KeyColumn::new(input.columns.get(*column)?)?, *direction))
            })
            .collect();
        Self { columns, places: input.places, partition }
    }

    /// Writes the key of a row's entry.
    fn put(&self, row: usize, key: &mut Vec<u8>) {
        key.clear();
        for (column, direction) in &self.columns {
            key::put_directed(&column.slot(row), *direction, key);
        }
        if let Some(place) = self.places.get(row) {
            place.put(key);
            // Each partition counts by itself.
            key.extend_from_slice(&self.partition.0.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tw_types::{Epoch, RegionId, Sequence};

    #[test]
    fn golden_bytes_of_version_2() {
        let origin = Origin { region: RegionId(2), epoch: Epoch(3), sequence: Sequence(4) };
        let mut out = Vec::new();
        RowPlace { hlc: Hlc::from_u64(258), origin }.put(&mut out);
        assert_eq!(out, [0, 0, 0, 0, 0, 0, 1, 2, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4]);
        assert_eq!(out.len(), PLACE_BYTES);
    }
}
