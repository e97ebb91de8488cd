//! What the tests share.

pub mod ledger;
pub mod node;
pub mod stores;
pub mod world;
