//! How important a request is.

use crate::Error;
use serde::{Deserialize, Serialize};

/// The importance of a request, 0 to 15: higher ones are refused last.
///
/// The four names leave room between them: [`Priority::within`] spreads the requests of one name over four steps by their
/// client, so that under overload some clients are served and others not, instead of every client getting half of its
/// requests done (the user priority of DAGOR).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

impl Priority {
    /// How many there are.
    pub const COUNT: usize = 16;
    /// Work that can wait: rebuilds, exports, prefetching.
    pub const BACKGROUND: Self = Self(0);
    /// What programs ask for.
    pub const NORMAL: Self = Self(4);
    /// What people wait for.
    pub const HIGH: Self = Self(8);
    /// What keeps the cluster alive: health, leases, hand-overs.
    pub const CRITICAL: Self = Self(12);

    /// Spreads one name over its four steps: the same `client` and `period` give the same step. With a period that
    /// changes, every hour say, it is not always the same clients that are refused.
    #[must_use]
    pub fn within(self, client: &str, period: u64) -> Self {
        let step = crate::hash::mix(crate::hash::hash_of(client), period) & 3;
        Self(self.0 & !3 | step as u8)
    }

    /// All of them, the lowest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT as u8).map(Self)
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl TryFrom<u8> for Priority {
    type Error = Error;

    fn try_from(number: u8) -> Result<Self, Error> {
        crate::error::check([("priority", number.into(), 0..=15, "0 to 15")])?;
        Ok(Self(number))
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}
