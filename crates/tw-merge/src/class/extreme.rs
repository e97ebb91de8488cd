//! `max` and `min`: the greatest or the smallest candidate.

use serde::{Deserialize, Serialize};

/// Which end counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// The greatest.
    Max,
    /// The smallest.
    Min,
}

/// The best of all candidates. It takes changes in any order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extreme<V> {
    side: Side,
    best: Option<V>,
}

impl<V: Ord + Clone> Extreme<V> {
    /// Without a candidate.
    pub const fn new(side: Side) -> Self {
        Self { side, best: None }
    }

    /// Takes a candidate; whether it is the best now.
    pub fn apply(&mut self, candidate: &V) -> bool {
        let better = self.best.as_ref().is_none_or(|best| match self.side {
            Side::Max => candidate > best,
            Side::Min => candidate < best,
        });
        if better {
            self.best = Some(candidate.clone());
        }
        better
    }

    /// Which end counts.
    pub const fn side(&self) -> Side {
        self.side
    }

    /// The best candidate.
    pub const fn value(&self) -> Option<&V> {
        self.best.as_ref()
    }
}
