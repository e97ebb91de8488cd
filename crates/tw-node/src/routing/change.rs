//! A change of the plan, in the region that decides: the home of `$routing`.
//!
//! The next generation is made from the one in effect, and appended only if nothing was stored since that was looked at. So of two changes at
//! the same time one comes after the other, wherever they were asked for, and sees what that one did.

use super::history::{InEffect, SUBJECT, Stored};
use super::plans::{self, ROUTING_STREAM};
use super::{RoutingOptions, load};
use crate::core::Core;
use crate::parts::NodeRegions;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use tw_api::parts::{ChangeRouting, ChangedRouting, Closed, Pass, Regions as _, RoutingStep};
use tw_api::{Code, Problem};
use tw_plan::Error;
use tw_plan::routing::{Observed, Plan, Present, drain, roll_back, shift, weigh};
use tw_types::{ExpectedVersion, RegionId, StreamDef, Version};

/// How often a change may come to nothing because of others.
const TRIES_MAX: u32 = 20;

/// Changes the plan, if this region decides.
///
/// # Errors
/// Who decides, if it is another region; or why nothing was changed.
pub(crate) fn change(
    core: &Arc<Core>,
    change: ChangeRouting,
) -> BoxFuture<'_, Result<ChangedRouting, Closed>> {
    let closed = |problem| Closed { home: None, problem };
    Box::pin(async move {
        core.regions.plans.in_effect().map_err(closed)?;
        let stream = plans::stream(core).map_err(closed)?;
        let pass = NodeRegions(core.clone()).enter(&stream)?;
        let core = core.clone();
        // Whoever shuts the stream waits for a change that nobody waits for any more.
        let decided = tokio::spawn(async move { decide(&core, &stream, &change, pass).await });
        let interrupted = |error| Problem::new(Code::Internal, format!("a change was interrupted: {error}"));
        decided.await.map_err(interrupted).and_then(|decided| decided).map_err(closed)
    })
}

async fn decide(
    core: &Arc<Core>,
    stream: &Arc<StreamDef>,
    change: &ChangeRouting,
    pass: Pass,
) -> Result<ChangedRouting, Problem> {
    let (plans, options) = (&core.regions.plans, core.options.holds().routing.clone());
    if options.has_capacities() {
        load::ask(core, &options).await;
    }
    for _ in 0..TRIES_MAX {
        // Before it is followed: whatever comes in between is a conflict.
        let version = plans::version(core, stream).await?;
        plans.follow(core).await?;
        let now = plans.in_effect()?;
        change.check(now.plan.generation())?;
        let ended = || Problem::new(Code::NotReady, "the links of this region have ended");
        let known = load::known(core).await.ok_or_else(ended)?;
        let observed = known.observed();
        let next = next(core, &options, &now, change, &observed, known.now_ms).await?;
        let changed = ChangedRouting {
            done: !change.dry_run,
            generation: next.generation(),
            change: change.step.to_string(),
            regions: plans::regions(plans, &options, &next, &observed),
        };
        if change.dry_run {
            return Ok(changed);
        }
        let homes = NodeRegions(core.clone()).links()?.homes().list();
        let term = homes.iter().find(|home| home.stream == ROUTING_STREAM).map_or(0, |home| home.term);
        match append(core, stream, version, &Stored::new(&next, term, change.step.to_string())).await {
            Ok(()) => {
                pass.check()?;
                plans.follow(core).await?;
                tracing::info!(generation = next.generation(), change = %change.step, "the routing plan is changed");
                return Ok(changed);
            }
            Err(problem) if problem.code() == Code::VersionConflict => {}
            Err(problem) => return Err(problem),
        }
    }
    Err(Problem::new(Code::Busy, "others change the plan all the time: try again in a moment"))
}

/// The plan that follows.
async fn next(
    core: &Core,
    options: &RoutingOptions,
    now: &InEffect,
    change: &ChangeRouting,
    observed: &Observed,
    now_ms: u64,
) -> Result<Plan, Problem> {
    let (plans, plan, ranking) = (&core.regions.plans, &now.plan, options.ranking());
    let sample = match change.step {
        RoutingStep::RollBack { .. } => Vec::new(),
        _ => plans.loads.sample(options, plan, observed, now_ms).map_err(unknown)?,
    };
    let present = Present { observed, sample: &sample, options: &ranking, now_ms };
    let next = match change.step {
        RoutingStep::RollBack { to } => roll_back(plan, &plans.plan_of(to).await?, observed),
        RoutingStep::Shift { from, to, permille } => {
            shift(plan, RegionId(from), RegionId(to), permille, &present)
        }
        RoutingStep::Drain { region, permille } => drain(plan, RegionId(region), permille, &present),
        RoutingStep::Weigh { region, weight } => weigh(plan, RegionId(region), weight, &present),
    };
    next.map_err(refused)
}

/// That nobody knows whether there is room.
fn unknown(lacking: Vec<RegionId>) -> Problem {
    let lacking: Vec<String> = lacking.iter().map(ToString::to_string).collect();
    let detail = format!(
        "whether there is room is not known, because region {} has not told how much it serves: try again when it answers, or go back to an \
         earlier generation, which needs no room",
        lacking.join(", ")
    );
    Problem::new(Code::NotReady, detail)
}

/// Why the core makes no such plan.
pub(super) fn refused(error: Error) -> Problem {
    let code = match &error {
        Error::RouteFull { .. } | Error::RouteBeyond { .. } => Code::NoRoom,
        Error::RouteUnknown { .. } => Code::NoRegion,
        Error::RouteStep { .. } => Code::InvalidParameter,
        Error::RouteOvertaken { .. } => Code::RoutingOvertaken,
        _ => Code::WrongState,
    };
    Problem::new(code, error.to_string())
}

/// Stores a generation, if nothing was stored since the stream had this version.
async fn append(
    core: &Core,
    stream: &Arc<StreamDef>,
    version: Version,
    stored: &Stored,
) -> Result<(), Problem> {
    let random = &core.env.random;
    let id = format!("{}/{:016x}{:016x}", core.log.region(), random.next_u64(), random.next_u64());
    let expected =
        if version == Version::NONE { ExpectedVersion::None } else { ExpectedVersion::Exact(version) };
    let mut write = core.events.write();
    write.expect(stream, SUBJECT, expected);
    write.push(stream, &stored.event(id).as_ref())?;
    core.events.append(write).await?;
    Ok(())
}
