//! Waiting for what happens elsewhere: for a condition, never for a time.

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Looks again and again until there is something, and returns it.
///
/// # Panics
/// After [`PATIENCE`], with what `otherwise` says.
pub fn eventually<T>(look: impl FnMut() -> Option<T>, otherwise: impl FnOnce() -> String) -> T {
    within(PATIENCE, look).unwrap_or_else(|| panic!("it does not come about: {}", otherwise()))
}

/// Looks again and again until there is something or that much time has passed.
pub(crate) fn within<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(LOOK);
    }
}
