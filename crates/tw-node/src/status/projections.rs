//! How projections are, in the words of the interface: on this node, or on all that have partitions of them.

use super::{PROJECTION, failure};
use crate::core::Core;
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use tw_api::parts::{Build, Projection, Routes as _, Way};
use tw_process::{PartitionStatus, Standing, ViewStatus};
use tw_project::ViewStanding;
use tw_types::{ClientToken, NodeId, PartitionId, StreamId, StreamPartition, Token};

/// All projections, in the order of their names, as they are on all nodes together.
pub(crate) async fn projections(core: &Core) -> Vec<Projection> {
    let Some(ways) = core.cluster.ways() else { return in_region(core, here(core, |_| true)) };
    let own = own_projections(core);
    let spread = spread(core, |at| ways.partition(at));
    let nodes: BTreeSet<&NodeId> = spread.values().flat_map(|spread| &spread.nodes).collect();
    let looks = nodes.into_iter().map(|node| async move { (node, ways.projections_of(node).await) });
    let looks: BTreeMap<&NodeId, Result<Vec<Projection>, String>> =
        join_all(looks).await.into_iter().collect();
    let of_node = |node: &NodeId, name: &str| match looks.get(node) {
        Some(Ok(told)) => told.iter().find(|one| one.name == name).cloned(),
        Some(Err(reason)) => Some(unknown(reason.clone())),
        None => None,
    };
    let together = own.into_iter().map(|own| {
        let Some(Spread { here, nodes, nowhere }) = spread.get(&own.name) else { return own };
        let mut parts: Vec<Projection> = here.then(|| own.clone()).into_iter().collect();
        parts.extend(nodes.iter().map(|node| {
            let late = || unknown(format!("node `{node}` has not heard of it yet"));
            of_node(node, &own.name).unwrap_or_else(late)
        }));
        parts.extend(nowhere.map(|at| unknown(format!("partition {at} has no owner at the moment"))));
        let merged = parts.into_iter().reduce(merge);
        merged.map_or_else(
            || own.clone(),
            |merged| Projection {
                name: own.name.clone(),
                stream: own.stream.clone(),
                sql: own.sql.clone(),
                ..merged
            },
        )
    });
    together.collect()
}

/// Says in their tokens of which region's log they are cuts.
fn in_region(core: &Core, mut projections: Vec<Projection>) -> Vec<Projection> {
    for projection in &mut projections {
        if let Ok(cut) = projection.token.parse() {
            projection.token = ClientToken::new(core.log.region(), cut).to_string();
        }
    }
    projections
}

/// The same of the partitions that this node owns.
pub(crate) fn own_projections(core: &Core) -> Vec<Projection> {
    here(core, |at| core.cluster.ways().is_none_or(|ways| ways.partition(at) == Way::Here))
}

/// The same as SHOW PROJECTIONS tells it.
pub(crate) async fn standings_of_projections(core: &Core) -> BTreeMap<String, ViewStanding> {
    if core.cluster.ways().is_none() {
        return core.engine.standings();
    }
    let standing = |one: Projection| {
        let percent = one.build.as_ref().map(|build| 100 * build.done / build.total.max(1));
        let state = match (one.state.as_str(), percent) {
            ("failed", _) => "stopped".to_owned(),
            ("building", Some(percent)) => format!("building, {percent} %"),
            (state, _) => state.to_owned(),
        };
        (one.name, ViewStanding { state, lag_events: one.lag_events, error: one.error })
    };
    projections(core).await.into_iter().map(standing).collect()
}

/// Where the partitions of a projection's stream are.
#[derive(Default)]
struct Spread {
    here: bool,
    nodes: BTreeSet<NodeId>,
    /// One that nobody owns.
    nowhere: Option<PartitionId>,
}

fn spread(core: &Core, way: impl Fn(StreamPartition) -> Way) -> BTreeMap<String, Spread> {
    let catalog = core.engine.catalog();
    let spread = catalog.projections().filter_map(|projection| {
        let stream = catalog.streams().by_id(projection.def.stream).ok()?;
        let mut spread = Spread::default();
        for partition in (0..stream.partitions).map(PartitionId) {
            match way(StreamPartition::new(stream.id, partition)) {
                Way::Here => spread.here = true,
                Way::Node(node) => drop(spread.nodes.insert(node)),
                Way::Nobody => spread.nowhere = Some(partition),
            }
        }
        Some((projection.def.name.clone(), spread))
    });
    spread.collect()
}

/// What is known of partitions that are on a node that does not say, or on none.
fn unknown(reason: String) -> Projection {
    let token = Token::new().to_string();
    Projection { state: "unknown".to_owned(), error: Some(reason), token, ..Projection::default() }
}

/// How a projection is on two nodes together, that own different partitions: as it is where it is worse, and as far behind as both are.
fn merge(one: Projection, other: Projection) -> Projection {
    let rank = |projection: &Projection| {
        let worst_first = ["failed", "unknown", "building", "paused"];
        worst_first.iter().position(|state| projection.state == *state).unwrap_or(worst_first.len())
    };
    let token = |projection: &Projection| projection.token.parse::<Token>().unwrap_or_default();
    let mut both = token(&one);
    both.merge(&token(&other));
    let (worse, better) = if rank(&other) < rank(&one) { (other, one) } else { (one, other) };
    let build = match (worse.build, better.build) {
        (Some(a), Some(b)) => {
            Some(Build { done: a.done + b.done, total: a.total + b.total, ready: a.ready && b.ready })
        }
        (a, b) => a.or(b),
    };
    Projection {
        error: worse.error.or(better.error),
        lag_events: worse.lag_events + better.lag_events,
        lag_ms: worse.lag_ms.max(better.lag_ms),
        state_bytes: worse.state_bytes + better.state_bytes,
        rate_events_per_second: worse.rate_events_per_second + better.rate_events_per_second,
        token: both.to_string(),
        parked: worse.parked + better.parked,
        held: worse.held || better.held,
        build,
        ..worse
    }
}

/// All projections, in the order of their names, as they are on this node, of partitions that are meant.
pub(super) fn here(core: &Core, is_meant: impl Fn(StreamPartition) -> bool) -> Vec<Projection> {
    let catalog = core.engine.catalog();
    let views = core.workers.status();
    let broken = core.definitions.broken();
    let mut projections: Vec<Projection> = catalog
        .projections()
        .map(|projection| {
            let name = format!("{PROJECTION}{}", projection.def.name);
            let base = Projection {
                name: projection.def.name.clone(),
                stream: catalog
                    .streams()
                    .by_id(projection.def.stream)
                    .map_or_else(|_| String::new(), |stream| stream.name.to_string()),
                sql: projection.def.query.clone(),
                state: "failed".to_owned(),
                error: broken.get(&name).cloned(),
                token: Token::new().to_string(),
                ..Projection::default()
            };
            match views.iter().find(|view| view.name == name) {
                Some(view) => {
                    let (mut view, stream) = (view.clone(), projection.def.stream);
                    let is_meant =
                        |one: &PartitionStatus| is_meant(StreamPartition::new(stream, one.partition));
                    view.partitions.retain(is_meant);
                    if let Some(building) = &mut view.building {
                        building.partitions.retain(is_meant);
                    }
                    of_view(base, &view, stream)
                }
                None => base,
            }
        })
        .collect();
    projections.sort_by(|a, b| a.name.cmp(&b.name));
    projections
}

fn of_view(base: Projection, view: &ViewStatus, stream: StreamId) -> Projection {
    let starting = view.partitions.iter().any(|partition| partition.standing == Standing::Starting);
    let failure = failure(view);
    let state = match () {
        () if failure.is_some() => "failed",
        () if view.paused => "paused",
        () if starting
            || view.building.as_ref().is_some_and(|building| !(view.on_hold && building.ready)) =>
        {
            "building"
        }
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
        lag_ms: view.partitions.iter().map(|partition| partition.lag_ms).max().unwrap_or_default(),
        state_bytes: if view.partitions.is_empty() { 0 } else { view.state_bytes },
        rate_events_per_second: rate(view),
        token: ends.collect::<Token>().to_string(),
        parked: view.partitions.iter().map(|partition| partition.parked).sum(),
        held: view.on_hold,
        build: view
            .building
            .as_ref()
            .map(|building| Build { ready: building.ready, ..build(&building.partitions) }),
        ..base
    }
}

/// How many events a view processes per second, to a tenth.
fn rate(view: &ViewStatus) -> f64 {
    let rate: f64 = view.partitions.iter().map(|partition| partition.events_per_second).sum();
    (rate * 10.0).round() / 10.0
}

fn build(partitions: &[PartitionStatus]) -> Build {
    let sum = |of: fn(&PartitionStatus) -> u64| partitions.iter().map(of).sum();
    Build {
        done: sum(|at| at.offset.0.saturating_sub(at.start.0)),
        total: sum(|at| at.end.0.saturating_sub(at.start.0)),
        ready: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(state: &str, lag_events: u64, token: &str) -> Projection {
        let (name, state, token) = ("revenue".to_owned(), state.to_owned(), token.to_owned());
        Projection { name, state, lag_events, token, ..Projection::default() }
    }

    #[test]
    fn a_projection_is_as_it_is_where_it_is_worst_and_behind_by_the_sum() {
        let numbers = |lag_ms, state_bytes, rate_events_per_second| Projection {
            lag_ms,
            state_bytes,
            rate_events_per_second,
            ..Projection::default()
        };
        let part = |state: &str, lag_events, token: &str, numbers: Projection| {
            let Projection { lag_ms, state_bytes, rate_events_per_second, .. } = numbers;
            Projection { lag_ms, state_bytes, rate_events_per_second, ..part(state, lag_events, token) }
        };
        let one = Projection { parked: 2, ..part("running", 3, "tw1;7=0:120", numbers(40, 100, 1.5)) };
        let build = |done| Some(Build { done, total: 10, ready: false });
        let other = Projection {
            build: build(4),
            parked: 1,
            ..part("building", 5, "tw1;7=1:88", numbers(90, 20, 2.0))
        };
        let both = merge(one, other);
        let sums = numbers(90, 120, 3.5);
        let expected =
            Projection { parked: 3, build: build(4), ..part("building", 8, "tw1;7=0:120,1:88", sums) };
        assert_eq!(both, expected);
        let silent = unknown("node `n2` does not answer".into());
        let all = merge(both.clone(), silent);
        assert_eq!(
            (all.state.as_str(), all.error.as_deref(), all.lag_events),
            ("unknown", Some("node `n2` does not answer"), 8)
        );
        let failed =
            Projection { error: Some("no room".into()), ..part("failed", 0, "tw1", numbers(0, 0, 0.0)) };
        let all = merge(all, failed);
        assert_eq!((all.state.as_str(), all.error.as_deref()), ("failed", Some("no room")));
        assert_eq!(
            merge(both.clone(), Projection { build: build(6), ..both }).build,
            Some(Build { done: 10, total: 20, ready: false })
        );
    }
}
