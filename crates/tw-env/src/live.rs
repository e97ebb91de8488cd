//! Values that are replaced while others read them.

use std::sync::{Arc, PoisonError, RwLock};

/// A value that is replaced as a whole while others read it: the options of something that runs, say. Whoever wants several
/// of its fields to fit each other takes one look and keeps it.
#[derive(Debug, Default)]
pub struct Live<T>(RwLock<Arc<T>>);

impl<T> Live<T> {
    /// A value that is this one for now.
    pub fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    /// The value as it is now.
    pub fn get(&self) -> Arc<T> {
        // Nothing that can panic happens within the lock.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the value. Returns the one before.
    pub fn set(&self, value: T) -> Arc<T> {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut held, Arc::new(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_stays_as_it_was_and_the_next_one_is_new() {
        let live = Live::new((1, "one"));
        let before = live.get();
        assert_eq!(*live.set((2, "two")), (1, "one"));
        assert_eq!((*before, *live.get()), ((1, "one"), (2, "two")));
    }
}
