//! Values of merged columns, in an order that is the same everywhere.

use crate::rows::builder::ColumnBuilder;
use crate::rows::slot::Slot;
use crate::values::print::Printer;
use datafusion::arrow::datatypes::{DataType, i256};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tw_types::ColumnType;

/// A value. Two of one column compare as their type does; floating point numbers have no order, only their bits are the same or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// Integers, dates, times and instants.
    Int(i64),
    /// An unscaled decimal: its upper and its lower 128 bits.
    Decimal(i128, u128),
    Text(String),
    Bytes(Vec<u8>),
    /// The bits.
    Float4(u32),
    /// The bits.
    Float8(u64),
}

impl Value {
    /// The value of a column that was read.
    pub(crate) fn of(slot: &Slot<'_>) -> Self {
        match slot {
            Slot::Null | Slot::Unchanged => Self::Null,
            Slot::Bool(value) => Self::Bool(*value),
            Slot::Int(value) => Self::Int(*value),
            Slot::Decimal(value) => {
                let (low, high) = value.to_parts();
                Self::Decimal(high, low)
            }
            Slot::Text(text) => Self::Text(text.clone().into_owned()),
            Slot::Bytes(bytes) => Self::Bytes(bytes.clone().into_owned()),
            Slot::Float4(value) => Self::Float4(value.to_bits()),
            Slot::Float8(value) => Self::Float8(value.to_bits()),
        }
    }

    /// The same as the value of a row.
    pub(crate) fn slot(&self) -> Slot<'_> {
        match self {
            Self::Null => Slot::Null,
            Self::Bool(value) => Slot::Bool(*value),
            Self::Int(value) => Slot::Int(*value),
            Self::Decimal(high, low) => Slot::Decimal(i256::from_parts(*low, *high)),
            Self::Text(text) => Slot::Text(Cow::Borrowed(text)),
            Self::Bytes(bytes) => Slot::Bytes(Cow::Borrowed(bytes)),
            Self::Float4(bits) => Slot::Float4(f32::from_bits(*bits)),
            Self::Float8(bits) => Slot::Float8(f64::from_bits(*bits)),
        }
    }

    /// How long a text or bytes are; 0 for all else.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            _ => 0,
        }
    }

    /// An element of a set as JSON.
    pub(crate) fn element(&self) -> serde_json::Value {
        match self {
            Self::Int(value) => (*value).into(),
            Self::Text(text) => text.as_str().into(),
            // Elements are nothing else.
            _ => serde_json::Value::Null,
        }
    }
}

/// A value as SQL prints it.
pub(crate) fn slot_text(slot: &Slot<'_>, ty: &DataType) -> String {
    let mut builder = ColumnBuilder::new(ty);
    builder.push(slot);
    let (array, mut text) = (builder.finish(), String::new());
    Printer::new(&array).print(0, &mut text);
    text
}

/// A sum as a value of its column. One that the column's type does not hold is shown as the nearest value that it does: nobody sees the whole
/// when adding.
pub(crate) fn sum_slot(sum: i128, ty: &ColumnType) -> Slot<'static> {
    let clamp = |low: i64, high: i64| Slot::Int(sum.clamp(low.into(), high.into()) as i64);
    match ty {
        ColumnType::Int2 => clamp(i16::MIN.into(), i16::MAX.into()),
        ColumnType::Int4 => clamp(i32::MIN.into(), i32::MAX.into()),
        ColumnType::Numeric(Some((precision, _))) => {
            let most = 10i128.checked_pow(u32::from(*precision)).map_or(i128::MAX, |bound| bound - 1);
            Slot::Decimal(i256::from_i128(sum.clamp(-most, most)))
        }
        _ => clamp(i64::MIN, i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_sort_as_numbers() {
        let decimal = |value: i128| Value::of(&Slot::Decimal(i256::from_i128(value)));
        let mut numbers = [decimal(5), decimal(-7), decimal(0), decimal(i128::MAX), decimal(i128::MIN)];
        numbers.sort();
        assert_eq!(numbers, [i128::MIN, -7, 0, 5, i128::MAX].map(decimal));
        let widest = Value::of(&Slot::Decimal(i256::MAX));
        assert!(widest > decimal(i128::MAX) && widest.slot() == Slot::Decimal(i256::MAX));
    }

    #[test]
    fn a_sum_that_its_type_does_not_hold_is_the_nearest_that_it_does() {
        assert_eq!(sum_slot(40_000, &ColumnType::Int2), Slot::Int(32_767));
        assert_eq!(sum_slot(i128::MIN, &ColumnType::Int8), Slot::Int(i64::MIN));
        let money = "numeric(4,2)".parse().unwrap();
        assert_eq!(sum_slot(1_234_567, &money), Slot::Decimal(i256::from_i128(9_999)));
        assert_eq!(sum_slot(-12, &money), Slot::Decimal(i256::from_i128(-12)));
    }
}
