//! Duplicates by event id.

use super::keys::Later;
use super::{World, append, event, versions, write};
use crate::Log;
use crate::store::{Error, EventStore, Write};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tw_order::{DEDUP_VERSIONS, IdHash};
use tw_types::{ExpectedVersion, StreamDef, Version};

/// In the same write, in flight, durable, stored in the index: always the first one's place and version.
pub async fn duplicates_are_answered_with_the_first_event(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 1).await;
    let store = world.store();
    let first =
        append(&store, &stream, &[("a", "1"), ("a", "2"), ("b", "1"), ("a", "1"), ("", "1")]).await.unwrap();
    assert_eq!(versions(&first), [1, 2, 1, 1, 0]);
    let flags: Vec<_> = first.events.iter().map(|event| event.duplicate).collect();
    assert_eq!(flags, [false, false, false, true, false]);
    assert_eq!(first.events[3].position, first.events[0].position);
    // In flight: neither is waited for before the other is submitted.
    let (one, two) =
        (write(&store, &stream, &[("a", "3")]), write(&store, &stream, &[("a", "3"), ("a", "4")]));
    let one = store.submit(one).await.unwrap();
    let two = store.submit(two).await.unwrap();
    let (one, two) = (one.await.unwrap(), two.await.unwrap());
    assert_eq!(versions(&two), [3, 4]);
    assert_eq!(two.events[0].position, one.events[0].position);
    assert!(two.events[0].duplicate && !two.events[1].duplicate);
    drop(store);
    for stage in ["in memory", "stored", "restarted", "index lost"] {
        world.enter(stage);
        let store = world.store();
        let again = append(&store, &stream, &[("b", "1"), ("a", "2"), ("a", "4"), ("a", "1")]).await.unwrap();
        assert_eq!(versions(&again), [1, 2, 4, 1], "{stage}");
        assert!(again.events.iter().all(|event| event.duplicate), "{stage}");
        assert_eq!(again.events[1].position, first.events[1].position, "{stage}");
        assert_eq!(again.events[2].position, two.events[1].position, "{stage}");
        // The token covers the first ones, so that a read with it sees them.
        assert!(again.token.iter().all(|(_, end)| end > two.events[1].position.offset), "{stage}");
        assert_eq!(store.version(stream.id, "a").await.unwrap(), Version(4), "{stage}");
    }
    // A condition that held the first time does not refuse the same write now.
    let store = world.store();
    let mut again = write(&store, &stream, &[("a", "1"), ("a", "2")]);
    again.expect(&stream, "a", tw_types::ExpectedVersion::None);
    assert_eq!(versions(&store.append(again).await.unwrap()), [1, 2]);
    let mut more = write(&store, &stream, &[("a", "1"), ("a", "5")]);
    more.expect(&stream, "a", tw_types::ExpectedVersion::None);
    assert!(store.append(more).await.is_err());
}

/// Ids are compared with so many versions, whether they are in memory, in a tail or in older runs; not with more.
pub async fn an_id_is_compared_with_the_latest_1024_versions(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 1).await;
    let total = DEDUP_VERSIONS + 200;
    for start in (1..=total).step_by(100) {
        let store = world.store();
        let mut write = store.write();
        for id in start..(start + 100).min(total + 1) {
            write.push(&stream, &event("a", &format!("id-{id}")).as_ref()).unwrap();
        }
        store.append(write).await.unwrap();
        // Some parts of the history are stored early, some late.
        if start % 300 == 1 {
            store.flush().unwrap();
        }
    }
    let oldest = total - DEDUP_VERSIONS + 1;
    for stage in ["some stored", "all stored", "restarted", "index lost"] {
        world.enter(stage);
        let store = world.store();
        let probes = [oldest, oldest + 1, oldest + 500, total - 17, total - 1, total];
        for id in probes {
            let again = append(&store, &stream, &[("a", &format!("id-{id}"))]).await.unwrap();
            assert_eq!((versions(&again)[0], again.events[0].duplicate), (id, true), "{stage}, id {id}");
        }
    }
    let store = world.store();
    let forgotten = append(&store, &stream, &[("a", &format!("id-{}", oldest - 1))]).await.unwrap();
    assert_eq!((versions(&forgotten)[0], forgotten.events[0].duplicate), (total + 1, false));
    // That one has pushed the oldest one out.
    let forgotten = append(&store, &stream, &[("a", &format!("id-{oldest}"))]).await.unwrap();
    assert_eq!(versions(&forgotten), [total + 2]);
}

/// Pairs of ids whose hashes are the same.
fn alike(count: usize) -> Vec<(String, String)> {
    let mut known: HashMap<IdHash, String> = HashMap::new();
    let ids = (0..).map(|number| format!("id-{number}"));
    ids.filter_map(|id| known.insert(IdHash::of(&id), id.clone()).map(|other| (other, id)))
        .take(count)
        .collect()
}

/// Gives each subject events `before-1` to `before-{count}`.
async fn fill(store: &EventStore, stream: &Arc<StreamDef>, subjects: &[String], count: u64) {
    for first in (1..=count).step_by(20) {
        let mut write = store.write();
        write.dedup_by_id(false);
        for number in first..(first + 20).min(count + 1) {
            for subject in subjects {
                write.push(stream, &event(subject, &format!("before-{number}")).as_ref()).unwrap();
            }
        }
        store.append(write).await.unwrap();
    }
}

/// A forced collision: the hashes of two ids are the same, the ids are not. Both events are stored, wherever the first one is
/// when the second one comes, and each is a duplicate of itself alone.
pub async fn ids_with_the_same_hash_are_told_apart(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 1).await;
    let stages = ["in flight", "in memory", "stored", "stored again", "restarted", "index lost"];
    let pairs = alike(stages.len());
    assert!(pairs.iter().all(|(a, b)| a != b && IdHash::of(a) == IdHash::of(b)));
    for (subject, before) in [("short", 0), ("long", DEDUP_VERSIONS + 100)] {
        fill(&world.store(), &stream, &[subject.to_owned()], before).await;
        let firsts: Vec<_> = pairs.iter().map(|(first, _)| (subject, first.as_str())).collect();
        let pending = world.store().submit(write(&world.store(), &stream, &firsts)).await.unwrap();
        let mut pending = Some(pending);
        for (number, (stage, (first, second))) in (0..).zip(stages.iter().zip(&pairs)) {
            if *stage != "in flight"
                && let Some(pending) = pending.take()
            {
                assert_eq!(versions(&pending.await.unwrap()).len(), pairs.len());
            }
            world.enter(stage);
            let store = world.store();
            let version = before + pairs.len() as u64 + number + 1;
            let new = append(&store, &stream, &[(subject, second)]).await.unwrap();
            assert_eq!((versions(&new)[0], new.events[0].duplicate), (version, false), "{subject}, {stage}");
            let again = append(&store, &stream, &[(subject, second), (subject, first)]).await.unwrap();
            assert_eq!(versions(&again), [version, before + number + 1], "{subject}, {stage}");
            assert!(again.events.iter().all(|event| event.duplicate), "{subject}, {stage}");
            assert_eq!(again.events[0].position, new.events[0].position, "{subject}, {stage}");
        }
    }
}

/// More subjects with long histories than there is memory for their ids: all are compared, and the bound is held. When time
/// goes on, a part of what was not used leaves memory, not all of it.
pub async fn ids_are_compared_when_memory_for_them_is_short(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let passed = Arc::new(AtomicU64::new(0));
    world.env.clock = Arc::new(Later(passed.clone()));
    world.options.dedup_bytes_max = 1 << 20;
    let stream = world.stream("s", 2).await;
    let store = world.store();
    let subjects: Vec<_> = (0..260).map(|number| format!("subject-{number}")).collect();
    fill(&store, &stream, &subjects, DEDUP_VERSIONS).await;
    store.flush().unwrap();
    for round in 1..=2 {
        for subjects in subjects.chunks(20) {
            let (oldest, new) = (format!("before-{round}"), format!("new-{round}"));
            let events: Vec<_> = subjects
                .iter()
                .flat_map(|subject| [(subject.as_str(), oldest.as_str()), (subject, &new)])
                .collect();
            let appended = append(&store, &stream, &events).await.unwrap();
            let expected =
                events.iter().map(|(_, id)| if *id == new { DEDUP_VERSIONS + round } else { round });
            assert_eq!(versions(&appended), expected.collect::<Vec<_>>(), "round {round}");
            assert!(store.dedup_bytes() <= 1 << 20, "{} bytes", store.dedup_bytes());
        }
        assert!(store.dedup_bytes() > 900_000, "{} bytes", store.dedup_bytes());
        store.flush().unwrap();
    }
    passed.store(60_000, Ordering::Relaxed);
    // Twice, because the index thread may have looked at the clock before.
    for _ in 0..2 {
        let tick = &store.core.tick;
        tick.over(tick.get() + 1).await;
    }
    assert!((800_000..983_040).contains(&store.dedup_bytes()), "{} bytes", store.dedup_bytes());
}

/// One write needs more ids than there is memory for: all are compared, and the bound is held after it, whether it is
/// accepted or refused.
pub async fn a_write_may_need_more_ids_than_there_is_memory_for(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    world.options.dedup_bytes_max = 1 << 20;
    let stream = world.stream("s", 2).await;
    let subjects: Vec<_> = (0..2_500).map(|number| format!("subject-{number}")).collect();
    fill(&world.store(), &stream, &subjects, 100).await;
    world.store().flush().unwrap();
    world.restart();
    let store = world.store();
    let large = |expected: ExpectedVersion| -> Write {
        let mut write = store.write();
        for subject in &subjects {
            write.push(&stream, &event(subject, "before-7").as_ref()).unwrap();
            write.push(&stream, &event(subject, "new").as_ref()).unwrap();
        }
        for subject in ["subject-1", "subject-2000"] {
            write.expect(&stream, subject, expected);
        }
        write
    };
    let refused = store.append(large(ExpectedVersion::Exact(Version(99)))).await.unwrap_err();
    assert!(matches!(refused, Error::Conflict { actual: Version(100), .. }), "{refused}");
    assert!(store.dedup_bytes() <= 1 << 20, "{} bytes", store.dedup_bytes());
    for round in 0..2 {
        let appended = store.append(large(ExpectedVersion::Exact(Version(100)))).await.unwrap();
        for pair in appended.events.chunks(2) {
            assert_eq!((pair[0].version, pair[0].duplicate), (Version(7), true));
            assert_eq!((pair[1].version, pair[1].duplicate), (Version(101), round > 0));
        }
        assert!(store.dedup_bytes() <= 1 << 20, "{} bytes", store.dedup_bytes());
    }
}

/// A subject whose events all have one id, and a write of many more with that id or one with the same hash: the answer is
/// right, and comes after few reads.
pub async fn a_flood_of_one_id_is_answered(log: Arc<dyn Log>) {
    let (mut world, log) = super::faults::faulty(log);
    let stream = world.stream("s", 1).await;
    let store = world.store();
    let (one, other) = alike(1).remove(0);
    let flood = |id: &str, dedup| {
        let mut write = store.write();
        write.dedup_by_id(dedup);
        (0..1_000).for_each(|_| write.push(&stream, &event("a", id).as_ref()).unwrap());
        write
    };
    store.append(flood(&one, false)).await.unwrap();
    for (id, version, stored) in [(&one, 1, false), (&other, 1_001, true)] {
        let before = log.reads();
        let appended = store.append(flood(id, true)).await.unwrap();
        assert!(appended.events.iter().all(|event| event.version == Version(version)));
        let new = appended.events.iter().filter(|event| !event.duplicate).count();
        assert_eq!(new, usize::from(stored));
        assert!(log.reads() - before < 10);
    }
}

/// Whoever switches the comparison off has it off.
pub async fn without_dedup_every_event_is_stored(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 1).await;
    let store = world.store();
    for round in 0..3 {
        let mut write = write(&store, &stream, &[("a", "1"), ("a", "1"), ("b", "1")]);
        write.dedup_by_id(false);
        let appended = store.append(write).await.unwrap();
        assert_eq!(versions(&appended), [round * 2 + 1, round * 2 + 2, round + 1]);
        store.flush().unwrap();
    }
    // Of several with the same id, the first is what a duplicate is answered with.
    let again = append(&store, &stream, &[("a", "1")]).await.unwrap();
    assert_eq!((versions(&again)[0], again.events[0].position.offset.0), (1, 0));
}
