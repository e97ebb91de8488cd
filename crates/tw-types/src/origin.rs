//! Where an event was first accepted.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}
pub(crate) use number;

number! {
    /// A region: allocated by an administrator, never hashed, never reused. 0 is a single, unnamed region.
    RegionId(u16)
}
number! {
    /// A region's incarnation: raised whenever a copy of the region may have been replaced (a restore, a failover).
    Epoch(u32)
}
number! {
    /// An event's number among those that a region accepted for a partition in an epoch; dense from 1, so a gap shows.
    Sequence(u64)
}

/// (region, epoch, sequence): the identity of an acceptance, the same in every region that holds the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Origin {
    /// The region that accepted the event.
    pub region: RegionId,
    /// That region's epoch at the time.
    pub epoch: Epoch,
    /// The event's number within (region, epoch, stream partition).
    pub sequence: Sequence,
}

impl fmt::Display for Origin {
    /// `region.epoch.sequence`, the form of the `tworigin` attribute.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.region, self.epoch, self.sequence)
    }
}
