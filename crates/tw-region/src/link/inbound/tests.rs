//! The receiving end step by step.

/// What is left out on purpose, so that tests of promises are seen to fail.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::link) struct Broken {
    /// Blocks are appended as soon as they are new.
    pub(in crate::link) has_no_gate: bool,
    /// A gap is taken for what goes on.
    pub(in crate::link) takes_gaps: bool,
}

impl super::Inbound {
    pub(in crate::link) fn break_on_purpose(&mut self, has_no_gate: bool, takes_gaps: bool) {
        self.broken = Broken { has_no_gate, takes_gaps };
    }
}
