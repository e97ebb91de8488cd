//! The plan in effect, as this region knows it: it follows `$routing`, and holds what it knows while that cannot be read.

use super::history::{History, InEffect, SUBJECT, Stored};
use super::latency::Latencies;
use super::load::{self, Loads, known};
use super::{Known, RoutingOptions};
use crate::core::Core;
use parking_lot::RwLock;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tw_api::parts::{GivenPart, PlannedRegion, RegionLoss, RoutingGeneration, RoutingView};
use tw_api::{Code, Problem};
use tw_log::store::Filter;
use tw_log::{Log, NewStream, Signal};
use tw_plan::routing::{Observed, Plan, Present, headroom};
use tw_region::service::Links;
use tw_types::{
    Offset, PartitionId, RegionId, StreamDef, StreamMode, StreamName, StreamOptions, StreamPartition,
    Version, chain,
};

/// The stream of generations. It has one partition, is written in its home, and is in every region.
pub(super) const ROUTING_STREAM: &str = "$routing";
/// How often it is looked at how much regions serve, and at the stream if it says nothing.
const LOOK: Duration = Duration::from_secs(1);
/// How much is read at a time.
const READ_EVENTS: usize = 1_000;
const READ_BYTES: usize = 1 << 20;

/// See the module's text.
pub(crate) struct Plans {
    /// Generation 1; None if no regions are named.
    configured: Option<Plan>,
    fold: tokio::sync::Mutex<Fold>,
    now: RwLock<Option<Arc<InEffect>>>,
    pub(crate) loads: Loads,
    pub(crate) latencies: Latencies,
}

#[derive(Default)]
struct Fold {
    next: Offset,
    history: History,
}

/// Creates the stream of generations, if users are spread over regions and it is not there yet.
///
/// # Errors
/// Whatever stops the log.
pub(crate) async fn define(log: &dyn Log, options: &RoutingOptions) -> tw_log::Result<()> {
    let Some(home) = options.first_home() else { return Ok(()) };
    if let Ok(def) = log.streams().get(ROUTING_STREAM) {
        if let Some(first) = def.options.home.filter(|first| *first != home) {
            // Where it is decided now is said by claims, which go on to hold.
            tracing::warn!(
                %first, configured = %home,
                "changes of the routing plan were decided in another region first than the configuration says, and that stays so: say `home` in [routing]"
            );
        }
        return Ok(());
    }
    if let Ok(name) = StreamName::new(ROUTING_STREAM) {
        let options =
            StreamOptions { mode: StreamMode::HomeRegion, home: Some(home), ..StreamOptions::default() };
        log.create_stream(NewStream { options, ..NewStream::plain(name, 1) }).await?;
    }
    Ok(())
}

impl Plans {
    pub(crate) fn new(options: &RoutingOptions, here: RegionId) -> Self {
        // It was checked with the configuration.
        let configured = options.plan(here).ok().flatten();
        let now = configured.as_ref().map(|plan| Arc::new(History::default().in_effect(plan)));
        let (fold, loads, latencies) = Default::default();
        Self { configured, fold, now: RwLock::new(now), loads, latencies }
    }

    /// What is in effect; None if no regions are named.
    pub(crate) fn now(&self) -> Option<Arc<InEffect>> {
        self.now.read().clone()
    }

    /// The same.
    ///
    /// # Errors
    /// `wrong_state` if no regions are named.
    pub(crate) fn in_effect(&self) -> Result<Arc<InEffect>, Problem> {
        self.now().ok_or_else(|| {
            let detail = "it is not configured where regions serve users: name them in [[routing.regions]], the same in each region";
            Problem::new(Code::WrongState, detail)
        })
    }

    /// What nobody has told of the regions.
    pub(crate) fn not_known(&self, options: &RoutingOptions, known: &Known) -> Vec<String> {
        if !options.has_capacities() {
            return vec!["capacity".to_owned()];
        }
        let Some(now) = self.now() else { return Vec::new() };
        let lacking = self.loads.lacking(&now.plan, &known.observed());
        lacking.into_iter().map(|region| format!("load of region {region}")).collect()
    }

    /// The plan that a generation was.
    ///
    /// # Errors
    /// It is not known, or no plan with the regions that are configured.
    pub(super) async fn plan_of(&self, generation: u64) -> Result<Plan, Problem> {
        let unknown = || {
            let detail = format!(
                "generation {generation} of the plan is not known: `tradewind region routing` lists those that are"
            );
            Problem::new(Code::InvalidParameter, detail)
        };
        let configured = self.configured.as_ref().ok_or_else(unknown)?;
        let plan = self.fold.lock().await.history.plan_of(generation, configured).ok_or_else(unknown)?;
        plan.map_err(super::change::refused)
    }

    /// Learns what was stored since.
    ///
    /// # Errors
    /// Whatever stops a read; what was known holds.
    pub(super) async fn follow(&self, core: &Core) -> Result<(), tw_log::store::Error> {
        let Some(configured) = &self.configured else { return Ok(()) };
        let mut fold = self.fold.lock().await;
        let at = StreamPartition::new(core.log.streams().get(ROUTING_STREAM)?.id, PartitionId(0));
        let before = fold.next;
        while fold.next < core.log.bounds(at)?.end {
            let page = core.events.read(at, fold.next, &Filter::default(), READ_EVENTS, READ_BYTES).await?;
            for event in &page.events {
                match Stored::read(&event.event.as_ref()) {
                    Some(stored) => fold.history.learn(event.hlc, event.origin.region, stored),
                    None => {
                        tracing::warn!(position = %event.position, "an event of `$routing` is no plan that can be read here: it is never taken");
                    }
                }
            }
            fold.next = page.next;
        }
        if fold.next != before {
            let in_effect = fold.history.in_effect(configured);
            if let Some(note) = &in_effect.note {
                tracing::warn!(note, "a routing plan is not taken");
            }
            tracing::info!(generation = in_effect.plan.generation(), "the routing plan in effect");
            *self.now.write() = Some(Arc::new(in_effect));
        }
        Ok(())
    }
}

/// The stream of generations.
///
/// # Errors
/// `not_ready` before it is there.
pub(super) fn stream(core: &Core) -> Result<Arc<StreamDef>, Problem> {
    core.log
        .streams()
        .get(ROUTING_STREAM)
        .cloned()
        .map_err(|_| Problem::new(Code::NotReady, "the plan cannot be changed yet: try again in a moment"))
}

/// The version of the last generation that is stored here.
pub(super) async fn version(core: &Core, stream: &StreamDef) -> Result<Version, Problem> {
    Ok(core.events.version(stream.id, SUBJECT).await?)
}

/// Follows the plan and what regions serve, for as long as the node runs. What is stored is known when this returns.
pub(crate) async fn run(core: &Arc<Core>) {
    let plans = &core.regions.plans;
    if plans.configured.is_none() {
        return;
    }
    report(plans.follow(core).await);
    let signal = || {
        let id = core.log.streams().get(ROUTING_STREAM).ok()?.id;
        core.log.end_signal(StreamPartition::new(id, PartitionId(0))).ok()
    };
    tokio::spawn(follow(Arc::downgrade(core), signal().unwrap_or_default()));
    tokio::spawn(count(Arc::downgrade(core)));
}

async fn follow(core: Weak<Core>, signal: Arc<Signal>) {
    loop {
        let seen = signal.get();
        {
            let Some(core) = core.upgrade().filter(|core| !core.is_closing()) else { return };
            report(core.regions.plans.follow(&core).await);
        }
        // Now and then it is looked at whether the node has ended.
        let _late = tokio::time::timeout(LOOK, signal.over(seen)).await;
    }
}

async fn count(core: Weak<Core>) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some(core) = core.upgrade().filter(|core| !core.is_closing()) else { return };
        let options = core.options.holds().routing.clone();
        if !options.has_capacities() {
            return;
        }
        load::follow(&core, &options).await;
    }
}

fn report(followed: Result<(), tw_log::store::Error>) {
    if let Err(error) = followed {
        tracing::error!(error = chain(&error), "the routing plan cannot be followed; what was known holds");
    }
}

/// The plan in effect, for people.
///
/// # Errors
/// `wrong_state` if no regions are named; `not_ready` when the links have ended.
pub(crate) async fn show(core: &Core, links: &Links) -> Result<RoutingView, Problem> {
    let plans = &core.regions.plans;
    let now = plans.in_effect()?;
    let ended = || Problem::new(Code::NotReady, "the links of this region have ended");
    let known = known(core).await.ok_or_else(ended)?;
    let (holds, observed) = (core.options.holds(), known.observed());
    let options = &holds.routing;
    let homes = links.homes().list();
    let told = |one: &super::history::Told| RoutingGeneration {
        generation: one.generation,
        change: one.change.clone(),
        by: one.by.map(|(region, _)| region.0),
        at_ms: one.by.map(|(_, at_ms)| at_ms),
    };
    let mut not_known = plans.not_known(options, &known);
    not_known.extend(now.note.clone());
    Ok(RoutingView {
        generation: now.plan.generation(),
        answered_by: core.log.region().0,
        home: homes.iter().find(|home| home.stream == ROUTING_STREAM).map(|home| home.home.0),
        regions: regions(plans, options, &now.plan, &observed),
        losses: losses(plans, options, &now.plan, &observed, known.now_ms),
        not_known,
        history: now.history.iter().map(told).collect(),
    })
}

/// The regions of a plan.
pub(super) fn regions(
    plans: &Plans,
    options: &RoutingOptions,
    plan: &Plan,
    observed: &Observed,
) -> Vec<PlannedRegion> {
    let given =
        |part: &tw_plan::routing::Given| GivenPart { to: part.to.map(|to| to.0), permille: part.permille };
    let region = |region: &tw_plan::routing::Region| PlannedRegion {
        region: region.id.0,
        url: options.url(region.id),
        weight: region.weight,
        drained: region.drained,
        given: region.given.iter().map(given).collect(),
        capacity_per_s: options.has_capacities().then_some(region.capacity_per_s),
        load_per_s: plans.loads.per_s(region.id),
        up: observed.is_up(region.id),
    };
    plan.regions().iter().map(region).collect()
}

/// What the loss of each region would mean, if it is known what regions can serve and do serve.
fn losses(
    plans: &Plans,
    options: &RoutingOptions,
    plan: &Plan,
    observed: &Observed,
    now_ms: u64,
) -> Vec<RegionLoss> {
    if !options.has_capacities() {
        return Vec::new();
    }
    let Ok(sample) = plans.loads.sample(options, plan, observed, now_ms) else { return Vec::new() };
    let options = options.ranking();
    let present = Present { observed, sample: &sample, options: &options, now_ms };
    let losses = headroom(plan, &present).unwrap_or_default();
    let loss = |one: tw_plan::routing::Loss| RegionLoss {
        region: one.lost.0,
        beyond_per_s: one.beyond_milli_per_s.div_ceil(1_000),
    };
    losses.into_iter().map(loss).collect()
}
