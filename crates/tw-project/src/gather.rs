//! Views whose partitions are kept on several nodes.
//!
//! Every partition of a view is kept up to date by its owner, and by its standbys. Whoever runs a query asks the owners of what it needs,
//! or their standbys where they may be read ([`crate::ReadFrom`]): first to hold
//! a snapshot ([`hold`]), so that everything that a statement reads of a node is of one moment; then for rows, filtered and cut
//! where they are, for parts of groups of such rows ([`partials`]), or for groups as they are stored, which are put together here as
//! those of the own partitions are. What crosses is in [`request`] and [`frames`]; how it crosses is the node's business ([`Peers`]).

pub(crate) mod choice;
pub(crate) mod fetch;
pub(crate) mod filter;
mod frames;
pub(crate) mod gathering;
pub(crate) mod groups;
pub(crate) mod hold;
pub(crate) mod partials;
mod peers;
pub(crate) mod request;
pub(crate) mod send;

pub(crate) use frames::{Failure, end, failure, head};
pub(crate) use peers::AllHere;
pub use peers::{Candidate, Heard, PeerAnswer, Peers, Place};
pub use request::PeerRequest;
