//! One region of a plan, and what it may look like.

use super::Place;
use crate::Error;
use serde::{Deserialize, Serialize};
use tw_types::RegionId;

/// The weight of a region that keeps all its users.
pub const WEIGHT_MAX: u32 = 1_000;
/// How many addresses a region may have.
pub const ADDRESSES_MAX: usize = 16;
/// How long an address may be, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 255;
/// To how many parts of other regions a region may give users.
pub const GIVEN_MAX: usize = 16;

/// A region as a plan has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Which one it is.
    pub id: RegionId,
    /// How many of the users that prefer the region it keeps, in thousandths: 0 to [`WEIGHT_MAX`].
    pub weight: u32,
    /// Whether nobody is sent there, whatever happens.
    #[serde(default)]
    pub drained: bool,
    /// How many requests it can serve a second: 1 or more.
    pub capacity_per_s: u32,
    /// Where it is, for users whose latency nobody has measured.
    #[serde(default)]
    pub place: Option<Place>,
    /// Where it is reached: host names or IP addresses, with a port or without. At most [`ADDRESSES_MAX`] of
    /// [`ADDRESS_BYTES_MAX`] bytes; a region that may serve has one at least.
    pub addresses: Vec<String>,
    /// What becomes of users that it does not keep, the oldest part first; at most [`GIVEN_MAX`]. Weight and parts are [`WEIGHT_MAX`] together
    /// at most; users that are in neither go on to the region that is next for them.
    #[serde(default)]
    pub given: Vec<Given>,
}

/// A part of a region's users that it does not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// The region that serves them; None: the one that is next for each.
    #[serde(default)]
    pub to: Option<RegionId>,
    /// How many, in thousandths of the users that prefer the giver: 1 or more.
    pub permille: u32,
}

impl Region {
    /// Whether users may prefer it.
    pub(super) fn serves(&self) -> bool {
        !self.drained && self.weight > 0
    }

    /// Who gets the user with this draw, which is not below the weight. The oldest part has the highest draws: so a new one moves
    /// nobody who was given before.
    pub(super) fn given_to(&self, draw: u32) -> Option<RegionId> {
        let mut until = WEIGHT_MAX;
        for given in &self.given {
            until = until.saturating_sub(given.permille);
            if draw >= until {
                return given.to;
            }
        }
        None
    }

    /// Gives a part of the users that it kept to another region.
    pub(super) fn give(&mut self, to: RegionId, permille: u32) {
        // Those that it let go on before are a part of their own: otherwise they would be given in the place of those that it kept.
        let passed = WEIGHT_MAX.saturating_sub(self.weight).saturating_sub(self.given_permille());
        self.add(None, passed);
        self.weight = self.weight.saturating_sub(permille);
        self.add(Some(to), permille);
    }

    fn add(&mut self, to: Option<RegionId>, permille: u32) {
        match self.given.last_mut() {
            _ if permille == 0 => {}
            Some(last) if last.to == to => last.permille += permille,
            _ => self.given.push(Given { to, permille }),
        }
    }

    /// Keeps so many users, also of those that were given: the part that was given last comes back first.
    pub(super) fn keep(&mut self, weight: u32) {
        self.weight = weight;
        let mut over = (self.weight + self.given_permille()).saturating_sub(WEIGHT_MAX);
        while over > 0
            && let Some(last) = self.given.last_mut()
        {
            let back = over.min(last.permille);
            (over, last.permille) = (over - back, last.permille - back);
            if last.permille == 0 {
                self.given.pop();
            }
        }
    }

    fn given_permille(&self) -> u32 {
        self.given.iter().fold(0, |sum, given| sum.saturating_add(given.permille))
    }

    /// Checks everything that can be seen without the other regions.
    pub(super) fn check(&self) -> Result<(), Error> {
        let is_address = |address: &String| {
            (1..=ADDRESS_BYTES_MAX).contains(&address.len())
                && address.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
        };
        let rules = [
            (self.weight <= WEIGHT_MAX, "say a weight of 0 to 1000"),
            (self.capacity_per_s > 0, "say a capacity of 1 request/s or more, or drain it"),
            (self.addresses.len() <= ADDRESSES_MAX, "name 16 addresses at most"),
            (
                self.addresses.iter().all(is_address),
                "an address is a host name or an IP address, with a port or without, of 255 bytes at most",
            ),
            (
                !self.serves() || !self.addresses.is_empty(),
                "name an address where it is reached, or drain it",
            ),
            (self.given.len() <= GIVEN_MAX, "its users are in 16 parts at most: raise its weight first"),
            (
                self.given.iter().all(|given| given.permille > 0 && given.to != Some(self.id)),
                "it gives a part of its users, of 1 thousandth or more, to another region",
            ),
            (
                self.weight.saturating_add(self.given_permille()) <= WEIGHT_MAX,
                "what it keeps and what it gives are 1000 thousandths at most",
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(Error::RouteRegion { region: self.id, rule }),
            None => Ok(()),
        }
    }
}
