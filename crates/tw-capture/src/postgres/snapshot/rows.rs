//! Rows as the server sends them in answer to a query, many of them in one piece of memory.

use crate::postgres::connection::RowValues;
use crate::postgres::pgoutput::Value;

/// Rows of one table, in order.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Rows {
    pub(crate) fn push(&mut self, body: &[u8]) {
        self.bytes.extend_from_slice(body);
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn last(&self) -> Option<RowIter<'_>> {
        self.get(self.ends.len().checked_sub(1)?)
    }

    fn get(&self, index: usize) -> Option<RowIter<'_>> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        RowValues::new(self.bytes.get(start..end)?).map(RowIter)
    }

    /// The values of each row.
    pub(crate) fn iter(&self) -> impl Iterator<Item = RowIter<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

/// How many rows to fetch next so that they take about `bytes`, going by rows that were fetched before and what those
/// take: few at first, and not many times as many as are known.
pub(crate) fn portion((rows, taken): (usize, usize), bytes: usize) -> u32 {
    const FEW: usize = 16;
    const MANY: usize = 1_000;
    let Some(mean) = taken.checked_div(rows) else { return FEW as u32 };
    (bytes / mean.max(1)).min(rows.saturating_mul(4)).clamp(1, MANY) as u32
}

/// The values of a row; it ends early when the row contradicts itself.
#[derive(Debug, Clone)]
pub(crate) struct RowIter<'a>(RowValues<'a>);

impl<'a> Iterator for RowIter<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        Some(self.0.next_value().ok()??.map_or(Value::Null, Value::Text))
    }
}

#[cfg(test)]
mod tests {
    use super::portion;

    #[test]
    fn rows_are_fetched_by_what_those_before_took() {
        assert_eq!(portion((0, 0), 4 << 20), 16);
        // Small rows: more and more of them, up to a bound.
        assert_eq!(portion((16, 1_600), 4 << 20), 64);
        assert_eq!(portion((400, 40_000), 4 << 20), 1_000);
        assert_eq!(portion((400, 0), 4 << 20), 1_000);
        // Large ones: as many as there is room for, but one.
        assert_eq!(portion((16, 1 << 20), 320 << 10), 5);
        assert_eq!(portion((16, 16 << 20), 0), 1);
    }
}
