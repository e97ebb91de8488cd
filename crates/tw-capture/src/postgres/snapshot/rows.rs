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

/// The values of a row; it ends early when the row contradicts itself.
#[derive(Debug, Clone)]
pub(crate) struct RowIter<'a>(RowValues<'a>);

impl<'a> Iterator for RowIter<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        Some(self.0.next_value().ok()??.map_or(Value::Null, Value::Text))
    }
}
