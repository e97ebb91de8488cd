//! Ownership: nodes that join, leave and fall silent, and who has what then.

use crate::support::{in_time, on_both_engines, until};
use futures_util::future::FutureExt;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tw_cluster::conformance::{Disturbance, Engine};
use tw_cluster::{
    BoxFuture, Capacity, Coordination, Key, LeaseOptions, Members, Owner, Owners, OwnersOptions, Prober,
    Registration, Sign, Standing, Transaction, Units,
};
use tw_plan::placement::{self, Unit};

on_both_engines!(
    clu_1_every_unit_has_one_owner_and_moves_when_a_node_joins_drains_or_leaves,
    clu_1_clu_3_a_node_that_falls_silent_is_fenced_off_and_what_others_have_stays_open,
    a_node_that_lost_its_lease_shuts_everything_and_comes_back_by_itself,
    a_node_that_drains_does_so_still_when_it_has_lost_its_lease,
    clu_1_a_node_that_answers_nobody_is_replaced_long_before_its_lease_ends,
    clu_2_a_node_that_nobody_reaches_gets_nothing_however_often_it_registers,
    what_hysteresis_holds_back_is_moved_on_request,
    a_unit_that_weighs_as_much_as_many_others_shares_its_node_with_few,
    clu_1_clu_3_claims_that_somebody_else_has_written_are_found_by_everybody,
    clu_1_an_audit_finds_events_that_somebody_else_has_written,
);

const UNITS: u32 = 12;

/// What all nodes have in common: who has which unit open, and what was fenced off.
#[derive(Default)]
struct World {
    open: Mutex<BTreeMap<Unit, (String, u64)>>,
    fenced: Mutex<BTreeSet<String>>,
    /// How often each unit was opened.
    opened: Mutex<BTreeMap<Unit, u32>>,
    /// Who has opened any since this was emptied.
    takers: Mutex<BTreeSet<String>>,
    /// Who answers nobody.
    deaf: Mutex<BTreeSet<String>>,
    /// What units weigh that do not weigh 1.
    heavy: Mutex<BTreeMap<Unit, u32>>,
    /// To whose logs somebody else has written.
    meddled: Mutex<BTreeSet<Unit>>,
}

impl Prober for World {
    fn probe<'a>(&'a self, registration: &'a Registration) -> BoxFuture<'a, Sign> {
        let is_deaf = self.deaf.lock().contains(&registration.node);
        async move { if is_deaf { Sign::Refused } else { Sign::Alive } }.boxed()
    }
}

/// A node's units: it is as warm as it is told to be.
struct Host {
    node: String,
    world: Arc<World>,
    kept: Mutex<BTreeSet<Unit>>,
}

impl Units for Host {
    fn all(&self) -> BTreeSet<Unit> {
        (0..UNITS).map(|number| Unit::new(&format!("7/{number}")).unwrap()).collect()
    }

    fn weight(&self, unit: &Unit) -> Option<u32> {
        Some(self.world.heavy.lock().get(unit).copied().unwrap_or(1))
    }

    fn keep(&self, kept: &BTreeSet<Unit>) {
        *self.kept.lock() = kept.clone();
    }

    fn is_warm(&self, unit: &Unit) -> bool {
        self.kept.lock().contains(unit)
    }

    fn open<'a>(
        &'a self,
        unit: &'a Unit,
        epoch: u64,
        fence: &'a [String],
    ) -> BoxFuture<'a, Result<(), String>> {
        async move {
            self.world.fenced.lock().extend(fence.iter().cloned());
            let mut open = self.world.open.lock();
            if let Some((other, before)) = open.insert(unit.clone(), (self.node.clone(), epoch)) {
                assert!(
                    self.world.fenced.lock().contains(&format!("{other}-w")),
                    "{unit} is open at {other}"
                );
                assert!(before < epoch, "{unit} goes back to epoch {epoch}");
            }
            *self.world.opened.lock().entry(unit.clone()).or_default() += 1;
            self.world.takers.lock().insert(self.node.clone());
            Ok(())
        }
        .boxed()
    }

    fn is_meddled_with(&self, unit: &Unit) -> bool {
        self.world.meddled.lock().contains(unit)
    }

    fn shut<'a>(&'a self, unit: &'a Unit) -> BoxFuture<'a, ()> {
        async move {
            let mut open = self.world.open.lock();
            if open.get(unit).is_some_and(|(node, _)| *node == self.node) {
                open.remove(unit);
            }
        }
        .boxed()
    }
}

async fn join(on: Arc<dyn Coordination>, node: &str, world: &Arc<World>) -> Owners {
    join_for(4_000, on, node, world).await
}

/// Joins with a lease of so many milliseconds.
async fn join_for(ttl_ms: u64, on: Arc<dyn Coordination>, node: &str, world: &Arc<World>) -> Owners {
    let placement = placement::Options { cooldown_ms: 0, ..placement::Options::default() };
    join_with(placement, ttl_ms, on, node, world).await
}

/// The same with units that are placed like this.
async fn join_with(
    placement: placement::Options,
    ttl_ms: u64,
    on: Arc<dyn Coordination>,
    node: &str,
    world: &Arc<World>,
) -> Owners {
    let registration = Registration {
        node: node.into(),
        instance: format!("{node}-i"),
        writer: format!("{node}-w"),
        roles: ["data".into()].into(),
        capacity: Capacity { cpu_millicores: 1000, memory_bytes: 1 << 30, disk_bytes: 1 << 40 },
        addresses: [("http".into(), format!("{node}:7070"))].into(),
        version: "0.1.0".into(),
    };
    let host = Host { node: node.into(), world: world.clone(), kept: Mutex::default() };
    let lease = LeaseOptions { ttl_ms, margin_percent: 10 };
    let options =
        OwnersOptions { lease, placement, settle_ms: 50, review_ms: 500, ..OwnersOptions::default() };
    Owners::join(on, registration, Arc::new(host), world.clone(), options).await.unwrap()
}

/// Waits until these nodes agree that each unit is open at one of them, with at least so many at each.
async fn shared_among(engine: &dyn Engine, nodes: &[(&str, &Owners)], world: &World, each_min: usize) {
    let is_so = || {
        let open = world.open.lock().clone();
        let here = |name: &str| open.values().filter(|(node, _)| node == name).count();
        let agrees = |(name, owners): &(&str, &Owners)| {
            open.iter().all(|(unit, (node, epoch))| match owners.owner(unit) {
                Owner::Here(here) => node == name && here == *epoch,
                Owner::Node(other) => node == other.as_str(),
                Owner::Nobody => false,
            })
        };
        open.len() == UNITS as usize
            && nodes.iter().all(|(name, _)| here(name) >= each_min)
            && nodes.iter().map(|(name, _)| here(name)).sum::<usize>() == UNITS as usize
            && nodes.iter().all(agrees)
    };
    in_time(engine, until(is_so)).await;
    for (_, owners) in nodes {
        in_time(engine, owners.audit()).await.unwrap();
        assert_eq!(owners.take_broken(), [], "what is as it should be is not found broken");
    }
}

async fn clu_1_every_unit_has_one_owner_and_moves_when_a_node_joins_drains_or_leaves(engine: &dyn Engine) {
    let world = Arc::new(World::default());
    let a = in_time(engine, join(engine.connect(), "a", &world)).await;
    shared_among(engine, &[("a", &a)], &world, 12).await;
    let b = in_time(engine, join(engine.connect(), "b", &world)).await;
    let c = in_time(engine, join(engine.connect(), "c", &world)).await;
    shared_among(engine, &[("a", &a), ("b", &b), ("c", &c)], &world, 3).await;
    assert_eq!(*world.fenced.lock(), BTreeSet::new(), "a hand-over between the living fences nobody off");
    assert_eq!(a.address(&tw_types::NodeId::new("b").unwrap(), "http").as_deref(), Some("b:7070"));
    Members::new(engine.connect()).unwrap().set_standing("b", Standing::Draining).await.unwrap();
    let drained = || world.open.lock().values().all(|(node, _)| node != "b");
    in_time(engine, until(drained)).await;
    in_time(engine, a.leave()).await.unwrap();
    in_time(engine, b.leave()).await.unwrap();
    shared_among(engine, &[("c", &c)], &world, 12).await;
    assert_eq!(*world.fenced.lock(), BTreeSet::new(), "who leaves has shut what it had");
}

async fn a_unit_that_weighs_as_much_as_many_others_shares_its_node_with_few(engine: &dyn Engine) {
    let world = Arc::new(World::default());
    let a = in_time(engine, join(engine.connect(), "a", &world)).await;
    let b = in_time(engine, join(engine.connect(), "b", &world)).await;
    shared_among(engine, &[("a", &a), ("b", &b)], &world, 4).await;
    let heavy = Unit::new("7/3").unwrap();
    world.heavy.lock().insert(heavy.clone(), UNITS - 1);
    // A node may have a tenth more than its share of 11.
    let shares_with_few = || {
        let open = world.open.lock();
        let node = open.get(&heavy).map(|(node, _)| node.clone());
        let beside = open.values().filter(|(other, _)| Some(other) == node.as_ref()).count();
        open.len() == UNITS as usize && beside <= 3
    };
    in_time(engine, until(shares_with_few)).await;
}

async fn clu_1_clu_3_a_node_that_falls_silent_is_fenced_off_and_what_others_have_stays_open(
    engine: &dyn Engine,
) {
    let world = Arc::new(World::default());
    let a = in_time(engine, join(engine.connect(), "a", &world)).await;
    let b = in_time(engine, join(engine.connect(), "b", &world)).await;
    let c = in_time(engine, join(engine.connect(), "c", &world)).await;
    shared_among(engine, &[("a", &a), ("b", &b), ("c", &c)], &world, 3).await;
    let stays: Vec<Unit> = {
        let open = world.open.lock();
        open.iter().filter(|(_, (node, _))| node != "c").map(|(unit, _)| unit.clone()).collect()
    };
    let before = world.opened.lock().clone();
    // It is gone, and has shut nothing.
    drop(c);
    shared_among(engine, &[("a", &a), ("b", &b)], &world, 4).await;
    assert_eq!(*world.fenced.lock(), BTreeSet::from(["c-w".to_owned()]));
    let after = world.opened.lock().clone();
    for unit in stays {
        assert_eq!(before.get(&unit), after.get(&unit), "{unit} was touched");
    }
}

async fn a_node_that_lost_its_lease_shuts_everything_and_comes_back_by_itself(engine: &dyn Engine) {
    let world = Arc::new(World::default());
    let a = in_time(engine, join(engine.connect(), "a", &world)).await;
    shared_among(engine, &[("a", &a)], &world, 12).await;
    let lease = a.lease();
    engine.disturb(Disturbance::Pause);
    engine.connect().revoke(lease.id()).now_or_never();
    if engine.connect().read(tw_cluster::Key::new(["x"]).unwrap().alone(), None).now_or_never().is_none() {
        // A server that is paused: nothing is written any more once the lease may have ended.
        in_time(engine, lease.lost()).await;
        let unit = Unit::new("7/0").unwrap();
        assert_eq!(a.owner(&unit), Owner::Nobody);
        engine.disturb(Disturbance::Resume);
    }
    in_time(engine, until(|| a.lease().id() != lease.id())).await;
    shared_among(engine, &[("a", &a)], &world, 12).await;
    assert_eq!(*world.fenced.lock(), BTreeSet::new(), "it is the same writer");
}

async fn a_node_that_drains_does_so_still_when_it_has_lost_its_lease(engine: &dyn Engine) {
    let world = Arc::new(World::default());
    let a = in_time(engine, join(engine.connect(), "a", &world)).await;
    let b = in_time(engine, join(engine.connect(), "b", &world)).await;
    Members::new(engine.connect()).unwrap().set_standing("b", Standing::Draining).await.unwrap();
    let drains =
        |owners: &Owners| owners.members().get("b").is_some_and(|b| b.standing == Standing::Draining);
    in_time(engine, until(|| drains(&b))).await;
    let before = b.incarnation();
    in_time(engine, engine.connect().revoke(b.lease().id())).await.unwrap();
    in_time(engine, until(|| b.incarnation() != before)).await;
    in_time(engine, until(|| a.members().get("b").is_some_and(|b| b.epoch.0 != before))).await;
    assert!(drains(&a));
    shared_among(engine, &[("a", &a)], &world, 12).await;
}

async fn clu_1_a_node_that_answers_nobody_is_replaced_long_before_its_lease_ends(engine: &dyn Engine) {
    // So long that nothing in this test comes about because it ends, nor because it is renewed.
    const TTL_MS: u64 = 600_000;
    let world = Arc::new(World::default());
    let a = in_time(engine, join_for(TTL_MS, engine.connect(), "a", &world)).await;
    let b = in_time(engine, join_for(TTL_MS, engine.connect(), "b", &world)).await;
    let c = in_time(engine, join_for(TTL_MS, engine.connect(), "c", &world)).await;
    shared_among(engine, &[("a", &a), ("b", &b), ("c", &c)], &world, 3).await;
    let (before, time) = (a.incarnation(), engine.connect().time());
    let began = time.now();
    // The one that plans: the others have to do without it.
    world.deaf.lock().insert("a".to_owned());
    in_time(engine, until(|| a.incarnation() != before)).await;
    assert!(time.now() - began < Duration::from_millis(TTL_MS / 3), "it waited for the lease");
    world.deaf.lock().clear();
    shared_among(engine, &[("a", &a), ("b", &b), ("c", &c)], &world, 3).await;
    let harmed: Vec<String> = world.fenced.lock().iter().cloned().collect();
    assert!(harmed.iter().all(|writer| writer == "a-w"), "{harmed:?}");
}

async fn clu_2_a_node_that_nobody_reaches_gets_nothing_however_often_it_registers(engine: &dyn Engine) {
    let world = Arc::new(World::default());
    let a = in_time(engine, join(engine.connect(), "a", &world)).await;
    let b = in_time(engine, join(engine.connect(), "b", &world)).await;
    let c = in_time(engine, join(engine.connect(), "c", &world)).await;
    shared_among(engine, &[("a", &a), ("b", &b), ("c", &c)], &world, 3).await;
    let before = c.incarnation();
    world.deaf.lock().insert("c".to_owned());
    in_time(engine, until(|| c.incarnation() != before)).await;
    in_time(engine, until(|| a.members().get("c").is_some_and(|c| c.epoch.0 != before))).await;
    // Where it registers before the next plan is made, it may still take what the old one gives it.
    shared_among(engine, &[("a", &a), ("b", &b)], &world, 4).await;
    world.takers.lock().clear();
    // Another plan is made, and another node comes.
    let d = in_time(engine, join(engine.connect(), "d", &world)).await;
    shared_among(engine, &[("a", &a), ("b", &b), ("d", &d)], &world, 3).await;
    assert!(c.lease().is_held(), "it is registered again");
    assert!(!world.takers.lock().contains("c"), "it has got something in between");
    world.deaf.lock().clear();
    shared_among(engine, &[("a", &a), ("b", &b), ("c", &c), ("d", &d)], &world, 2).await;
}

async fn what_hysteresis_holds_back_is_moved_on_request(engine: &dyn Engine) {
    let world = Arc::new(World::default());
    let placement = placement::Options {
        epsilon_permille: 1_000,
        settle_permille: 1_000,
        urgent_permille: 10_000,
        ..placement::Options::default()
    };
    let join = |node| join_with(placement.clone(), 4_000, engine.connect(), node, &world);
    let a = in_time(engine, join("a")).await;
    shared_among(engine, &[("a", &a)], &world, 12).await;
    let b = in_time(engine, join("b")).await;
    // Both know each other, and the plan in which each unit has a standby.
    let knows = |owners: &Owners| {
        let plan = owners.plan();
        owners.members().len() == 2 && plan.len() == 12 && plan.iter().all(|(_, one)| one.standbys.len() == 1)
    };
    in_time(engine, until(|| knows(&a) && knows(&b))).await;
    // Whoever is asked: the one that leads, or the other.
    let proposed = b.rebalanced().unwrap();
    assert_eq!((proposed.peak_permille_before, proposed.peak_permille_after), (2_000, 1_000));
    assert_eq!(*b.plan(), *proposed.before, "what would be is not what is");
    let limit = Duration::from_secs(20);
    let done = in_time(engine, b.rebalance(limit)).await.unwrap();
    assert_eq!((done.peak_permille_before, done.peak_permille_after, done.postponed), (2_000, 1_000, false));
    assert!(done.after.version() > done.before.version());
    shared_among(engine, &[("a", &a), ("b", &b)], &world, 6).await;
    let again = in_time(engine, a.rebalance(limit)).await.unwrap();
    assert_eq!(again.before.iter().collect::<Vec<_>>(), again.after.iter().collect::<Vec<_>>());
}

/// Stores a claim of a unit as somebody does who knows no rules.
async fn claim_by_force(on: &Arc<dyn Coordination>, unit: &Unit, claim: serde_json::Value) {
    let key = Key::new(["placement", "claims", unit.as_str()]).unwrap();
    on.commit(Transaction::new().put(&key, claim.to_string())).await.unwrap();
}

/// The promises that a node finds broken, until there are some.
async fn found(engine: &dyn Engine, owners: &Owners) -> Vec<(&'static str, Unit)> {
    let found = Mutex::new(Vec::new());
    let is_found = || {
        found.lock().extend(owners.take_broken().into_iter().map(|broken| (broken.invariant, broken.unit)));
        !found.lock().is_empty()
    };
    in_time(engine, until(is_found)).await;
    found.into_inner()
}

async fn clu_1_clu_3_claims_that_somebody_else_has_written_are_found_by_everybody(engine: &dyn Engine) {
    let world = Arc::new(World::default());
    let (a, b) = (engine.connect(), engine.connect());
    let a = in_time(engine, join_for(60_000, a, "a", &world)).await;
    let b = in_time(engine, join_for(60_000, b, "b", &world)).await;
    shared_among(engine, &[("a", &a), ("b", &b)], &world, 4).await;
    let unit = world.open.lock().iter().find(|(_, (node, _))| node == "a").unwrap().0.clone();
    let on = engine.connect();
    let holder = serde_json::json!({ "node": "b", "incarnation": b.incarnation(), "writer": "b-w" });
    let epoch = world.open.lock()[&unit].1;
    // As if a were dead.
    let claim = serde_json::json!({ "v": 1, "holder": holder, "epoch": epoch + 1, "fence": ["a-w"] });
    in_time(engine, claim_by_force(&on, &unit, claim)).await;
    // Whether a is registered still is known to be so with the next change of members, or with an audit.
    for owners in [&a, &b] {
        let audited = || async { while owners.audit().await.is_err() {} };
        let is_known = || owners.owner(&unit) != Owner::Nobody && owners.owner(&unit) != Owner::Here(epoch);
        in_time(engine, until(is_known)).await;
        in_time(engine, audited()).await;
        assert_eq!(found(engine, owners).await, [("CLU-3", unit.clone())]);
    }
    // In an epoch that another one has had.
    let other = serde_json::json!({ "node": "a", "incarnation": a.incarnation(), "writer": "a-w" });
    let claim = serde_json::json!({ "v": 1, "holder": other, "epoch": epoch + 1 });
    in_time(engine, claim_by_force(&on, &unit, claim)).await;
    for owners in [&a, &b] {
        assert_eq!(found(engine, owners).await, [("CLU-1", unit.clone())]);
    }
}

async fn clu_1_an_audit_finds_events_that_somebody_else_has_written(engine: &dyn Engine) {
    let world = Arc::new(World::default());
    let a = in_time(engine, join_for(60_000, engine.connect(), "a", &world)).await;
    shared_among(engine, &[("a", &a)], &world, 12).await;
    let unit = world.open.lock().keys().next().unwrap().clone();
    world.meddled.lock().insert(unit.clone());
    in_time(engine, a.audit()).await.unwrap();
    assert_eq!(found(engine, &a).await, [("CLU-1", unit.clone())], "its log has events of others");
    world.meddled.lock().clear();
    in_time(engine, a.audit()).await.unwrap();
    assert_eq!(a.take_broken(), []);
}
