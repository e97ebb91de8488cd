//! The state of the node in the words of its interface.

mod sources;

pub(crate) use sources::{is_well, source, sources, sources_here, standings, streams};

use crate::core::Core;
use tw_api::parts::{Build, Projection, Source, Status};
use tw_process::{PartitionStatus, Standing, ViewStatus};
use tw_types::{StreamPartition, Token};

/// The node as a whole, with these sources.
pub(crate) fn node(core: &Core, sources: &[Source]) -> Status {
    let catalog = core.engine.catalog();
    let projections = projections(core);
    let free = core.folder.free_bytes();
    let problems = problems(core, sources, &projections, free);
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

/// Everything that a person should look at.
fn problems(core: &Core, sources: &[Source], projections: &[Projection], free: Option<u64>) -> Vec<String> {
    let mut problems = Vec::new();
    problems.extend(core.log_failure().map(|error| error.to_string()));
    let least = core.options.holds().node.disk_free_bytes_min;
    if let Some(free) = free.filter(|free| *free < least) {
        problems.push(format!("{free} bytes are free on the disk of the data folder, fewer than {least}"));
    }
    problems.extend(sources.iter().flat_map(sources::problems));
    for projection in projections.iter().filter(|projection| projection.state == "failed") {
        let error = projection.error.as_deref().unwrap_or("it stands still");
        problems.push(format!("projection `{}`: {error}", projection.name));
    }
    for view in core.workers.status().iter().filter(|view| view.name.starts_with(LATEST)) {
        if let Some(error) = failure(view) {
            problems.push(format!("the latest rows of `{}`: {error}", view.stream));
        }
    }
    for (view, error) in core.definitions.broken() {
        problems.push(format!("`{view}` is not as it is defined: {error}"));
    }
    problems
        .extend(core.workers.parked().failure().map(|error| format!("`$parked` cannot be written: {error}")));
    problems
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

/// All projections, in the order of their names.
pub(crate) fn projections(core: &Core) -> Vec<Projection> {
    let catalog = core.engine.catalog();
    let views = core.workers.status();
    let broken = core.definitions.broken();
    let mut projections: Vec<Projection> = catalog
        .projections()
        .map(|projection| {
            let name = format!("{PROJECTION}{}", projection.def.name);
            let base = Projection {
                name: projection.def.name.clone(),
                sql: projection.def.query.clone(),
                state: "failed".to_owned(),
                error: broken.get(&name).cloned(),
                token: Token::new().to_string(),
                ..Projection::default()
            };
            match views.iter().find(|view| view.name == name) {
                Some(view) => of_view(base, view, projection.def.stream),
                None => base,
            }
        })
        .collect();
    projections.sort_by(|a, b| a.name.cmp(&b.name));
    projections
}

fn of_view(base: Projection, view: &ViewStatus, stream: tw_types::StreamId) -> Projection {
    let starting = view.partitions.iter().any(|partition| partition.standing == Standing::Starting);
    let failure = failure(view);
    let state = match () {
        () if failure.is_some() => "failed",
        () if view.paused => "paused",
        () if starting || view.building.is_some() => "building",
        () => "running",
    };
    let ends = view.partitions.iter().map(|at| (StreamPartition::new(stream, at.partition), at.offset));
    let waiting = view
        .partitions
        .iter()
        .find_map(|at| at.error.as_ref().map(|error| format!("partition {}, {error}", at.partition)));
    Projection {
        state: state.to_owned(),
        error: base.error.or(failure).or(waiting),
        lag_events: view.partitions.iter().map(|partition| partition.lag_events).sum(),
        token: ends.collect::<Token>().to_string(),
        parked: view.partitions.iter().map(|partition| partition.parked).sum(),
        build: view.building.as_ref().map(|building| build(&building.partitions)),
        ..base
    }
}

fn build(partitions: &[PartitionStatus]) -> Build {
    let sum = |of: fn(&PartitionStatus) -> u64| partitions.iter().map(of).sum();
    Build {
        done: sum(|at| at.offset.0.saturating_sub(at.start.0)),
        total: sum(|at| at.end.0.saturating_sub(at.start.0)),
    }
}
