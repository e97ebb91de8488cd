//! The numbers that a user draws for a region, by hash: the same everywhere and always.
//!
//! For one region against all others, weighted rendezvous hashing is a threshold: the user's draw is below the region's weight,
//! or it is not. So a weight that changes by a tenth moves a tenth of the users, and no others. Three purposes have three draws that
//! know nothing of each other: otherwise those whom a weight sends away would be those who do not fit in elsewhere.

use super::Region;
use crate::hash::{dislike, hash_of, mix};
use tw_types::RegionId;

/// What the draws are for.
const NEAR: u64 = 1;
const WEIGHT: u64 = 2;
const ROOM: u64 = 3;

/// The hash of a user's key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drawer(u64);

impl Drawer {
    pub(super) fn new(key: &str) -> Self {
        Self(hash_of(key))
    }

    fn draw(self, purpose: u64, region: RegionId) -> u64 {
        mix(mix(self.0, purpose), u64::from(region.0))
    }

    /// How little the user likes the region among those of the same latency: the smallest is the first choice, in proportion
    /// to capacities.
    pub(super) fn dislike(self, region: &Region) -> f64 {
        dislike(mix(self.0, NEAR), u64::from(region.id.0), u64::from(region.capacity_per_s))
    }

    /// 0 to 999: below the region's weight, the region keeps the user.
    pub(super) fn weight(self, region: RegionId) -> u32 {
        ((u128::from(self.draw(WEIGHT, region)) * 1_000) >> 64) as u32
    }

    /// Below the region's cutoff, there is room for the user.
    pub(super) fn room(self, region: RegionId) -> u32 {
        (self.draw(ROOM, region) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_those_of_earlier_versions() {
        let (user, region) = (Drawer::new("user-7"), RegionId(3));
        assert_eq!((user.weight(region), user.room(region)), (322, 3_194_752_431));
    }

    #[test]
    fn draws_are_even_and_know_nothing_of_each_other() {
        let users: Vec<Drawer> = (0..40_000).map(|number| Drawer::new(&format!("u{number}"))).collect();
        let half = |number: u32, of: u64| u64::from(number) * 2 < of;
        let count = |takes: &dyn Fn(&Drawer) -> bool| users.iter().filter(|user| takes(user)).count();
        let (one, other) = (RegionId(1), RegionId(2));
        let weight = |user: &Drawer, region| half(user.weight(region), 1_000);
        let room = |user: &Drawer, region| half(user.room(region), 1 << 32);
        for region in [one, other] {
            assert!(count(&|user| weight(user, region)).abs_diff(20_000) < 400);
            assert!(count(&|user| room(user, region)).abs_diff(20_000) < 400);
            assert!(count(&|user| weight(user, region) && room(user, one)).abs_diff(10_000) < 400);
        }
        assert!(count(&|user| weight(user, one) && weight(user, other)).abs_diff(10_000) < 400);
    }
}
