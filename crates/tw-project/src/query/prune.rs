//! What the conditions of a query say about single columns, so that less has to be read.
//!
//! The conditions themselves are checked again afterwards; what is found here only has to be true.

use crate::rows::slot::Slot;
use crate::state::key::KeyColumn;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};

/// The value that a column must have: `column = value`.
pub(crate) fn equal_to(filters: &[Expr], column: &str) -> Option<ScalarValue> {
    filters.iter().find_map(|filter| match comparison(filter) {
        Some((name, Operator::Eq, value)) if name == column && !value.is_null() => Some(value.clone()),
        _ => None,
    })
}

/// The range in which an integer column must be, inclusive at both ends.
pub(crate) fn range_of(filters: &[Expr], column: &str) -> (i64, i64) {
    let (mut low, mut high) = (i64::MIN, i64::MAX);
    for filter in filters {
        let Some((name, op, value)) = comparison(filter) else { continue };
        let Some(value) = integer(value).filter(|_| name == column) else { continue };
        match op {
            Operator::Eq => (low, high) = (low.max(value), high.min(value)),
            Operator::Gt => low = low.max(value.saturating_add(1)),
            Operator::GtEq => low = low.max(value),
            Operator::Lt => high = high.min(value.saturating_sub(1)),
            Operator::LtEq => high = high.min(value),
            _ => {}
        }
    }
    (low, high)
}

/// A filter as `column op value`.
fn comparison(filter: &Expr) -> Option<(&str, Operator, &ScalarValue)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { return None };
    match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), Expr::Literal(value, _)) => Some((&column.name, *op, value)),
        (Expr::Literal(value, _), Expr::Column(column)) => Some((&column.name, op.swap()?, value)),
        _ => None,
    }
}

/// Which filters can narrow down what is read of a table with these columns.
pub(crate) fn pushdown(filters: &[&Expr], columns: &[&str]) -> Vec<TableProviderFilterPushDown> {
    let helps = |filter: &Expr| comparison(filter).is_some_and(|(name, _, _)| columns.contains(&name));
    let support = |filter: &&Expr| match helps(filter) {
        true => TableProviderFilterPushDown::Inexact,
        false => TableProviderFilterPushDown::Unsupported,
    };
    filters.iter().map(support).collect()
}

fn integer(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Int16(value) => value.map(i64::from),
        ScalarValue::Int32(value) => value.map(i64::from),
        ScalarValue::Int64(value) => *value,
        _ => None,
    }
}

/// The text of a value of a text column.
pub(crate) fn text(value: &ScalarValue) -> Option<&str> {
    match value {
        ScalarValue::Utf8(text) | ScalarValue::Utf8View(text) | ScalarValue::LargeUtf8(text) => {
            text.as_deref()
        }
        _ => None,
    }
}

/// A literal as a value that can be a key.
pub(crate) fn slot(value: &ScalarValue) -> Option<Slot<'static>> {
    let value = match value {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) => ScalarValue::Utf8View(text.clone()),
        other => other.clone(),
    };
    let array = value.to_array().ok()?;
    let column = KeyColumn::new(&array)?;
    Some(column.slot(0).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::logical_expr::{col, lit};

    #[test]
    fn conditions_narrow_ranges_from_both_sides() {
        let filters = [col("_offset").gt(lit(5i64)), lit(9i64).gt_eq(col("_offset")), col("a").lt(lit(1i64))];
        assert_eq!(range_of(&filters, "_offset"), (6, 9));
        assert_eq!(range_of(&filters, "b"), (i64::MIN, i64::MAX));
        assert_eq!(equal_to(&[col("a").eq(lit("x"))], "a"), Some(ScalarValue::Utf8(Some("x".into()))));
        assert_eq!(equal_to(&filters, "_offset"), None);
    }
}
