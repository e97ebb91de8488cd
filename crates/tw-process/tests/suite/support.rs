//! What the tests share.

pub mod ledger;
pub mod node;
pub mod stores;
pub mod world;

/// How many random cases to run: the default, or what the environment asks for.
pub fn cases(default: u32) -> u32 {
    std::env::var("TRADEWIND_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
