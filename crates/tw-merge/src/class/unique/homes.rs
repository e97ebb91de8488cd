//! Which region is the home of which key.
//!
//! Source: Thaler, Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM ToN 1998: every region draws a number
//! for a key by hash, and the greatest is its home. A region that comes or goes moves only the keys that it gets or had.

use super::Error;
use std::collections::{BTreeMap, BTreeSet};
use tw_types::RegionId;

/// A table of homes. Tables follow each other by their epochs; every region applies each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Homes {
    epoch: u32,
    /// The first region; there is always one.
    first: RegionId,
    regions: BTreeSet<RegionId>,
    overrides: BTreeMap<Vec<u8>, RegionId>,
}

impl Homes {
    /// A table of the regions that are homes, and of keys that have their home elsewhere than by hash.
    ///
    /// # Errors
    /// [`Error::NoRegions`], and [`Error::UnknownHome`] for an override to a region that is not among them.
    pub fn new(
        epoch: u32,
        regions: impl IntoIterator<Item = RegionId>,
        overrides: BTreeMap<Vec<u8>, RegionId>,
    ) -> Result<Self, Error> {
        let regions: BTreeSet<RegionId> = regions.into_iter().collect();
        let first = *regions.first().ok_or(Error::NoRegions)?;
        if let Some(region) = overrides.values().find(|region| !regions.contains(region)) {
            return Err(Error::UnknownHome { region: *region });
        }
        Ok(Self { epoch, first, regions, overrides })
    }

    /// Which table this is.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The regions that are homes, in their order.
    pub fn regions(&self) -> impl Iterator<Item = RegionId> + '_ {
        self.regions.iter().copied()
    }

    /// The home of a key.
    pub fn home(&self, key: &[u8]) -> RegionId {
        if let Some(region) = self.overrides.get(key) {
            return *region;
        }
        let hash = fnv1a(key);
        self.regions().max_by_key(|region| draw(hash, *region)).unwrap_or(self.first)
    }
}

/// The FNV-1a hash of 64 bits (Fowler, Noll, Vo; RFC 9923).
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The number that a region draws for a key: SplitMix64's finaliser (Steele, Lea, Flood 2014) over both.
fn draw(hash: u64, region: RegionId) -> u64 {
    let mut z = hash ^ (u64::from(region.0) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
