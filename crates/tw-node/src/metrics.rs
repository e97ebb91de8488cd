//! What is measured of a node: gauges that are refreshed now and then, next to the counters of the interface.

use crate::Error;
use crate::core::Core;
use crate::status;
use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;
use std::sync::Arc;
use tw_types::{PartitionId, StreamPartition};

/// The metrics of the process: nodes of one process share them.
static RECORDER: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// Collects the metrics of this process from now on.
///
/// # Errors
/// [`Error::Metrics`] when something else does so already.
pub(crate) fn recorder() -> Result<PrometheusHandle, Error> {
    let mut recorder = RECORDER.lock();
    if let Some(handle) = &*recorder {
        return Ok(handle.clone());
    }
    let built = PrometheusBuilder::new().build_recorder();
    let handle = built.handle();
    metrics::set_global_recorder(built).map_err(|_| Error::Metrics)?;
    describe();
    *recorder = Some(handle.clone());
    Ok(handle)
}

fn describe() {
    describe_gauge!("tradewind_uptime_seconds", "How long the node has run.");
    describe_gauge!("tradewind_disk_free_bytes", "Free bytes on the disk of the data folder.");
    describe_gauge!(
        "tradewind_problems",
        "Things that are not as they should be; `tradewind status` lists them."
    );
    describe_gauge!("tradewind_stream_events", "Events that a stream holds.");
    describe_gauge!("tradewind_stream_end", "Offsets that a stream has given, over its partitions.");
    describe_gauge!(
        "tradewind_index_bytes",
        "Memory of the part of the subject index that is not stored yet."
    );
    describe_gauge!("tradewind_view_lag_events", "How many events a view is behind.");
    describe_gauge!(
        "tradewind_view_lag_seconds",
        "How old the last processed event is while there are newer ones."
    );
    describe_gauge!("tradewind_view_events_per_second", "Events that a view processes per second.");
    describe_gauge!("tradewind_view_parked", "Subjects of a view that wait for a person (PRO-3).");
    describe_gauge!("tradewind_view_state_bytes", "Bytes that the state of a view takes.");
    describe_gauge!("tradewind_source_lag_seconds", "How far the log is behind a source.");
    describe_gauge!("tradewind_source_lag_bytes", "The same in bytes of the source's own log.");
    describe_gauge!("tradewind_source_retained_bytes", "Bytes of its own log that a source keeps for us.");
    describe_gauge!("tradewind_source_streaming", "1 while a source streams, 0 otherwise.");
}

/// Refreshes every gauge.
pub(crate) async fn refresh(core: &Arc<Core>) {
    let status = status::node(core).await;
    gauge!("tradewind_uptime_seconds").set(status.uptime_ms as f64 / 1_000.0);
    gauge!("tradewind_disk_free_bytes").set(status.disk_free_bytes as f64);
    gauge!("tradewind_problems").set(status.problems.len() as f64);
    gauge!("tradewind_index_bytes").set(core.events.index_bytes() as f64);
    for stream in core.log.streams().iter() {
        let (mut held, mut end) = (0, 0);
        for partition in 0..stream.partitions {
            if let Ok(bounds) = core.log.bounds(StreamPartition::new(stream.id, PartitionId(partition))) {
                held += bounds.end.0.saturating_sub(bounds.start.0);
                end += bounds.end.0;
            }
        }
        gauge!("tradewind_stream_events", "stream" => stream.name.to_string()).set(held as f64);
        gauge!("tradewind_stream_end", "stream" => stream.name.to_string()).set(end as f64);
    }
    views(core);
    for source in status::sources(core).await {
        let name = source.name;
        let streams = f64::from(u8::from(source.state == "streaming"));
        gauge!("tradewind_source_streaming", "source" => name.clone()).set(streams);
        let lag_s = source.lag_ms.unwrap_or_default() as f64 / 1_000.0;
        gauge!("tradewind_source_lag_seconds", "source" => name.clone()).set(lag_s);
        let (lag, retained) =
            (source.lag_bytes.unwrap_or_default(), source.retained_bytes.unwrap_or_default());
        gauge!("tradewind_source_lag_bytes", "source" => name.clone()).set(lag as f64);
        gauge!("tradewind_source_retained_bytes", "source" => name).set(retained as f64);
    }
}

fn views(core: &Core) {
    for view in core.workers.status() {
        let sum = |of: fn(&tw_process::PartitionStatus) -> f64| view.partitions.iter().map(of).sum::<f64>();
        let oldest_ms = view.partitions.iter().map(|partition| partition.lag_ms).max().unwrap_or_default();
        let name = || view.name.clone();
        gauge!("tradewind_view_lag_events", "view" => name()).set(sum(|at| at.lag_events as f64));
        gauge!("tradewind_view_lag_seconds", "view" => name()).set(oldest_ms as f64 / 1_000.0);
        gauge!("tradewind_view_events_per_second", "view" => name()).set(sum(|at| at.events_per_second));
        gauge!("tradewind_view_parked", "view" => name()).set(sum(|at| at.parked as f64));
        gauge!("tradewind_view_state_bytes", "view" => name()).set(view.state_bytes as f64);
    }
}
