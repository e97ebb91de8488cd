//! A subject as it is stored between two changes.
//!
//! What follows from that is not stored: which changes a delete has taken away, and what the fields are now. The form is serde's; whoever
//! stores it gives it a version.

use super::Subject;
use super::log::Log;
use crate::class::{Class, Merge, State};
use crate::{Change, Stamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// See the module's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "V: Ord + Deserialize<'de>"))]
pub struct Saved<V> {
    cut: Option<Stamp>,
    base_lives: bool,
    base: Vec<State<V>>,
    changes: Vec<Change<V>>,
}

/// What was stored belongs to fields of other classes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored state of field {field} is not of its class `{class}`: build the state anew from the log")]
pub struct Misfit {
    /// The field's place in the declaration.
    pub field: u16,
    /// Its class now.
    pub class: Merge,
}

impl<V: Ord + Clone> Subject<V> {
    /// What is to be stored of it.
    pub fn save(&self) -> Saved<V> {
        let changes = self.log.changes().collect();
        Saved { cut: self.cut, base_lives: self.base_lives, base: self.base.clone(), changes }
    }

    /// The subject of which that was stored, with fields of these classes. Fields that are declared since have no change.
    ///
    /// # Errors
    /// [`Misfit`].
    pub fn restore(classes: Arc<[Class<V>]>, saved: Saved<V>) -> Result<Self, Misfit> {
        let mut base = saved.base;
        for class in classes.iter().skip(base.len()) {
            base.push(State::new(class));
        }
        for (field, (class, state)) in (0u16..).zip(classes.iter().zip(&base)) {
            if !state.is_of(class) {
                return Err(Misfit { field, class: class.name() });
            }
        }
        let mut log = Log::new();
        saved.changes.into_iter().for_each(|change| log.insert(change));
        let now = base.clone();
        let mut subject = Self { classes, cut: saved.cut, base, base_lives: saved.base_lives, log, now };
        subject.fold_again(|_| true, None);
        Ok(subject)
    }
}
