//! `min`, `max`, `first` and `last`: of each group the entry that sorts first, or last.
//!
//! An entry is a key that sorts, and a value that comes with it. On a stream that is only appended to, the best entry is all that
//! a group needs to remember. Where rows can be taken back, all entries are kept in the store (see [`super::entries`]), and this is
//! what is known of them to readers.

use super::accumulator::{Accumulator, Rows};
use crate::rows::builder::ColumnBuilder;
use crate::rows::slot::Slot;
use crate::state::Malformed;
use crate::state::key::{self, KeyColumn, typed};
use crate::state::value::{put_slot, take_slot};
use crate::state::varint::{put_bytes, take_byte, take_bytes};
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result};

/// Which entry is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The one that sorts first: `min`, `first`.
    First,
    /// The one that sorts last: `max`, `last`.
    Last,
}

impl Side {
    /// Whether `a` is better than `b`.
    pub(crate) fn prefers(self, a: &[u8], b: &[u8]) -> bool {
        match self {
            Self::First => a < b,
            Self::Last => a > b,
        }
    }
}

/// An entry: its key, and the value that comes with it in its stored form; empty if the key says it all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// The best entry of each group.
#[derive(Debug)]
pub(crate) struct Best {
    side: Side,
    /// The type of the results.
    ty: DataType,
    entries: Vec<Option<Box<Entry>>>,
    bytes: usize,
}

impl Best {
    /// Of entries whose result is of type `ty`.
    pub(crate) fn new(side: Side, ty: DataType) -> Self {
        Self { side, ty, entries: Vec::new(), bytes: 0 }
    }

    /// The best entry of a slot.
    pub(crate) fn get(&self, slot: usize) -> Option<&Entry> {
        self.entries.get(slot)?.as_deref()
    }

    /// Makes `entry` the best of a slot.
    pub(crate) fn set(&mut self, slot: usize, entry: Option<Entry>) {
        if let Some(known) = self.entries.get_mut(slot) {
            let size = |entry: &Option<Box<Entry>>| {
                entry.as_ref().map_or(0, |entry| entry.key.len() + entry.value.len())
            };
            self.bytes -= size(known);
            *known = entry.map(Box::new);
            self.bytes += size(known);
        }
    }

    /// Makes an entry the best of a slot if it is better; its value is only asked for then.
    pub(crate) fn offer(&mut self, slot: usize, key: &[u8], value: impl FnOnce() -> Vec<u8>) {
        if self.get(slot).is_none_or(|known| self.side.prefers(key, &known.key)) {
            self.set(slot, Some(Entry { key: key.to_vec(), value: value() }));
        }
    }
}

impl Accumulator for Best {
    fn resize(&mut self, slots: usize) {
        for slot in slots..self.entries.len() {
            self.clear(slot);
        }
        if slots == 0 {
            self.entries = Vec::new();
        }
        self.entries.resize_with(slots, || None);
    }

    fn clear(&mut self, slot: usize) {
        self.set(slot, None);
    }

    /// Takes in rows whose argument is the entry's key: `min` and `max`. Nothing can be taken back.
    fn update(&mut self, rows: &Rows<'_>) {
        let Some(column) = rows.values.and_then(KeyColumn::new) else { return };
        let mut key = Vec::new();
        rows.for_each(|row, slot, _| {
            key.clear();
            column.put(row, &mut key);
            self.offer(slot, &key, Vec::new);
        });
    }

    fn put(&self, slot: usize, out: &mut Vec<u8>) {
        match self.get(slot) {
            None => out.push(0),
            Some(entry) => {
                out.push(1);
                put_bytes(out, &entry.key);
                put_bytes(out, &entry.value);
            }
        }
    }

    fn merge(&mut self, slot: usize, input: &mut &[u8]) -> Result<(), Malformed> {
        match take_byte(input)? {
            0 => Ok(()),
            1 => {
                let (key, value) = (take_bytes(input)?, take_bytes(input)?);
                self.offer(slot, key, || value.to_vec());
                Ok(())
            }
            _ => Err(Malformed("a best entry has an unknown flag")),
        }
    }

    fn results(&self, count: usize) -> Result<ArrayRef> {
        let mut column = ColumnBuilder::new(&self.ty);
        for entry in self.entries.iter().take(count) {
            match entry {
                None => column.push(&Slot::Null),
                Some(entry) => column.push(&entry.result(&self.ty).map_err(stored)?),
            }
        }
        Ok(column.finish())
    }

    fn as_best(&mut self) -> Option<&mut Best> {
        Some(self)
    }

    fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Option<Box<Entry>>>() + self.bytes
    }
}

/// A stored form that cannot be read, where a result was wanted.
pub(crate) fn stored(error: Malformed) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl Entry {
    /// The value of an entry: what comes with it, or its key.
    pub(crate) fn result(&self, ty: &DataType) -> Result<Slot<'_>, Malformed> {
        result_of(&self.key, &self.value, ty)
    }
}

/// The value of an entry in its stored form.
pub(crate) fn result_of<'a>(key: &'a [u8], value: &'a [u8], ty: &DataType) -> Result<Slot<'a>, Malformed> {
    let slot = if value.is_empty() { key::take(&mut &*key)? } else { take_slot(&mut &*value)? };
    Ok(typed(slot, ty))
}

/// The stored form of the value that comes with an entry.
pub(crate) fn entry_value(slot: &Slot<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    put_slot(slot, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_that_go_take_their_bytes_with_them() {
        let mut best = Best::new(Side::Last, DataType::Utf8View);
        let empty = best.bytes();
        best.resize(3);
        (0..3).for_each(|slot| best.offer(slot, &[7; 1_000], || vec![1; 500]));
        assert!(best.bytes() > 3 * 1_500);
        best.resize(1);
        assert!(best.get(0).is_some());
        best.resize(0);
        assert_eq!(best.bytes(), empty);
    }
}
