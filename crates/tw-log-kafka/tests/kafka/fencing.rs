//! Who was shut out cannot write (CLU-1), and two who write at once never overwrite each other.

use super::{all, ids, open, options, put, stream};
use futures_util::future::join_all;
use std::sync::Arc;
use tw_log::{Error, Log, NewStream};
use tw_testing::Kafka;
use tw_types::{Offset, StreamName};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clu_1_a_zombie_is_rejected_by_kafka_once_it_was_fenced() {
    let kafka = Kafka::shared();
    let options = options(&kafka);
    let zombie = open(&options, "a");
    let at = stream(&zombie, "owned").await;
    put(&zombie, at, "1", None).await.unwrap();
    let owner = open(&options, "b");
    owner.fence("a").await.unwrap();
    // It does not know that it was fenced, and nobody has written since: only Kafka can tell it.
    let refused = put(&zombie, at, "2", Some(Offset(1))).await;
    assert!(matches!(&refused, Err(Error::Fenced { writer }) if writer == "a"), "{refused:?}");
    let again = put(&zombie, at, "3", None).await;
    assert!(matches!(again, Err(Error::Fenced { .. })), "{again:?}");
    assert!(matches!(zombie.refusal(), Some(Error::Fenced { .. })));
    let defined = zombie.create_stream(NewStream::plain(StreamName::new("late").unwrap(), 1)).await;
    assert!(matches!(defined, Err(Error::Fenced { .. })), "{defined:?}");
    // What it knew it can still read.
    assert_eq!(ids(&all(&zombie, at).await), ["1"]);
    put(&owner, at, "4", Some(Offset(1))).await.unwrap();
    assert_eq!(ids(&all(&owner, at).await), ["1", "4"]);
    // A new process of that name is welcome.
    let newcomer = open(&options, "a");
    put(&newcomer, at, "5", Some(Offset(2))).await.unwrap();
    assert_eq!(ids(&all(&newcomer, at).await), ["1", "4", "5"]);
}

/// Fenced in the middle of its work: what it was told is there, and after the fence nothing comes any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clu_1_nothing_of_a_fenced_process_appears_after_the_fence() {
    let kafka = Kafka::shared();
    let options = options(&kafka);
    let (zombie, owner) = (Arc::new(open(&options, "a")), open(&options, "b"));
    let at = stream(&*zombie, "busy").await;
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let zombie = zombie.clone();
            tokio::spawn(async move {
                let mut told = Vec::new();
                for number in 0.. {
                    match put(&*zombie, at, &format!("{writer}:{number:06}"), None).await {
                        Ok(placed) => told.push(placed.base_offset),
                        // The one that was under way when it happened.
                        Err(Error::Unknown(_)) => {}
                        Err(Error::Fenced { .. }) => break,
                        Err(error) => panic!("{error}"),
                    }
                }
                told
            })
        })
        .collect();
    zombie.end_signal(at).unwrap().over(50).await;
    owner.fence("a").await.unwrap();
    owner.refresh(&[at]).await.unwrap();
    let left = all(&owner, at).await;
    for told in join_all(writers).await {
        let told = told.unwrap();
        assert!(told.iter().all(|offset| left.iter().any(|read| read.offset == *offset)), "LOG-1: {told:?}");
    }
    owner.refresh(&[at]).await.unwrap();
    assert_eq!(all(&owner, at).await, left, "a zombie has written after it was fenced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clu_1_a_process_that_opens_under_a_name_shuts_out_the_one_before() {
    let kafka = Kafka::shared();
    let options = options(&kafka);
    let first = open(&options, "a");
    let at = stream(&first, "taken").await;
    let second = open(&options, "a");
    put(&second, at, "1", None).await.unwrap();
    assert!(matches!(put(&first, at, "2", None).await, Err(Error::Fenced { .. })));
    assert_eq!(ids(&all(&second, at).await), ["1"]);
}

/// What Kafka's epoch alone does not prevent: a client that begins anew after an outage has a new epoch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clu_1_a_zombie_that_missed_its_fencing_in_an_outage_does_not_come_back() {
    let mut kafka = Kafka::start();
    let options = options(&kafka);
    let zombie = open(&options, "a");
    let at = stream(&zombie, "owned").await;
    put(&zombie, at, "1", None).await.unwrap();
    let owner = open(&options, "b");
    owner.fence("a").await.unwrap();
    // The zombie sees lost connections, begins its session again, and takes a newer epoch than the one that fenced it.
    kafka.broker(0).kill();
    kafka.broker(0).start_again();
    let refused = put(&zombie, at, "2", Some(Offset(1))).await;
    assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
    put(&owner, at, "3", Some(Offset(1))).await.unwrap();
    assert_eq!(ids(&all(&owner, at).await), ["1", "3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_3_of_two_processes_that_expect_the_same_end_one_succeeds() {
    let kafka = Kafka::shared();
    let options = options(&kafka);
    let logs = [Arc::new(open(&options, "a")), Arc::new(open(&options, "b"))];
    let at = stream(&*logs[0], "contended").await;
    let seen = logs[1].definitions();
    while logs[1].bounds(at).is_err() {
        seen.over(seen.get()).await;
    }
    let writers = logs.iter().zip(["a", "b"]).map(|(log, name)| {
        let log = log.clone();
        async move {
            let mut stored = Vec::new();
            let mut end = Offset::ZERO;
            while stored.len() < 30 {
                let id = format!("{name}{}", stored.len());
                match put(&*log, at, &id, Some(end)).await {
                    Ok(placed) => {
                        assert_eq!(placed.base_offset, end);
                        stored.push((placed.base_offset, id));
                        end = placed.end();
                    }
                    Err(Error::WrongEnd { actual, .. }) => end = actual,
                    Err(error) => panic!("{error}"),
                }
            }
            stored
        }
    });
    let mut stored: Vec<_> = join_all(writers).await.into_iter().flatten().collect();
    stored.sort();
    for log in &logs {
        log.end_signal(at).unwrap().over(59).await;
        let found: Vec<_> =
            all(&**log, at).await.into_iter().map(|read| (read.offset, read.event.id)).collect();
        assert_eq!(found, stored);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_of_one_process_reach_the_others() {
    let kafka = Kafka::shared();
    let options = options(&kafka);
    let (a, b) = (open(&options, "a"), open(&options, "b"));
    // Both define at once, and each stream gets a number of its own.
    let (names_a, names_b) = (["a0", "a1", "a2"], ["b0", "b1", "b2"]);
    let make = async |log: &dyn Log, names: [&str; 3]| {
        for name in names {
            stream(log, name).await;
        }
    };
    futures_util::future::join(make(&a, names_a), make(&b, names_b)).await;
    let seen = b.definitions();
    while b.streams().iter().count() < 7 {
        seen.over(seen.get()).await;
    }
    let list =
        |log: &dyn Log| log.streams().iter().map(|def| (def.id, def.name.to_string())).collect::<Vec<_>>();
    let seen = a.definitions();
    while a.streams().iter().count() < 7 {
        seen.over(seen.get()).await;
    }
    assert_eq!(list(&a), list(&b));
}
