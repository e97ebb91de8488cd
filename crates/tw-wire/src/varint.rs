//! Numbers, and bytes behind their length, in records and blocks.

use crate::Error;
use tw_types::varint;
pub(crate) use tw_types::varint::{put, unzigzag, zigzag};

/// Appends `bytes` behind their length.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Takes a number from the front of `input`.
#[inline]
pub(crate) fn take(input: &mut &[u8]) -> Result<u64, Error> {
    varint::take(input).ok_or(Error::Malformed("a number is cut off or over 64 bits"))
}

/// Takes a number that must fit `usize`.
#[inline]
pub(crate) fn take_usize(input: &mut &[u8]) -> Result<usize, Error> {
    usize::try_from(take(input)?).map_err(|_| Error::Malformed("a length is over the address space"))
}

/// Takes `len` bytes.
#[inline]
pub(crate) fn take_exact<'a>(input: &mut &'a [u8], len: usize) -> Result<&'a [u8], Error> {
    let (bytes, rest) = input.split_at_checked(len).ok_or(Error::Malformed("a field is cut off"))?;
    *input = rest;
    Ok(bytes)
}

/// Takes bytes behind their length.
#[inline]
pub(crate) fn take_bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], Error> {
    let len = take_usize(input)?;
    take_exact(input, len)
}

/// Takes a UTF-8 text behind its length.
#[inline]
pub(crate) fn take_str<'a>(input: &mut &'a [u8]) -> Result<&'a str, Error> {
    std::str::from_utf8(take_bytes(input)?).map_err(|_| Error::Malformed("a text is not UTF-8"))
}
