//! Traces: what was done for one request, on all nodes and in all regions, as spans that refer to each other.
//!
//! ```text
//! POST /v1/streams/orders/events      node a   ├────────────────┤        traceparent of the client
//!   hop to node b                     node a     ├────────────┤          its own, sent along
//!     POST /v1/streams/orders/events  node b       ├────────┤            stored with the event
//!       replicated from region 1      region 2               ├─────────┤ read from the event
//! ```
//!
//! Which requests are recorded is said by whoever sends them, with the flag `sampled` of W3C Trace Context (the header `traceparent`,
//! <https://www.w3.org/TR/trace-context/>). The others cost a look at that header. Each node keeps the spans that ended last there, in
//! memory, so many and no more; whoever wants a trace asks all of them, and puts together what they have.

mod context;
mod span;
mod traces;

pub use context::{Context, InvalidContext, SpanId, TraceId};
pub use span::Span;
pub use traces::{Open, Traces};
