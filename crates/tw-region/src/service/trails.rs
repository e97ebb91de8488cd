//! When an event that belongs to a trace has come from another region.

use super::{Links, Shared};
use std::sync::Arc;
use tw_log::Streams;
use tw_log::store::Traced;
use tw_trace::{Context, Traces};

impl Links {
    /// Records from now on when events that belong to a trace have come. The first call counts.
    pub fn record_to(&self, traces: Arc<Traces>) {
        let _it_is_said_already = self.shared.traces.set(traces);
    }
}

impl Shared {
    /// These events can be read here from now on.
    pub(super) fn record(&self, streams: &Streams, traced: &[Traced]) {
        let Some(traces) = self.traces.get() else { return };
        for event in traced {
            // It may be any text: whoever wrote the event chose it.
            let Ok(context) = event.traceparent.parse::<Context>() else { continue };
            let stream = streams.by_id(event.at.stream).map(|def| def.name.to_string()).unwrap_or_default();
            let facts = [("stream", stream), ("partition", event.at.partition.to_string())];
            let name = format!("replicated from region {}", event.origin.region);
            traces.ended(&context, &name, event.hlc.millis(), &facts);
        }
    }
}
