//! Leases: what they hold, and when they let go.

use super::{Engine, done, get, key, lines, ok, put, put_under, soon, text};
use crate::{Change, Error, LeaseId, Transaction};
use std::time::Duration;

const TTL: Duration = Duration::from_secs(2);

/// CLU-1: what a holder that went silent has claimed is free again.
pub async fn clu_1_an_expired_lease_takes_its_keys_along(engine: &dyn Engine) {
    let on = engine.connect();
    let (held, kept) = (key(["held"]), key(["kept"]));
    let lease = ok(on.grant(TTL).await);
    put(&*on, &kept, "1").await;
    let written = put_under(&*on, lease.id, &held, "1").await;
    assert_eq!(get(&*on, &held).await.and_then(|entry| entry.lease), Some(lease.id));
    let mut watch = on.watch(held.alone(), written.next());
    engine.pass(lease.ttl);
    let told = ok(soon(watch.next()).await);
    assert!(matches!(&told.changes[..], [Change::Delete { key, .. }] if *key == held), "{told:?}");
    assert_eq!((get(&*on, &held).await, get(&*on, &kept).await.is_some()), (None, true));
    let late = on.renew(lease.id).await;
    assert!(matches!(late, Err(Error::NoLease(id)) if id == lease.id), "{late:?}");
}

/// CLU-1: whoever stops at its own deadline stops before anybody else can start.
pub async fn clu_1_a_lease_outlives_the_deadline_of_its_holder(engine: &dyn Engine) {
    let on = engine.connect();
    let held = key(["held"]);
    let before = on.time().now();
    let lease = ok(on.grant(TTL).await);
    assert!(lease.ttl >= TTL && lease.until >= before + lease.ttl);
    assert!(lease.until <= on.time().now() + lease.ttl, "CLU-1: the deadline counts from after the answer");
    let written = put_under(&*on, lease.id, &held, "1").await;
    engine.pass(TTL / 2);
    let renewed = ok(on.renew(lease.id).await);
    assert_eq!((renewed.id, renewed.ttl), (lease.id, lease.ttl));
    assert!(renewed.until > lease.until && renewed.until <= on.time().now() + lease.ttl);
    let mut watch = on.watch(held.alone(), written.next());
    engine.pass(renewed.until - on.time().now());
    let told = ok(soon(watch.next()).await);
    assert_eq!(told.changes.len(), 1);
    assert!(on.time().now() >= renewed.until, "CLU-1: the lease ended before its holder's deadline");
}

/// CLU-3: one who is silent disturbs nobody else.
pub async fn clu_3_a_renewed_lease_keeps_its_keys_while_others_end(engine: &dyn Engine) {
    let on = engine.connect();
    let (alive, dead) = (key(["alive"]), key(["dead"]));
    let kept = ok(on.grant(TTL).await);
    let lost = ok(on.grant(TTL).await);
    let born = put_under(&*on, kept.id, &alive, "1").await;
    let written = put_under(&*on, lost.id, &dead, "1").await;
    let mut watch = on.watch(dead.alone(), written.next());
    for _ in 0..4 {
        engine.pass(TTL / 4);
        ok(on.renew(kept.id).await);
    }
    let ended = async {
        loop {
            if let Ok(told) = tokio::time::timeout(TTL / 4, watch.next()).await {
                break ok(told);
            }
            ok(on.renew(kept.id).await);
        }
    };
    assert_eq!(soon(ended).await.changes.len(), 1);
    let entry = get(&*on, &alive).await.unwrap_or_else(|| panic!("CLU-3: the other lease ended as well"));
    assert_eq!(entry.created, born);
}

/// And ending it again is no error.
pub async fn a_revoked_lease_takes_its_keys_along_at_one_revision(engine: &dyn Engine) {
    let on = engine.connect();
    let parent = key(["held"]);
    let lease = ok(on.grant(Duration::from_secs(3600)).await);
    for name in ["c", "a", "b"] {
        put_under(&*on, lease.id, &ok(parent.child(name)), name).await;
    }
    let last = ok(on.read(parent.below(), None).await).revision;
    let mut watch = on.watch(parent.below(), last.next());
    ok(on.revoke(lease.id).await);
    let revision = last.next();
    let expected = ["a", "b", "c"].map(|name| format!("-held/{name}@{revision}"));
    assert_eq!(lines(&mut *watch, 3).await, expected);
    ok(on.revoke(lease.id).await);
    assert!(matches!(on.renew(lease.id).await, Err(Error::NoLease(_))));
    assert_eq!(ok(on.read(parent.below(), None).await).revision, revision);
}

/// Written under another lease, under none, deleted and written again.
pub async fn a_key_belongs_to_the_lease_that_wrote_it_last(engine: &dyn Engine) {
    let on = engine.connect();
    let hour = Duration::from_secs(3600);
    let (first, second) = (ok(on.grant(hour).await).id, ok(on.grant(hour).await).id);
    assert_ne!(first, second);
    let (moved, freed, again) = (key(["moved"]), key(["freed"]), key(["again"]));
    for at in [&moved, &freed, &again] {
        put_under(&*on, first, at, "1").await;
    }
    put_under(&*on, second, &moved, "2").await;
    put(&*on, &freed, "2").await;
    done(&*on, Transaction::new().delete(&again)).await;
    put(&*on, &again, "2").await;
    ok(on.revoke(first).await);
    for (at, lease) in [(&moved, Some(second)), (&freed, None), (&again, None)] {
        let entry = get(&*on, at).await.unwrap_or_else(|| panic!("{at} went with a lease that it had left"));
        assert_eq!((text(&entry), entry.lease), ("2", lease));
    }
    ok(on.revoke(second).await);
    assert_eq!(get(&*on, &moved).await, None);
}

/// The transaction fails as a whole.
pub async fn nothing_is_written_under_a_lease_that_has_ended(engine: &dyn Engine) {
    let on = engine.connect();
    let (a, b) = (key(["a"]), key(["b"]));
    let lease = ok(on.grant(TTL).await).id;
    ok(on.revoke(lease).await);
    for ended in [lease, LeaseId(123_456_789)] {
        let late = on.commit(Transaction::new().put(&a, "1").put_under(ended, &b, "1")).await;
        assert!(matches!(late, Err(Error::NoLease(id)) if id == ended), "{late:?}");
    }
    assert_eq!((get(&*on, &a).await, get(&*on, &b).await), (None, None));
}
