//! Accumulators: what an aggregate remembers of a group, and how it changes with each row.
//!
//! A group has a slot, which is an index into the accumulator's columns, so that a batch is taken in with one loop per aggregate. Rows
//! come with a sign: what was added can be taken back exactly. Taking in never fails; a result that does not exist (a sum beyond its type) is
//! an error where it is read, as it is in PostgreSQL.

use crate::state::Malformed;
use datafusion::arrow::array::{Array, ArrayRef, BooleanArray};
use datafusion::common::Result;

/// Rows that an aggregate takes in.
pub(crate) struct Rows<'a> {
    /// The slot of each row's group.
    pub(crate) slots: &'a [u32],
    /// The aggregate's argument; None for `count(*)`.
    pub(crate) values: Option<&'a ArrayRef>,
    /// `FILTER (WHERE …)`: rows that are not true here do not count.
    pub(crate) filter: Option<&'a BooleanArray>,
    /// True for rows that are taken back; None if all are added.
    pub(crate) taken_back: Option<&'a [bool]>,
}

impl Rows<'_> {
    /// Whether a row counts: it passes the filter, and its argument is not NULL.
    #[inline]
    pub(crate) fn counts(&self, row: usize) -> bool {
        self.filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
            && self.values.is_none_or(|values| values.is_valid(row))
    }

    /// Whether all rows count.
    pub(crate) fn all_count(&self) -> bool {
        self.filter.is_none() && self.values.is_none_or(|values| values.null_count() == 0)
    }

    /// Whether a row is taken back.
    #[inline]
    pub(crate) fn is_taken_back(&self, row: usize) -> bool {
        self.taken_back.is_some_and(|taken_back| taken_back.get(row) == Some(&true))
    }

    /// Calls `each` with the row, its slot, and whether it is taken back, for every row that counts.
    #[inline]
    pub(crate) fn for_each(&self, mut each: impl FnMut(usize, usize, bool)) {
        let all = self.all_count();
        for (row, slot) in self.slots.iter().enumerate() {
            if all || self.counts(row) {
                each(row, *slot as usize, self.is_taken_back(row));
            }
        }
    }
}

/// Makes a column of an accumulator `slots` long; without any it gives its memory back.
pub(crate) fn resized<T: Clone>(column: &mut Vec<T>, slots: usize, empty: T) {
    if slots == 0 {
        *column = Vec::new();
    } else {
        column.resize(slots, empty);
    }
}

/// One aggregate of many groups.
pub(crate) trait Accumulator: Send + Sync {
    /// Makes it `slots` slots; new ones are empty. With none it gives its memory back.
    fn resize(&mut self, slots: usize);

    /// Makes a slot empty.
    fn clear(&mut self, slot: usize);

    /// Takes rows in. The values are of the type for which the accumulator was made.
    fn update(&mut self, rows: &Rows<'_>);

    /// Appends what a slot remembers; it says where it ends.
    fn put(&self, slot: usize, out: &mut Vec<u8>);

    /// Adds what was stored of another slot, or of this one earlier, to a slot.
    ///
    /// # Errors
    /// [`Malformed`].
    fn merge(&mut self, slot: usize, input: &mut &[u8]) -> Result<(), Malformed>;

    /// The results of slots `0..count`.
    ///
    /// # Errors
    /// A result is out of the range of its type.
    fn results(&self, count: usize) -> Result<ArrayRef>;

    /// About how many bytes of memory it takes.
    fn bytes(&self) -> usize;

    /// How many entries a slot has, if it counts them.
    fn count(&self, slot: usize) -> i64 {
        let _ = slot;
        0
    }

    /// Itself, if it keeps the best entry of each group.
    fn as_best(&mut self) -> Option<&mut super::best::Best> {
        None
    }

    /// Adds to a count of entries; nothing if it does not count.
    fn add_count(&mut self, slot: usize, more: i64) {
        let _ = (slot, more);
    }
}
