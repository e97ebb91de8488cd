//! Versions and expected versions.

use super::{World, append, event, versions, write};
use crate::Log;
use crate::store::Error;
use std::collections::BTreeMap;
use std::sync::Arc;
use tw_types::{ExpectedVersion, PartitionId, StreamPartition, Version};

/// Events of many subjects in one, two and many writes at once: each subject counts on its own, without gaps.
pub async fn log_2_versions_are_dense_in_the_order_of_offsets(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 4).await;
    let store = world.store();
    let mut answers: Vec<(String, u64, PartitionId, u64)> = Vec::new();
    for round in 0..40 {
        let events: Vec<_> =
            (0..25).map(|n| (format!("subject-{}", (n * n + round) % 13), format!("{round}-{n}"))).collect();
        let named: Vec<_> = events.iter().map(|(subject, id)| (subject.as_str(), id.as_str())).collect();
        let appended = append(&store, &stream, &named).await.unwrap();
        assert_eq!(appended.events.len(), 25);
        for ((subject, _), event) in events.iter().zip(&appended.events) {
            assert!(!event.duplicate);
            assert!(
                appended.token.end(StreamPartition::new(stream.id, event.position.partition)).unwrap()
                    > event.position.offset
            );
            answers.push((
                subject.clone(),
                event.version.0,
                event.position.partition,
                event.position.offset.0,
            ));
        }
        if round % 7 == 0 {
            store.flush().unwrap();
        }
    }
    let mut by_subject: BTreeMap<String, Vec<(u64, PartitionId, u64)>> = BTreeMap::new();
    for (subject, version, partition, offset) in answers {
        by_subject.entry(subject).or_default().push((offset, partition, version));
    }
    assert_eq!(by_subject.len(), 13);
    for (subject, mut events) in by_subject {
        events.sort_unstable();
        assert!(events.iter().zip(1..).all(|((_, _, version), wanted)| *version == wanted));
        assert!(
            events.iter().all(|(_, partition, _)| *partition == events[0].1),
            "one partition per subject"
        );
        assert_eq!(store.version(stream.id, &subject).await.unwrap(), Version(events.len() as u64));
    }
    assert_eq!(store.version(stream.id, "nobody").await.unwrap(), Version::NONE);
    let none = append(&store, &stream, &[("", "a"), ("", "a")]).await.unwrap();
    assert_eq!(versions(&none), [0, 0], "events without a subject have no version, and are never duplicates");
}

/// None, exact, any; and the error says what is.
pub async fn log_3_an_expected_version_is_the_current_one(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 2).await;
    for restart in [false, true] {
        let (subject, other) = if restart { ("b", "y") } else { ("a", "x") };
        let mut id = 0;
        let mut current = 0;
        for (expected, holds) in [
            (ExpectedVersion::Exact(Version(1)), false),
            (ExpectedVersion::None, true),
            (ExpectedVersion::None, false),
            (ExpectedVersion::Exact(Version(2)), false),
            (ExpectedVersion::Exact(Version(1)), true),
            (ExpectedVersion::Any, true),
            (ExpectedVersion::Exact(Version(2)), false),
            (ExpectedVersion::Exact(Version(3)), true),
        ] {
            let store = world.store();
            id += 1;
            let mut write = write(&store, &stream, &[(other, &id.to_string()), (subject, &id.to_string())]);
            write.expect(&stream, subject, expected);
            match store.append(write).await {
                Ok(appended) => {
                    assert!(holds, "{expected}");
                    current += 1;
                    assert_eq!(appended.events[1].version, Version(current));
                }
                Err(Error::Conflict { subject: named, actual, expected: asked, .. }) => {
                    assert!(!holds, "{expected}");
                    assert_eq!((named.as_str(), actual, asked), (subject, Version(current), expected));
                }
                Err(other) => panic!("{other}"),
            }
            // The other event of a refused write is not stored either.
            assert_eq!(store.version(stream.id, other).await.unwrap(), Version(current));
            drop(store);
            if restart {
                world.restart();
            }
        }
    }
}

/// Writers that race for the next version of a subject: each version is won once, and everybody else is told.
pub async fn log_3_one_of_many_writers_wins_each_version(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 2).await;
    let store = world.store();
    let writers = (0..8).map(|writer| {
        let (store, stream) = (store.clone(), stream.clone());
        tokio::spawn(async move {
            let (mut won, mut lost) = (Vec::new(), 0);
            for round in 0..60 {
                let subject = ["a", "b", "c"][round % 3];
                let version = store.version(stream.id, subject).await.unwrap();
                let mut write = store.write();
                write.push(&stream, &event(subject, &format!("{writer}-{round}")).as_ref()).unwrap();
                let expected = if version == Version::NONE {
                    ExpectedVersion::None
                } else {
                    ExpectedVersion::Exact(version)
                };
                write.expect(&stream, subject, expected);
                match store.append(write).await {
                    Ok(appended) => {
                        assert_eq!(appended.events[0].version, version.next());
                        won.push((subject, version.next()));
                    }
                    Err(Error::Conflict { actual, .. }) => {
                        assert!(actual > version);
                        lost += 1;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            (won, lost)
        })
    });
    let mut wins = Vec::new();
    let mut losses = 0;
    for writer in writers.collect::<Vec<_>>() {
        let (won, lost) = writer.await.unwrap();
        wins.extend(won);
        losses += lost;
    }
    assert_eq!(wins.len() + losses, 8 * 60);
    wins.sort_unstable();
    for subject in ["a", "b", "c"] {
        let of_subject: Vec<_> = wins.iter().filter(|(won, _)| *won == subject).map(|(_, v)| v.0).collect();
        let head = store.version(stream.id, subject).await.unwrap();
        assert_eq!(of_subject, (1..=head.0).collect::<Vec<_>>());
    }
}

/// Writes that are submitted without waiting are stored in the order of the calls, also when nobody waits for them.
pub async fn log_2_pipelined_writes_keep_their_order(log: Arc<dyn Log>) {
    let mut world = World::new(log);
    let stream = world.stream("s", 1).await;
    let store = world.store();
    let mut pending = Vec::new();
    for number in 0..300u64 {
        let mut write = write(&store, &stream, &[("a", &number.to_string())]);
        let expected =
            if number == 0 { ExpectedVersion::None } else { ExpectedVersion::Exact(Version(number)) };
        write.expect(&stream, "a", expected);
        let submitted = store.submit(write).await.unwrap();
        if number % 3 > 0 {
            pending.push((number, submitted));
        }
    }
    for (number, pending) in pending.into_iter().rev() {
        let appended = pending.await.unwrap();
        assert_eq!(
            (appended.events[0].position.offset.0, appended.events[0].version.0),
            (number, number + 1)
        );
    }
    let history = store.history(stream.id, "a", Version(1), 1_000).await.unwrap();
    let ids: Vec<_> = history.iter().map(|stored| stored.event.id.clone()).collect();
    assert_eq!(ids, (0..300).map(|number| number.to_string()).collect::<Vec<_>>());
}
