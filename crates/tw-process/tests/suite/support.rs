//! What the tests share.

pub mod depot;
pub mod ledger;
pub mod node;
pub mod stores;
pub mod world;
