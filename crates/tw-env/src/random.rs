//! Randomness.

/// Where randomness comes from.
pub trait Random: Send + Sync {
    /// 64 random bits.
    fn next_u64(&self) -> u64;
}
