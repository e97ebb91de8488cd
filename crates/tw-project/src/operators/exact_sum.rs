//! Sums of floats that are exact: the same in every order, and without a trace of what was taken back.
//!
//! The sum is a fixed-point number wide enough for every double, kept as 64-bit chunks that stand 32 bits apart, so that billions
//! of values can be added before carries must be moved. Only the chunks between the smallest and the largest value are kept.
//! Rounding happens once, when the sum is read.
//!
//! Source: Radford M. Neal, "Fast exact summation using small and large superaccumulators" (2015), section 2.

use crate::state::Malformed;
use crate::state::varint::{put, put_signed, take, take_byte, take_signed};
use smallvec::SmallVec;

/// Bits between the lowest bits of two chunks.
const STRIDE: u32 = 32;
/// Chunks from the smallest subnormal (2^−1074) to the largest double and its carries.
const CHUNKS_MAX: usize = 72;
/// Additions after which a chunk could overflow: each adds less than 2^32.
const ADDITIONS_MAX: u32 = 1 << 30;

/// An exact sum of doubles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ExactSum {
    /// The number of the first chunk that is kept.
    base: u8,
    chunks: SmallVec<[i64; 5]>,
    additions: u32,
    /// How often NaN, infinity and minus infinity were added.
    specials: Option<Box<[i64; 3]>>,
}

impl ExactSum {
    /// Adds `value`, or takes it back.
    #[inline]
    pub(crate) fn add(&mut self, value: f64, take_back: bool) {
        let bits = value.to_bits();
        let exponent = (bits >> 52 & 0x7ff) as u32;
        if exponent == 0x7ff {
            self.add_special(value, take_back);
            return;
        }
        let fraction = bits & ((1 << 52) - 1);
        // A subnormal has no hidden bit, and the exponent of the smallest normal number.
        let (mantissa, position) =
            if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
        if mantissa == 0 {
            return;
        }
        let negative = value.is_sign_negative() != take_back;
        let (chunk, shift) = ((position / STRIDE) as usize, position % STRIDE);
        let wide = u128::from(mantissa) << shift;
        let index = self.make_room(chunk);
        for (offset, target) in self.chunks.iter_mut().skip(index).take(3).enumerate() {
            let part = (wide >> (STRIDE * offset as u32)) as u32;
            *target += if negative { -i64::from(part) } else { i64::from(part) };
        }
        self.additions += 1;
        if self.additions >= ADDITIONS_MAX {
            self.carry();
        }
    }

    #[cold]
    fn add_special(&mut self, value: f64, take_back: bool) {
        let counts = self.specials.get_or_insert_default();
        let [nan, infinite, minus_infinite] = counts.as_mut();
        let count = if value.is_nan() {
            nan
        } else if value > 0.0 {
            infinite
        } else {
            minus_infinite
        };
        *count += if take_back { -1 } else { 1 };
    }

    /// Makes sure that three chunks from `chunk` on are kept, and gives the index of the first.
    #[inline]
    fn make_room(&mut self, chunk: usize) -> usize {
        let base = usize::from(self.base);
        if self.chunks.is_empty() {
            self.base = chunk as u8;
            self.chunks.resize(3, 0);
            return 0;
        }
        if chunk < base {
            self.chunks.insert_many(0, std::iter::repeat_n(0, base - chunk));
            self.base = chunk as u8;
            return 0;
        }
        let index = chunk - base;
        if self.chunks.len() < index + 3 {
            self.chunks.resize(index + 3, 0);
        }
        index
    }

    /// Adds another sum.
    pub(crate) fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        other.carry();
        self.carry();
        for (offset, chunk) in other.chunks.iter().enumerate() {
            if *chunk != 0 {
                let index = self.make_room(usize::from(other.base) + offset);
                if let Some(target) = self.chunks.get_mut(index) {
                    *target += chunk;
                }
            }
        }
        self.additions += 1;
        if let Some(counts) = &other.specials {
            let mine = self.specials.get_or_insert_default();
            mine.iter_mut().zip(counts.iter()).for_each(|(mine, count)| *mine += count);
        }
    }

    /// Moves carries up, so that every chunk but the last is between 0 and 2^32, and drops chunks that are 0 at both ends: equal
    /// sums then have equal chunks.
    fn carry(&mut self) {
        let mut carry = 0i64;
        for chunk in &mut self.chunks {
            let value = *chunk + carry;
            *chunk = value & 0xffff_ffff;
            carry = value >> STRIDE;
        }
        // The sign is in the chunks above.
        while carry != 0 && carry != -1 {
            self.chunks.push(carry & 0xffff_ffff);
            carry >>= STRIDE;
        }
        if carry == -1 {
            self.chunks.push(-1);
        }
        while self.chunks.last() == Some(&0) {
            self.chunks.pop();
        }
        // A last chunk of −1 only says the sign; joined to the one below it says the same in fewer chunks.
        while let [.., below, -1] = self.chunks.as_slice()
            && *below >= 1 << (STRIDE - 1)
        {
            let joined = *below - (1 << STRIDE);
            self.chunks.pop();
            if let Some(last) = self.chunks.last_mut() {
                *last = joined;
            }
            if joined != -1 {
                break;
            }
        }
        let zeros = self.chunks.iter().take_while(|chunk| **chunk == 0).count();
        self.chunks.drain(..zeros);
        self.base = if self.chunks.is_empty() { 0 } else { self.base + zeros as u8 };
        self.additions = 0;
    }

    /// Whether everything that was added has been taken back.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        let mut sum = self.clone();
        sum.carry();
        sum.chunks.is_empty() && sum.specials.is_none_or(|counts| counts.iter().all(|count| *count == 0))
    }

    /// Whether it is infinite because an infinity was added, not because it is too large.
    pub(crate) fn has_infinity(&self) -> bool {
        self.specials.is_some()
    }

    /// The sum, rounded to the nearest double, half to even.
    pub(crate) fn value(&self) -> f64 {
        if let Some([nan, infinite, minus_infinite]) = self.specials.as_deref() {
            if *nan > 0 || (*infinite > 0 && *minus_infinite > 0) {
                return f64::NAN;
            }
            if *infinite > 0 {
                return f64::INFINITY;
            }
            if *minus_infinite > 0 {
                return f64::NEG_INFINITY;
            }
        }
        let mut sum = self.clone();
        sum.carry();
        let negative = sum.chunks.last().is_some_and(|last| *last < 0);
        if negative {
            sum.chunks.iter_mut().for_each(|chunk| *chunk = -*chunk);
            sum.carry();
        }
        let magnitude = sum.magnitude();
        if negative { -magnitude } else { magnitude }
    }

    /// The value of a sum that is not negative and whose carries have been moved.
    fn magnitude(&self) -> f64 {
        let Some(top) = self.chunks.len().checked_sub(1) else { return 0.0 };
        let chunk = |index: Option<usize>| {
            index.and_then(|index| self.chunks.get(index)).map_or(0, |chunk| *chunk as u128)
        };
        // The highest chunk may be wider than the others: up to 63 bits.
        let mut window = chunk(Some(top)) << 64 | chunk(top.checked_sub(1)) << 32 | chunk(top.checked_sub(2));
        let below = self.chunks.iter().take(top.saturating_sub(2)).any(|chunk| *chunk != 0);
        // The lowest bit of the window stands for 2^(low − 1074).
        let mut low = (i64::from(self.base) + top as i64 - 2) * i64::from(STRIDE);
        let mut sticky = below;
        let bits = 128 - i64::from(window.leading_zeros());
        // What a double can keep: 53 bits, or fewer below the smallest normal number.
        let drop = (bits - 53).max(-low);
        if drop > 0 {
            let half = 1u128 << (drop - 1).min(127);
            let rest = window & ((half << 1).wrapping_sub(1));
            window = if drop >= 128 { 0 } else { window >> drop };
            sticky |= rest & (half - 1) != 0;
            let odd = window & 1 == 1;
            if rest & half != 0 && (sticky || odd) {
                window += 1;
            }
            low += drop;
        }
        // At most 2^53, so this conversion is exact, and so is the scaling, unless it overflows to infinity.
        scale(window as f64, low - 1074)
    }

    /// Appends the stored form: equal sums have equal bytes.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let mut sum = self.clone();
        sum.carry();
        let specials = sum.specials.filter(|counts| counts.iter().any(|count| *count != 0));
        out.push(u8::from(specials.is_some()));
        if let Some(counts) = specials {
            counts.iter().for_each(|count| put_signed(out, *count));
        }
        put(out, sum.chunks.len() as u64);
        out.push(sum.base);
        sum.chunks.iter().for_each(|chunk| put_signed(out, *chunk));
    }

    /// Takes a sum from the front.
    pub(crate) fn take(input: &mut &[u8]) -> Result<Self, Malformed> {
        let specials = match take_byte(input)? {
            0 => None,
            1 => Some(Box::new([take_signed(input)?, take_signed(input)?, take_signed(input)?])),
            _ => return Err(Malformed("a sum has an unknown flag")),
        };
        let count = take(input)?;
        let base = take_byte(input)?;
        if count as usize + usize::from(base) > CHUNKS_MAX {
            return Err(Malformed("a sum has too many chunks"));
        }
        let mut chunks = SmallVec::new();
        for _ in 0..count {
            let chunk = take_signed(input)?;
            if chunk.unsigned_abs() > 1 << 62 {
                return Err(Malformed("a sum has a chunk out of range"));
            }
            chunks.push(chunk);
        }
        Ok(Self { base, chunks, additions: 0, specials })
    }
}

/// `value` times 2^`exponent`.
fn scale(value: f64, exponent: i64) -> f64 {
    let power = |exponent: i64| f64::from_bits(((exponent + 1023) as u64) << 52);
    match exponent {
        -1022..=1023 => value * power(exponent),
        // In two steps, the second of which is exact: the value has been cut to what a subnormal keeps.
        ..-1022 => value * power(-1000) * power((exponent + 1000).max(-1022)),
        _ => value * power(1000) * power((exponent - 1000).min(1023)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;

    fn sum(values: &[f64]) -> ExactSum {
        let mut sum = ExactSum::default();
        values.iter().for_each(|value| sum.add(*value, false));
        sum
    }

    fn stored(sum: &ExactSum) -> Vec<u8> {
        let mut out = Vec::new();
        sum.put(&mut out);
        out
    }

    #[test]
    fn sums_are_rounded_once() {
        for (values, total) in [
            (vec![0.1; 10], 1.0),
            (vec![1e100, 1.0, -1e100], 1.0),
            (vec![1.0, 1e-16, 1e-16], 1.000_000_000_000_000_2),
            (vec![f64::MAX, f64::MAX, -f64::MAX], f64::MAX),
            (vec![f64::MAX, f64::MAX], f64::INFINITY),
            (vec![5e-324, 5e-324], 1e-323),
            (vec![-1.5, 1.5], 0.0),
            (vec![f64::INFINITY, 1.0], f64::INFINITY),
            (vec![1.0, f64::EPSILON / 2.0], 1.0),
            (vec![1.0, f64::EPSILON / 2.0, 5e-324], 1.0 + f64::EPSILON),
        ] {
            assert_eq!(sum(&values).value(), total, "{values:?}");
        }
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).value().is_nan());
        assert!(sum(&[f64::NAN]).value().is_nan());
    }

    #[test]
    fn golden_bytes() {
        let all: Vec<String> = [vec![], vec![1.5], vec![-1.5], vec![f64::NAN, 0.1]]
            .iter()
            .map(|values| stored(&sum(values)).iter().map(|byte| format!("{byte:02x}")).collect())
            .collect();
        expect![[r#"
            000000
            000121808030
            000121ffff2f
            01020000031f808080800dcc99b3e60ccc9903"#]]
        .assert_eq(&all.join("\n"));
    }

    fn float() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>().prop_filter("finite", |value| value.is_finite()),
            (-1e6..1e6),
            (-1000i32..1000).prop_map(|cents| f64::from(cents) / 100.0),
            Just(5e-324),
            Just(f64::MAX),
        ]
    }

    proptest! {
        #[test]
        fn taking_everything_back_leaves_nothing(values in proptest::collection::vec(any::<f64>(), 0..40)) {
            let mut sum = sum(&values);
            values.iter().rev().for_each(|value| sum.add(*value, true));
            prop_assert!(sum.is_empty());
            prop_assert_eq!(stored(&sum), stored(&ExactSum::default()));
        }

        #[test]
        fn order_and_grouping_do_not_matter(values in proptest::collection::vec(float(), 0..40), cut in 0usize..40) {
            let whole = sum(&values);
            let mut reversed = values.clone();
            reversed.reverse();
            prop_assert_eq!(stored(&whole), stored(&sum(&reversed)));
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut merged = sum(left);
            merged.merge(&sum(right));
            prop_assert_eq!(stored(&whole), stored(&merged));
            let read = ExactSum::take(&mut stored(&whole).as_slice()).unwrap();
            prop_assert_eq!(read.value().to_bits(), whole.value().to_bits());
        }

        #[test]
        fn one_value_is_its_own_sum(value in float()) {
            prop_assert_eq!(sum(&[value]).value().to_bits(), (value + 0.0).to_bits());
        }

        #[test]
        fn two_values_are_rounded_as_the_processor_does(a in float(), b in float()) {
            prop_assert_eq!((sum(&[a, b]).value() + 0.0).to_bits(), (a + b + 0.0).to_bits());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Ok(sum) = ExactSum::take(&mut bytes.as_slice()) {
                let _ = sum.value();
            }
        }
    }
}
