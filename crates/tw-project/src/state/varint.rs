//! Numbers, and bytes behind their length, in stored values.

use super::Malformed;
use tw_types::varint;
pub(crate) use tw_types::varint::put;

/// Appends a signed value, small ones of either sign in few bytes.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, varint::zigzag(value));
}

/// Takes a number from the front of `input`.
pub(crate) fn take(input: &mut &[u8]) -> Result<u64, Malformed> {
    varint::take(input).ok_or(Malformed("a number is cut off or over 64 bits"))
}

/// Takes a signed value.
pub(crate) fn take_signed(input: &mut &[u8]) -> Result<i64, Malformed> {
    take(input).map(varint::unzigzag)
}

/// Appends bytes behind their length.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Takes bytes that stand behind their length.
pub(crate) fn take_bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let len = usize::try_from(take(input)?).map_err(|_| Malformed("a length is out of range"))?;
    take_exact(input, len)
}

/// Takes `len` bytes.
pub(crate) fn take_exact<'a>(input: &mut &'a [u8], len: usize) -> Result<&'a [u8], Malformed> {
    let (bytes, rest) = input.split_at_checked(len).ok_or(Malformed("a value is cut off"))?;
    *input = rest;
    Ok(bytes)
}

/// Takes one byte.
pub(crate) fn take_byte(input: &mut &[u8]) -> Result<u8, Malformed> {
    let (&byte, rest) = input.split_first().ok_or(Malformed("a value is cut off"))?;
    *input = rest;
    Ok(byte)
}
