//! The trace of a run: written only when the run is repeated because it has failed.

use std::collections::VecDeque;

/// How many of the last steps are kept.
const STEPS_MAX: usize = 400;

/// The last steps.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    is_on: bool,
    lines: VecDeque<String>,
}

impl Trace {
    /// One that forgets everything, or one that remembers.
    pub(crate) fn new(is_on: bool) -> Self {
        Self { is_on, lines: VecDeque::new() }
    }

    pub(crate) fn say(&mut self, now_us: u64, what: impl FnOnce() -> String) {
        if self.is_on {
            let line = what();
            self.lines.push_back(format!("{:>6}.{:03} ms  {line}", now_us / 1000, now_us % 1000));
            if self.lines.len() > STEPS_MAX {
                self.lines.pop_front();
            }
        }
    }

    pub(crate) fn lines(self) -> Vec<String> {
        self.lines.into()
    }
}
