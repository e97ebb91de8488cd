//! Routing: which region serves a user.
//!
//! A [`Plan`] says which regions there are and what part of their users each one keeps; it changes by generations only. [`rank`]
//! orders the regions for one user, by that plan, by what was [`Observed`] of the regions and by what is known of the
//! [`User`]. [`admission`] says how much of what wants to go to a region fits in, [`shift`], [`drain`] and [`weigh`] make the next
//! generation after they have checked that the load has a place, and [`headroom`] tells whether a region may be lost. Who knows only how
//! busy each region is makes a [`sample`] of that.
//!
//! Whoever answers users (HTTP, redirects, DNS) asks [`rank`] and follows it; whoever stores plans does so compare-and-set.
//! Nothing here sends, stores, reads a clock or draws a random number. The README in this module's folder says why it is as
//! it is, and compares it with simpler ways.

mod admission;
mod distance;
mod draw;
mod load;
mod market;
mod observed;
mod options;
mod order;
mod plan;
mod rank;
mod region;
mod rtts;
mod shift;
#[cfg(test)]
mod tests;
mod user;

pub use admission::{Admission, Admitted, admission};
pub use distance::Place;
pub use load::sample;
pub use market::{Fill, SAMPLE_MAX};
pub use observed::{Health, Observed};
pub use options::Options;
pub use order::{Basis, Latency, Reached};
pub use plan::{Plan, Proposal, REGIONS_MAX, roll_back, succeed};
pub use rank::{Excluded, GaveUp, Out, Ranked, Ranking, rank};
pub use region::{ADDRESS_BYTES_MAX, ADDRESSES_MAX, GIVEN_MAX, Given, Region, WEIGHT_MAX};
pub use rtts::{Network, RTT_MS_MAX, RTTS_MAX, Rtts};
pub use shift::{Loss, Present, drain, headroom, shift, weigh};
pub use user::{Measured, Sampled, User};
