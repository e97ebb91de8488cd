//! Aggregates of rows that are at hand, for one query: what one node has of each group.
//!
//! Whoever puts the parts of a group together takes any number of them. So what there is can be given at any time, and the memory is
//! bounded however many groups there are. Nothing is stored, and nothing is taken back.
//!
//! A part consists of the group's key and, of each aggregate, a column that can be put together further: counts, best values and truth
//! values are themselves; totals are bytes in their stored form ([`super::sums`]), so that nothing is rounded before the end.

use super::accumulator::{Accumulator, Rows};
use super::aggregate::{Aggregate, Function};
use super::best::stored;
use crate::plan::steps::batch;
use crate::rows::builder::ColumnBuilder;
use crate::state::key::{self, KeyColumn, is_key_type, typed};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DataFusionError, Result};
use datafusion::physical_expr::PhysicalExpr;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher as _;
use std::sync::Arc;

/// About how much a group takes beside its key and its accumulators.
const GROUP_BYTES: usize = 48;
/// The most memory that groups take before they are given.
const BYTES_MAX: usize = 16 << 20;

/// See the module's text.
pub(crate) struct Partials {
    /// The columns of the rows by which they are grouped.
    keys: Vec<usize>,
    key_types: Vec<DataType>,
    aggregates: Vec<Wanted>,
    schema: SchemaRef,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// The key of each group.
    groups: Vec<Box<[u8]>>,
    key_bytes: usize,
    /// The group of each row of a batch.
    slots: Vec<u32>,
    bytes_max: usize,
}

/// An aggregate of columns of the rows.
struct Wanted {
    aggregate: Aggregate,
    /// Rows for which it is not true do not count.
    condition: Option<Arc<dyn PhysicalExpr>>,
    accumulator: Box<dyn Accumulator>,
}

impl Partials {
    /// Of rows with the columns of `input`, in at most a quarter of what a query may use.
    ///
    /// # Errors
    /// A column is not there, or cannot be grouped by or computed.
    pub(crate) fn new(
        keys: Vec<usize>,
        aggregates: Vec<(Aggregate, Option<Arc<dyn PhysicalExpr>>)>,
        input: &Schema,
        query_bytes_max: usize,
    ) -> Result<Self> {
        let mut fields = Vec::with_capacity(keys.len() + aggregates.len());
        for &key in &keys {
            let field = input.fields().get(key).filter(|field| is_key_type(field.data_type()));
            let field = field.ok_or_else(|| refused("a column that rows cannot be grouped by"))?;
            fields.push(Field::new(field.name(), field.data_type().clone(), true));
        }
        let key_types = fields.iter().map(|field| field.data_type().clone()).collect();
        for (aggregate, _) in &aggregates {
            let of = aggregate.argument.map(|column| input.fields().get(column));
            if of.is_some_and(|field| field.is_none_or(|field| *field.data_type() != aggregate.input)) {
                return Err(refused("an aggregate of a column that is not there"));
            }
            fields.push(Field::new(aggregate.function.name(), part_type(aggregate)?, true));
        }
        let with_accumulator = |(aggregate, condition): (Aggregate, _)| {
            let accumulator = aggregate.accumulator();
            Wanted { aggregate, condition, accumulator }
        };
        Ok(Self {
            keys,
            key_types,
            aggregates: aggregates.into_iter().map(with_accumulator).collect(),
            schema: Arc::new(Schema::new(fields)),
            table: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            groups: Vec::new(),
            key_bytes: 0,
            slots: Vec::new(),
            bytes_max: (query_bytes_max / 4).min(BYTES_MAX),
        })
    }

    /// The columns of what is given: the key's, then one for each aggregate.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Takes rows in.
    ///
    /// # Errors
    /// They have other columns.
    pub(crate) fn add(&mut self, rows: &RecordBatch) -> Result<()> {
        self.find_slots(rows)?;
        let groups = self.groups.len();
        for Wanted { aggregate, condition, accumulator } in &mut self.aggregates {
            let mask = condition.as_ref().map(|condition| {
                condition.evaluate(rows).and_then(|value| value.into_array(rows.num_rows()))
            });
            let mask = mask.transpose()?;
            let filter = mask.as_ref().map(|mask| mask.as_boolean_opt().ok_or_else(other_columns));
            let values =
                aggregate.argument.map(|column| rows.columns().get(column).ok_or_else(other_columns));
            let values = values.transpose()?;
            if values.is_some_and(|values| *values.data_type() != aggregate.input) {
                return Err(other_columns());
            }
            accumulator.resize(groups);
            accumulator.update(&Rows {
                slots: &self.slots,
                values,
                filter: filter.transpose()?,
                taken_back: None,
            });
        }
        Ok(())
    }

    fn find_slots(&mut self, rows: &RecordBatch) -> Result<()> {
        let column = |key: &usize| rows.columns().get(*key).and_then(KeyColumn::new);
        let columns: Vec<KeyColumn<'_>> =
            self.keys.iter().map(column).collect::<Option<_>>().ok_or_else(other_columns)?;
        let mut slots = std::mem::take(&mut self.slots);
        slots.clear();
        slots.reserve(rows.num_rows());
        let mut key = Vec::new();
        for row in 0..rows.num_rows() {
            // Without columns there is one group.
            if let (true, Some(slot)) = (columns.is_empty(), slots.last().copied()) {
                slots.push(slot);
                continue;
            }
            key.clear();
            columns.iter().for_each(|column| column.put(row, &mut key));
            slots.push(self.slot(&key));
        }
        self.slots = slots;
        Ok(())
    }

    fn slot(&mut self, key: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(key);
        let (groups, hasher) = (&mut self.groups, &self.hasher);
        let is_it = |slot: &u32| groups.get(*slot as usize).is_some_and(|known| **known == *key);
        if let Some(slot) = self.table.find(hash, is_it) {
            return *slot;
        }
        let slot = groups.len() as u32;
        groups.push(key.into());
        self.key_bytes += key.len();
        self.table.insert_unique(hash, slot, |slot| {
            hasher.hash_one(groups.get(*slot as usize).map_or(&[][..], |group| group))
        });
        slot
    }

    /// About how many bytes of memory the groups take.
    pub(crate) fn bytes(&self) -> usize {
        let accumulators: usize = self.aggregates.iter().map(|one| one.accumulator.bytes()).sum();
        self.key_bytes + accumulators + self.groups.len() * GROUP_BYTES
    }

    /// Whether what there is should be taken before more rows come.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes() >= self.bytes_max
    }

    /// Takes what there is; None if that is nothing.
    ///
    /// # Errors
    /// Never, unless a key was not made here.
    pub(crate) fn take(&mut self) -> Result<Option<RecordBatch>> {
        let groups = std::mem::take(&mut self.groups);
        if groups.is_empty() {
            return Ok(None);
        }
        let mut keys: Vec<ColumnBuilder> = self.key_types.iter().map(ColumnBuilder::new).collect();
        for group in &groups {
            let mut input: &[u8] = group;
            for (column, ty) in keys.iter_mut().zip(&self.key_types) {
                column.push(&typed(key::take(&mut input).map_err(stored)?, ty));
            }
        }
        let mut columns: Vec<ArrayRef> = keys.iter_mut().map(ColumnBuilder::finish).collect();
        for Wanted { aggregate, accumulator, .. } in &mut self.aggregates {
            columns.push(match aggregate.function {
                Function::Sum | Function::Avg => totals(accumulator.as_ref(), groups.len()),
                _ => accumulator.results(groups.len())?,
            });
            accumulator.resize(0);
        }
        self.table.clear();
        self.key_bytes = 0;
        batch(self.schema.clone(), columns, groups.len()).map(Some)
    }
}

/// Totals in their stored form.
fn totals(accumulator: &dyn Accumulator, groups: usize) -> ArrayRef {
    let (mut column, mut bytes) = (BinaryBuilder::new(), Vec::new());
    for slot in 0..groups {
        bytes.clear();
        accumulator.put(slot, &mut bytes);
        column.append_value(&bytes);
    }
    Arc::new(column.finish())
}

/// The type of what is given of an aggregate.
fn part_type(aggregate: &Aggregate) -> Result<DataType> {
    match aggregate.function {
        Function::Count | Function::BoolAnd | Function::BoolOr | Function::Min | Function::Max
            if !aggregate.distinct =>
        {
            Ok(aggregate.output.clone())
        }
        Function::Sum | Function::Avg if !aggregate.distinct => Ok(DataType::Binary),
        _ => Err(refused("an aggregate that cannot be put together of parts")),
    }
}

fn refused(what: &str) -> DataFusionError {
    DataFusionError::Plan(format!("not supported: {what}"))
}

fn other_columns() -> DataFusionError {
    DataFusionError::Internal("rows have other columns than those that are aggregated".into())
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "these are tests")]
mod tests;
