//! Integers of variable length: LEB128 as in Protocol Buffers, at most ten bytes.

use crate::Error;

const CUT_OFF: Error = Error::Malformed("a number is cut off");

/// Appends `value`.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends `bytes` behind their length.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Zigzag: small magnitudes, small codes.
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
pub(crate) fn unzigzag(code: u64) -> i64 {
    (code >> 1) as i64 ^ -((code & 1) as i64)
}

/// Takes a number from the front of `input`.
#[inline]
pub(crate) fn take(input: &mut &[u8]) -> Result<u64, Error> {
    // One byte is by far the most frequent length.
    if let Some((&byte, rest)) = input.split_first()
        && byte < 0x80
    {
        *input = rest;
        return Ok(u64::from(byte));
    }
    take_long(input)
}

fn take_long(input: &mut &[u8]) -> Result<u64, Error> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = input.split_first().ok_or(CUT_OFF)?;
        *input = rest;
        if shift == 63 && byte > 1 {
            return Err(Error::Malformed("a number is over 64 bits"));
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Error::Malformed("a number is over 64 bits"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn eleven_bytes_or_a_65th_bit_are_refused() {
        assert!(take(&mut [0xff; 11].as_slice()).is_err());
        assert!(take(&mut [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02].as_slice()).is_err());
    }

    proptest! {
        #[test]
        fn numbers_read_back(value in any::<u64>(), signed in any::<i64>()) {
            let mut out = Vec::new();
            put(&mut out, value);
            prop_assert_eq!(take(&mut out.as_slice()).unwrap(), value);
            prop_assert_eq!(unzigzag(zigzag(signed)), signed);
        }
    }
}
