//! Rows as stored values.
//!
//! ```text
//! row   = 01 (version) count value*
//! value = 00 NULL | 01 false | 02 true | 03 int (zigzag) | 04 float4 | 05 float8 | 06 decimal | 07 text | 08 bytes
//! ```
//!
//! Numbers are LEB128; floats are little-endian; a decimal is its unscaled integer, little-endian two's complement in as
//! few bytes as it needs, behind their number; text and bytes stand behind their length. Values say what they are, so that a row reads after
//! its column has got a wider type.

use super::Malformed;
use super::varint::{put, put_bytes, put_signed, take, take_byte, take_bytes, take_exact, take_signed};
use crate::rows::slot::Slot;
use datafusion::arrow::datatypes::i256;
use std::borrow::Cow;

const VERSION: u8 = 1;
/// More columns than a row can have.
const COLUMNS_MAX: u64 = 10_000;

/// Appends a row.
pub(crate) fn put_row(row: &[Slot<'_>], out: &mut Vec<u8>) {
    out.push(VERSION);
    put(out, row.len() as u64);
    for slot in row {
        put_slot(slot, out);
    }
}

/// Appends one value; one that is unchanged must have been filled in.
pub(crate) fn put_slot(slot: &Slot<'_>, out: &mut Vec<u8>) {
    match slot {
        Slot::Null | Slot::Unchanged => out.push(0),
        Slot::Bool(value) => out.push(1 + u8::from(*value)),
        Slot::Int(value) => {
            out.push(3);
            put_signed(out, *value);
        }
        Slot::Float4(value) => {
            out.push(4);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Slot::Float8(value) => {
            out.push(5);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Slot::Decimal(value) => {
            out.push(6);
            put_decimal(*value, out);
        }
        Slot::Text(text) => {
            out.push(7);
            put_bytes(out, text.as_bytes());
        }
        Slot::Bytes(bytes) => {
            out.push(8);
            put_bytes(out, bytes);
        }
    }
}

/// Appends an integer of up to 256 bits.
pub(crate) fn put_decimal(value: i256, out: &mut Vec<u8>) {
    let bytes = value.to_le_bytes();
    let fill = if value.is_negative() { 0xff } else { 0 };
    let mut len = bytes.len();
    // A byte can go if it repeats the sign of the one before it.
    while len > 1
        && bytes.get(len - 1) == Some(&fill)
        && bytes.get(len - 2).is_some_and(|byte| (byte & 0x80 != 0) == (fill != 0))
    {
        len -= 1;
    }
    out.push(len as u8);
    out.extend(bytes.iter().take(len));
}

/// Takes an integer of up to 256 bits.
pub(crate) fn take_decimal(input: &mut &[u8]) -> Result<i256, Malformed> {
    let len = usize::from(take_byte(input)?);
    if len == 0 || len > 32 {
        return Err(Malformed("a decimal has a wrong length"));
    }
    let stored = take_exact(input, len)?;
    let negative = stored.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut bytes = [if negative { 0xff } else { 0 }; 32];
    bytes.iter_mut().zip(stored).for_each(|(byte, stored)| *byte = *stored);
    Ok(i256::from_le_bytes(bytes))
}

/// Takes a row from the front.
pub(crate) fn take_row<'a>(input: &mut &'a [u8], row: &mut Vec<Slot<'a>>) -> Result<(), Malformed> {
    row.clear();
    if take_byte(input)? != VERSION {
        return Err(Malformed("a row has an unknown version"));
    }
    let count = take(input)?;
    if count > COLUMNS_MAX {
        return Err(Malformed("a row has too many values"));
    }
    for _ in 0..count {
        row.push(take_slot(input)?);
    }
    Ok(())
}

/// Takes one value from the front.
pub(crate) fn take_slot<'a>(input: &mut &'a [u8]) -> Result<Slot<'a>, Malformed> {
    Ok(match take_byte(input)? {
        0 => Slot::Null,
        1 => Slot::Bool(false),
        2 => Slot::Bool(true),
        3 => Slot::Int(take_signed(input)?),
        4 => Slot::Float4(f32::from_le_bytes(take_exact(input, 4)?.try_into().unwrap_or_default())),
        5 => Slot::Float8(f64::from_le_bytes(take_exact(input, 8)?.try_into().unwrap_or_default())),
        6 => Slot::Decimal(take_decimal(input)?),
        7 => {
            let text =
                std::str::from_utf8(take_bytes(input)?).map_err(|_| Malformed("a text is not UTF-8"))?;
            Slot::Text(Cow::Borrowed(text))
        }
        8 => Slot::Bytes(Cow::Borrowed(take_bytes(input)?)),
        _ => return Err(Malformed("a value has an unknown tag")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;

    #[test]
    fn golden_bytes_of_version_1() {
        let row = [
            Slot::Null,
            Slot::Bool(true),
            Slot::Int(-3),
            Slot::Float8(1.5),
            Slot::Decimal(i256::from_i128(-128)),
            Slot::Decimal(i256::from_i128(128)),
            Slot::Text("ü".into()),
            Slot::Bytes(vec![0].into()),
        ];
        let mut out = Vec::new();
        put_row(&row, &mut out);
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        expect!["010800020305"].assert_eq(hex.get(..12).unwrap());
        expect!["01080002030505000000000000f83f060180060280000702c3bc080100"].assert_eq(&hex);
    }

    fn slot() -> impl Strategy<Value = Slot<'static>> {
        prop_oneof![
            Just(Slot::Null),
            any::<bool>().prop_map(Slot::Bool),
            any::<i64>().prop_map(Slot::Int),
            any::<(u128, i128)>().prop_map(|(low, high)| Slot::Decimal(i256::from_parts(low, high))),
            any::<i64>().prop_map(|value| Slot::Decimal(i256::from_i128(i128::from(value)))),
            (-1e300..1e300).prop_map(Slot::Float8),
            ".{0,10}".prop_map(|text| Slot::Text(text.into())),
            any::<Vec<u8>>().prop_map(|bytes| Slot::Bytes(bytes.into())),
        ]
    }

    proptest! {
        #[test]
        fn rows_read_back(slots in proptest::collection::vec(slot(), 0..8)) {
            let mut out = Vec::new();
            put_row(&slots, &mut out);
            let (mut input, mut row) = (out.as_slice(), Vec::new());
            take_row(&mut input, &mut row).unwrap();
            prop_assert_eq!(row, slots);
            prop_assert!(input.is_empty());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = take_row(&mut bytes.as_slice(), &mut Vec::new());
        }
    }
}
