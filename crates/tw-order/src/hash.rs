//! What stands for subjects and ids in memory and in the index.

use std::num::NonZeroU128;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Stands for a subject: XXH3-128 of its text, 0 excluded.
///
/// Two subjects with the same hash would share one sequence of versions. Among 10¹² subjects that has a probability
/// of about 10⁻¹⁵.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectHash(NonZeroU128);

impl SubjectHash {
    /// The hash of `subject`.
    pub fn of(subject: &str) -> Self {
        Self::from_u128(xxh3_128(subject.as_bytes()))
    }

    /// From its integer form; 0 counts as 1.
    pub fn from_u128(raw: u128) -> Self {
        Self(NonZeroU128::new(raw).unwrap_or(NonZeroU128::MIN))
    }

    /// Its integer form.
    pub fn as_u128(self) -> u128 {
        self.0.get()
    }

    /// Bits for a hash table; they are well mixed already.
    pub(crate) fn short(self) -> u64 {
        self.0.get() as u64
    }
}

/// Stands for an event's id: 32 bits of XXH3-64. Equal hashes are only a suspicion, which reading the event settles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct IdHash(pub u32);

impl IdHash {
    /// The hash of `id`.
    pub fn of(id: &str) -> Self {
        Self(xxh3_64(id.as_bytes()) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_fixed_because_they_are_stored() {
        assert_eq!(SubjectHash::of("order-7").as_u128(), 0x559a_5492_7d0b_e7df_f7ad_37c0_ce66_4fea);
        assert_eq!(IdHash::of("order-7"), IdHash(0xd29f_8fbb));
        assert_eq!(SubjectHash::from_u128(0).as_u128(), 1);
    }
}
