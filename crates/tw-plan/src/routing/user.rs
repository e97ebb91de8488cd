//! What is known of a user.

use super::Place;
use std::collections::BTreeMap;
use tw_types::RegionId;

/// A user, or all users behind one network prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// What the user is recognised by: an account, a session, a network prefix. The same key draws the same numbers.
    pub key: String,
    /// Where the user is, as far as known.
    pub place: Option<Place>,
    /// Round trips between the user, or others of the same prefix, and regions.
    pub measured: BTreeMap<RegionId, Measured>,
    /// How far each region is behind with the user's data, in milliseconds. A region that is missing has said nothing.
    pub lag_ms: BTreeMap<RegionId, u32>,
    /// How far behind a region may be for this user, in milliseconds; None: any.
    pub lag_ms_max: Option<u32>,
    /// The region that served the user last.
    pub current: Option<RegionId>,
}

/// A measured round trip. Whoever measures takes the median, or another value that does not jump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// How long it took, in milliseconds.
    pub rtt_ms: u32,
    /// When it was measured, in milliseconds of the router's clock.
    pub at_ms: u64,
}

/// One user of a sample that stands for the present load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sampled {
    /// Who it is.
    pub user: User,
    /// For how much it stands, in thousandths of a request a second. The whole load over the number of sampled requests is the rate of
    /// each.
    pub rate_milli_per_s: u64,
}
