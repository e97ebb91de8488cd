//! `reserve`: a quantity that does not go below zero, although every region takes from it without asking.
//!
//! Each region has rights to a part of the quantity. It uses up and gives away its own rights only, and can use what it
//! was given when that has arrived. So rights are missing in one region while another one has plenty, and are never used twice.
//!
//! Sources: O'Neil, "The Escrow Transactional Method", ACM TODS 11(4), 1986; Balegas et al., "Extending Eventually Consistent Cloud
//! Databases for Enforcing Numeric Invariants" (the bounded counter), SRDS 2015.

use crate::Context;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tw_types::RegionId;

/// An operation on a reserve. Amounts are in units of the field's scale, from 1 to [`crate::AMOUNT_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReserveOp {
    /// So much more; the rights are the writing region's.
    Produce(u64),
    /// So much less, from the writing region's rights.
    Consume(u64),
    /// So much of the writing region's rights are another one's.
    Transfer {
        /// Who gets them.
        to: RegionId,
        /// How much.
        amount: u64,
    },
}

/// Whether an amount can be used in a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consumption {
    /// The region has the rights.
    Here,
    /// It lacks some: ask these regions for a transfer of so much each; as few regions as possible.
    Ask(Vec<(RegionId, u64)>),
    /// There is not so much anywhere, as far as this region knows.
    Short {
        /// What there is.
        total: u128,
    },
}

/// Whether a subject with a reserve can be deleted in a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletion {
    /// No other region has rights.
    Here,
    /// Ask these regions for all their rights first.
    Ask(Vec<(RegionId, u64)>),
}

/// Rights per region. It takes changes in any order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reserve {
    /// Without zeros. A region's entry is negative only where it used rights that it did not have.
    rights: BTreeMap<RegionId, i128>,
}

impl Reserve {
    /// Nothing anywhere.
    pub const fn new() -> Self {
        Self { rights: BTreeMap::new() }
    }

    /// Takes an operation; whether the quantity changed. A transfer does not change it.
    pub fn apply(&mut self, op: ReserveOp, context: &Context) -> bool {
        let region = context.stamp.region();
        match op {
            ReserveOp::Produce(amount) => self.add(region, i128::from(amount)),
            ReserveOp::Consume(amount) => self.add(region, -i128::from(amount)),
            ReserveOp::Transfer { to, amount } => {
                self.add(region, -i128::from(amount));
                self.add(to, i128::from(amount));
                return false;
            }
        }
        true
    }

    fn add(&mut self, region: RegionId, amount: i128) {
        let entry = self.rights.entry(region).or_default();
        *entry = entry.wrapping_add(amount);
        if *entry == 0 {
            self.rights.remove(&region);
        }
    }

    /// The quantity.
    pub fn value(&self) -> i128 {
        self.rights.values().fold(0, |sum, rights| sum.wrapping_add(*rights))
    }

    /// What a region may use and give away.
    pub fn available(&self, region: RegionId) -> u128 {
        let rights = self.rights.get(&region).copied().unwrap_or_default();
        u128::try_from(rights).unwrap_or_default()
    }

    /// Each region's rights, where they are not zero, in the order of regions.
    pub fn iter(&self) -> impl Iterator<Item = (RegionId, i128)> + '_ {
        self.rights.iter().map(|(region, rights)| (*region, *rights))
    }

    /// Whether `region` may use or give away `amount`. It must be asked of what the change will say that its region has seen
    /// ([`crate::subject::Subject::reserve_as_seen`]): a right that came a moment before is no right for those who learn of the change first.
    pub fn may_consume(&self, region: RegionId, amount: u64) -> Consumption {
        let mut missing = u128::from(amount).saturating_sub(self.available(region));
        if missing == 0 {
            return Consumption::Here;
        }
        let mut others = self.others(region);
        others.sort_by_key(|&(region, rights)| (std::cmp::Reverse(rights), region));
        let mut asked = Vec::new();
        for (other, rights) in others {
            if missing == 0 {
                break;
            }
            let part = missing.min(rights);
            missing -= part;
            asked.push((other, amount_of(part)));
        }
        match missing {
            0 => Consumption::Ask(asked),
            _ => Consumption::Short { total: u128::from(amount) - missing },
        }
    }

    /// Whether `region` may delete the subject: only if no other region has rights, because a delete takes away what it has seen, and a
    /// right that is used up elsewhere at the same time would have been taken away under its user.
    pub fn may_delete(&self, region: RegionId) -> Deletion {
        let others = self.others(region);
        if others.is_empty() {
            return Deletion::Here;
        }
        Deletion::Ask(others.into_iter().map(|(other, rights)| (other, amount_of(rights))).collect())
    }

    /// The regions but this one that have rights.
    fn others(&self, region: RegionId) -> Vec<(RegionId, u128)> {
        let others = self.rights.keys().filter(|other| **other != region);
        others.map(|other| (*other, self.available(*other))).filter(|(_, rights)| *rights > 0).collect()
    }
}

/// As much as one transfer can carry.
fn amount_of(rights: u128) -> u64 {
    u64::try_from(rights).unwrap_or(u64::MAX).min(crate::AMOUNT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::context;

    fn reserve(rights: &[(u16, u64)]) -> Reserve {
        let mut reserve = Reserve::new();
        for (at, &(region, amount)) in rights.iter().enumerate() {
            reserve.apply(ReserveOp::Produce(amount), &context(region, at as u64 + 1, &[]));
        }
        reserve
    }

    #[test]
    fn a_region_that_lacks_rights_asks_as_few_others_as_possible() {
        let reserve = reserve(&[(1, 2), (2, 5), (3, 9), (4, 9)]);
        assert_eq!(reserve.may_consume(RegionId(1), 2), Consumption::Here);
        assert_eq!(reserve.may_consume(RegionId(1), 11), Consumption::Ask(vec![(RegionId(3), 9)]));
        let two = vec![(RegionId(3), 9), (RegionId(4), 1)];
        assert_eq!(reserve.may_consume(RegionId(1), 12), Consumption::Ask(two));
        assert_eq!(reserve.may_consume(RegionId(1), 26), Consumption::Short { total: 25 });
        assert_eq!(reserve.may_consume(RegionId(9), 1), Consumption::Ask(vec![(RegionId(3), 1)]));
    }

    #[test]
    fn a_transfer_moves_rights_and_leaves_the_quantity() {
        let mut reserve = reserve(&[(1, 10)]);
        let moves = ReserveOp::Transfer { to: RegionId(2), amount: 4 };
        assert!(!reserve.apply(moves, &context(1, 9, &[])));
        assert_eq!((reserve.value(), reserve.available(RegionId(2))), (10, 4));
        assert_eq!(reserve.may_delete(RegionId(1)), Deletion::Ask(vec![(RegionId(2), 4)]));
        assert!(reserve.apply(ReserveOp::Consume(4), &context(2, 10, &[(1, 9)])));
        assert_eq!(reserve.may_delete(RegionId(1)), Deletion::Here);
    }
}
