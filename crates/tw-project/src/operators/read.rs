//! Reading groups: the parts that partitions have of a group become one row.
//!
//! Every partition's groups are sorted by their keys, so that they are merged as they are read, with as much memory as a batch takes.

use super::accumulator::Accumulator;
use super::aggregate::{Aggregate, Function};
use super::aggregator::Grouping;
use super::best::{result_of, stored};
use super::entries::{owner, take_entry};
use super::groups::take_rows;
use super::part::{Entries, Part};
use super::sums::{Wanted, totals};
use crate::functions::function::value_error;
use crate::rows::builder::ColumnBuilder;
use crate::rows::slot::Slot;
use crate::state::key::{self, typed};
use bytes::Bytes;
use datafusion::arrow::array::{Array, ArrayRef, ListArray, new_empty_array, new_null_array};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

/// How many groups are read at once.
pub(crate) const BATCH_ROWS: usize = 4096;
/// About how many bytes of the store are put together at once.
pub(crate) const BATCH_BYTES: usize = 8 << 20;
/// How many entries of lists are walked for one batch, unless one group has more.
const BATCH_ENTRIES: usize = 65_536;
/// The most values that an array of a result can have.
pub(crate) const LIST_VALUES_MAX: usize = 1_000_000;

/// Merges sorted entries.
pub(crate) struct Merge<'a> {
    sources: Vec<Entries<'a>>,
    /// The next key of each source, the source, its value.
    heads: BinaryHeap<Reverse<(Bytes, usize, Bytes)>>,
}

impl<'a> Merge<'a> {
    pub(crate) fn new(sources: Vec<Entries<'a>>) -> Result<Self> {
        let mut merge = Self { sources, heads: BinaryHeap::new() };
        for source in 0..merge.sources.len() {
            merge.advance(source)?;
        }
        Ok(merge)
    }

    fn advance(&mut self, source: usize) -> Result<()> {
        if let Some(entry) = self.sources.get_mut(source).and_then(Iterator::next) {
            let (key, value) = entry?;
            self.heads.push(Reverse((key, source, value)));
        }
        Ok(())
    }

    /// The next key, and the values that sources have for it.
    pub(crate) fn next(&mut self, values: &mut Vec<(usize, Bytes)>) -> Result<Option<Bytes>> {
        values.clear();
        let Some(Reverse((key, source, value))) = self.heads.pop() else { return Ok(None) };
        values.push((source, value));
        self.advance(source)?;
        while self.heads.peek().is_some_and(|Reverse((next, _, _))| *next == key) {
            if let Some(Reverse((_, source, value))) = self.heads.pop() {
                values.push((source, value));
                self.advance(source)?;
            }
        }
        Ok(Some(key))
    }
}

/// What a view has of a grouping at one moment.
pub(crate) struct GroupReader<'a> {
    pub(crate) grouping: &'a Grouping,
    /// The types of the key's columns.
    pub(crate) key_types: &'a [DataType],
    /// What each partition has.
    pub(crate) parts: &'a [&'a dyn Part],
    /// The columns that are wanted, the key's first; None: all. An aggregate that is not wanted is not computed: it is NULL.
    pub(crate) wanted: Option<&'a BTreeSet<usize>>,
    /// The most values that an array of the result can have.
    pub(crate) values_max: usize,
    /// The most bytes that the arrays of a batch can have.
    pub(crate) list_bytes_max: usize,
}

/// Groups that are being put together.
struct Collected {
    columns: Vec<ColumnBuilder>,
    accumulators: Vec<Box<dyn Accumulator>>,
    /// The key of each group, and which parts have it.
    groups: Vec<(Bytes, Vec<usize>)>,
    /// How many entries may have to be walked for them.
    entries: usize,
    /// How many bytes of the store they have, without those entries.
    bytes: usize,
}

impl<'a> GroupReader<'a> {
    /// Reads all groups whose keys start with `start`, and gives them to `each` in batches of columns: the key's, then the
    /// aggregates' results. Stops when `each` says false.
    ///
    /// # Errors
    /// The store failed, a result is out of range, or `each` failed.
    pub(crate) fn read(
        &self,
        start: &[u8],
        mut each: impl FnMut(Vec<ArrayRef>, usize) -> Result<bool>,
    ) -> Result<()> {
        let mut merge = Merge::new(self.parts.iter().map(|part| part.groups(start)).collect())?;
        let mut values = Vec::new();
        let mut collected = self.start();
        let mut any = false;
        while let Some(key) = merge.next(&mut values)? {
            any |= self.collect(&mut collected, key, &values)?;
            if self.is_full(&collected) && !self.give(&mut collected, &mut each)? {
                return Ok(());
            }
        }
        // Without GROUP BY there is a row even if there is nothing.
        if !any && self.grouping.keys == 0 {
            collected.groups.push((Bytes::new(), Vec::new()));
            collected.accumulators.iter_mut().for_each(|accumulator| accumulator.resize(1));
        }
        if !collected.groups.is_empty() {
            self.give(&mut collected, &mut each)?;
        }
        Ok(())
    }

    /// Reads the group of exactly this key: the columns of no row or of one.
    pub(crate) fn get(&self, key: &[u8]) -> Result<(Vec<ArrayRef>, usize)> {
        let mut collected = self.start();
        let mut values = Vec::new();
        for (source, part) in self.parts.iter().enumerate() {
            values.extend(part.group(key)?.map(|value| (source, value)));
        }
        if !values.is_empty() {
            self.collect(&mut collected, Bytes::copy_from_slice(key), &values)?;
        }
        if collected.groups.is_empty() && self.grouping.keys == 0 {
            collected.groups.push((Bytes::new(), Vec::new()));
            collected.accumulators.iter_mut().for_each(|accumulator| accumulator.resize(1));
        }
        let rows = collected.groups.len();
        Ok((self.finish(&mut collected)?, rows))
    }

    fn start(&self) -> Collected {
        Collected {
            columns: self.key_types.iter().map(ColumnBuilder::new).collect(),
            accumulators: self.grouping.aggregates.iter().map(Aggregate::accumulator).collect(),
            groups: Vec::new(),
            entries: 0,
            bytes: 0,
        }
    }

    /// Whether a batch has enough.
    fn is_full(&self, collected: &Collected) -> bool {
        let entries_max = self.values_max.min(BATCH_ENTRIES);
        let Collected { groups, entries, bytes, .. } = collected;
        groups.len() >= BATCH_ROWS || *entries >= entries_max || *bytes >= BATCH_BYTES
    }

    fn is_wanted(&self, aggregate: usize) -> bool {
        self.wanted.is_none_or(|wanted| wanted.contains(&(self.grouping.keys + aggregate)))
    }

    /// Puts a group together; whether it has rows.
    fn collect(&self, collected: &mut Collected, key: Bytes, values: &[(usize, Bytes)]) -> Result<bool> {
        let slot = collected.groups.len();
        let mut total = 0i64;
        let mut parts = Vec::with_capacity(values.len());
        for (source, value) in values {
            let mut input: &[u8] = value;
            total = total.saturating_add(take_rows(&mut input).map_err(stored)?);
            collected.bytes += key.len() + value.len();
            parts.push((*source, input));
        }
        if total <= 0 {
            return Ok(false);
        }
        let accumulators = self.grouping.aggregates.iter().zip(&mut collected.accumulators);
        for (index, (aggregate, accumulator)) in accumulators.enumerate() {
            accumulator.resize(slot + 1);
            for (_, input) in &mut parts {
                accumulator.merge(slot, input).map_err(stored)?;
            }
            if aggregate.is_united() && self.is_wanted(index) {
                let entries = usize::try_from(accumulator.count(slot)).unwrap_or_default();
                collected.entries = collected.entries.saturating_add(entries);
            }
        }
        let mut input: &[u8] = &key;
        for (column, ty) in collected.columns.iter_mut().zip(self.key_types) {
            column.push(&typed(key::take(&mut input).map_err(stored)?, ty));
        }
        let sources = parts.iter().map(|(source, _)| *source).collect();
        collected.groups.push((key, sources));
        Ok(true)
    }

    fn give(
        &self,
        collected: &mut Collected,
        each: &mut impl FnMut(Vec<ArrayRef>, usize) -> Result<bool>,
    ) -> Result<bool> {
        let rows = collected.groups.len();
        let columns = self.finish(collected)?;
        each(columns, rows)
    }

    /// The columns of what was put together; it starts again.
    fn finish(&self, collected: &mut Collected) -> Result<Vec<ArrayRef>> {
        let rows = collected.groups.len();
        let mut columns: Vec<ArrayRef> = collected.columns.iter_mut().map(ColumnBuilder::finish).collect();
        for (index, (aggregate, accumulator)) in
            self.grouping.aggregates.iter().zip(&collected.accumulators).enumerate()
        {
            let united =
                aggregate.is_united() && collected.groups.iter().any(|(_, sources)| sources.len() > 1);
            columns.push(if !self.is_wanted(index) {
                new_null_array(&aggregate.output, rows)
            } else if aggregate.is_walked() || united {
                self.walk(index, aggregate, &collected.groups)?
            } else {
                accumulator.results(rows)?
            });
        }
        self.parts.iter().for_each(|part| part.forget());
        collected.groups.clear();
        (collected.entries, collected.bytes) = (0, 0);
        for accumulator in &mut collected.accumulators {
            accumulator.resize(0);
        }
        Ok(columns)
    }

    /// Computes an aggregate by walking the entries of each group.
    fn walk(&self, index: usize, aggregate: &Aggregate, groups: &[(Bytes, Vec<usize>)]) -> Result<ArrayRef> {
        let mut walked = Walked::new(aggregate, self.values_max, self.list_bytes_max);
        let mut values = Vec::new();
        for (slot, (group, sources)) in groups.iter().enumerate() {
            let owner = owner(group, index);
            let entries = sources
                .iter()
                .filter_map(|source| self.parts.get(*source))
                .map(|part| part.entries(&owner))
                .collect();
            let mut merge = Merge::new(entries)?;
            while let Some(key) = merge.next(&mut values)? {
                let mut count = 0i64;
                for (_, value) in &values {
                    count = count.saturating_add(take_entry(value).map_err(stored)?.0);
                }
                let Some((_, value)) = values.first() else { continue };
                if count > 0 {
                    let (_, value) = take_entry(value).map_err(stored)?;
                    walked.add(slot, &result_of(&key, value, &aggregate.input).map_err(stored)?)?;
                }
            }
            walked.end_group();
        }
        walked.finish(groups.len())
    }
}

/// What entries are put together to.
enum Walked {
    Count(Vec<i64>),
    List {
        values: ColumnBuilder,
        ends: Vec<i32>,
        len: usize,
        bytes: usize,
        item: DataType,
        values_max: usize,
        bytes_max: usize,
    },
    Total {
        accumulator: Box<dyn Accumulator>,
        values: ColumnBuilder,
        slots: Vec<u32>,
    },
}

impl Walked {
    fn new(aggregate: &Aggregate, values_max: usize, bytes_max: usize) -> Self {
        let values = ColumnBuilder::new(&aggregate.input);
        let wanted = if aggregate.function == Function::Avg { Wanted::Average } else { Wanted::Sum };
        match (aggregate.function, totals(&aggregate.input, wanted)) {
            (Function::List, _) => {
                let item = aggregate.input.clone();
                Self::List { values, ends: vec![0], len: 0, bytes: 0, item, values_max, bytes_max }
            }
            (Function::Sum | Function::Avg, Some(accumulator)) => {
                Self::Total { accumulator, values, slots: Vec::new() }
            }
            _ => Self::Count(vec![0]),
        }
    }

    fn add(&mut self, slot: usize, value: &Slot<'_>) -> Result<()> {
        match self {
            Self::Count(counts) => {
                if let Some(count) = counts.last_mut() {
                    *count += 1;
                }
            }
            Self::List { values, ends, len, bytes, values_max, bytes_max, .. } => {
                *len += 1;
                *bytes += value.bytes();
                if *bytes > *bytes_max {
                    return Err(DataFusionError::ResourcesExhausted(format!(
                        "arrays of more than {bytes_max} bytes"
                    )));
                }
                let start = ends.last().map_or(0, |end| *end as usize);
                if *len - start > *values_max {
                    return Err(value_error(format!(
                        "an array of more than {values_max} values cannot be read: leave its column out, or ask for other groups"
                    )));
                }
                values.push(value);
            }
            Self::Total { accumulator, values, slots } => {
                values.push(value);
                slots.push(slot as u32);
                if slots.len() >= BATCH_ROWS {
                    total(accumulator.as_mut(), values, slots);
                }
            }
        }
        Ok(())
    }

    fn end_group(&mut self) {
        match self {
            Self::Count(counts) => counts.push(0),
            Self::List { ends, len, .. } => ends.push(*len as i32),
            Self::Total { .. } => {}
        }
    }

    fn finish(self, groups: usize) -> Result<ArrayRef> {
        Ok(match self {
            Self::Count(mut counts) => {
                counts.truncate(groups);
                Arc::new(datafusion::arrow::array::Int64Array::from(counts))
            }
            Self::List { mut values, ends, item, .. } => {
                // An array without values is NULL.
                let empty: Vec<bool> = ends.windows(2).map(|pair| pair.first() != pair.last()).collect();
                let field = Arc::new(datafusion::arrow::datatypes::Field::new("item", item.clone(), true));
                let values = if ends.last() == Some(&0) { new_empty_array(&item) } else { values.finish() };
                debug_assert_eq!(values.len() as i32, ends.last().copied().unwrap_or_default());
                Arc::new(ListArray::try_new(
                    field,
                    OffsetBuffer::new(ends.into()),
                    values,
                    Some(NullBuffer::from(empty)),
                )?)
            }
            Self::Total { mut accumulator, mut values, mut slots } => {
                total(accumulator.as_mut(), &mut values, &mut slots);
                accumulator.resize(groups);
                accumulator.results(groups)?
            }
        })
    }
}

/// Adds what was collected for groups, the last of which is the largest.
fn total(accumulator: &mut dyn Accumulator, values: &mut ColumnBuilder, slots: &mut Vec<u32>) {
    let Some(last) = slots.last() else { return };
    accumulator.resize(*last as usize + 1);
    let rows = super::accumulator::Rows {
        slots: slots.as_slice(),
        values: Some(&values.finish()),
        filter: None,
        taken_back: None,
    };
    accumulator.update(&rows);
    slots.clear();
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "these are tests")]
mod tests;
