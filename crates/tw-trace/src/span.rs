//! One thing that was done.

use crate::{SpanId, TraceId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The longest text of a span, in bytes.
const TEXT_BYTES_MAX: usize = 200;
/// The most facts of a span.
const FACTS_MAX: usize = 16;

/// One thing that was done for a request, and how long it took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The trace.
    pub trace: TraceId,
    /// Its own name.
    pub span: SpanId,
    /// The one that caused it; None if nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SpanId>,
    /// What was done.
    pub name: String,
    /// By whom.
    pub place: String,
    /// When it began, in milliseconds since 1970, by the clock of whoever did it.
    pub start_ms: u64,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// What else is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl Span {
    /// Adds what else is known, as far as there is room for it.
    pub fn fact(&mut self, name: &str, value: impl ToString) {
        if self.facts.len() < FACTS_MAX {
            self.facts.insert(cut(name.to_owned()), cut(value.to_string()));
        }
    }

    /// A span takes a bounded part of the memory, whatever its texts are.
    pub(crate) fn bounded(mut self) -> Self {
        self.name = cut(self.name);
        self.failed = self.failed.map(cut);
        self
    }
}

/// The start of a text.
pub(crate) fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
    }
    text
}
