//! What the event store makes of a log that fails.

use super::{World, append, event, versions, write};
use crate::faulty::{Fault, FaultyLog};
use crate::store::{Error, EventStore, Filter};
use crate::{Error as LogError, Log};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::JoinHandle;
use tw_types::{ExpectedVersion, Offset, PartitionId, StreamDef, StreamPartition, Version};

/// A store on a log that fails when told.
pub(super) fn faulty(log: Arc<dyn Log>) -> (World, Arc<FaultyLog>) {
    let faulty = Arc::new(FaultyLog::new(log));
    (World::new(faulty.clone()), faulty)
}

/// Lets through what is held back until it is `done`; three in `of` appends fail, each in another way.
pub(super) fn releases(log: &Arc<FaultyLog>, done: &Arc<AtomicBool>, seed: u64, of: u64) -> JoinHandle<()> {
    let (log, done) = (log.clone(), done.clone());
    tokio::spawn(async move {
        let mut dice = Dice(seed);
        while !done.load(Ordering::SeqCst) || log.held() > 0 {
            let fault = match dice.roll(of) {
                0 => Fault::Refused,
                1 => Fault::StoredUnknown,
                2 => Fault::LostUnknown,
                _ => Fault::None,
            };
            if dice.roll(3) == 0 || !log.release(fault).await {
                tokio::task::yield_now().await;
            }
        }
    })
}

/// After a failure, whatever was in flight behind it fails, too; versions, histories and duplicates are those of the log.
pub async fn failed_appends_leave_no_trace(log: Arc<dyn Log>) {
    let (mut world, log) = faulty(log);
    let stream = world.stream("s", 1).await;
    let store = world.store();
    append(&store, &stream, &[("a", "0"), ("b", "0")]).await.unwrap();
    let mut a = 1;
    for fault in [Fault::Refused, Fault::LostUnknown, Fault::StoredUnknown] {
        log.hold(true);
        let mut pending = Vec::new();
        for id in ["x", "y", "z"] {
            let events = [("a", format!("{id}-{fault:?}")), ("c", format!("{id}-{fault:?}"))];
            let events: Vec<_> = events.iter().map(|(subject, id)| (*subject, id.as_str())).collect();
            pending.push(store.submit(write(&store, &stream, &events)).await.unwrap());
        }
        assert_eq!(log.held(), 3);
        // What is in flight does not show.
        assert_eq!(store.version(stream.id, "a").await.unwrap(), Version(a));
        log.release(fault).await;
        log.release(Fault::None).await;
        log.release(Fault::None).await;
        log.hold(false);
        let mut outcomes = Vec::new();
        for pending in pending {
            outcomes.push(pending.await.is_ok());
        }
        // Those behind it only find their place if it is where it should be.
        let stored = fault == Fault::StoredUnknown;
        assert_eq!(outcomes, [false, stored, stored], "{fault:?}");
        a += if stored { 3 } else { 0 };
        assert_eq!(store.version(stream.id, "a").await.unwrap(), Version(a), "{fault:?}");
        assert_eq!(store.version(stream.id, "c").await.unwrap(), Version(a - 1), "{fault:?}");
        let id = format!("x-{fault:?}");
        let again = append(&store, &stream, &[("a", &id), ("c", &id)]).await.unwrap();
        assert!(again.events.iter().all(|event| event.duplicate == stored), "{fault:?}");
        a += if stored { 0 } else { 1 };
        assert_eq!(store.version(stream.id, "a").await.unwrap(), Version(a), "{fault:?}");
        store.flush().unwrap();
        let at = StreamPartition::new(stream.id, PartitionId(0));
        assert_eq!(
            store.by_others(at),
            0,
            "CLU-1: {fault:?}: what came of an append is not taken for somebody else's"
        );
    }
    let history = store.history(stream.id, "a", Version(1), 100).await.unwrap();
    assert_eq!(history.len() as u64, a);
    assert!(history.iter().zip(1..).all(|(stored, version)| stored.version == Version(version)));
}

/// A refusal or an answer that depends on an append in flight is only given once that has arrived.
pub async fn what_depends_on_appends_in_flight_waits_for_them(log: Arc<dyn Log>) {
    for fault in [Fault::None, Fault::Refused] {
        let (mut world, log) = faulty(log.clone());
        let stream = world.stream(&format!("s-{fault:?}"), 1).await;
        let store = world.store();
        log.hold(true);
        let mut first = write(&store, &stream, &[("a", "1")]);
        first.idempotency_key("key");
        let first = store.submit(first).await.unwrap();
        let expect_none = {
            let mut write = write(&store, &stream, &[("a", "2")]);
            write.expect(&stream, "a", ExpectedVersion::None);
            let store = store.clone();
            tokio::spawn(async move { store.append(write).await })
        };
        let duplicate = {
            let (store, write) = (store.clone(), write(&store, &stream, &[("a", "1")]));
            tokio::spawn(async move { store.append(write).await })
        };
        let reused = {
            let mut write = write(&store, &stream, &[("b", "1")]);
            write.idempotency_key("key");
            let store = store.clone();
            tokio::spawn(async move { store.append(write).await })
        };
        // They have had every chance to answer too early.
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        assert_eq!(log.held(), 1);
        assert!(!expect_none.is_finished() && !duplicate.is_finished() && !reused.is_finished());
        log.release(fault).await;
        log.hold(false);
        while log.release(Fault::None).await {}
        let (first, expect_none) = (first.await, expect_none.await.unwrap());
        let (duplicate, reused) = (duplicate.await.unwrap().unwrap(), reused.await.unwrap());
        if fault == Fault::None {
            assert_eq!(versions(&first.unwrap()), [1]);
            assert!(matches!(expect_none, Err(Error::Conflict { actual: Version(1), .. })));
            assert!(duplicate.events[0].duplicate);
            assert!(matches!(reused, Err(Error::KeyReused(_))));
        } else {
            first.unwrap_err();
            // Either of the two may have been the first.
            let one = expect_none.map(|appended| versions(&appended)[0]);
            assert!(matches!(one, Ok(1) | Err(Error::Conflict { .. })));
            assert!(!duplicate.events[0].duplicate);
            assert_eq!(versions(&reused.unwrap()), [1]);
        }
    }
}

/// Cheap random numbers from a seed.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What a writer was told.
#[derive(Debug)]
enum Told {
    /// Stored (or there already) at an offset, with a version.
    Stored {
        subject: String,
        id: String,
        at: (PartitionId, Offset),
        version: Version,
        believed: Option<Version>,
        duplicate: bool,
    },
    /// Not stored.
    Refused { id: String },
    /// Perhaps stored.
    Unknown,
}

async fn writer(store: EventStore, stream: Arc<StreamDef>, seed: u64, rounds: u64) -> Vec<Told> {
    let mut dice = Dice(seed);
    let mut told = Vec::new();
    for round in 0..rounds {
        let subject = format!("subject-{}", dice.roll(6));
        // Ids meet, within a writer and between writers.
        let id =
            if dice.roll(4) == 0 { format!("shared-{}", dice.roll(40)) } else { format!("{seed}-{round}") };
        let mut write = store.write();
        write.push(&stream, &event(&subject, &id).as_ref()).unwrap();
        if dice.roll(3) == 0 {
            write.push(&stream, &event("", &format!("{seed}-{round}-none")).as_ref()).unwrap();
        }
        let mut believed = None;
        if dice.roll(3) == 0 {
            let Ok(version) = store.version(stream.id, &subject).await else { continue };
            believed = Some(version);
            let expected = if version == Version::NONE {
                ExpectedVersion::None
            } else {
                ExpectedVersion::Exact(version)
            };
            write.expect(&stream, &subject, expected);
        }
        let outcome = match store.submit(write).await {
            // Some nobody waits for.
            Ok(pending) if dice.roll(8) == 0 => {
                drop(pending);
                told.push(Told::Unknown);
                continue;
            }
            Ok(pending) => pending.await,
            Err(error) => Err(error),
        };
        told.push(match outcome {
            Ok(appended) => {
                let first = appended.events[0];
                let at = (first.position.partition, first.position.offset);
                let (version, duplicate) = (first.version, first.duplicate);
                Told::Stored { subject, id, at, version, believed, duplicate }
            }
            Err(Error::Conflict { actual, .. }) => {
                assert_ne!(Some(actual), believed, "a true belief is not refused");
                Told::Refused { id }
            }
            Err(Error::Log(LogError::Unknown(_))) => Told::Unknown,
            Err(Error::Log(LogError::Busy | LogError::WrongEnd { .. })) => Told::Refused { id },
            Err(other) => panic!("{other}"),
        });
    }
    told
}

/// Compares what writers were told with what is in the log.
async fn check(world: &World, store: &EventStore, stream: &Arc<StreamDef>, told: &[Told]) {
    let mut by_subject: BTreeMap<String, Vec<(PartitionId, Offset, Version, String)>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for partition in 0..stream.partitions {
        let at = StreamPartition::new(stream.id, PartitionId(partition));
        let end = world.log.bounds(at).unwrap().end;
        let page = store.read(at, Offset::ZERO, &Filter::default(), usize::MAX, usize::MAX).await.unwrap();
        assert_eq!(page.next, end);
        for stored in page.events {
            ids.insert(stored.event.id.clone());
            if let Some(subject) = stored.event.subject {
                let known = by_subject.entry(subject).or_default();
                known.push((at.partition, stored.position.offset, stored.version, stored.event.id));
            }
        }
    }
    for (subject, events) in &by_subject {
        let versions: Vec<_> = events.iter().map(|(_, _, version, _)| version.0).collect();
        assert_eq!(versions, (1..=events.len() as u64).collect::<Vec<_>>(), "LOG-2: {subject}");
        let unique: BTreeSet<_> = events.iter().map(|(.., id)| id).collect();
        assert_eq!(unique.len(), events.len(), "no id twice: {subject}");
        assert_eq!(store.version(stream.id, subject).await.unwrap().0, events.len() as u64);
        let history = store.history(stream.id, subject, Version(1), usize::MAX).await.unwrap();
        let offsets: Vec<_> = history.iter().map(|stored| stored.position.offset).collect();
        assert_eq!(offsets, events.iter().map(|(_, offset, ..)| *offset).collect::<Vec<_>>());
    }
    for told in told {
        match told {
            Told::Stored { subject, id, at, version, believed, duplicate } => {
                let found = &by_subject[subject][version.0 as usize - 1];
                assert_eq!((found.0, found.1, found.3.as_str()), (at.0, at.1, id.as_str()));
                assert!(*duplicate || believed.is_none_or(|believed| believed.next() == *version), "LOG-3");
            }
            Told::Refused { id } => {
                assert!(id.starts_with("shared") || !ids.contains(id), "{id} was refused");
            }
            Told::Unknown => {}
        }
    }
}

/// Writers that race, with appends in flight that fail at random, flushes, restarts and lost indexes in between.
pub async fn log_2_log_3_hold_under_load_with_failing_appends(log: Arc<dyn Log>) {
    let (mut world, log) = faulty(log);
    let seeds = std::env::var("TRADEWIND_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    for seed in 0..seeds {
        let stream = world.stream(&format!("s{seed}"), 2).await;
        let mut told = Vec::new();
        for phase in 0..3 {
            let store = world.store();
            log.hold(true);
            let done = Arc::new(AtomicBool::new(false));
            let releaser = releases(&log, &done, seed * 31 + phase, 24);
            let flusher = {
                let (store, done) = (store.clone(), done.clone());
                tokio::task::spawn_blocking(move || {
                    while !done.load(Ordering::SeqCst) {
                        store.flush().unwrap();
                    }
                })
            };
            let writers: Vec<_> = (0..4)
                .map(|writer_number| {
                    let seed = seed * 1_000 + phase * 10 + writer_number;
                    tokio::spawn(writer(store.clone(), stream.clone(), seed, 40))
                })
                .collect();
            for writer in writers {
                told.extend(writer.await.unwrap());
            }
            done.store(true, Ordering::SeqCst);
            releaser.await.unwrap();
            flusher.await.unwrap();
            log.hold(false);
            check(&world, &store, &stream, &told).await;
            for partition in 0..2 {
                let at = StreamPartition::new(stream.id, PartitionId(partition));
                assert_eq!(store.by_others(at), 0, "CLU-1: nobody else has written");
            }
            drop(store);
            match phase {
                0 => world.restart(),
                1 => world.lose_index(),
                _ => {}
            }
            let store = world.store();
            check(&world, &store, &stream, &told).await;
        }
    }
}
