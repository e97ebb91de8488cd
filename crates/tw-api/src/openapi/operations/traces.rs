//! /v1/traces.

use super::{Doc, JSON};
use crate::Code;
use crate::parts::TraceView;

/// Describes the route.
pub(super) fn describe(doc: Doc<'_>) -> Doc<'_> {
    doc.about("system", "Show what was done for a request")
        .details(
            "A request whose header `traceparent` (W3C Trace Context) has the flag `sampled` is recorded: how long it took, where it was sent on, and when its \
             events had come to other regions. Each node keeps the `trace_spans_max` spans of [node] that ended last there; all nodes and regions that \
             are known are asked.",
        )
        .path("trace", "The trace: the second part of the header.", "4bf92f3577b34da6a3ce929d0e0e4736")
        .answer::<TraceView>(200, JSON, "What is known, which may be nothing.")
        .problems(&[Code::InvalidParameter])
}
