//! How much regions serve, and what each one admits for that.
//!
//! A region counts the requests of its clients, and the others ask it. What was told last holds while a region says nothing more; one that looks down
//! serves nothing. While it was never told how much one serves, nothing is decided by it: whatever each region admits stays as it is.

use super::{Known, RoutingOptions};
use crate::core::Core;
use crate::parts::asked;
use futures_util::future::join_all;
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tw_api::parts::RegionLoad;
use tw_plan::routing::{Admission, Observed, Plan, Present, Sampled, admission, sample};
use tw_types::RegionId;

/// Over how many looks requests are counted, one a second.
const LOOKS: usize = 10;
/// How long a region may take to say how much it serves.
const TELL_MAX: Duration = Duration::from_secs(1);

/// What is known of how much regions serve.
#[derive(Default)]
pub(crate) struct Loads {
    /// How many requests were let in here, at the last looks.
    looks: Mutex<VecDeque<(Duration, u64)>>,
    /// What each region has told last, in thousandths of a request a second.
    told: Mutex<BTreeMap<RegionId, u64>>,
    admission: RwLock<Admission>,
}

impl Loads {
    /// Notes how many requests were let in here until now.
    pub(super) fn look(&self, here: RegionId, now: Duration, served: u64) {
        let mut looks = self.looks.lock();
        if looks.len() > LOOKS {
            looks.pop_front();
        }
        looks.push_back((now, served));
        let (Some((since, before)), Some((until, after))) = (looks.front(), looks.back()) else { return };
        let ms = u64::try_from(until.saturating_sub(*since).as_millis()).unwrap_or(u64::MAX);
        if let Some(rate) = after.saturating_sub(*before).saturating_mul(1_000_000).checked_div(ms) {
            self.told.lock().insert(here, rate);
        }
    }

    /// What this region tells others.
    pub(crate) fn own(&self, here: RegionId) -> Option<u64> {
        self.told.lock().get(&here).copied()
    }

    /// How much each region admits.
    pub(crate) fn admission(&self) -> Admission {
        self.admission.read().clone()
    }

    /// What a region has told last, in whole requests a second.
    pub(super) fn per_s(&self, region: RegionId) -> Option<u64> {
        self.told.lock().get(&region).map(|milli| milli.div_ceil(1_000))
    }

    /// The regions of which nobody knows how much they serve.
    pub(super) fn lacking(&self, plan: &Plan, observed: &Observed) -> Vec<RegionId> {
        let told = self.told.lock();
        let regions = plan.regions().iter().map(|region| region.id);
        regions.filter(|id| observed.is_up(*id) && !told.contains_key(id)).collect()
    }

    /// Users that stand for what the regions serve; none if it is not known what they can serve.
    ///
    /// # Errors
    /// The regions of which nobody knows how much they serve.
    pub(super) fn sample(
        &self,
        options: &RoutingOptions,
        plan: &Plan,
        observed: &Observed,
        now_ms: u64,
    ) -> Result<Vec<Sampled>, Vec<RegionId>> {
        if !options.has_capacities() {
            return Ok(Vec::new());
        }
        let lacking = self.lacking(plan, observed);
        if !lacking.is_empty() {
            return Err(lacking);
        }
        let mut loads = self.told.lock().clone();
        // Whoever was there is elsewhere by now, and counted there.
        loads.retain(|region, _| observed.is_up(*region));
        Ok(sample(plan, observed, &loads, &options.ranking(), now_ms))
    }

    /// Computes anew how much each region admits.
    fn admit(&self, options: &RoutingOptions, plan: &Plan, observed: &Observed, now_ms: u64) {
        let Ok(sample) = self.sample(options, plan, observed, now_ms) else { return };
        let options = options.ranking();
        let present = Present { observed, sample: &sample, options: &options, now_ms };
        if let Ok(admitted) = admission(plan, &present) {
            *self.admission.write() = admitted.admission;
        }
    }
}

/// Asks all other regions how much they serve.
pub(super) async fn ask(core: &Arc<Core>, options: &RoutingOptions) {
    let here = core.log.region();
    let others: Vec<RegionId> =
        options.regions.iter().map(|region| region.id).filter(|region| *region != here).collect();
    let asked = others.into_iter().map(|region| async move {
        let told = asked::get::<RegionLoad>(core, region, "/v1/routing/load", TELL_MAX).await;
        (region, told)
    });
    for (region, told) in join_all(asked).await {
        match told {
            Ok(RegionLoad { served_milli_per_s: Some(served), .. }) => {
                core.regions.plans.loads.told.lock().insert(region, served);
            }
            Ok(RegionLoad { served_milli_per_s: None, .. }) => {}
            Err(unasked) => {
                let reason = unasked.to_string();
                tracing::debug!(%region, reason, "a region does not say how much it serves");
            }
        }
    }
}

/// Looks how much is served here and elsewhere, and what each region admits for that.
pub(super) async fn follow(core: &Arc<Core>, options: &RoutingOptions) {
    let (plans, here) = (&core.regions.plans, core.log.region());
    plans.loads.look(here, core.env.clock.monotonic(), core.options.served());
    ask(core, options).await;
    let (Some(now), Some(known)) = (plans.now(), known(core).await) else { return };
    let (core, options) = (core.clone(), options.clone());
    // Of many regions it takes a while.
    let admitted = tokio::task::spawn_blocking(move || {
        let (observed, now_ms) = (known.observed(), known.now_ms);
        core.regions.plans.loads.admit(&options, &now.plan, &observed, now_ms);
    });
    if let Err(error) = admitted.await {
        tracing::error!(%error, "how much regions admit was not computed; it stays as it is");
    }
}

/// What is known of the regions; None if the links have ended.
pub(super) async fn known(core: &Core) -> Option<Known> {
    let links = core.regions.links.get()?;
    Some(Known {
        here: core.log.region(),
        seen: links.seen(),
        heard: links.heard().await.ok()?,
        admission: core.regions.plans.loads.admission(),
        now_ms: core.env.clock.now_ms(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(capacity: &str) -> RoutingOptions {
        let region = |id| format!("[[regions]]\nid = {id}\nurl = 'http://r{id}'\n{capacity}\n");
        toml::from_str(&(region(1) + &region(2))).unwrap()
    }

    #[test]
    fn what_is_served_is_counted_over_the_last_seconds() {
        let (loads, here) = (Loads::default(), RegionId(1));
        loads.look(here, Duration::from_secs(5), 1_000);
        assert_eq!(loads.own(here), None, "one look says nothing");
        for second in 1..=20 {
            loads.look(here, Duration::from_secs(5 + second), 1_000 + second * 30);
        }
        assert_eq!((loads.own(here), loads.per_s(here)), (Some(30_000), Some(30)));
        for second in 21..=40 {
            loads.look(here, Duration::from_secs(5 + second), 1_600);
        }
        assert_eq!(loads.own(here), Some(0), "what was long ago does not count");
    }

    #[test]
    fn what_nobody_has_told_is_never_taken_for_nothing() {
        let (loads, options) = (Loads::default(), options("capacity_per_s = 100"));
        let plan = options.plan(RegionId(1)).unwrap().unwrap();
        let mut observed = Observed::default();
        let sample = |loads: &Loads, observed: &Observed| loads.sample(&options, &plan, observed, 1_000);
        loads.told.lock().insert(RegionId(1), 150_000);
        assert_eq!(sample(&loads, &observed), Err(vec![RegionId(2)]));
        loads.admit(&options, &plan, &observed, 1_000);
        assert_eq!(loads.admission(), Admission::default());
        loads.told.lock().insert(RegionId(2), 0);
        let total = |sample: Vec<Sampled>| sample.iter().map(|one| one.rate_milli_per_s).sum::<u64>();
        assert!(total(sample(&loads, &observed).unwrap()).abs_diff(150_000) < 1_000);
        loads.admit(&options, &plan, &observed, 1_000);
        assert!(loads.admission().permille(RegionId(1)) < 700, "it has no room for all of it");
        // One that looks down is asked for nothing, and serves nothing.
        observed.tell(RegionId(2), false, 1_000);
        loads.told.lock().remove(&RegionId(2));
        assert!(sample(&loads, &observed).is_ok());
        let none = super::tests::options("");
        assert_eq!(Loads::default().sample(&none, &plan, &observed, 1_000), Ok(Vec::new()));
    }
}
