//! How far regions are from networks, as clients have measured it: noted here, and told to the other regions, once each.
//!
//! It is kept in memory: what is lost is measured again. A region that does not hear of it goes by the distance.

use crate::core::Core;
use crate::parts::asked;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tw_api::parts::{MeasuredRtt, MeasuredRtts, network};
use tw_api::{Code, Problem};
use tw_plan::routing::{Measured, Network, REGIONS_MAX, Rtts};
use tw_types::RegionId;

/// How many reports are on their way to other regions; of more than that they hear nothing.
const TOLD_AT_ONCE: usize = 64;
/// How long one may take.
const TELL_MAX: Duration = Duration::from_secs(2);

/// What clients have measured.
pub(crate) struct Latencies {
    rtts: Mutex<Rtts>,
    telling: Arc<Semaphore>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { rtts: Mutex::default(), telling: Arc::new(Semaphore::new(TOLD_AT_ONCE)) }
    }
}

impl Latencies {
    /// What is known of a network.
    pub(crate) fn of(&self, network: Option<Network>) -> BTreeMap<RegionId, Measured> {
        network.map(|network| self.rtts.lock().of(network)).unwrap_or_default()
    }
}

/// Takes note of what a client has measured, and tells the other regions unless one of them has sent it.
///
/// # Errors
/// `invalid_parameter`, `no_region`: nothing is noted. `wrong_state` if no regions are named.
pub(crate) fn note(core: &Arc<Core>, measured: MeasuredRtts, is_hop: bool) -> Result<(), Problem> {
    let plans = &core.regions.plans;
    let now = plans.in_effect()?;
    let invalid = |detail: String| Problem::new(Code::InvalidParameter, detail);
    let of =
        network(&measured.network).ok_or_else(|| invalid(format!("`{}` is no network", measured.network)))?;
    let count = measured.rtts.len();
    if count > REGIONS_MAX {
        return Err(invalid(format!("{count} regions were measured, over the limit of {REGIONS_MAX}")));
    }
    if let Some(unknown) = measured.rtts.iter().find(|one| now.plan.region(RegionId(one.region)).is_none()) {
        let detail =
            format!("the routing plan has no region `{}`: measure those that it has", unknown.region);
        return Err(Problem::new(Code::NoRegion, detail));
    }
    let (holds, now_ms) = (core.options.holds(), core.env.clock.now_ms());
    let ms_max = holds.routing.ranking().measured_ms_max;
    let mut rtts = plans.latencies.rtts.lock();
    for MeasuredRtt { region, rtt_ms } in &measured.rtts {
        rtts.note(of, RegionId(*region), *rtt_ms, now_ms, ms_max);
    }
    drop(rtts);
    let here = core.log.region();
    let others = now.plan.regions().iter().map(|region| region.id).filter(|region| *region != here);
    for region in others.filter(|_| !is_hop) {
        let Ok(permit) = plans.latencies.telling.clone().try_acquire_owned() else { break };
        let (core, measured) = (core.clone(), measured.clone());
        tokio::spawn(async move {
            let told = asked::tell(&core, region, "/v1/route/measured", &measured, TELL_MAX).await;
            if let Err(unasked) = told {
                tracing::debug!(%region, reason = unasked.to_string(), "a region does not hear what a client has measured");
            }
            drop(permit);
        });
    }
    Ok(())
}
