//! Which partitions are a node's business, and how warm they are.

use super::{Entry, Views};
use crate::progress::{Report, Standing};
use crate::views::generation::Part;
use crate::{Error, keys};
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use tw_log::Signal;
use tw_state::Batch;
use tw_types::StreamPartition;

/// Which partitions a node processes, of all streams.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Assigned {
    /// Every one: a node that is alone.
    #[default]
    All,
    /// These.
    Only(BTreeSet<StreamPartition>),
}

impl Assigned {
    /// Whether a partition is among them.
    pub fn holds(&self, at: StreamPartition) -> bool {
        match self {
            Self::All => true,
            Self::Only(partitions) => partitions.contains(&at),
        }
    }
}

/// How far the views of a partition are on this node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Warmth {
    /// How many views read the partition's stream.
    pub views: u64,
    /// Whether the partition is assigned to this node and each of its views is at work, those in `stuck` aside.
    pub opened: bool,
    /// How many offsets the view that is farthest behind has to go to the end of the log, those in `stuck` aside.
    pub lag_events: u64,
    /// Views that get no further by themselves, each with the reason. They do here what they do wherever else they are
    /// processed, so nobody is to wait for them.
    pub stuck: Vec<(String, String)>,
}

impl Warmth {
    /// Whether no view is further behind than `events_max`.
    pub fn is_within(&self, events_max: u64) -> bool {
        self.opened && self.lag_events <= events_max
    }
}

/// So many failures in a row, and nothing in between, do not pass by themselves.
const FAILURES_STUCK: u32 = 3;

impl Views {
    /// Processes these partitions from now on; see [`crate::Handle::assign`].
    pub(crate) fn assign(&self, assigned: Assigned) -> Result<(), Error> {
        let mut state = self.open_state()?;
        if state.assigned == assigned {
            return Ok(());
        }
        for entry in state.views.values_mut() {
            let paused = entry.paused;
            let mut has_changed = false;
            for generation in entry.generations_mut() {
                has_changed |= generation.assign(&self.scheduler, &assigned, paused);
            }
            if has_changed {
                entry.let_go();
                entry.changed.increment();
            }
        }
        state.assigned = assigned;
        drop(state);
        self.rouse_steward();
        Ok(())
    }

    /// Removes what is stored of a partition; see [`crate::Handle::forget`].
    pub(crate) fn forget(&self, at: StreamPartition) -> Result<(), Error> {
        let mut state = self.open_state()?;
        if state.assigned.holds(at) {
            return Err(Error::Assigned(at));
        }
        let mut batch = Batch::new();
        for name in state.meta.names()? {
            let record = state.meta.view(&name)?;
            for generation in record.into_iter().flat_map(super::meta::ViewRecord::into_generations) {
                if generation.stream_id == at.stream && at.partition.0 < generation.partitions {
                    let keyspace = self.deps.store.keyspace(&generation.keyspace())?;
                    batch.put(keyspace, keys::void(at.partition), Vec::new());
                }
            }
        }
        self.deps.store.commit(batch)?;
        for generation in state.views.values_mut().flat_map(Entry::generations_mut) {
            if generation.record.stream_id == at.stream && at.partition.0 < generation.record.partitions {
                generation.forget(&self.scheduler, at.partition);
            }
        }
        Ok(())
    }

    /// How far the views of a partition are; see [`crate::Handle::warmth`].
    pub(crate) fn warmth(&self, at: StreamPartition) -> Warmth {
        let end = self.deps.log.bounds(at).map_or(0, |bounds| bounds.end.0);
        let state = self.state.lock();
        let mut warmth = Warmth { opened: state.assigned.holds(at), ..Warmth::default() };
        for (name, entry) in &state.views {
            if entry.active.record.stream_id != at.stream {
                continue;
            }
            warmth.views += 1;
            let Ok(part) = entry.active.part(at.partition) else { continue };
            let report = part.progress.report();
            if let Some(reason) = stuck(part, &report) {
                warmth.stuck.push((name.clone(), reason));
            } else {
                warmth.opened &= report.opened && report.standing == Standing::Running;
                warmth.lag_events = warmth.lag_events.max(end.saturating_sub(report.cursor.position.0));
            }
        }
        warmth
    }

    /// Rises when the warmth of a partition may have changed.
    pub(crate) fn moved(&self) -> Arc<Signal> {
        self.deps.moved.clone()
    }
}

/// Why a partition of a view gets no further by itself, if so.
fn stuck(part: &Part, report: &Report) -> Option<String> {
    let failure = || report.failure.clone().unwrap_or_default();
    match report.standing {
        Standing::Stopped => Some(failure()),
        _ if part.progress.is_paused() => Some("it is paused".to_owned()),
        _ if report.failures >= FAILURES_STUCK => {
            Some(report.failure.clone().unwrap_or_else(|| "it fails again and again".to_owned()))
        }
        _ if report.walled => {
            let why = report.rejected.as_ref().map(|(offset, why)| format!(": offset {offset}: {why}"));
            Some(format!("an event that clears all is parked{}", why.unwrap_or_default()))
        }
        _ => None,
    }
}
