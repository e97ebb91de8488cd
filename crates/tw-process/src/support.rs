//! What unit tests share with the tests under `tests/`.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "only tests use it"
)]

#[path = "../tests/suite/support/ledger.rs"]
pub(crate) mod ledger;
#[path = "../tests/suite/support/stores.rs"]
pub(crate) mod stores;
#[path = "../tests/suite/support/world.rs"]
pub(crate) mod world;
