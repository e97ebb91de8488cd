//! Entries, ranges, revisions, transactions.

use super::{Engine, done, get, increment, key, ok, put, text};
use crate::{Error, Guard, Key, Outcome, Revision, Transaction};
use futures_util::future::join_all;

/// Created, modified, deleted, created again.
pub async fn entries_read_back_with_their_revisions(engine: &dyn Engine) {
    let on = engine.connect();
    let at = key(["a", "b"]);
    assert_eq!(get(&*on, &at).await, None);
    let first = put(&*on, &at, "1").await;
    let second = put(&*on, &at, "2").await;
    assert_eq!(second, first.next());
    let entry = get(&*on, &at).await.unwrap_or_else(|| panic!("the entry is gone"));
    assert_eq!((entry.created, entry.modified, text(&entry), entry.lease), (first, second, "2", None));
    assert_eq!(entry.key, at);
    let gone = done(&*on, Transaction::new().delete(&at)).await;
    assert_eq!((gone, get(&*on, &at).await), (second.next(), None));
    // Deleting nothing changes nothing.
    assert_eq!(done(&*on, Transaction::new().delete(&at)).await, gone);
    let again = put(&*on, &at, "").await;
    let entry = get(&*on, &at).await.unwrap_or_else(|| panic!("the entry is gone"));
    assert_eq!((entry.created, entry.modified, text(&entry)), (again, again, ""));
    // Another client sees the same.
    assert_eq!(get(&*engine.connect(), &at).await, Some(entry));
}

/// Reads at a revision show what was there then.
pub async fn older_revisions_can_be_read_until_they_are_compacted(engine: &dyn Engine) {
    let on = engine.connect();
    let (at, other) = (key(["a"]), key(["b"]));
    let mut revisions = Vec::new();
    for n in 0..10 {
        revisions.push(put(&*on, &at, n).await);
        put(&*on, &other, n).await;
    }
    for (n, revision) in revisions.iter().enumerate() {
        let then = ok(on.read(at.alone(), Some(*revision)).await);
        assert_eq!(
            (then.revision, then.entries.iter().map(text).collect::<Vec<_>>()),
            (*revision, vec![n.to_string().as_str()])
        );
    }
    let (Some(third), Some(fourth), Some(last)) = (revisions.get(3), revisions.get(4), revisions.last())
    else {
        panic!("{revisions:?}")
    };
    ok(on.compact(*fourth).await);
    ok(on.compact(*fourth).await);
    ok(on.compact(*third).await);
    let forgotten = on.read(at.alone(), Some(*third)).await;
    assert!(matches!(forgotten, Err(Error::Compacted { wanted, .. }) if wanted == *third), "{forgotten:?}");
    assert_eq!(
        ok(on.read(at.alone(), Some(*fourth)).await).entries.iter().map(text).collect::<Vec<_>>(),
        ["4"]
    );
    let future = Revision(last.0 + 1000);
    for early in [on.read(at.alone(), Some(future)).await.map(drop), on.compact(future).await] {
        assert!(matches!(early, Err(Error::NotYet { wanted }) if wanted == future), "{early:?}");
    }
}

/// Names that contain others, and names with slashes in them.
pub async fn a_range_holds_what_is_below_its_key_and_nothing_else(engine: &dyn Engine) {
    let on = engine.connect();
    let locks = key(["locks", "a"]);
    for other in [&["locks"][..], &["locks", "a"], &["locks", "ab"], &["locks", "a/1"], &["locks", "a0"]] {
        put(&*on, &ok(Key::new(other)), "no").await;
    }
    for inside in ["2", "1", "1/2", "ä"] {
        put(&*on, &ok(locks.child(inside)), "yes").await;
    }
    put(&*on, &ok(ok(locks.child("3")).child("deep")), "yes").await;
    let found = ok(on.read(locks.below(), None).await).entries;
    assert!(found.iter().all(|entry| text(entry) == "yes"), "{found:?}");
    let names: Vec<_> = found.iter().map(|entry| entry.key.name().into_owned()).collect();
    // In the order of the stored text: `%` comes before digits, and `1` before what goes on after it.
    assert_eq!(names, ["ä", "1", "1/2", "2", "deep"]);
}

/// More entries than are fetched at once, while others write.
pub async fn a_large_range_is_read_at_one_revision(engine: &dyn Engine) {
    let (on, other) = (engine.connect(), engine.connect());
    let parent = key(["many"]);
    // Both keys of a pair always have the same value.
    let pair = |n: u32| {
        let end = |half: &str| ok(parent.child(&format!("{half}{n:04}")));
        (end("a"), end("z"))
    };
    for chunk in (0..640).collect::<Vec<u32>>().chunks(64) {
        let all = chunk.iter().fold(Transaction::new(), |all, n| {
            let (a, z) = pair(*n);
            all.put(&a, "0").put(&z, "0")
        });
        done(&*on, all).await;
    }
    let writing = async {
        for n in 1..60u32 {
            let (a, z) = pair(n % 7);
            done(&*other, Transaction::new().put(&a, n.to_string()).put(&z, n.to_string())).await;
        }
    };
    let reading = async {
        for _ in 0..8 {
            let all = ok(on.read(parent.below(), None).await).entries;
            assert_eq!(all.len(), 1280);
            let (firsts, lasts) = all.split_at(640);
            for (a, z) in firsts.iter().zip(lasts) {
                assert_eq!(text(a), text(z), "the read is not of one revision: {a:?}, {z:?}");
            }
        }
    };
    futures_util::future::join(writing, reading).await;
}

/// All operations have one revision; one failed guard stops all.
pub async fn a_transaction_happens_as_a_whole_or_not_at_all(engine: &dyn Engine) {
    let on = engine.connect();
    let (a, b, c) = (key(["a"]), key(["b"]), key(["c"]));
    put(&*on, &c, "old").await;
    let both = done(&*on, Transaction::new().put(&a, "1").put(&b, "1").delete(&c)).await;
    let all = [get(&*on, &a).await, get(&*on, &b).await];
    assert!(all.iter().all(|entry| entry.as_ref().is_some_and(|entry| entry.modified == both)), "{all:?}");
    assert_eq!(get(&*on, &c).await, None);
    let refused = Transaction::new().when(Guard::Unchanged(a.clone(), both)).when(Guard::Absent(b.clone()));
    let outcome = ok(on.commit(refused.put(&a, "2").put(&c, "2")).await);
    assert!(matches!(outcome, Outcome::Failed { revision, .. } if revision == both), "{outcome:?}");
    assert_eq!((get(&*on, &a).await.as_ref().map(text), get(&*on, &c).await), (Some("1"), None));
    // Nothing at all.
    assert_eq!(done(&*on, Transaction::new()).await, both);
}

/// Each kind of guard, for keys that are there, were there, and were never there.
pub async fn guards_hold_for_what_they_name(engine: &dyn Engine) {
    let on = engine.connect();
    let (at, gone, never) = (key(["at"]), key(["gone"]), key(["never"]));
    let created = put(&*on, &at, "1").await;
    let modified = put(&*on, &at, "2").await;
    let deleted = put(&*on, &gone, "1").await;
    done(&*on, Transaction::new().delete(&gone)).await;
    let cases = [
        (Guard::Absent(never.clone()), true),
        (Guard::Absent(gone.clone()), true),
        (Guard::Absent(at.clone()), false),
        (Guard::Created(at.clone(), created), true),
        (Guard::Created(at.clone(), modified), false),
        (Guard::Created(gone.clone(), deleted), false),
        (Guard::Created(never.clone(), created), false),
        (Guard::Unchanged(at.clone(), modified), true),
        (Guard::Unchanged(at.clone(), created), false),
        (Guard::Unchanged(gone, deleted), false),
        (Guard::Unchanged(never, modified), false),
    ];
    for (guard, holds) in cases {
        let outcome = ok(on.commit(Transaction::new().when(guard.clone())).await);
        assert_eq!(outcome.done().is_some(), holds, "{guard:?}");
    }
}

/// So that the loser knows who won without asking again.
pub async fn a_failed_guard_tells_what_was_found(engine: &dyn Engine) {
    let on = engine.connect();
    let (taken, free) = (key(["taken"]), key(["free"]));
    let by = put(&*on, &taken, "somebody").await;
    let guards = Transaction::new().when(Guard::Absent(free.clone())).when(Guard::Absent(taken.clone()));
    let Outcome::Failed { found, revision } = ok(on.commit(guards.put(&free, "me")).await) else {
        panic!("it was taken")
    };
    assert_eq!(revision, by);
    assert_eq!(found, [None, get(&*on, &taken).await]);
}

/// Limits are the same for all engines, and what passes them reaches none.
pub async fn what_is_beyond_a_limit_is_refused(engine: &dyn Engine) {
    let on = engine.connect();
    let at = key(["large"]);
    let revision = put(&*on, &at, "x".repeat(1024 * 1024)).await;
    let large = on.commit(Transaction::new().put(&at, "x".repeat(1024 * 1024 + 1))).await;
    assert!(matches!(large, Err(Error::TooLarge { bytes: 1_048_577, .. })), "{large:?}");
    let twice = on.commit(Transaction::new().put(&at, "1").delete(&at)).await;
    assert!(matches!(twice, Err(Error::WrittenTwice(_))), "{twice:?}");
    let many = |count: u32| {
        let keys = (0..count).map(|n| ok(at.child(&n.to_string())));
        keys.fold(Transaction::new(), |all, key| all.when(Guard::Absent(key.clone())).put(&key, "1"))
    };
    let over = on.commit(many(129)).await;
    assert!(matches!(over, Err(Error::TooManyOperations { count: 129, count_max: 128 })), "{over:?}");
    assert_eq!(done(&*on, many(128)).await, revision.next());
}

/// Many clients write one key if it is absent.
pub async fn clu_1_of_many_who_compare_and_set_one_wins(engine: &dyn Engine) {
    let clients: Vec<_> = (0..8).map(|_| engine.connect()).collect();
    for round in 0..20 {
        let at = key(["owner", &round.to_string()]);
        let tries = clients.iter().enumerate().map(|(who, on)| {
            let claim = Transaction::new().when(Guard::Absent(at.clone())).put(&at, who.to_string());
            async move { (who, ok(on.commit(claim).await)) }
        });
        let outcomes = join_all(tries).await;
        let winners: Vec<_> =
            outcomes.iter().filter_map(|(who, outcome)| Some((who, outcome.done()?))).collect();
        let [(winner, revision)] = winners[..] else { panic!("CLU-1: the winners are {winners:?}") };
        let owner = get(&*clients[0], &at).await.unwrap_or_else(|| panic!("nobody owns it"));
        assert_eq!((text(&owner), owner.created), (winner.to_string().as_str(), revision));
        for (_, outcome) in &outcomes {
            if let Outcome::Failed { found, .. } = outcome {
                assert_eq!(found, &[Some(owner.clone())], "CLU-1: a loser saw somebody else win");
            }
        }
    }
}

/// Read, add one, write if unchanged.
pub async fn clu_1_counters_lose_no_increment(engine: &dyn Engine) {
    let at = key(["counter"]);
    let clients = (0..4).map(|who| (who, engine.connect(), at.clone()));
    let revisions = join_all(clients.map(|(who, on, at)| async move {
        let mut revisions = Vec::new();
        for _ in 0..25 {
            revisions.push(increment(&*on, &at, &who.to_string()).await);
        }
        revisions
    }));
    let mut revisions: Vec<_> = revisions.await.into_iter().flatten().collect();
    let entry = get(&*engine.connect(), &at).await.unwrap_or_else(|| panic!("no counter"));
    assert!(text(&entry).starts_with("100 "), "CLU-1: {} increments are {}", revisions.len(), text(&entry));
    revisions.sort_unstable();
    assert!(revisions.is_sorted_by(|a, b| a < b), "CLU-1: two clients wrote one revision");
}
