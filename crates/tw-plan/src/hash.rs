//! Preferences by hash: weighted rendezvous hashing (highest random weight).
//!
//! Every node draws a number for every key, by hash, and the key prefers the node with the best draw. A node that joins
//! takes only keys that prefer it; one that leaves gives up only its own (Thaler, Ravishankar: Using name-based mappings to
//! increase hit rates, IEEE/ACM ToN 1998). With the draw −log(h) / capacity, the smallest winning, a node is preferred in
//! proportion to its capacity (Schindelhauer, Schomaker: Weighted distributed hash tables, SPAA 2005): the draws are
//! exponentially distributed with the capacities as rates.
//!
//! The logarithm is computed in fixed point, so that every machine has the same preferences: those of a platform's
//! mathematical library differ in the last bit.

use xxhash_rust::xxh3::xxh3_64;

/// How many bits of [`neg_log2`]'s result are behind the point.
pub(crate) const FRACTION_BITS: u32 = 40;

/// The hash of a name.
pub(crate) fn hash_of(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

/// Mixes two hashes into one (the finaliser of SplitMix64; Steele, Lea, Flood 2014).
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.rotate_left(32) ^ b;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// How little `key` likes `node` with its capacity of at least 1: the smallest of all is its first choice.
pub(crate) fn dislike(key: u64, node: u64, capacity: u64) -> f64 {
    neg_log2(mix(key, node)) as f64 / capacity.max(1) as f64
}

/// −log₂(h / 2⁶⁴) with [`FRACTION_BITS`] bits behind the point, for h > 0; 0 counts as 1. Off by less than 3 · 10⁻⁶.
pub(crate) fn neg_log2(h: u64) -> u64 {
    let h = h.max(1);
    let zeros = h.leading_zeros();
    let mantissa = h << zeros;
    let entry = (mantissa >> 55 & 0xff) as usize;
    let rest = (mantissa & ((1 << 55) - 1)) >> 24;
    let (low, high) = (LOG2[entry], LOG2[entry + 1]);
    let log2 = low + (((high - low) * rest) >> 31);
    (u64::from(zeros + 1) << FRACTION_BITS) - log2
}

/// log₂(1 + i / 256) with [`FRACTION_BITS`] bits behind the point.
static LOG2: [u64; 257] = {
    let mut table = [0; 257];
    let mut i = 0;
    while i < 256 {
        // A number between 1 and 2 is squared again and again: whenever it passes 2, the next bit of its logarithm is 1.
        let mut x: u128 = (256 + i as u128) << 55;
        let mut bit = FRACTION_BITS;
        while bit > 0 {
            bit -= 1;
            x = (x * x) >> 63;
            if x >= 1 << 64 {
                x >>= 1;
                table[i] |= 1 << bit;
            }
        }
        i += 1;
    }
    table[256] = 1 << FRACTION_BITS;
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_within_its_error() {
        for h in (0..64).flat_map(|bit| [1u64 << bit, (1 << bit) + (1 << bit >> 1), u64::MAX >> bit]) {
            let exact = 64.0 - (h as f64).log2();
            let got = neg_log2(h) as f64 / (1u64 << FRACTION_BITS) as f64;
            assert!((exact - got).abs() < 3e-6, "{h}: {got} instead of {exact}");
        }
        assert_eq!(neg_log2(0), neg_log2(1));
    }

    #[test]
    fn preferences_are_those_of_earlier_versions() {
        assert_eq!(mix(hash_of("7/3"), hash_of("node-1")), 9_804_646_078_848_973_220);
        assert_eq!(neg_log2(0x9e37_79b9_7f4a_7c15), 763_329_001_102);
    }

    #[test]
    fn a_node_is_preferred_in_proportion_to_its_capacity() {
        let nodes = [("a", 1), ("b", 2), ("c", 5)].map(|(name, capacity)| (hash_of(name), capacity));
        let mut counts = [0u32; 3];
        for key in 0..80_000u64 {
            let draws = nodes.map(|(node, capacity)| dislike(mix(key, 1), node, capacity));
            let best = (0..3).min_by(|a, b| draws[*a].total_cmp(&draws[*b])).unwrap();
            counts[best] += 1;
        }
        for (count, expected) in counts.iter().zip([10_000u32, 20_000, 50_000]) {
            assert!(count.abs_diff(expected) < 600, "{counts:?}");
        }
    }
}
