//! What property tests share.

mod random;

pub(crate) use random::config;
