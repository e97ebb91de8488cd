//! `lww`: the last writer wins.

use crate::{Context, Stamp};
use serde::{Deserialize, Serialize};

/// The value with the greatest stamp. It takes changes in any order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lww<V> {
    last: Option<(Stamp, V)>,
}

impl<V: Ord + Clone> Lww<V> {
    /// Nothing written yet.
    pub const fn new() -> Self {
        Self { last: None }
    }

    /// Takes a value; whether the field shows another one now.
    pub fn apply(&mut self, value: &V, context: &Context) -> bool {
        if self.last.as_ref().is_some_and(|(stamp, _)| *stamp >= context.stamp) {
            return false;
        }
        let changed = self.value() != Some(value);
        self.last = Some((context.stamp, value.clone()));
        changed
    }

    /// What was written last.
    pub fn value(&self) -> Option<&V> {
        self.last.as_ref().map(|(_, value)| value)
    }
}

impl<V: Ord + Clone> Default for Lww<V> {
    fn default() -> Self {
        Self::new()
    }
}
