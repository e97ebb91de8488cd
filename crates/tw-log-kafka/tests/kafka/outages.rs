//! Brokers that die, pause and come back lose nothing that was acknowledged (LOG-1).

use super::{all, ids, open, options, put, stream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tw_log::Error;
use tw_log_kafka::{KafkaLog, Options};
use tw_testing::{Kafka, PATIENCE};
use tw_types::StreamPartition;

/// Appends one event after the other until told to stop; returns the ids that were acknowledged, and those of which nobody
/// knows.
async fn keep_writing(
    log: Arc<KafkaLog>,
    at: StreamPartition,
    writer: usize,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
) -> (Vec<String>, Vec<String>) {
    let (mut stored, mut unknown) = (Vec::new(), Vec::new());
    for number in 0.. {
        let id = format!("{writer}:{number:06}");
        match put(&*log, at, &id, None).await {
            Ok(_) => stored.push(id),
            Err(Error::Unknown(_)) => unknown.push(id),
            Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
        }
        done.fetch_add(1, Ordering::AcqRel);
        if stop.load(Ordering::Acquire) {
            break;
        }
    }
    (stored, unknown)
}

/// Lets `writers` write while `disturb` happens, and checks what is there then.
async fn write_while(kafka: Kafka, disturb: impl FnOnce(&mut Kafka, &dyn Fn()) + Send + 'static) {
    let options = options(&kafka);
    write_with(&options, kafka, disturb).await;
}

async fn write_with(
    options: &Options,
    mut kafka: Kafka,
    disturb: impl FnOnce(&mut Kafka, &dyn Fn()) + Send + 'static,
) {
    let log = Arc::new(open(options, "a"));
    let at = stream(&*log, "load").await;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let writers: Vec<_> = (0..4)
        .map(|writer| tokio::spawn(keep_writing(log.clone(), at, writer, stop.clone(), done.clone())))
        .collect();
    let progress = move || {
        let before = done.load(Ordering::Acquire);
        tw_testing::eventually(
            || (done.load(Ordering::Acquire) > before + 20).then_some(()),
            || "no more is written".into(),
        );
    };
    let disturbed = tokio::task::spawn_blocking(move || {
        progress();
        disturb(&mut kafka, &progress);
        progress();
        kafka
    });
    let _kafka = tokio::time::timeout(PATIENCE * 8, disturbed).await.unwrap().unwrap();
    stop.store(true, Ordering::Release);
    let mut outcomes = Vec::new();
    for writer in writers {
        outcomes.push(writer.await.unwrap());
    }
    // As this process sees it, and as another one finds it.
    let found = all(&*log, at).await;
    let again = all(&open(options, "b"), at).await;
    assert_eq!(found, again);
    for (writer, (stored, unknown)) in outcomes.into_iter().enumerate() {
        let prefix = format!("{writer}:");
        let of_writer: Vec<&str> = ids(&found).into_iter().filter(|id| id.starts_with(&prefix)).collect();
        let is_known = |id: &&str| !unknown.iter().any(|unknown| unknown == id);
        let known: Vec<&str> = of_writer.iter().copied().filter(is_known).collect();
        assert_eq!(known, stored, "LOG-1: acknowledged events are lost, doubled or out of order");
        assert!(of_writer.windows(2).all(|pair| pair[0] < pair[1]), "an event is there twice");
    }
    // Before its brokers go, for which it would wait.
    drop(log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_1_a_broker_killed_under_load_loses_no_acknowledged_event() {
    write_while(Kafka::start(), |kafka, progress| {
        for _ in 0..3 {
            kafka.broker(0).kill();
            kafka.broker(0).start_again();
            progress();
        }
    })
    .await;
}

/// Longer than a transaction may take: Kafka ends it and shuts its session out, and the writer has to find out that nobody
/// else did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_1_a_broker_paused_under_load_loses_no_acknowledged_event() {
    let kafka = Kafka::start();
    let options = Options { transaction_ms_max: 2_000, ..options(&kafka) };
    write_with(&options, kafka, |kafka, progress| {
        kafka.broker(0).pause_for(Duration::from_secs(6));
        progress();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_1_the_loss_of_one_of_three_brokers_loses_no_acknowledged_event() {
    let kafka = Kafka::builder().brokers(3).start();
    let options = Options { replicas: 3, ..options(&kafka) };
    write_with(&options, kafka, |kafka, progress| {
        for broker in 0..3 {
            kafka.broker(broker).kill();
            progress();
            kafka.broker(broker).start_again();
        }
    })
    .await;
}
