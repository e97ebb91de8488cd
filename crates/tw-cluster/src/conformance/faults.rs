//! Servers that pause, restart and are killed: clients find back by themselves, and nothing is lost or repeated.

use super::{Disturbance, Engine, done, get, increment, key, line, lines, ok, put, put_under, soon, text};
use crate::{Coordination, Error, Guard, Key, Outcome, Revision, Transaction};
use futures_util::future::join_all;
use std::time::Duration;

/// Everything that can happen, with what ends it.
const DISTURBANCES: [&[Disturbance]; 4] = [
    &[Disturbance::Pause, Disturbance::Resume],
    &[Disturbance::Restart],
    &[Disturbance::Kill],
    &[Disturbance::Pause, Disturbance::Kill],
];

/// Writes until it is certain that it was written.
async fn put_surely(on: &dyn Coordination, key: &Key, value: u64) {
    loop {
        match on.commit(Transaction::new().put(key, value.to_string())).await {
            Ok(_) => return,
            Err(Error::Unavailable(_) | Error::Unknown(_)) => {}
            Err(error) => panic!("unexpected error: {error}"),
        }
    }
}

/// The watch waits while its servers come and go.
pub async fn a_watch_survives_every_disturbance(engine: &dyn Engine) {
    let (on, other) = (engine.connect(), engine.connect());
    let at = key(["a"]);
    let mut watch = on.watch(at.alone(), Revision(1));
    let mut told = Vec::new();
    let mut value = 0;
    for disturbances in DISTURBANCES {
        value += 1;
        put_surely(&*other, &at, value).await;
        told.extend(ok(soon(watch.next()).await).changes);
        for disturbance in disturbances {
            engine.disturb(*disturbance);
            if *disturbance == Disturbance::Pause {
                let nothing = tokio::time::timeout(Duration::from_millis(300), watch.next()).await;
                assert!(nothing.is_err(), "{nothing:?}");
            }
        }
        value += 1;
        put_surely(&*other, &at, value).await;
        told.extend(ok(soon(watch.next()).await).changes);
    }
    let last = get(&*on, &at).await.unwrap_or_else(|| panic!("it is gone"));
    while told.last().is_none_or(|change| change.revision() < last.modified) {
        told.extend(ok(soon(watch.next()).await).changes);
    }
    // A write whose outcome was unknown was repeated: the value is there twice then, each at its own revision.
    assert!(told.is_sorted_by(|a, b| a.revision() < b.revision()), "{told:?}");
    let mut values: Vec<String> = told.iter().map(line).collect();
    values.iter_mut().for_each(|line| line.truncate(line.find('@').unwrap_or(line.len())));
    values.dedup();
    assert_eq!(values, (1..=value).map(|n| format!("a={n}")).collect::<Vec<_>>());
}

/// What changed while the watch was cut off is forgotten before it is back.
pub async fn a_watch_that_fell_behind_a_compaction_says_so(engine: &dyn Engine) {
    let (on, other) = (engine.connect(), engine.connect());
    let at = key(["a"]);
    let mut watch = on.watch(at.alone(), Revision(1));
    put(&*other, &at, 1).await;
    assert_eq!(lines(&mut *watch, 1).await, ["a=1@2"]);
    engine.disturb(Disturbance::Kill);
    // Not polled, the watch stays cut off.
    for n in 2..5 {
        put_surely(&*other, &at, n).await;
    }
    let now = get(&*other, &at).await.unwrap_or_else(|| panic!("it is gone"));
    ok(other.compact(now.modified).await);
    let told = soon(watch.next()).await;
    assert!(matches!(&told, Err(Error::Compacted { wanted: Revision(3), .. })), "{told:?}");
    let snapshot = ok(on.read(at.alone(), None).await);
    assert_eq!(snapshot.entries.iter().map(text).collect::<Vec<_>>(), ["4"]);
    let mut watch = on.watch(at.alone(), snapshot.revision.next());
    let next = put(&*other, &at, "next").await;
    assert_eq!(lines(&mut *watch, 1).await, [format!("a=next@{next}")]);
}

/// Reads and writes alike, without anybody's help.
pub async fn requests_find_back_after_every_disturbance(engine: &dyn Engine) {
    let on = engine.connect();
    let at = key(["a"]);
    for (n, disturbances) in (0..).zip(DISTURBANCES) {
        put_surely(&*on, &at, n).await;
        for disturbance in disturbances {
            engine.disturb(*disturbance);
        }
        let found = soon(async {
            loop {
                match on.read(at.alone(), None).await {
                    Ok(found) => return found,
                    Err(Error::Unavailable(_)) => {}
                    Err(error) => panic!("unexpected error: {error}"),
                }
            }
        });
        assert_eq!(found.await.entries.iter().map(text).collect::<Vec<_>>(), [n.to_string()]);
    }
}

/// CLU-1: whoever is told that it has won has won, and whoever is not told looks.
pub async fn clu_1_compare_and_set_stays_exact_under_disturbance(engine: &dyn Engine) {
    const INCREMENTS: usize = 40;
    let at = key(["counter"]);
    let counting = join_all((0..3).map(|who| {
        let (on, at) = (engine.connect(), &at);
        async move {
            let mut done = Vec::new();
            while done.len() < INCREMENTS {
                // A mark that nobody else writes tells an unknown outcome.
                let mark = ok(key(["marks"]).child(&format!("{who}:{}", done.len())));
                let value = match on.read(at.alone(), None).await {
                    Ok(found) => found.entries.into_iter().next(),
                    Err(_) => continue,
                };
                let number = value.as_ref().map_or(0, |entry| text(entry).parse().unwrap_or(u64::MAX));
                let guard = value
                    .map_or(Guard::Absent(at.clone()), |entry| Guard::Unchanged(at.clone(), entry.modified));
                let step = Transaction::new().when(guard).when(Guard::Absent(mark.clone()));
                match on.commit(step.put(at, (number + 1).to_string()).put(&mark, "1")).await {
                    Ok(Outcome::Done(_)) => done.push(number + 1),
                    // An earlier try may have happened all the same.
                    Ok(Outcome::Failed { found, .. }) => {
                        if found.get(1).is_some_and(Option::is_some) {
                            done.push(0);
                        }
                    }
                    Err(Error::Unavailable(_) | Error::Unknown(_)) => {}
                    Err(error) => panic!("unexpected error: {error}"),
                }
            }
            done
        }
    }));
    let disturbing = async {
        let watching = engine.connect();
        for (disturbances, floor) in DISTURBANCES.iter().zip([10u64, 35, 60, 85]) {
            // When the counter gets there, not after a time.
            soon(async {
                while !matches!(watching.read(at.alone(), None).await, Ok(found)
                    if found.entries.first().is_some_and(|entry| text(entry).parse().unwrap_or(0) >= floor))
                {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            tokio::task::block_in_place(|| {
                disturbances.iter().for_each(|disturbance| engine.disturb(*disturbance));
            });
        }
    };
    let (counted, ()) = futures_util::future::join(counting, disturbing).await;
    let mut told: Vec<u64> = counted.into_iter().flatten().filter(|number| *number > 0).collect();
    told.sort_unstable();
    assert!(told.is_sorted_by(|a, b| a < b), "CLU-1: two were told the same number");
    let total = get(&*engine.connect(), &at).await.unwrap_or_else(|| panic!("no counter"));
    assert_eq!(text(&total), (3 * INCREMENTS).to_string(), "CLU-1: increments were lost or repeated");
}

/// The servers remember who holds what.
pub async fn a_lease_survives_a_restart(engine: &dyn Engine) {
    let on = engine.connect();
    let at = key(["held"]);
    let lease = ok(on.grant(Duration::from_secs(30)).await);
    let written = put_under(&*on, lease.id, &at, "1").await;
    for disturbance in [Disturbance::Restart, Disturbance::Kill] {
        engine.disturb(disturbance);
        let renewed = soon(async {
            loop {
                match on.renew(lease.id).await {
                    Ok(grant) => return grant,
                    Err(Error::Unavailable(_) | Error::Unknown(_)) => {}
                    Err(error) => panic!("unexpected error: {error}"),
                }
            }
        });
        assert_eq!(renewed.await.id, lease.id);
        assert_eq!(get(&*on, &at).await.map(|entry| entry.created), Some(written));
    }
    ok(on.revoke(lease.id).await);
    assert_eq!(get(&*on, &at).await, None);
    // The counter goes on where it was: tokens never repeat.
    let counter = key(["counter"]);
    let revision = increment(&*on, &counter, "me").await;
    assert!(revision > written && done(&*on, Transaction::new().delete(&counter)).await > revision);
}
