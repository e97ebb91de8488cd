//! What can be told of views.

use super::generation::{Generation, Part};
use super::steward::is_near;
use super::{Entry, Views};
use crate::Error;
use crate::pipeline::Deps;
use crate::progress::Standing;
use serde::Serialize;
use tw_types::{Offset, PartitionId, StreamName};

/// A view.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ViewStatus {
    /// Its name.
    pub name: String,
    /// The stream that it reads.
    pub stream: StreamName,
    /// The number of the generation that is read.
    pub generation: u64,
    /// Whether a person has paused it.
    pub paused: bool,
    /// Whether what is built anew must not take over yet.
    pub on_hold: bool,
    /// How much room its state takes, in bytes, all generations together.
    pub state_bytes: u64,
    /// Those of its partitions that are assigned to this node, in their order.
    pub partitions: Vec<PartitionStatus>,
    /// The generation that is to take over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub building: Option<BuildStatus>,
}

/// A generation that is being built.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BuildStatus {
    /// Its number.
    pub generation: u64,
    /// How much of the stream it has processed: 0 to 1.
    pub progress: f64,
    /// Whether it is so near to the generation that is read that it can take over.
    pub ready: bool,
    /// When it will have caught up, in milliseconds from now, if that can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining_ms: Option<u64>,
    /// Its partitions, in their order.
    pub partitions: Vec<PartitionStatus>,
}

/// A partition of a view.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartitionStatus {
    /// Its number.
    pub partition: PartitionId,
    /// What it does.
    pub standing: Standing,
    /// The first offset that was processed: over 0 when the beginning was removed before.
    pub start: Offset,
    /// The first offset that is not committed yet.
    pub offset: Offset,
    /// The end of the log's partition, exclusive.
    pub end: Offset,
    /// How many offsets it is behind.
    pub lag_events: u64,
    /// How old the last processed event is while there are newer ones, in milliseconds; 0 when there are none.
    pub lag_ms: u64,
    /// Events per second over the last seconds.
    pub events_per_second: f64,
    /// Subjects that wait for a person.
    pub parked: u64,
    /// Subjects whose events wait, parked ones included.
    pub blocked: u64,
    /// Events that wait.
    pub waiting: u64,
    /// Why it waits or stands still; otherwise the last event that could not be processed, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Views {
    /// All views, in the order of their names.
    pub(crate) fn status(&self) -> Vec<ViewStatus> {
        let state = self.state.lock();
        state.views.iter().map(|(name, entry)| view(&self.deps, name, entry)).collect()
    }

    /// One view.
    pub(crate) fn status_of(&self, name: &str) -> Result<ViewStatus, Error> {
        let state = self.state.lock();
        let entry = state.views.get(name).ok_or_else(|| Error::NoView(name.to_owned()))?;
        Ok(view(&self.deps, name, entry))
    }
}

fn view(deps: &Deps, name: &str, entry: &Entry) -> ViewStatus {
    let partitions =
        |generation: &Generation| generation.parts().map(|part| partition(deps, part)).collect::<Vec<_>>();
    let building = entry.building.as_ref().map(|building| {
        let partitions = partitions(&building.generation);
        let sum = |of: fn(&PartitionStatus) -> u64| partitions.iter().map(of).sum::<u64>() as f64;
        let total = sum(|status| status.end.0.saturating_sub(status.start.0));
        let left = sum(|status| status.lag_events);
        let rate: f64 = partitions.iter().map(|status| status.events_per_second).sum();
        BuildStatus {
            generation: building.generation.record.number,
            progress: if total > 0.0 { ((total - left) / total).clamp(0.0, 1.0) } else { 1.0 },
            ready: is_near(deps, &entry.active, &building.generation),
            remaining_ms: (rate >= 1.0).then(|| (left / rate * 1_000.0) as u64),
            partitions,
        }
    });
    ViewStatus {
        name: name.to_owned(),
        stream: entry.active.record.stream.clone(),
        generation: entry.active.record.number,
        paused: entry.paused,
        on_hold: entry.on_hold,
        state_bytes: entry.generations().map(|generation| deps.store.disk_bytes(generation.keyspace)).sum(),
        partitions: partitions(&entry.active),
        building,
    }
}

fn partition(deps: &Deps, part: &Part) -> PartitionStatus {
    let report = part.progress.report();
    let cursor = report.cursor;
    let end = deps.log.bounds(part.progress.at).map_or(cursor.position, |bounds| bounds.end);
    let lag_events = end.0.saturating_sub(cursor.position.0);
    let age_ms = deps.env.clock.now_ms().saturating_sub(cursor.hlc.millis());
    let paused = part.progress.is_paused() && report.standing == Standing::Running;
    let rejected = report.rejected.filter(|_| cursor.counts.lanes > 0);
    PartitionStatus {
        partition: part.progress.at.partition,
        standing: if paused { Standing::Paused } else { report.standing },
        start: cursor.start,
        offset: cursor.position,
        end,
        lag_events,
        lag_ms: if lag_events > 0 && cursor.hlc.millis() > 0 { age_ms } else { 0 },
        events_per_second: report.rate.get(report.events, deps.env.clock.monotonic()),
        parked: cursor.counts.parked,
        blocked: cursor.counts.lanes,
        waiting: cursor.counts.waiting,
        error: report.failure.or_else(|| rejected.map(|(offset, why)| format!("offset {offset}: {why}"))),
    }
}
