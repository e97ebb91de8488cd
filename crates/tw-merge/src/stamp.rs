//! The order of all changes, the same in every region.

use serde::{Deserialize, Serialize};
use std::fmt;
use tw_types::{Hlc, Origin, RegionId};

/// When and where a change was accepted. Stamps are totally ordered by timestamp, then region, epoch and sequence; a change
/// that knew of another one has the greater stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// The hybrid timestamp that its region gave it.
    pub hlc: Hlc,
    /// Its region, that region's epoch, and its number there.
    pub origin: Origin,
}

impl Stamp {
    /// The region that accepted the change.
    pub const fn region(&self) -> RegionId {
        self.origin.region
    }
}

impl fmt::Display for Stamp {
    /// The origin, `@` and the timestamp: `2.1.57@1700000000000.3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.origin, self.hlc)
    }
}
