//! Results as text.

use crate::values::print::Printer;
use datafusion::arrow::array::{Array, ArrayRef};

/// A value as PostgreSQL prints it, for tables and CSV; None for NULL.
pub fn text(array: &ArrayRef, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    let mut out = String::new();
    Printer::new(array).print(row, &mut out);
    Some(out)
}
