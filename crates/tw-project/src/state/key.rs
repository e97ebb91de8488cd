//! Keys: values as bytes that sort as the values do.
//!
//! ```text
//! value    = NULL  FE
//!          | bool  01 (false) or 02 (true)
//!          | int   80 + n and n bytes for a positive number, 80 − n and n inverted bytes for a negative one, 80 for 0;
//!                  big-endian, n from 1 to 32: integers, decimals (unscaled), dates, times, instants
//!          | float 20 and 8 bytes, or 21 and 4 bytes: big-endian, sign flipped, all inverted if negative; NaN is largest
//!          | text  30, UTF-8 with every 00 as 00 FF, then 00 00
//!          | bytes 31, likewise
//! key      = value*
//! ```
//!
//! NULL sorts after everything, as in PostgreSQL's ascending order. For a descending order all bytes of a value are inverted, so that
//! NULL comes first. A NULL on the other side is the byte 00, or inverted FF. The layout is version 1.

use super::Malformed;
use super::varint::{take_byte, take_exact};
use crate::rows::slot::Slot;
use datafusion::arrow::array::types::{
    Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, PrimitiveArray, StringViewArray,
};
use datafusion::arrow::datatypes::{DataType, i256};
use std::borrow::Cow;

const NULL: u8 = 0xfe;
const NULL_FIRST: u8 = 0x00;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const FLOAT8: u8 = 0x20;
const FLOAT4: u8 = 0x21;
const TEXT: u8 = 0x30;
const BYTES: u8 = 0x31;
const ZERO: u8 = 0x80;
const INT_BYTES_MAX: u8 = 32;

/// In which order values are put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Direction {
    pub(crate) descending: bool,
    /// Whether NULL is on the other side than by default: first if ascending, last if descending.
    pub(crate) nulls_moved: bool,
}

/// A column of values that become keys.
#[derive(Debug)]
pub(crate) enum KeyColumn<'a> {
    Bool(&'a BooleanArray),
    Int2(&'a PrimitiveArray<Int16Type>),
    Int4(&'a PrimitiveArray<Int32Type>),
    Int8(&'a PrimitiveArray<Int64Type>),
    Date(&'a PrimitiveArray<Date32Type>),
    Time(&'a PrimitiveArray<Time64MicrosecondType>),
    Instant(&'a PrimitiveArray<TimestampMicrosecondType>),
    Narrow(&'a PrimitiveArray<Decimal128Type>),
    Wide(&'a PrimitiveArray<Decimal256Type>),
    Float4(&'a PrimitiveArray<Float32Type>),
    Float8(&'a PrimitiveArray<Float64Type>),
    Text(&'a StringViewArray),
    Bytes(&'a BinaryArray),
    /// A column without values.
    Nulls,
}

/// Whether values of a type can be keys.
pub(crate) fn is_key_type(ty: &DataType) -> bool {
    matches!(
        ty,
        DataType::Boolean
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Date32
            | DataType::Time64(_)
            | DataType::Timestamp(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..)
            | DataType::Float32
            | DataType::Float64
            | DataType::Utf8View
            | DataType::Binary
            | DataType::Null
    )
}

impl<'a> KeyColumn<'a> {
    /// The column of an array; None if its type cannot be a key.
    pub(crate) fn new(array: &'a ArrayRef) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Boolean => Self::Bool(array.as_boolean()),
            DataType::Int16 => Self::Int2(array.as_primitive()),
            DataType::Int32 => Self::Int4(array.as_primitive()),
            DataType::Int64 => Self::Int8(array.as_primitive()),
            DataType::Date32 => Self::Date(array.as_primitive()),
            DataType::Time64(_) => Self::Time(array.as_primitive_opt()?),
            DataType::Timestamp(..) => Self::Instant(array.as_primitive_opt()?),
            DataType::Decimal128(..) => Self::Narrow(array.as_primitive()),
            DataType::Decimal256(..) => Self::Wide(array.as_primitive()),
            DataType::Float32 => Self::Float4(array.as_primitive()),
            DataType::Float64 => Self::Float8(array.as_primitive()),
            DataType::Utf8View => Self::Text(array.as_string_view()),
            DataType::Binary => Self::Bytes(array.as_binary()),
            DataType::Null => Self::Nulls,
            _ => return None,
        })
    }

    /// The value of a row.
    pub(crate) fn slot(&self, row: usize) -> Slot<'a> {
        fn int<T: datafusion::arrow::array::ArrowPrimitiveType>(
            array: &PrimitiveArray<T>,
            row: usize,
        ) -> Option<T::Native> {
            array.is_valid(row).then(|| array.value(row))
        }
        let slot = match self {
            Self::Bool(array) => array.is_valid(row).then(|| Slot::Bool(array.value(row))),
            Self::Int2(array) => int(array, row).map(|value| Slot::Int(i64::from(value))),
            Self::Int4(array) => int(array, row).map(|value| Slot::Int(i64::from(value))),
            Self::Int8(array) => int(array, row).map(Slot::Int),
            Self::Date(array) => int(array, row).map(|value| Slot::Int(i64::from(value))),
            Self::Time(array) => int(array, row).map(Slot::Int),
            Self::Instant(array) => int(array, row).map(Slot::Int),
            Self::Narrow(array) => int(array, row).map(|value| Slot::Decimal(i256::from_i128(value))),
            Self::Wide(array) => int(array, row).map(Slot::Decimal),
            Self::Float4(array) => int(array, row).map(Slot::Float4),
            Self::Float8(array) => int(array, row).map(Slot::Float8),
            Self::Text(array) => array.is_valid(row).then(|| Slot::Text(Cow::Borrowed(array.value(row)))),
            Self::Bytes(array) => array.is_valid(row).then(|| Slot::Bytes(Cow::Borrowed(array.value(row)))),
            Self::Nulls => None,
        };
        slot.unwrap_or(Slot::Null)
    }

    /// The length of a text or of bytes; 0 for other types, and for NULL.
    pub(crate) fn len(&self, row: usize) -> usize {
        match self {
            Self::Text(array) if array.is_valid(row) => array.value(row).len(),
            Self::Bytes(array) if array.is_valid(row) => array.value(row).len(),
            _ => 0,
        }
    }

    /// Appends the key of a row, in ascending order.
    #[inline]
    pub(crate) fn put(&self, row: usize, out: &mut Vec<u8>) {
        put(&self.slot(row), out);
    }
}

/// Appends the key of one value, in ascending order.
pub(crate) fn put(slot: &Slot<'_>, out: &mut Vec<u8>) {
    match slot {
        Slot::Null | Slot::Unchanged => out.push(NULL),
        Slot::Bool(value) => out.push(if *value { TRUE } else { FALSE }),
        Slot::Int(value) => put_small(*value, out),
        Slot::Decimal(value) => match value.to_i128().and_then(|value| i64::try_from(value).ok()) {
            Some(small) => put_small(small, out),
            None => put_large(*value, out),
        },
        Slot::Float8(value) => {
            let bits = value.to_bits();
            let sortable = if bits >> 63 == 0 { bits | 1 << 63 } else { !bits };
            out.push(FLOAT8);
            out.extend_from_slice(&sortable.to_be_bytes());
        }
        Slot::Float4(value) => {
            let bits = value.to_bits();
            let sortable = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
            out.push(FLOAT4);
            out.extend_from_slice(&sortable.to_be_bytes());
        }
        Slot::Text(text) => put_escaped(TEXT, text.as_bytes(), out),
        Slot::Bytes(bytes) => put_escaped(BYTES, bytes, out),
    }
}

/// Appends the key of one value in a given order.
pub(crate) fn put_directed(slot: &Slot<'_>, direction: Direction, out: &mut Vec<u8>) {
    let start = out.len();
    if direction.nulls_moved && *slot == Slot::Null {
        out.push(NULL_FIRST);
    } else {
        put(slot, out);
    }
    if direction.descending {
        out.iter_mut().skip(start).for_each(|byte| *byte = !*byte);
    }
}

fn put_small(value: i64, out: &mut Vec<u8>) {
    let magnitude = value.unsigned_abs();
    let len = 8 - (magnitude.leading_zeros() / 8) as usize;
    let bytes = magnitude.to_be_bytes();
    let significant = bytes.iter().skip(8 - len);
    if value < 0 {
        out.push(ZERO - len as u8);
        out.extend(significant.map(|byte| !byte));
    } else {
        out.push(ZERO + len as u8);
        out.extend(significant);
    }
}

fn put_large(value: i256, out: &mut Vec<u8>) {
    let bytes = value.wrapping_abs().to_be_bytes();
    let skip = bytes.iter().take_while(|byte| **byte == 0).count();
    let len = (bytes.len() - skip) as u8;
    if value.is_negative() {
        out.push(ZERO - len);
        out.extend(bytes.iter().skip(skip).map(|byte| !byte));
    } else {
        out.push(ZERO + len);
        out.extend(bytes.iter().skip(skip));
    }
}

fn put_escaped(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    if bytes.contains(&0) {
        for byte in bytes {
            out.push(*byte);
            if *byte == 0 {
                out.push(0xff);
            }
        }
    } else {
        out.extend_from_slice(bytes);
    }
    out.extend_from_slice(&[0, 0]);
}

/// Takes one ascending value from the front of a key. Integers come as [`Slot::Int`] where they fit in 64 bits, otherwise as
/// [`Slot::Decimal`]; [`typed`] gives them the form that their column has.
pub(crate) fn take<'a>(input: &mut &'a [u8]) -> Result<Slot<'a>, Malformed> {
    Ok(match take_byte(input)? {
        NULL | NULL_FIRST => Slot::Null,
        FALSE => Slot::Bool(false),
        TRUE => Slot::Bool(true),
        FLOAT8 => {
            let bits = take_exact(input, 8)?.try_into().map(u64::from_be_bytes).unwrap_or_default();
            Slot::Float8(f64::from_bits(if bits >> 63 == 1 { bits ^ 1 << 63 } else { !bits }))
        }
        FLOAT4 => {
            let bits = take_exact(input, 4)?.try_into().map(u32::from_be_bytes).unwrap_or_default();
            Slot::Float4(f32::from_bits(if bits >> 31 == 1 { bits ^ 1 << 31 } else { !bits }))
        }
        TEXT => match take_escaped(input)? {
            Cow::Borrowed(bytes) => Slot::Text(Cow::Borrowed(utf8(bytes)?)),
            Cow::Owned(bytes) => Slot::Text(Cow::Owned(utf8(&bytes)?.to_owned())),
        },
        BYTES => Slot::Bytes(take_escaped(input)?),
        tag @ (0x60..=0xa0) => take_int(tag, input)?,
        _ => return Err(Malformed("a key has an unknown tag")),
    })
}

fn utf8(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed("a text is not UTF-8"))
}

fn take_int(tag: u8, input: &mut &[u8]) -> Result<Slot<'static>, Malformed> {
    let len = tag.abs_diff(ZERO);
    debug_assert!(len <= INT_BYTES_MAX);
    let digits = take_exact(input, usize::from(len))?;
    let negative = tag < ZERO;
    let mut bytes = [0u8; 32];
    for (byte, digit) in bytes.iter_mut().rev().zip(digits.iter().rev()) {
        *byte = if negative { !digit } else { *digit };
    }
    let magnitude = i256::from_be_bytes(bytes);
    let value = if negative { magnitude.wrapping_neg() } else { magnitude };
    Ok(match value.to_i128().and_then(|value| i64::try_from(value).ok()) {
        Some(small) => Slot::Int(small),
        None => Slot::Decimal(value),
    })
}

fn take_escaped<'a>(input: &mut &'a [u8]) -> Result<Cow<'a, [u8]>, Malformed> {
    let mut owned: Vec<u8> = Vec::new();
    loop {
        let at = input.iter().position(|byte| *byte == 0).ok_or(Malformed("a text in a key is cut off"))?;
        let (part, rest) = input.split_at(at);
        let (&second, after) =
            rest.get(1..).and_then(<[u8]>::split_first).ok_or(Malformed("a text in a key is cut off"))?;
        *input = after;
        match second {
            0 if owned.is_empty() => return Ok(Cow::Borrowed(part)),
            0 => {
                owned.extend_from_slice(part);
                return Ok(Cow::Owned(owned));
            }
            0xff => {
                owned.extend_from_slice(part);
                owned.push(0);
            }
            _ => return Err(Malformed("a text in a key is damaged")),
        }
    }
}

/// The value in the form that a column of this type has.
pub(crate) fn typed<'a>(slot: Slot<'a>, ty: &DataType) -> Slot<'a> {
    match (slot, ty) {
        (Slot::Int(value), DataType::Decimal128(..) | DataType::Decimal256(..)) => {
            Slot::Decimal(i256::from_i128(i128::from(value)))
        }
        (slot, _) => slot,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;

    fn key(slot: &Slot<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        put(slot, &mut out);
        out
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn golden_bytes_of_version_1() {
        let slots = [
            Slot::Null,
            Slot::Bool(false),
            Slot::Bool(true),
            Slot::Int(0),
            Slot::Int(1),
            Slot::Int(-1),
            Slot::Int(256),
            Slot::Int(i64::MIN),
            Slot::Decimal(i256::from_i128(1_000_000_000_000_000_000_000)),
            Slot::Decimal(i256::from_i128(-1_000_000_000_000_000_000_000)),
            Slot::Float8(1.5),
            Slot::Float8(-1.5),
            Slot::Float8(f64::NAN),
            Slot::Float4(1.5),
            Slot::Text("a\0b".into()),
            Slot::Text("".into()),
            Slot::Bytes(vec![0xff].into()),
        ];
        let all: Vec<String> = slots.iter().map(|slot| hex(&key(slot))).collect();
        expect![[r#"
            fe
            01
            02
            80
            8101
            7ffe
            820100
            787fffffffffffffff
            893635c9adc5dea00000
            77c9ca36523a215fffff
            20bff8000000000000
            204007ffffffffffff
            20fff8000000000000
            21bfc00000
            306100ff620000
            300000
            31ff0000"#]]
        .assert_eq(&all.join("\n"));
    }

    fn slot() -> impl Strategy<Value = Slot<'static>> {
        prop_oneof![Just(Slot::Null), any::<i64>().prop_map(Slot::Int), (-300i64..300).prop_map(Slot::Int),]
    }

    fn text() -> impl Strategy<Value = Slot<'static>> {
        prop_oneof![Just(Slot::Null), "[a-c\\x00]{0,4}".prop_map(|text| Slot::Text(text.into()))]
    }

    /// NULL last.
    fn rank<T: PartialOrd>(a: Option<T>, b: Option<T>) -> std::cmp::Ordering {
        match (a, b) {
            (None, None) => std::cmp::Ordering::Equal,
            (None, _) => std::cmp::Ordering::Greater,
            (_, None) => std::cmp::Ordering::Less,
            (Some(a), Some(b)) => a.partial_cmp(&b).unwrap(),
        }
    }

    fn int_of(slot: &Slot<'_>) -> Option<i64> {
        if let Slot::Int(value) = slot { Some(*value) } else { None }
    }

    proptest! {
        #[test]
        fn pairs_of_keys_sort_as_their_values(a in (text(), slot()), b in (text(), slot())) {
            let whole = |pair: &(Slot<'_>, Slot<'_>)| [key(&pair.0), key(&pair.1)].concat();
            let text_of = |slot: &Slot<'_>| if let Slot::Text(text) = slot { Some(text.to_string()) } else { None };
            let expected = rank(text_of(&a.0), text_of(&b.0)).then(rank(int_of(&a.1), int_of(&b.1)));
            prop_assert_eq!(whole(&a).cmp(&whole(&b)), expected);
        }

        #[test]
        fn descending_keys_sort_the_other_way(a in slot(), b in slot(), nulls_moved: bool) {
            let directed = |slot: &Slot<'_>| {
                let mut out = Vec::new();
                put_directed(slot, Direction { descending: true, nulls_moved }, &mut out);
                out
            };
            let expected = match (int_of(&a), int_of(&b)) {
                (Some(a), Some(b)) => b.cmp(&a),
                (a, b) if nulls_moved => rank(a, b),
                (a, b) => rank(b, a),
            };
            prop_assert_eq!(directed(&a).cmp(&directed(&b)), expected);
        }

        #[test]
        fn floats_sort_with_nan_last(a: f64, b: f64) {
            let (a, b) = (a + 0.0, b + 0.0);
            let normal = |x: f64| if x.is_nan() { f64::NAN } else { x };
            let (a, b) = (normal(a), normal(b));
            let expected = match (a.is_nan(), b.is_nan()) {
                (false, false) => a.partial_cmp(&b).unwrap(),
                (a, b) => a.cmp(&b),
            };
            prop_assert_eq!(key(&Slot::Float8(a)).cmp(&key(&Slot::Float8(b))), expected);
        }

        #[test]
        fn large_numbers_sort_and_read_back(a in any::<(u128, i128)>(), b in any::<(u128, i128)>()) {
            let number = |(low, high): (u128, i128)| i256::from_parts(low, high >> 8);
            let (a, b) = (number(a), number(b));
            prop_assert_eq!(key(&Slot::Decimal(a)).cmp(&key(&Slot::Decimal(b))), a.cmp(&b));
            let bytes = key(&Slot::Decimal(a));
            let ty = DataType::Decimal256(76, 0);
            prop_assert_eq!(typed(take(&mut bytes.as_slice()).unwrap(), &ty), Slot::Decimal(a));
        }

        #[test]
        fn values_read_back(slots in proptest::collection::vec(prop_oneof![slot(), text()], 0..5)) {
            let bytes: Vec<u8> = slots.iter().flat_map(key).collect();
            let mut input = bytes.as_slice();
            for slot in &slots {
                prop_assert_eq!(&take(&mut input).unwrap(), slot);
            }
            prop_assert!(input.is_empty());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let mut input = bytes.as_slice();
            while !input.is_empty() && take(&mut input).is_ok() {}
        }
    }
}
