//! What was done for a request, on all nodes and in all regions.

use crate::Problem;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tw_trace::{Span, TraceId, Traces};
use utoipa::ToSchema;

/// A trace, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct TraceView {
    /// What was done, in the order in which it began. Clocks of nodes and regions differ by some milliseconds.
    pub spans: Vec<SpanView>,
    /// Who does not say what it has done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<SilentView>,
}

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct SpanView {
    /// Its name within the trace.
    #[schema(example = "00f067aa0ba902b7")]
    pub span: String,
    /// The one that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "53995c3f42cd8ad8")]
    pub parent: Option<String>,
    /// What was done.
    #[schema(example = "POST /v1/streams/{stream}/events")]
    pub name: String,
    /// By which node, or in which region.
    #[schema(example = "region 2 (us)")]
    pub place: String,
    /// When it began, in milliseconds since 1970.
    #[schema(example = 1_780_000_000_000_u64)]
    pub start_ms: u64,
    /// How long it took, in microseconds.
    #[schema(example = 1_840)]
    pub took_us: u64,
    /// What else is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// A node or a region that does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct SilentView {
    /// Which one.
    #[schema(example = "node `b`")]
    pub place: String,
    /// Why not.
    #[schema(example = "it did not answer in time")]
    pub reason: String,
}

impl From<Span> for SpanView {
    fn from(span: Span) -> Self {
        Self {
            span: span.span.to_string(),
            parent: span.parent.map(|parent| parent.to_string()),
            name: span.name,
            place: span.place,
            start_ms: span.start_ms,
            took_us: span.took_us,
            facts: span.facts,
            failed: span.failed,
        }
    }
}

/// Finds traces.
pub trait Trails: Send + Sync + 'static {
    /// What this node has of a trace and, if `everywhere`, what all others have that it knows.
    fn of(&self, trace: TraceId, everywhere: bool) -> BoxFuture<'_, Result<TraceView, Problem>>;
}

/// What a node that knows no others has.
impl Trails for Traces {
    fn of(&self, trace: TraceId, _: bool) -> BoxFuture<'_, Result<TraceView, Problem>> {
        let spans = Self::of(self, trace).into_iter().map(SpanView::from).collect();
        Box::pin(std::future::ready(Ok(TraceView { spans, silent: Vec::new() })))
    }
}
