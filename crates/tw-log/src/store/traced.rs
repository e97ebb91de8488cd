//! Events of other regions that belong to a trace.

use tw_types::{EventRef, ExtensionValue, Hlc, Origin, Sequence, StreamPartition};
use tw_wire::Run;

/// How many of them one write takes note of.
pub(super) const TRACED_MAX: usize = 64;

/// The extension attribute that says to which trace an event belongs (CloudEvents, Distributed Tracing).
const TRACEPARENT: &str = "traceparent";

/// An event of another region that belongs to a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// Where it goes.
    pub at: StreamPartition,
    /// Which event of which region it is.
    pub origin: Origin,
    /// When it was accepted there.
    pub hlc: Hlc,
    /// Its trace, as it says it.
    pub traceparent: String,
}

impl Traced {
    /// The n-th event of a run, if it belongs to a trace.
    pub(super) fn find(at: StreamPartition, run: &Run, n: u64, event: &EventRef<'_>) -> Option<Self> {
        let text = event.extensions.iter().find_map(|extension| match extension.value {
            ExtensionValue::Text(text) if extension.name == TRACEPARENT => Some(text),
            _ => None,
        })?;
        let origin = Origin { sequence: Sequence(run.origin.sequence.0 + n), ..run.origin };
        Some(Self { at, origin, hlc: run.first_hlc.plus(n), traceparent: text.to_owned() })
    }
}
