//! Locks and elections.

use crate::faulty::Faulty;
use crate::support::{TTL, dying, in_time, lasting, not_in, on_both_engines};
use expect_test::expect;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tw_cluster::conformance::Engine;
use tw_cluster::{Coordination, Election, Error, Key, Locks, Outcome, Transaction};

const LONG: Duration = Duration::from_secs(3600);

on_both_engines!(
    a_lock_is_taken_in_the_order_in_which_it_was_asked_for,
    a_wait_ends_at_its_deadline_and_says_who_holds_the_lock,
    a_wait_that_is_dropped_leaves_the_queue,
    clu_1_a_lock_is_held_by_one_at_a_time_with_rising_tokens,
    clu_1_what_a_zombie_writes_is_refused,
    clu_3_the_end_of_one_holder_disturbs_no_other_lock,
    a_lock_that_is_taken_away_is_lost,
    a_claim_that_arrives_late_holds_nothing_up,
    leaders_follow_each_other_and_are_observed,
    clu_1_there_is_one_leader_through_kills_of_the_servers,
);

async fn a_lock_is_taken_in_the_order_in_which_it_was_asked_for(engine: &dyn Engine) {
    let on = engine.connect();
    let (locks, lease) = (Locks::new(on.clone()), lasting(&on).await);
    let held = locks.acquire("report/nightly", &lease, "w0", LONG).await.unwrap();
    assert!(held.deadline().is_some());
    let mut waiting = tokio::task::JoinSet::new();
    for n in 1..5 {
        let (own, lease) = (locks.clone(), lease.clone());
        waiting.spawn(async move {
            let lock = own.acquire("report/nightly", &lease, &format!("w{n}"), LONG).await.unwrap();
            let (token, queue) = (lock.token(), own.queue("report/nightly").await.unwrap());
            lock.release().await.unwrap();
            (n, token, queue)
        });
        // In line before the next one comes.
        in_time(engine, async { while locks.queue("report/nightly").await.unwrap().len() <= n {} }).await;
    }
    let queue = locks.queue("report/nightly").await.unwrap();
    let names: Vec<_> = queue.iter().map(|waiter| waiter.who.as_str()).collect();
    assert_eq!(names, ["w0", "w1", "w2", "w3", "w4"]);
    assert_eq!(queue.first().map(|holder| holder.token), Some(held.token()));
    let mut last = held.token();
    held.release().await.unwrap();
    let mut done = in_time(engine, waiting.join_all()).await;
    done.sort_by_key(|(n, ..)| *n);
    for (n, token, queue) in done {
        assert!(token > last, "tokens do not rise in the order of the queue");
        assert_eq!(queue.first().map(|holder| &holder.who), Some(&format!("w{n}")));
        last = token;
    }
    assert_eq!(locks.queue("report/nightly").await.unwrap(), []);
}

async fn a_wait_ends_at_its_deadline_and_says_who_holds_the_lock(engine: &dyn Engine) {
    let on = engine.connect();
    let (locks, lease) = (Locks::new(on.clone()), lasting(&on).await);
    let held = locks.acquire("a", &lease, "the holder", Duration::ZERO).await.unwrap();
    for wait in [Duration::ZERO, Duration::from_millis(300)] {
        let before = on.time().now();
        let error = in_time(engine, locks.acquire("a", &lease, "me", wait)).await.unwrap_err();
        assert!(on.time().now() >= before + wait);
        let Error::Waited { waited, ahead: 1, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*waited, wait);
        assert!(error.to_string().contains("`the holder`"), "{error}");
    }
    assert_eq!(locks.queue("a").await.unwrap().len(), 1);
    // Other locks are free, whatever they are called.
    for other in ["a/1", "b"] {
        locks.acquire(other, &lease, "me", Duration::ZERO).await.unwrap();
    }
    held.release().await.unwrap();
    locks.acquire("a", &lease, "me", Duration::ZERO).await.unwrap();
}

async fn a_wait_that_is_dropped_leaves_the_queue(engine: &dyn Engine) {
    let on = engine.connect();
    let (locks, lease) = (Locks::new(on.clone()), lasting(&on).await);
    let held = locks.acquire("a", &lease, "first", LONG).await.unwrap();
    assert!(not_in(engine, TTL / 20, locks.acquire("a", &lease, "impatient", LONG)).await);
    drop(held);
    let third = in_time(engine, locks.acquire("a", &lease, "third", LONG)).await.unwrap();
    in_time(engine, async { while locks.queue("a").await.unwrap().len() != 1 {} }).await;
    assert_eq!(locks.queue("a").await.unwrap().first().map(|holder| holder.token), Some(third.token()));
}

async fn clu_1_a_lock_is_held_by_one_at_a_time_with_rising_tokens(engine: &dyn Engine) {
    const HOLDERS: u64 = 4;
    const ROUNDS: u64 = 8;
    let inside = Arc::new(AtomicU64::new(0));
    let highest = Arc::new(AtomicU64::new(0));
    let mut holders = tokio::task::JoinSet::new();
    for who in 0..HOLDERS {
        let (on, inside, highest) = (engine.connect(), inside.clone(), highest.clone());
        holders.spawn(async move {
            let (locks, lease) = (Locks::new(on.clone()), lasting(&on).await);
            for _ in 0..ROUNDS {
                let lock = locks.acquire("a", &lease, &who.to_string(), LONG).await.unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "CLU-1: two hold the lock");
                let before = highest.fetch_max(lock.token().0, Ordering::SeqCst);
                assert!(before < lock.token().0, "CLU-1: a token is not higher than all before");
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                // Released in either way.
                if lock.token().0 % 2 == 0 { drop(lock) } else { lock.release().await.unwrap() }
            }
        });
    }
    in_time(engine, holders.join_all()).await;
}

async fn clu_1_what_a_zombie_writes_is_refused(engine: &dyn Engine) {
    let on = engine.connect();
    let cut = Faulty::new(engine.connect());
    let plan = Key::new(["plan"]).unwrap();
    let election = Election::new(on.clone(), "planner").unwrap();
    let first = election.campaign(&dying(cut.clone()).await, "first").await.unwrap();
    let write = |guard, value: &'static str| on.commit(Transaction::new().when(guard).put(&plan, value));
    assert!(matches!(write(first.guard(), "first").await.unwrap(), Outcome::Done(_)));
    // It is paused: its lease ends, another is elected, and then it wakes up.
    cut.lose_leases();
    let other = lasting(&on).await;
    let second = in_time(engine, election.campaign(&other, "second")).await.unwrap();
    assert!(second.token() > first.token(), "CLU-1");
    in_time(engine, first.lost()).await;
    assert_eq!(first.deadline(), None, "CLU-1: the old leader still thinks that it leads");
    assert!(matches!(write(second.guard(), "second").await.unwrap(), Outcome::Done(_)));
    let zombie = write(first.guard(), "zombie").await.unwrap();
    assert!(matches!(zombie, Outcome::Failed { .. }), "CLU-1: a zombie has written");
    let read = on.read(plan.alone(), None).await.unwrap();
    assert_eq!(read.entries.first().map(|entry| &entry.value[..]), Some(&b"second"[..]));
}

async fn clu_3_the_end_of_one_holder_disturbs_no_other_lock(engine: &dyn Engine) {
    let on = engine.connect();
    let cut = Faulty::new(engine.connect());
    let locks = Locks::new(on.clone());
    let (ending, living) = (dying(cut.clone()).await, lasting(&on).await);
    let lost = locks.acquire("a", &ending, "ending", LONG).await.unwrap();
    let kept = locks.acquire("b", &living, "living", LONG).await.unwrap();
    cut.lose_leases();
    let taken = in_time(engine, locks.acquire("a", &living, "living", LONG)).await.unwrap();
    assert!(taken.token() > lost.token() && kept.deadline().is_some());
    assert!(not_in(engine, TTL / 20, kept.lost()).await, "CLU-3: a lock that did not move was lost");
    let queue = locks.queue("b").await.unwrap();
    assert_eq!(queue.first().map(|holder| holder.token), Some(kept.token()));
}

async fn a_lock_that_is_taken_away_is_lost(engine: &dyn Engine) {
    let on = engine.connect();
    let (locks, lease) = (Locks::new(on.clone()), lasting(&on).await);
    let lock = locks.acquire("a", &lease, "me", LONG).await.unwrap();
    let parent = Key::new(["locks", "a"]).unwrap();
    let place = on.read(parent.below(), None).await.unwrap().entries.remove(0);
    assert!(not_in(engine, TTL / 20, lock.lost()).await);
    on.commit(Transaction::new().delete(&place.key)).await.unwrap();
    in_time(engine, lock.lost()).await;
    assert!(lease.is_held());
    assert!(matches!(
        on.commit(Transaction::new().when(lock.guard())).await.unwrap(),
        Outcome::Failed { .. }
    ));
}

/// The request that makes a place is under way for so long that whoever sent it has given up.
async fn a_claim_that_arrives_late_holds_nothing_up(engine: &dyn Engine) {
    let on = engine.connect();
    for (name, is_reversed) in [("in order", false), ("overtaken", true)] {
        let slow = Faulty::new(engine.connect());
        let (lease, other) = (lasting(&(slow.clone() as Arc<dyn Coordination>)).await, lasting(&on).await);
        slow.keep_transactions();
        let error = Locks::new(slow.clone()).acquire(name, &lease, "late", LONG).await.unwrap_err();
        assert!(matches!(error, Error::Unknown(_)), "{error:?}");
        // What gives the place up is under way as well, and may overtake the claim.
        in_time(engine, async { while slow.under_way() < 2 {} }).await;
        let outcomes = slow.deliver(is_reversed).await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        let locks = Locks::new(on.clone());
        let lock = in_time(engine, locks.acquire(name, &other, "other", LONG)).await.unwrap();
        assert!(lease.is_held(), "it was not the end of the lease that let the other one in");
        let queue = locks.queue(name).await.unwrap();
        assert_eq!(queue.iter().map(|holder| holder.token).collect::<Vec<_>>(), [lock.token()]);
    }
}

async fn leaders_follow_each_other_and_are_observed(engine: &dyn Engine) {
    let on = engine.connect();
    let election = Election::new(on.clone(), "planner").unwrap();
    let mut observer = election.observe();
    let mut shown = Vec::new();
    let mut last = None;
    shown.push(format!("{:?}", observer.next().await.unwrap().map(|leader| leader.who)));
    for name in ["n1", "n2", "n3"] {
        let leader = election.campaign(&lasting(&on).await, name).await.unwrap();
        assert!(Some(leader.token()) > last, "tokens do not rise");
        last = Some(leader.token());
        let seen = in_time(engine, observer.next()).await.unwrap();
        assert_eq!(seen, election.leader().await.unwrap());
        assert_eq!(seen.as_ref().map(|seen| seen.token), last);
        shown.push(format!("{:?}", seen.map(|leader| leader.who)));
        leader.resign().await.unwrap();
        shown.push(format!("{:?}", in_time(engine, observer.next()).await.unwrap().map(|leader| leader.who)));
    }
    expect![[r#"None, Some("n1"), None, Some("n2"), None, Some("n3"), None"#]].assert_eq(&shown.join(", "));
}

/// Candidates that come and go while the servers do: whoever leads writes under its guard, and the tokens never fall.
async fn clu_1_there_is_one_leader_through_kills_of_the_servers(engine: &dyn Engine) {
    use tw_cluster::conformance::Disturbance;
    let plan = Key::new(["plan"]).unwrap();
    let mut candidates = tokio::task::JoinSet::new();
    for who in 0..3 {
        let (on, plan) = (engine.connect(), plan.clone());
        candidates.spawn(async move {
            let election = Election::new(on.clone(), "planner").unwrap();
            let mut terms = 0;
            while terms < 3 {
                let options = tw_cluster::LeaseOptions { ttl_ms: 60_000, margin_percent: 10 };
                let Ok(lease) = tw_cluster::Lease::new(on.clone(), &options).await else { continue };
                let Ok(leader) = election.campaign(&lease, &format!("n{who}")).await else { continue };
                let value = leader.token().to_string();
                let write = Transaction::new().when(leader.guard()).put(&plan, value);
                if let Ok(Outcome::Done(_)) = on.commit(write).await {
                    terms += 1;
                }
            }
        });
    }
    let on = engine.connect();
    let mut watch = on.watch(plan.alone(), tw_cluster::Revision(1));
    let mut tokens: Vec<u64> = Vec::new();
    while tokens.len() < 9 {
        let told = in_time(engine, watch.next()).await.unwrap();
        tokens.extend(told.changes.iter().map(|change| match change {
            tw_cluster::Change::Put(entry) => {
                std::str::from_utf8(&entry.value).unwrap().parse::<u64>().unwrap()
            }
            tw_cluster::Change::Delete { .. } => panic!("nobody deletes it"),
        }));
        if tokens.len() == 3 {
            tokio::task::block_in_place(|| engine.disturb(Disturbance::Kill));
        }
    }
    assert!(tokens.is_sorted(), "CLU-1: a leader was followed by an older one: {tokens:?}");
    in_time(engine, candidates.join_all()).await;
}
