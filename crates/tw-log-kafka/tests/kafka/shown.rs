//! Streams that show topics of others.

use super::{open, options, put};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::Duration;
use tw_log::conformance::{Read, read_all};
use tw_log::{Error, Log, NewStream, Result};
use tw_log_kafka::KafkaLog;
use tw_testing::{Kafka, PATIENCE};
use tw_types::{Cleanup, Data, Offset, PartitionId, StreamName, StreamOptions, StreamPartition, Timestamp};

fn config(kafka: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.bootstrap());
    config
}

async fn make_topic(kafka: &Kafka, name: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> = config(kafka).create().unwrap();
    let new = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let made = admin.create_topics([&new], &AdminOptions::new()).await.unwrap();
    made.into_iter().for_each(|made| drop(made.unwrap()));
}

/// Attaches a topic under its own name.
async fn show(log: &KafkaLog, topic: &str, partitions: u32) -> Result<StreamPartition> {
    let options = StreamOptions { topic: Some(topic.to_owned()), ..StreamOptions::default() };
    let plain = NewStream::plain(StreamName::new(&format!("shown.{topic}")).unwrap(), partitions);
    let def = log.create_stream(NewStream { options, ..plain }).await?;
    Ok(StreamPartition::new(def.id, PartitionId(0)))
}

fn offsets(events: &[Read]) -> Vec<u64> {
    events.iter().map(|read| read.offset.0).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_others_are_read_with_kafkas_own_offsets() {
    let kafka = Kafka::shared();
    let options = options(&kafka);
    let topic = format!("theirs-{}", options.prefix);
    make_topic(&kafka, &topic, 1).await;
    let log = open(&options, "a");
    let at = show(&log, &topic, 1).await.unwrap();
    let producer: BaseProducer = config(&kafka).set("transactional.id", &topic).create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    let values: [&[u8]; 4] = [br#"{"a":1}"#, b"text", &[0xff, 0], b"{}"];
    for (value, time) in values.into_iter().zip([4_000i64, 3_000, 2_000, 1_000]) {
        producer.begin_transaction().unwrap();
        let record = BaseRecord::to(&topic).partition(0).key("k").payload(value).timestamp(time);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        // The last one is never committed.
        if time > 1_000 {
            producer.commit_transaction(PATIENCE).unwrap();
        } else {
            producer.flush(PATIENCE).unwrap();
            producer.abort_transaction(PATIENCE).unwrap();
        }
    }
    log.refresh(&[at]).await.unwrap();
    // Between them are the markers of the transactions.
    let events = read_all(&log, at, Offset::ZERO).await;
    assert_eq!(offsets(&events), [0, 2, 4]);
    assert_eq!(log.bounds(at).unwrap().end, Offset(5));
    assert_eq!(offsets(&read_all(&log, at, Offset(1)).await), [2, 4]);
    assert!(log.read(at, Offset(5), 1 << 20).await.unwrap().is_empty());
    let first = &events[0].event;
    assert_eq!((first.id.as_str(), first.source.as_str()), (format!("{topic}/0/0").as_str(), topic.as_str()));
    assert_eq!((first.ty.as_str(), first.subject.as_deref()), ("kafka.record", Some("k")));
    assert_eq!(first.time, Some(Timestamp::from_millis(4_000)));
    let data: Vec<_> = events.into_iter().map(|read| read.event.data).collect();
    let expected =
        [Data::Json(br#"{"a":1}"#.to_vec()), Data::Text(b"text".to_vec()), Data::Binary(vec![0xff, 0])];
    assert_eq!(data, expected);
    // Another process finds the same, and so does this one after a restart, where nothing was written to the topic.
    drop(log);
    let again = open(&options, "b");
    assert_eq!(again.bounds(at).unwrap().end, Offset(5));
    assert_eq!(offsets(&read_all(&again, at, Offset::ZERO).await), [0, 2, 4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_of_others_is_neither_written_nor_removed() {
    let kafka = Kafka::shared();
    let options = options(&kafka);
    let topic = format!("kept-{}", options.prefix);
    make_topic(&kafka, &topic, 2).await;
    let log = open(&options, "a");
    let refused = |outcome: Result<StreamPartition>| match outcome {
        Err(Error::InvalidStream { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(show(&log, "nobody-made-this", 1).await), "there is no topic `nobody-made-this`");
    assert_eq!(
        refused(show(&log, &topic, 1).await),
        format!("topic `{topic}` has 2 partitions: give it as many")
    );
    let own = format!("{}.config.0", options.prefix);
    assert_eq!(refused(show(&log, &own, 1).await), format!("topic `{own}` belongs to the log itself"));
    let at = show(&log, &topic, 2).await.unwrap();
    let name = log.streams().by_id(at.stream).unwrap().name.clone();
    assert!(matches!(put(&log, at, "1", None).await, Err(Error::InvalidStream { .. })));
    assert!(matches!(log.trim(at, Offset::ZERO).await, Err(Error::InvalidStream { .. })));
    let compacted =
        StreamOptions { cleanup: Cleanup::Compact, topic: Some(topic.clone()), ..StreamOptions::default() };
    let changed = NewStream { options: compacted, ..NewStream::plain(name.clone(), 2) };
    assert!(matches!(log.alter_stream(changed).await, Err(Error::InvalidStream { .. })));
    log.drop_stream(&name).await.unwrap();
    // Opening puts right what is missing or too many.
    drop(log);
    drop(open(&options, "a"));
    let admin: AdminClient<DefaultClientContext> = config(&kafka).create().unwrap();
    let found = admin.inner().fetch_metadata(Some(&topic), Duration::from_secs(60)).unwrap();
    assert_eq!(found.topics()[0].partitions().len(), 2);
}
