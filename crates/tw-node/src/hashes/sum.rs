//! A hash of many things that does not depend on their order: the sum of their hashes, modulo 2^128.
//!
//! A sum, not an exclusive or: what is there twice counts twice. XXH3 (Yann Collet; 128 bits, no seed) finds accidents with certainty
//! for every practical purpose, and is no protection from somebody who makes two sets with one sum on purpose (Bellare and
//! Micciancio, *A New Paradigm for Collision-Free Hashing*, EUROCRYPT 1997).

use std::fmt;
use xxhash_rust::xxh3::xxh3_128;

/// How many things there were, and the sum of their hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sum {
    count: u64,
    sum: u128,
}

impl Sum {
    /// Adds a thing.
    pub(super) fn add(&mut self, thing: &[u8]) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(xxh3_128(thing));
    }

    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

impl fmt::Display for Sum {
    /// The sum as 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(things: &[&str]) -> Sum {
        let mut sum = Sum::default();
        things.iter().for_each(|thing| sum.add(thing.as_bytes()));
        sum
    }

    #[test]
    fn reg_1_order_does_not_matter_and_everything_else_does() {
        let same = sum(&["a", "b", "c"]);
        assert_eq!(sum(&["c", "a", "b"]), same);
        for other in
            [&["a", "b"][..], &["a", "b", "d"], &["a", "b", "c", "c"], &["ab", "c"], &["a", "a", "c"]]
        {
            assert_ne!(sum(other).to_string(), same.to_string(), "{other:?}");
        }
        // What is there twice is not as if it was not there.
        assert_ne!(sum(&["a", "a"]).to_string(), sum(&[]).to_string());
    }

    #[test]
    fn a_sum_is_the_same_in_every_build() {
        assert_eq!(sum(&[]).to_string(), "0".repeat(32));
        // XXH3's own value for nothing, without a seed.
        assert_eq!(sum(&[""]).to_string(), "99aa06d3014798d86001c324468d497f");
    }
}
