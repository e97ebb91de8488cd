//! `set`: elements are put in and taken out; taking out undoes exactly what was seen put in.
//!
//! Source: the observed-remove set of Shapiro et al., "A comprehensive study of Convergent and Commutative Replicated Data Types",
//! INRIA RR-7506, 2011, section 3.3.5, with stamps in the place of unique tags: what a removal had seen is told by its vector.

use crate::{Context, Stamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A set of elements. It takes changes in any order in which nobody comes after those that knew of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "V: Ord + Deserialize<'de>"))]
pub struct Set<V> {
    /// For each element the stamps that put it in, less those that a later one of them knew: who saw the later one saw them too.
    /// So there is at most one per region and epoch.
    elements: BTreeMap<V, Vec<Stamp>>,
}

impl<V: Ord + Clone> Set<V> {
    /// The empty set.
    pub const fn new() -> Self {
        Self { elements: BTreeMap::new() }
    }

    /// Puts an element in; whether it was not there.
    pub fn insert(&mut self, element: &V, context: &Context) -> bool {
        if let Some(stamps) = self.elements.get_mut(element) {
            stamps.retain(|stamp| !context.knew(stamp));
            if let Err(place) = stamps.binary_search(&context.stamp) {
                stamps.insert(place, context.stamp);
            }
            return false;
        }
        self.elements.insert(element.clone(), vec![context.stamp]);
        true
    }

    /// Takes out what the change had seen put in; whether the element is gone now.
    pub fn remove(&mut self, element: &V, context: &Context) -> bool {
        let Some(stamps) = self.elements.get_mut(element) else { return false };
        stamps.retain(|stamp| !context.knew(stamp));
        let gone = stamps.is_empty();
        if gone {
            self.elements.remove(element);
        }
        gone
    }

    /// Whether the element is in.
    pub fn contains(&self, element: &V) -> bool {
        self.elements.contains_key(element)
    }

    /// How many elements are in.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// The elements in their order.
    pub fn iter(&self) -> impl Iterator<Item = &V> {
        self.elements.keys()
    }
}

impl<V: Ord + Clone> Default for Set<V> {
    fn default() -> Self {
        Self::new()
    }
}
