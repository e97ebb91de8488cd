//! Integers of variable length in stored forms: LEB128 as in Protocol Buffers, at most ten bytes.

/// Appends `value`.
#[inline]
pub fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a number from the front of `input`; None when it is cut off or over 64 bits.
#[inline]
pub fn take(input: &mut &[u8]) -> Option<u64> {
    // One byte is by far the most frequent length.
    if let Some((&byte, rest)) = input.split_first()
        && byte < 0x80
    {
        *input = rest;
        return Some(u64::from(byte));
    }
    take_long(input)
}

fn take_long(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Zigzag: small magnitudes of either sign, small codes.
#[inline]
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
#[inline]
pub fn unzigzag(code: u64) -> i64 {
    (code >> 1) as i64 ^ -((code & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn eleven_bytes_or_a_65th_bit_are_refused() {
        assert_eq!(take(&mut [0xff; 11].as_slice()), None);
        let over = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(take(&mut over.as_slice()), None);
        assert_eq!(take(&mut [0x80].as_slice()), None);
    }

    proptest! {
        #[test]
        fn numbers_read_back(value in any::<u64>(), signed in any::<i64>()) {
            let mut out = Vec::new();
            put(&mut out, value);
            prop_assert_eq!(take(&mut out.as_slice()), Some(value));
            prop_assert_eq!(unzigzag(zigzag(signed)), signed);
        }
    }
}
