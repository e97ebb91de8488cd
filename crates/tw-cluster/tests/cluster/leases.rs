//! Leases that are kept, and given up in time.

use crate::faulty::Faulty;
use crate::support::{dying, in_time, lasting, on_both_engines};
use std::time::Duration;
use tw_cluster::conformance::Engine;
use tw_cluster::{Error, Key, Lease, LeaseOptions, Transaction};

on_both_engines!(
    a_kept_lease_lives_on,
    clu_1_a_holder_that_cannot_renew_gives_up_before_its_lease_has_ended,
    a_holder_that_is_heard_again_keeps_its_lease,
    a_revoked_lease_is_lost_at_once,
    a_lease_that_is_dropped_ends,
    a_lease_that_was_revoked_elsewhere_is_lost,
);

async fn a_kept_lease_lives_on(engine: &dyn Engine) {
    let on = engine.connect();
    let ttl = Duration::from_secs(3);
    let lease = Lease::new(on.clone(), &LeaseOptions { ttl_ms: 3_000, margin_percent: 10 }).await.unwrap();
    let key = Key::new(["held"]).unwrap();
    on.commit(Transaction::new().put_under(lease.id(), &key, "1")).await.unwrap();
    let first = lease.deadline().unwrap();
    in_time(engine, async {
        while lease.deadline().unwrap() < first + 2 * ttl {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(on.time().now() >= first + ttl, "a deadline rose further than the lease lasts");
    assert_eq!(on.read(key.alone(), None).await.unwrap().entries.len(), 1);
}

async fn clu_1_a_holder_that_cannot_renew_gives_up_before_its_lease_has_ended(engine: &dyn Engine) {
    let on = engine.connect();
    let faulty = Faulty::new(engine.connect());
    let lease = dying(faulty.clone()).await;
    let key = Key::new(["held"]).unwrap();
    let held = on.commit(Transaction::new().put_under(lease.id(), &key, "1")).await.unwrap().done().unwrap();
    let mut watch = on.watch(key.alone(), held.next());
    faulty.lose_leases();
    in_time(engine, lease.lost()).await;
    let gave_up = on.time().now();
    assert!(!lease.is_held() && lease.deadline().is_none());
    assert!(matches!(lease.check(), Err(Error::NoLease(id)) if id == lease.id()));
    assert_eq!(on.read(key.alone(), None).await.unwrap().entries.len(), 1, "CLU-1: its lease ended before");
    in_time(engine, watch.next()).await.unwrap();
    assert!(on.time().now() > gave_up);
}

async fn a_holder_that_is_heard_again_keeps_its_lease(engine: &dyn Engine) {
    // Servers that restart are an outage of a renewal or two.
    use tw_cluster::conformance::Disturbance;
    let on = engine.connect();
    let lease = Lease::new(on.clone(), &LeaseOptions { ttl_ms: 20_000, margin_percent: 10 }).await.unwrap();
    let first = lease.deadline().unwrap();
    tokio::task::block_in_place(|| engine.disturb(Disturbance::Kill));
    in_time(engine, async {
        while lease.deadline().unwrap() == first {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(lease.is_held());
}

async fn a_revoked_lease_is_lost_at_once(engine: &dyn Engine) {
    let on = engine.connect();
    let lease = lasting(&on).await;
    let key = Key::new(["held"]).unwrap();
    on.commit(Transaction::new().put_under(lease.id(), &key, "1")).await.unwrap();
    lease.revoke().await.unwrap();
    lease.lost().await;
    assert!(!lease.is_held());
    assert_eq!(on.read(key.alone(), None).await.unwrap().entries.len(), 0);
}

async fn a_lease_that_is_dropped_ends(engine: &dyn Engine) {
    let on = engine.connect();
    let lease = Lease::new(on.clone(), &LeaseOptions { ttl_ms: 600_000, margin_percent: 10 }).await.unwrap();
    let (clone, id) = (lease.clone(), lease.id());
    let key = Key::new(["held"]).unwrap();
    let held = on.commit(Transaction::new().put_under(id, &key, "1")).await.unwrap().done().unwrap();
    drop(lease);
    assert!(clone.is_held());
    on.renew(id).await.unwrap();
    let mut watch = on.watch(key.alone(), held.next());
    drop(clone);
    // Long before its time, which does not pass here.
    tokio::time::timeout(tw_testing::PATIENCE, watch.next()).await.unwrap().unwrap();
}

async fn a_lease_that_was_revoked_elsewhere_is_lost(engine: &dyn Engine) {
    let on = engine.connect();
    let lease = dying(on.clone()).await;
    engine.connect().revoke(lease.id()).await.unwrap();
    in_time(engine, lease.lost()).await;
}

#[tokio::test]
async fn options_outside_their_bounds_are_refused_by_name() {
    let on = crate::engines::Memory::simulated().connect();
    for (options, name) in [
        (LeaseOptions { ttl_ms: 999, ..LeaseOptions::default() }, "`ttl_ms`"),
        (LeaseOptions { ttl_ms: 600_001, ..LeaseOptions::default() }, "`ttl_ms`"),
        (LeaseOptions { margin_percent: 51, ..LeaseOptions::default() }, "`margin_percent`"),
    ] {
        let error = Lease::new(on.clone(), &options).await.unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}
