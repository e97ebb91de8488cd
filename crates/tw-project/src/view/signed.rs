//! Rows that are taken back and added, collected for the operators.

use super::rows::Staged;
use crate::operators::aggregator::RowPlace;
use crate::rows::builder::RowsBuilder;
use crate::rows::slot::Slot;
use datafusion::arrow::array::ArrayRef;

/// What a batch of changes does.
pub(crate) struct Effect {
    pub(crate) columns: Vec<ArrayRef>,
    pub(crate) rows: usize,
    pub(crate) taken_back: Vec<bool>,
    pub(crate) places: Vec<RowPlace>,
    pub(crate) staged: Staged,
}

/// Collects the rows of one batch.
pub(crate) struct SignedRows {
    builder: RowsBuilder,
    taken_back: Vec<bool>,
    places: Vec<RowPlace>,
}

impl SignedRows {
    pub(crate) fn new(builder: RowsBuilder) -> Self {
        Self { builder, taken_back: Vec::new(), places: Vec::new() }
    }

    /// Forgets what an earlier, failed call has left.
    pub(crate) fn start(&mut self) {
        if self.builder.len() > 0 {
            self.builder.finish();
        }
        self.taken_back.clear();
        self.places.clear();
    }

    /// Adds a row, or takes one back.
    pub(crate) fn push(&mut self, row: &[Slot<'_>], place: RowPlace, taken_back: bool) {
        self.builder.push(row);
        self.taken_back.push(taken_back);
        self.places.push(place);
    }

    /// All of them, with what is to be kept.
    pub(crate) fn finish(&mut self, staged: Staged) -> Effect {
        let rows = self.builder.len();
        Effect {
            columns: self.builder.finish(),
            rows,
            taken_back: std::mem::take(&mut self.taken_back),
            places: std::mem::take(&mut self.places),
            staged,
        }
    }
}
