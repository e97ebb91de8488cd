//! Lock sessions: what clients hold that keep their leases themselves, and that they cannot wait in a circle.

use crate::engines::real_time;
use crate::support::{in_time, not_in, on_both_engines};
use expect_test::expect;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tw_cluster::conformance::Engine;
use tw_cluster::{
    Coordination, Error, LeaseId, LockOptions, LockQueue, LockSession, LockSessions, MemoryCoordination,
    MemoryOptions, Revision, Time,
};

const LONG: Duration = Duration::from_secs(600);
const TTL: Duration = Duration::from_secs(2);
const NOW: Duration = Duration::ZERO;

on_both_engines!(
    a_session_takes_renews_and_releases_locks,
    a_client_that_is_gone_loses_its_locks_after_its_time,
    several_locks_are_taken_together_or_not_at_all,
    a_request_that_is_dropped_leaves_nothing_behind,
    what_breaks_a_rule_is_refused,
    clu_3_a_holder_that_asks_for_nothing_more_is_not_disturbed,
    of_two_that_wait_for_each_other_the_younger_one_has_to_release,
    what_is_not_released_within_the_grace_is_taken_away,
    a_request_that_is_wounded_by_itself_tries_again_on_its_own,
    clu_1_sessions_in_any_order_all_come_to_their_end,
);

fn sessions(engine: &dyn Engine) -> LockSessions {
    timed(engine).0
}

/// Lock sessions, and the time by which theirs is measured.
fn timed(engine: &dyn Engine) -> (LockSessions, Arc<dyn Time>) {
    let (on, options) = (engine.connect(), LockOptions { grace_ms: 1_000, ..LockOptions::default() });
    (LockSessions::new(on.clone(), options).unwrap(), on.time())
}

#[tokio::test]
async fn clu_1_tokens_and_sessions_go_on_after_a_process_that_has_ended() {
    let last = Revision(1 << 32);
    let options = MemoryOptions::default();
    let on = MemoryCoordination::starting_at(real_time(), &options, last).unwrap();
    let all = LockSessions::new(Arc::new(on), LockOptions::default()).unwrap();
    let session = all.open("me", &names(&["a"]), LONG, NOW).await.unwrap();
    assert!(session.locks["a"] > last && session.id > LeaseId(1 << 31), "{session:?}");
    // What was before is as if compacted.
    let on = MemoryCoordination::starting_at(real_time(), &options, last).unwrap();
    let key = tw_cluster::Key::new(["a"]).unwrap();
    let read = on.read(key.alone(), None).await.unwrap();
    assert_eq!((read.revision, read.entries.len()), (last, 0));
    assert!(matches!(on.read(key.alone(), Some(Revision(7))).await, Err(Error::Compacted { .. })));
    assert!(matches!(on.watch(key.alone(), Revision(7)).next().await, Err(Error::Compacted { .. })));
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn held(session: &LockSession) -> String {
    session.locks.keys().cloned().collect::<Vec<_>>().join(" ")
}

fn line(lock: &LockQueue) -> String {
    let who: Vec<_> = lock.line.iter().map(|waiter| waiter.who.as_str()).collect();
    format!("{}: {}", lock.name, who.join(" "))
}

async fn a_session_takes_renews_and_releases_locks(engine: &dyn Engine) {
    let (all, time) = timed(engine);
    let first = all.open("ann", &names(&["b", "a", "b"]), LONG, NOW).await.unwrap();
    assert_eq!((held(&first).as_str(), first.owner.as_str(), first.ttl), ("a b", "ann", LONG));
    assert!(first.until > time.now() + LONG / 2);
    let more = all.take(first.id, &names(&["b", "c/1"]), NOW).await.unwrap();
    assert_eq!((held(&more).as_str(), more.id), ("a b c/1", first.id));
    assert_eq!(more.locks["a"], first.locks["a"], "what it holds already is not taken again");
    let renewed = all.renew(first.id).await.unwrap();
    assert_eq!((&renewed.locks, renewed.wounded.len()), (&more.locks, 0));
    assert!(renewed.until >= more.until);

    let error = all.open("bob", &names(&["a"]), LONG, NOW).await.unwrap_err();
    assert!(error.to_string().contains("`ann` holds it, 1 were ahead"), "{error}");
    all.release(first.id, "a").await.unwrap();
    let error = all.release(first.id, "a").await.unwrap_err();
    assert!(matches!(&error, Error::NotHeld { name } if name == "a"), "{error:?}");
    assert_eq!(held(&all.renew(first.id).await.unwrap()), "b c/1");
    let second = all.open("bob", &names(&["a"]), LONG, NOW).await.unwrap();
    assert!(second.locks["a"] > first.locks["a"], "CLU-1: a token is not higher than the one before");

    let list: Vec<_> = all.list().await.unwrap().iter().map(line).collect();
    expect![[r#"["a: bob", "b: ann", "c/1: ann"]"#]].assert_eq(&format!("{list:?}"));
    all.close(first.id).await.unwrap();
    let list: Vec<_> = all.list().await.unwrap().iter().map(line).collect();
    expect![[r#"["a: bob"]"#]].assert_eq(&format!("{list:?}"));
    assert_eq!(all.show("b").await.unwrap().line, []);
    for outcome in [all.renew(first.id).await.map(drop), all.close(first.id).await] {
        assert!(matches!(outcome, Err(Error::NoSession(_))), "{outcome:?}");
    }
}

async fn a_client_that_is_gone_loses_its_locks_after_its_time(engine: &dyn Engine) {
    let (all, time) = timed(engine);
    let gone = all.open("gone", &names(&["a"]), TTL, NOW).await.unwrap();
    let next = in_time(engine, all.open("next", &names(&["a"]), LONG, LONG)).await.unwrap();
    assert!(next.locks["a"] > gone.locks["a"]);
    assert!(time.now() >= gone.until, "CLU-1: it was given away before its time");
    let error = all.renew(gone.id).await.unwrap_err();
    assert!(matches!(error, Error::NoSession(_)), "{error:?}");
    // Whoever waits for longer than its own time is kept by the node that waits for it.
    let a = names(&["a"]);
    let waiting = all.open("waiting", &a, Duration::from_secs(1), LONG);
    let release = async {
        time.sleep_until(time.now() + Duration::from_secs(3)).await;
        all.close(next.id).await.unwrap();
    };
    let (waited, ()) = in_time(engine, async { tokio::join!(waiting, release) }).await;
    assert_eq!(held(&waited.unwrap()), "a");
}

async fn several_locks_are_taken_together_or_not_at_all(engine: &dyn Engine) {
    let all = sessions(engine);
    let other = all.open("other", &names(&["b"]), LONG, NOW).await.unwrap();
    let wait = Duration::from_millis(200);
    let error = in_time(engine, all.open("me", &names(&["a", "b", "c"]), LONG, wait)).await.unwrap_err();
    assert!(matches!(&error, Error::Waited { name, ahead: 1, .. } if name == "b"), "{error:?}");
    let list: Vec<_> = all.list().await.unwrap().iter().map(line).collect();
    assert_eq!(list, ["b: other"], "what was taken before the wait was not given back");
    // In a session that holds something, that stays.
    let mine = all.open("me", &names(&["x"]), LONG, NOW).await.unwrap();
    in_time(engine, all.take(mine.id, &names(&["a", "b"]), wait)).await.unwrap_err();
    assert_eq!(held(&all.renew(mine.id).await.unwrap()), "x");
    all.close(other.id).await.unwrap();
    assert_eq!(held(&all.take(mine.id, &names(&["a", "b"]), NOW).await.unwrap()), "a b x");
}

async fn a_request_that_is_dropped_leaves_nothing_behind(engine: &dyn Engine) {
    let all = sessions(engine);
    let other = all.open("other", &names(&["b"]), LONG, NOW).await.unwrap();
    let mine = all.open("me", &names(&["x"]), LONG, NOW).await.unwrap();
    let some = Duration::from_millis(100);
    assert!(not_in(engine, some, all.open("new", &names(&["a", "b"]), LONG, LONG)).await);
    assert!(not_in(engine, some, all.take(mine.id, &names(&["a", "b"]), LONG)).await);
    in_time(engine, async { while all.list().await.unwrap().len() != 2 {} }).await;
    in_time(engine, async { while all.show("b").await.unwrap().line.len() != 1 {} }).await;
    // The session of the second one stays.
    assert_eq!(held(&all.renew(mine.id).await.unwrap()), "x");
    all.close(other.id).await.unwrap();
}

async fn what_breaks_a_rule_is_refused(engine: &dyn Engine) {
    let all = LockSessions::new(
        engine.connect(),
        LockOptions { names_max: 2, wait_ms_max: 1_000, ttl_ms_max: 5_000, ..LockOptions::default() },
    )
    .unwrap();
    let open = async |owner: &str, asked: &[&str], ttl, wait| {
        let ttl = Duration::from_millis(ttl);
        all.open(owner, &names(asked), ttl, Duration::from_millis(wait)).await.unwrap_err().to_string()
    };
    let refusals = [
        open("me", &[], 1_000, 0).await,
        open("me", &["a", "b", "c"], 1_000, 0).await,
        open("me", &[""], 1_000, 0).await,
        open("me", &["a\n"], 1_000, 0).await,
        open("", &["a"], 1_000, 0).await,
        open("me", &["a"], 999, 0).await,
        open("me", &["a"], 5_001, 0).await,
        open("me", &["a"], 1_000, 1_001).await,
        all.renew(LeaseId(7)).await.unwrap_err().to_string(),
    ];
    expect![[r#"
        `names` of a lock session is `0 names`: it must be 1 to `names_max` of [locks]
        `names` of a lock session is `3 names`: it must be 1 to `names_max` of [locks]
        `name` of a lock session is ``: it must be 1 to 200 bytes without control characters
        `name` of a lock session is `a\n`: it must be 1 to 200 bytes without control characters
        `owner` of a lock session is ``: it must be 1 to 200 bytes without control characters
        `ttl_ms` of a lock session is `999`: it must be 1000 to `ttl_ms_max` of [locks]
        `ttl_ms` of a lock session is `5001`: it must be 1000 to `ttl_ms_max` of [locks]
        `wait_ms` of a lock session is `1001`: it must be at most `wait_ms_max` of [locks]
        there is no lock session `7`: it was released, or not renewed in time, and holds nothing any more"#]]
    .assert_eq(&refusals.join("\n"));
    let two = all.open("me", &names(&["a", "b"]), Duration::from_secs(5), NOW).await.unwrap();
    assert!(matches!(all.take(two.id, &names(&["c"]), NOW).await, Err(Error::InvalidLock { .. })));
    // A lease that is not a session's is not touched.
    let on = engine.connect();
    let lease = on.grant(LONG).await.unwrap().id;
    for outcome in [all.renew(lease).await.map(drop), all.close(lease).await] {
        assert!(matches!(outcome, Err(Error::NoSession(_))), "{outcome:?}");
    }
    on.renew(lease).await.unwrap();
}

async fn clu_3_a_holder_that_asks_for_nothing_more_is_not_disturbed(engine: &dyn Engine) {
    let all = sessions(engine);
    let old = all.open("old", &names(&["x"]), LONG, NOW).await.unwrap();
    let young = all.open("young", &names(&["a"]), LONG, NOW).await.unwrap();
    let waiting = tokio::spawn({
        let (all, id) = (all.clone(), old.id);
        async move { all.take(id, &names(&["a"]), LONG).await }
    });
    let told = async { while all.renew(young.id).await.unwrap().wounded != ["a"] {} };
    in_time(engine, told).await;
    // Longer than the grace.
    assert!(not_in(engine, Duration::from_millis(1_500), std::future::pending::<()>()).await);
    assert_eq!(held(&all.renew(young.id).await.unwrap()), "a", "it was not told by a refusal");
    // It may take what is free.
    assert_eq!(held(&all.take(young.id, &names(&["b"]), NOW).await.unwrap()), "a b");
    all.release(young.id, "a").await.unwrap();
    assert_eq!(held(&in_time(engine, waiting).await.unwrap().unwrap()), "a x");
    assert_eq!(all.renew(young.id).await.unwrap().wounded, names(&[]));
}

/// An old session that holds `a` and waits for `b`, and a young one that holds `b`.
async fn crossed(engine: &dyn Engine) -> (LockSessions, LockSession, tokio::task::JoinHandle<LockSession>) {
    let all = sessions(engine);
    let old = all.open("old", &names(&["a"]), LONG, NOW).await.unwrap();
    let young = all.open("young", &names(&["b"]), LONG, NOW).await.unwrap();
    let waiting = tokio::spawn({
        let all = all.clone();
        async move { all.take(old.id, &names(&["b"]), LONG).await.unwrap() }
    });
    (all, young, waiting)
}

async fn of_two_that_wait_for_each_other_the_younger_one_has_to_release(engine: &dyn Engine) {
    let (all, young, waiting) = crossed(engine).await;
    let error = in_time(engine, all.take(young.id, &names(&["a"]), LONG)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "an older session waits for `b`, which this one holds, so this one must not wait for more: release it, then ask again"
    );
    all.release(young.id, "b").await.unwrap();
    let old = in_time(engine, waiting).await.unwrap();
    assert_eq!(held(&old), "a b");
    let again = tokio::spawn({
        let all = all.clone();
        async move { all.take(young.id, &names(&["a", "b"]), LONG).await.unwrap() }
    });
    in_time(engine, async { while all.show("a").await.unwrap().line.len() < 2 {} }).await;
    all.close(old.id).await.unwrap();
    assert_eq!(held(&in_time(engine, again).await.unwrap()), "a b");
}

async fn what_is_not_released_within_the_grace_is_taken_away(engine: &dyn Engine) {
    let (all, young, waiting) = crossed(engine).await;
    let time = timed(engine).1;
    in_time(engine, all.take(young.id, &names(&["a"]), LONG)).await.unwrap_err();
    let told = time.now();
    let old = in_time(engine, waiting).await.unwrap();
    assert!(time.now() >= told + Duration::from_millis(900), "there was no grace");
    assert!(old.locks["b"] > young.locks["b"], "CLU-1");
    assert_eq!(held(&all.renew(young.id).await.unwrap()), "", "CLU-1: two think that they hold it");
}

async fn a_request_that_is_wounded_by_itself_tries_again_on_its_own(engine: &dyn Engine) {
    let all = sessions(engine);
    let old = all.open("old", &names(&["x"]), LONG, NOW).await.unwrap();
    let other = all.open("other", &names(&["b"]), LONG, NOW).await.unwrap();
    // Holds `a` while it waits for `b`, and steps back when an older one wants `a`.
    let young = tokio::spawn({
        let all = all.clone();
        async move { all.open("young", &names(&["a", "b"]), LONG, LONG).await.unwrap() }
    });
    in_time(engine, async { while all.show("b").await.unwrap().line.len() < 2 {} }).await;
    let old = in_time(engine, all.take(old.id, &names(&["a"]), LONG)).await.unwrap();
    assert_eq!(held(&old), "a x");
    all.close(other.id).await.unwrap();
    all.close(old.id).await.unwrap();
    assert_eq!(held(&in_time(engine, young).await.unwrap()), "a b");
}

/// A client that takes its locks one by one, in any order, and starts over when it is told to release.
async fn client(all: LockSessions, number: u64, rounds: u64, holders: Arc<[(AtomicU64, AtomicU64)]>) {
    let mut random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for _ in 0..rounds {
        let mut order: Vec<usize> = (0..holders.len()).collect();
        order.sort_by_cached_key(|_| next());
        order.truncate(3);
        let name = |lock: &usize| format!("lock-{lock}");
        let [first, rest @ ..] = order.as_slice() else { return };
        let session = all.open(&number.to_string(), &[name(first)], LONG, LONG).await.unwrap();
        let mut held = session.locks.clone();
        'again: loop {
            for lock in rest {
                match all.take(session.id, &[name(lock)], LONG).await {
                    Ok(session) => held = session.locks,
                    Err(Error::Wounded { .. }) => {
                        for lock in held.keys() {
                            all.release(session.id, lock).await.unwrap();
                        }
                        let first = all.take(session.id, &[name(first)], LONG).await.unwrap();
                        held = first.locks;
                        continue 'again;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            break;
        }
        for lock in &order {
            let (inside, highest) = &holders[*lock];
            assert_eq!(inside.swap(number, Ordering::SeqCst), 0, "CLU-1: two hold a lock");
            let token = held[&name(lock)].0;
            assert!(highest.swap(token, Ordering::SeqCst) < token, "CLU-1: a token does not rise");
        }
        tokio::task::yield_now().await;
        for lock in &order {
            holders[*lock].0.store(0, Ordering::SeqCst);
        }
        all.close(session.id).await.unwrap();
    }
}

async fn clu_1_sessions_in_any_order_all_come_to_their_end(engine: &dyn Engine) {
    let cases = tw_testing::cases(5).into();
    let holders: Arc<[_]> = (0..4).map(|_| (AtomicU64::new(0), AtomicU64::new(0))).collect();
    let mut clients = tokio::task::JoinSet::new();
    for number in 1..=6 {
        // Of a node of its own.
        clients.spawn(client(sessions(engine), number, cases, holders.clone()));
    }
    in_time(engine, clients.join_all()).await;
    in_time(engine, async { while !sessions(engine).list().await.unwrap().is_empty() {} }).await;
}
