//! `counter`: the sum of steps.

use serde::{Deserialize, Serialize};

/// A sum. It takes changes in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counter {
    sum: i128,
}

impl Counter {
    /// Nothing counted yet.
    pub const fn new() -> Self {
        Self { sum: 0 }
    }

    /// Takes a step; whether the sum changed. [`crate::DELTA_MAX`] keeps it from wrapping; wrapping is the one way to go on beyond
    /// that does not depend on the order of arrival.
    pub const fn apply(&mut self, delta: i128) -> bool {
        self.sum = self.sum.wrapping_add(delta);
        delta != 0
    }

    /// The sum.
    pub const fn value(&self) -> i128 {
        self.sum
    }
}
