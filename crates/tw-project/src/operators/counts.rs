//! `count`, `bool_and` and `bool_or`: numbers of rows.

use super::accumulator::{Accumulator, Rows, resized};
use crate::state::Malformed;
use crate::state::varint::{put_signed, take_signed};
use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array};
use datafusion::common::Result;
use std::sync::Arc;

/// Counts rows, or values that are not NULL.
#[derive(Debug, Default)]
pub(crate) struct Count(Vec<i64>);

impl Accumulator for Count {
    fn resize(&mut self, slots: usize) {
        resized(&mut self.0, slots, 0);
    }

    fn clear(&mut self, slot: usize) {
        if let Some(count) = self.0.get_mut(slot) {
            *count = 0;
        }
    }

    fn update(&mut self, rows: &Rows<'_>) {
        rows.for_each(|_, slot, taken_back| {
            if let Some(count) = self.0.get_mut(slot) {
                *count += if taken_back { -1 } else { 1 };
            }
        });
    }

    fn put(&self, slot: usize, out: &mut Vec<u8>) {
        put_signed(out, self.0.get(slot).copied().unwrap_or_default());
    }

    fn merge(&mut self, slot: usize, input: &mut &[u8]) -> Result<(), Malformed> {
        let count = take_signed(input)?;
        if let Some(known) = self.0.get_mut(slot) {
            *known = known.saturating_add(count);
        }
        Ok(())
    }

    fn results(&self, count: usize) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from_iter_values(self.0.iter().take(count).copied())))
    }

    fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<i64>()
    }

    fn count(&self, slot: usize) -> i64 {
        self.0.get(slot).copied().unwrap_or_default()
    }

    fn add_count(&mut self, slot: usize, more: i64) {
        if let Some(count) = self.0.get_mut(slot) {
            *count += more;
        }
    }
}

/// `bool_and` and `bool_or`: how many values were true, and how many false.
#[derive(Debug)]
pub(crate) struct Booleans {
    counts: Vec<(i64, i64)>,
    all: bool,
}

impl Booleans {
    /// Whether all values are true, or any.
    pub(crate) fn new(all: bool) -> Self {
        Self { counts: Vec::new(), all }
    }
}

impl Accumulator for Booleans {
    fn resize(&mut self, slots: usize) {
        resized(&mut self.counts, slots, (0, 0));
    }

    fn clear(&mut self, slot: usize) {
        if let Some(counts) = self.counts.get_mut(slot) {
            *counts = (0, 0);
        }
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let Some(values) = rows.values else { return };
        let values = values.as_boolean();
        rows.for_each(|row, slot, taken_back| {
            if let Some((yes, no)) = self.counts.get_mut(slot) {
                *(if values.value(row) { yes } else { no }) += if taken_back { -1 } else { 1 };
            }
        });
    }

    fn put(&self, slot: usize, out: &mut Vec<u8>) {
        let (yes, no) = self.counts.get(slot).copied().unwrap_or_default();
        put_signed(out, yes);
        put_signed(out, no);
    }

    fn merge(&mut self, slot: usize, input: &mut &[u8]) -> Result<(), Malformed> {
        let (yes, no) = (take_signed(input)?, take_signed(input)?);
        if let Some(counts) = self.counts.get_mut(slot) {
            counts.0 = counts.0.saturating_add(yes);
            counts.1 = counts.1.saturating_add(no);
        }
        Ok(())
    }

    fn results(&self, count: usize) -> Result<ArrayRef> {
        let value =
            |(yes, no): &(i64, i64)| (yes + no != 0).then_some(if self.all { *no == 0 } else { *yes > 0 });
        Ok(Arc::new(self.counts.iter().take(count).map(value).collect::<BooleanArray>()))
    }

    fn bytes(&self) -> usize {
        self.counts.capacity() * size_of::<(i64, i64)>()
    }
}
