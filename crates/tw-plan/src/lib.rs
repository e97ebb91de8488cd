//! Pure cores of the cluster: decisions about nodes, regions, work and requests.
//!
//! - [`placement`]: which node owns a partition, and which ones keep a warm copy of its state.
//! - [`balance`]: which node gets a request that any node may take.
//! - [`routing`]: which region serves a user.
//! - [`overload`]: how many requests a node works on at once, and which ones it refuses first.
//! - [`detection`]: which node is dead, by probes and votes.
//! - [`ownership`]: how a node carries a plan out, so that never two write the same.
//!
//! A core decides from its arguments alone: it is told the time and handed its randomness. `tw-cluster` stores plans and
//! carries them out; `tw-api` asks whether a request may enter. The folder of each module has a README with
//! the problem, the measure, the sources and a comparison under simulated load.

pub mod balance;
pub mod detection;
mod error;
mod hash;
pub mod overload;
pub mod ownership;
pub mod placement;
pub mod routing;
#[cfg(test)]
mod sim;

pub use error::Error;
