//! `custom`: the caller's function over all changes in their order.

use super::MergeExpr;
use crate::Stamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A function that folds changes. The same arguments have the same result on every machine and in every version of the program.
pub trait Fold<V>: fmt::Debug + Send + Sync {
    /// The expression that says what it does: another one is another function.
    fn expr(&self) -> &MergeExpr;

    /// The value after `input`, which was accepted at `stamp`, when it was `before`. None: the field has no value.
    fn fold(&self, before: Option<&V>, input: &V, stamp: &Stamp) -> Option<V>;
}

/// The result after each change, so that one that arrives late is put in where it belongs and only those after it are folded
/// again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Custom<V> {
    /// The result before the first step.
    before: Option<V>,
    steps: BTreeMap<Stamp, Option<V>>,
}

impl<V: Ord + Clone> Custom<V> {
    /// Before any change.
    pub const fn new() -> Self {
        Self { before: None, steps: BTreeMap::new() }
    }

    /// Folds a change that comes after all others; whether the value changed. See [`Custom::rewind`] for one that does not.
    pub fn apply(&mut self, fold: &dyn Fold<V>, input: &V, stamp: &Stamp) -> bool {
        let before = self.value();
        let after = fold.fold(before, input, stamp);
        let changed = before != after.as_ref();
        self.steps.insert(*stamp, after);
        changed
    }

    /// Takes back what was folded from `from` on, inclusive.
    pub fn rewind(&mut self, from: &Stamp) {
        drop(self.steps.split_off(from));
    }

    /// Whatever is not after `cut` will never be taken back: only its result stays.
    pub fn forget(&mut self, cut: &Stamp) {
        while let Some(step) = self.steps.first_entry().filter(|step| step.key() <= cut) {
            self.before = step.remove();
        }
    }

    /// The result after the last change.
    pub fn value(&self) -> Option<&V> {
        self.steps.last_key_value().map_or(self.before.as_ref(), |(_, after)| after.as_ref())
    }
}

impl<V: Ord + Clone> Default for Custom<V> {
    fn default() -> Self {
        Self::new()
    }
}
