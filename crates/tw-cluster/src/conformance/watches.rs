//! Watches: every change once, in order, from any revision that is still known.

use super::{Engine, done, key, line, lines, ok, put, soon};
use crate::{Change, Error, Revision, Transaction};
use std::time::Duration;

/// Several clients write while one watches; what it is told is what happened.
pub async fn a_watch_tells_every_change_once_and_in_order(engine: &dyn Engine) {
    const WRITES: u64 = 100;
    let on = engine.connect();
    let parent = key(["watched"]);
    let start = put(&*on, &key(["start"]), "1").await;
    let mut watch = on.watch(parent.below(), start.next());
    let writing = futures_util::future::join_all((0..3).map(|who| {
        let (client, parent) = (engine.connect(), &parent);
        async move {
            for n in 0..WRITES {
                let (own, shared) = (ok(parent.child(&format!("own{who}"))), ok(parent.child("shared")));
                let both = Transaction::new().put(&own, n.to_string()).put(&shared, format!("{who}:{n}"));
                done(&*client, both).await;
            }
        }
    }));
    let watching = async {
        let (mut through, mut told) = (start, Vec::new());
        while told.len() < 6 * WRITES as usize {
            let changes = ok(soon(watch.next()).await);
            assert!(!changes.changes.is_empty());
            for change in &changes.changes {
                assert!(change.revision() > through, "told twice, or too late: {change:?}");
                assert!(change.revision() <= changes.through, "told too early: {change:?}");
            }
            through = changes.through;
            told.extend(changes.changes);
        }
        told
    };
    let (_, told) = futures_util::future::join(writing, watching).await;
    assert!(told.is_sorted_by_key(Change::revision), "out of order");
    for pair in told.chunks(2) {
        let [one, other] = pair else { panic!("an odd number of changes") };
        assert_eq!(one.revision(), other.revision(), "half a transaction");
    }
    for who in 0..3 {
        let own = told.iter().filter(|change| change.key().name() == format!("own{who}"));
        let values: Vec<_> =
            own.map(line).map(|line| line.split(['=', '@']).nth(1).map(str::to_owned)).collect();
        assert_eq!(values, (0..WRITES).map(|n| Some(n.to_string())).collect::<Vec<_>>());
    }
}

/// The past first, then what comes.
pub async fn a_watch_goes_on_from_an_older_revision(engine: &dyn Engine) {
    let on = engine.connect();
    let at = key(["a"]);
    let mut expected = Vec::new();
    for n in 0..5 {
        expected.push(format!("a={n}@{}", put(&*on, &at, n).await));
    }
    expected.push(format!("-a@{}", done(&*on, Transaction::new().delete(&at)).await));
    assert_eq!(lines(&mut *on.watch(at.alone(), Revision(1)), 6).await, expected);
    let from = ok(on.read(at.alone(), None).await).revision;
    let mut watch = engine.connect().watch(at.alone(), Revision(from.0 - 1));
    assert_eq!(lines(&mut *watch, 2).await, expected[4..]);
    let late = format!("a=late@{}", put(&*on, &at, "late").await);
    assert_eq!(lines(&mut *watch, 1).await, [late]);
}

/// Neighbours in the order of keys are no concern of it.
pub async fn a_watch_sees_its_range_only(engine: &dyn Engine) {
    let on = engine.connect();
    let parent = key(["locks", "a"]);
    let inside = ok(parent.child("1"));
    let mut below = on.watch(parent.below(), Revision(1));
    let mut alone = on.watch(parent.alone(), Revision(1));
    for other in [key(["locks"]), key(["locks", "ab"]), key(["locks", "a0"]), key(["locks", "ab", "1"])] {
        put(&*on, &other, "no").await;
    }
    let first = put(&*on, &inside, "yes").await;
    let second = put(&*on, &parent, "self").await;
    let third = done(&*on, Transaction::new().delete(&inside).put(&parent, "gone")).await;
    assert_eq!(
        lines(&mut *below, 2).await,
        [format!("locks/a/1=yes@{first}"), format!("-locks/a/1@{third}")]
    );
    assert_eq!(
        lines(&mut *alone, 2).await,
        [format!("locks/a=self@{second}"), format!("locks/a=gone@{third}")]
    );
}

/// A wait may end at any await, as in a `select!`.
pub async fn a_dropped_wait_loses_nothing(engine: &dyn Engine) {
    let on = engine.connect();
    let at = key(["a"]);
    let mut watch = on.watch(at.alone(), Revision(1));
    let mut told = Vec::new();
    for n in 0..40u32 {
        // Waits of no time at all up to some that last.
        let patience = Duration::from_micros(u64::from(n % 8) * 400);
        if let Ok(changes) = tokio::time::timeout(patience, watch.next()).await {
            told.extend(ok(changes).changes.iter().map(line));
        }
        put(&*on, &at, n).await;
    }
    while told.len() < 40 {
        told.extend(ok(soon(watch.next()).await).changes.iter().map(line));
    }
    let first = Revision(2);
    let expected: Vec<_> = (0..40).map(|n| format!("a={n}@{}", first.0 + n)).collect();
    assert_eq!(told, expected);
}

/// And says it again.
pub async fn a_watch_from_a_compacted_revision_says_so(engine: &dyn Engine) {
    let on = engine.connect();
    let at = key(["a"]);
    let old = put(&*on, &at, 1).await;
    for n in 2..10 {
        put(&*on, &at, n).await;
    }
    let now = ok(on.read(at.alone(), None).await);
    ok(on.compact(now.revision).await);
    let mut watch = on.watch(at.alone(), old);
    for _ in 0..2 {
        let told = soon(watch.next()).await;
        assert!(matches!(&told, Err(Error::Compacted { wanted, .. }) if *wanted == old), "{told:?}");
    }
    // What the error says to do.
    let mut watch = on.watch(at.alone(), now.revision.next());
    let next = put(&*on, &at, "next").await;
    assert_eq!(lines(&mut *watch, 1).await, [format!("a=next@{next}")]);
}

/// The key is gone from the engine's history altogether: what remains is to say that something is missing.
pub async fn a_deletion_at_the_compacted_revision_is_not_passed_over(engine: &dyn Engine) {
    let on = engine.connect();
    let at = key(["a"]);
    let written = put(&*on, &at, 1).await;
    let deleted = done(&*on, Transaction::new().delete(&at)).await;
    put(&*on, &key(["b"]), 1).await;
    ok(on.compact(deleted).await);
    let told = soon(on.watch(at.alone(), written.next()).next()).await;
    match told {
        Err(Error::Compacted { wanted, .. }) => assert_eq!(wanted, deleted),
        Ok(told) => assert_eq!(told.changes.iter().map(line).collect::<Vec<_>>(), [format!("-a@{deleted}")]),
        Err(error) => panic!("{error}"),
    }
}
