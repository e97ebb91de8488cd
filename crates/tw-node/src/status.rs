//! The state of the node in the words of its interface.

mod projections;
mod sources;
mod troubles;

pub(crate) use projections::{own_projections, projections, standings_of_projections};
pub(crate) use sources::{is_well, source, sources, sources_here, standings, streams};

use crate::core::Core;
use tw_api::parts::{Source, Status};
use tw_process::{Standing, ViewStatus};

/// The node as a whole, with these sources.
pub(crate) fn node(core: &Core, sources: &[Source]) -> Status {
    let catalog = core.engine.catalog();
    let projections = projections::here(core, |_| true);
    let free = core.folder.free_bytes();
    let problems = troubles::all(core, sources, &projections, free);
    Status {
        state: if problems.is_empty() { "ready" } else { "degraded" }.to_owned(),
        problems,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_ms: u64::try_from(core.env.clock.monotonic().saturating_sub(core.started).as_millis())
            .unwrap_or(u64::MAX),
        data_folder: core.folder.path().display().to_string(),
        disk_free_bytes: free.unwrap_or_default(),
        streams: catalog.streams().iter().count() as u64,
        sources: sources.len() as u64,
        projections: projections.len() as u64,
        parked: parked(&core.workers.status()),
    }
}

/// What the names of the views of latest rows start with.
pub(crate) const LATEST: &str = "latest/";
/// What the names of the views of projections start with.
pub(crate) const PROJECTION: &str = "projection/";

fn parked(views: &[ViewStatus]) -> u64 {
    views.iter().flat_map(|view| &view.partitions).map(|partition| partition.parked).sum()
}

/// Why a view stands still, if it does.
fn failure(view: &ViewStatus) -> Option<String> {
    let stopped = view.partitions.iter().find(|partition| partition.standing == Standing::Stopped)?;
    let reason = stopped.error.as_deref().unwrap_or("no reason is known");
    Some(format!("partition {} stands still: {reason}", stopped.partition))
}
