//! What clients saw of one object, and whether one copy of it, used by one client at a time, could have answered so.
//!
//! The checker is that of `todc-utils`: Wing and Gong's search with Lowe's memory of what was tried. It needs exponential time in
//! the worst case, which is why histories are short and there are many of them. It wants every operation to have an
//! answer; one without gets it after all others, and is valid with whatever effect it has by then: it may have happened at any
//! time since it was sent, or not at all.

use std::sync::Mutex;
use todc_utils::{Action, History as Actions, Specification, WGLChecker};

/// Operations on one object, in the order in which they began and ended, as one clock saw them.
pub(super) struct History<S: Specification> {
    entries: Mutex<Vec<Entry<S::Operation>>>,
}

enum Entry<T> {
    /// It may have taken effect from here on.
    Began(T),
    /// The operation that began as this entry has taken effect, and was answered so.
    Ended(usize, T),
    /// What began here had no effect.
    Withdrawn,
}

/// Names an operation that has begun.
#[derive(Clone, Copy)]
pub(super) struct Begun(usize);

impl<S: Specification> Default for History<S> {
    fn default() -> Self {
        Self { entries: Mutex::new(Vec::new()) }
    }
}

impl<S: Specification> History<S> {
    /// To be called before a request is sent, with the operation as it is if no answer ever comes.
    pub(super) fn begin(&self, operation: S::Operation) -> Begun {
        let mut entries = self.entries.lock().unwrap();
        entries.push(Entry::Began(operation));
        Begun(entries.len() - 1)
    }

    /// To be called after an answer has arrived, with the operation and what was answered.
    pub(super) fn end(&self, begun: Begun, operation: S::Operation) {
        self.entries.lock().unwrap().push(Entry::Ended(begun.0, operation));
    }

    /// To be called for an operation that certainly had no effect and will have none.
    pub(super) fn withdraw(&self, begun: Begun) {
        self.entries.lock().unwrap()[begun.0] = Entry::Withdrawn;
    }

    /// How many operations were answered, and how many were not.
    pub(super) fn count(&self) -> (usize, usize) {
        let entries = self.entries.lock().unwrap();
        let began = entries.iter().filter(|entry| matches!(entry, Entry::Began(_))).count();
        let ended = entries.iter().filter(|entry| matches!(entry, Entry::Ended(..))).count();
        (ended, began - ended)
    }

    /// Whether there is an order of the operations, none of them before it began or after it ended, in which each has its
    /// answer.
    pub(super) fn is_linearisable(&self) -> bool {
        let entries = self.entries.lock().unwrap();
        let mut pending: Vec<Option<S::Operation>> = Vec::new();
        let mut actions = Vec::new();
        // Each operation is a process of its own to the checker: what was answered late may overlap with anything.
        for (at, entry) in entries.iter().enumerate() {
            pending.push(None);
            match entry {
                Entry::Began(operation) => {
                    pending[at] = Some(operation.clone());
                    actions.push((at, Action::Call(operation.clone())));
                }
                Entry::Ended(begun, operation) => {
                    pending[*begun] = None;
                    actions.push((*begun, Action::Response(operation.clone())));
                }
                Entry::Withdrawn => {}
            }
        }
        let pending = pending.into_iter().enumerate();
        actions.extend(pending.filter_map(|(at, left)| Some((at, Action::Response(left?)))));
        actions.is_empty() || WGLChecker::<S>::is_linearizable(Actions::from_actions(actions))
    }

    /// The operations for a person to read: number, and what it is if it is never answered, or was in the end.
    pub(super) fn tell(&self) -> String {
        let entries = self.entries.lock().unwrap();
        let line = |(at, entry): (usize, &Entry<S::Operation>)| match entry {
            Entry::Began(operation) => format!("{at:4} begins {operation:?}\n"),
            Entry::Ended(begun, operation) => format!("{begun:4} ends   {operation:?}\n"),
            Entry::Withdrawn => String::new(),
        };
        entries.iter().enumerate().map(line).collect()
    }
}
