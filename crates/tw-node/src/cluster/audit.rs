//! Whether the cluster keeps its promises, looked at while it runs ([`tw_plan::ownership::invariants`]).
//!
//! Every node looks at what coordination tells it, and now and then at what coordination has ([`Owners::audit`]). What it finds broken is
//! a metric, `tradewind_invariant_broken_total`, a problem of its `tradewind status` until it is started again, and an event of
//! `$cluster`, of type `tradewind.invariant.broken`. One unit counts once for each promise that was broken for it in one way, and a hundred in all.
//!
//! That others have written to a partition that a node has (CLU-1), its event store knows. Two kinds of streams are written by whoever
//! has something to say, and not by the owners of their partitions: those of the platform, and captured tables, which their source's owner writes.

use super::{Cluster, Subject, history};
use crate::core::Core;
use metrics::counter;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Duration;
use tw_cluster::{Broken, Owners};
use tw_plan::ownership::invariants::CHECKED;
use tw_plan::placement::Unit;
use tw_types::{StreamDef, StreamKind, StreamPartition};

/// How many breaches are told; whoever hears of so many needs to hear of no more.
const BREACHES_MAX: usize = 100;
/// How long it may take to see what others have written to the partitions that are here.
const CATCH_UP: Duration = Duration::from_secs(10);

/// What this node has found broken since it was started.
#[derive(Default)]
pub(crate) struct Breaches {
    /// Each with whether it is an event of `$cluster` already.
    found: Mutex<BTreeMap<Broken, bool>>,
}

impl Breaches {
    /// What was found, and where.
    pub(crate) fn all(&self) -> Vec<Broken> {
        self.found.lock().keys().cloned().collect()
    }

    /// Whether this was not known, and is to be told.
    fn add(&self, broken: Broken) -> bool {
        let mut found = self.found.lock();
        let is_new = found.len() < BREACHES_MAX && !found.contains_key(&broken);
        if is_new {
            found.insert(broken, false);
        }
        is_new
    }

    /// What is to be told yet.
    fn untold(&self) -> Vec<Broken> {
        self.found.lock().iter().filter(|(_, is_told)| !**is_told).map(|(broken, _)| broken.clone()).collect()
    }

    fn told(&self, broken: &Broken) {
        if let Some(is_told) = self.found.lock().get_mut(broken) {
            *is_told = true;
        }
    }
}

/// Whether only the owner of a partition writes to it.
pub(super) fn is_written_by_its_owner(stream: &StreamDef) -> bool {
    !stream.name.is_system() && stream.kind != StreamKind::Table
}

/// A unit as people know it: `orders/0`, `source/shop`.
pub(crate) fn name_of(core: &Core, unit: &Unit) -> String {
    let Some(Subject::Partition(at)) = Subject::of(unit) else { return unit.to_string() };
    match core.log.streams().by_id(at.stream) {
        Ok(stream) => format!("{}/{}", stream.name, at.partition.0),
        Err(_) => unit.to_string(),
    }
}

/// Looks every so many milliseconds, until the node is gone.
pub(super) async fn audit(core: Weak<Core>, every_ms: u64) {
    for id in CHECKED {
        // So that rules of alarms have something to compare with.
        counter!("tradewind_invariant_broken_total", "invariant" => id).increment(0);
    }
    let mut ticks = tokio::time::interval(Duration::from_millis(every_ms));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(core) = core.upgrade() else { return };
        let Some(owners) = core.cluster.owners() else { continue };
        let _in_time = tokio::time::timeout(CATCH_UP, see_what_others_wrote(&core, owners)).await;
        if let Err(error) = owners.audit().await {
            tracing::debug!(%error, "whether the promises are kept is looked at later");
        }
        for broken in owners.take_broken() {
            note(&core.cluster, broken);
        }
        tell(&core).await;
    }
}

/// Has the event store look at what is new in the partitions that this node writes to.
async fn see_what_others_wrote(core: &Core, owners: &Owners) {
    let plan = owners.plan();
    let partitions = plan.iter().filter_map(|(unit, _)| match Subject::of(unit)? {
        Subject::Partition(at) => core.cluster.owns(at).then_some(at),
        Subject::Source(_) => None,
    });
    let partitions: Vec<StreamPartition> = partitions.collect();
    for at in partitions {
        if let Err(error) = core.events.catch_up(at).await {
            tracing::debug!(%at, error = tw_types::chain(&error), "what others wrote is not known");
        }
    }
}

fn note(cluster: &Cluster, broken: Broken) {
    let Broken { invariant, unit, what } = broken.clone();
    if cluster.breaches().add(broken) {
        counter!("tradewind_invariant_broken_total", "invariant" => invariant).increment(1);
        tracing::error!(invariant, %unit, what, "a promise is broken");
    }
}

/// Says in `$cluster` what was not said yet; what cannot be said now is said at the next look.
async fn tell(core: &Core) {
    for broken in core.cluster.breaches().untold() {
        match history::broken(core, &broken).await {
            Ok(()) => core.cluster.breaches().told(&broken),
            Err(error) => return tracing::debug!(error, "what is broken is said later"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breach_is_told_once_and_their_number_is_bounded() {
        let breaches = Breaches::default();
        let breach = |number: usize| Broken::new("CLU-1", &Unit::new("7/0").unwrap(), format!("{number}"));
        assert!(breaches.add(breach(0)));
        assert!(!breaches.add(breach(0)));
        assert_eq!(breaches.untold(), [breach(0)]);
        breaches.told(&breach(0));
        assert_eq!((breaches.untold(), breaches.all()), (vec![], vec![breach(0)]));
        assert_eq!(
            (1..2 * BREACHES_MAX).filter(|number| breaches.add(breach(*number))).count(),
            BREACHES_MAX - 1
        );
        assert_eq!(breaches.all().len(), BREACHES_MAX);
    }
}
