//! What one process writes, the others learn.

use super::{all, ids, open, options, put, stream};
use futures_util::future::join_all;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::topic_partition_list::TopicPartitionList;
use tw_log::conformance::read_all;
use tw_log::{Bounds, Error, Log};
use tw_log_kafka::Options;
use tw_testing::Kafka;
use tw_types::{Offset, PartitionId, StreamId, StreamPartition};

/// So seldom does nothing come by itself while a test runs.
const NEVER_MS: u64 = 60_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_refresh_everything_is_there_that_another_process_was_told_is_stored() {
    let kafka = Kafka::shared();
    let options = Options { follow_ms: NEVER_MS, ..options(&kafka) };
    let (writer, reader) = (open(&options, "a"), open(&options, "b"));
    // The reader does not know of the stream either.
    let at = stream(&writer, "shared").await;
    assert!(matches!(reader.bounds(at), Err(Error::NoStreamId(_))));
    reader.refresh(&[at]).await.unwrap();
    assert_eq!(reader.bounds(at).unwrap().end, Offset::ZERO);
    let mut stored = Vec::new();
    for number in 0..25 {
        stored.push(number.to_string());
        let placed = put(&writer, at, &number.to_string(), None).await.unwrap();
        reader.refresh(&[at]).await.unwrap();
        assert_eq!(reader.bounds(at).unwrap().end, placed.end());
        assert!(reader.end_signal(at).unwrap().get() >= placed.end().0);
        assert_eq!(ids(&all(&reader, at).await), stored);
    }
    // What the reader appends goes where it has learnt that the end is.
    put(&reader, at, "mine", Some(Offset(25))).await.unwrap();
    writer.refresh(&[at]).await.unwrap();
    assert_eq!(writer.bounds(at).unwrap().end, Offset(26));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_may_be_asked_for_many_times_at_once() {
    let kafka = Kafka::shared();
    let options = Options { follow_ms: NEVER_MS, ..options(&kafka) };
    let (writer, reader) = (open(&options, "a"), open(&options, "b"));
    let at = stream(&writer, "popular").await;
    for number in 0..5 {
        let end = put(&writer, at, &number.to_string(), None).await.unwrap().end();
        let twice = [at, at];
        for refreshed in join_all((0..20).map(|_| reader.refresh(&twice))).await {
            refreshed.unwrap();
        }
        assert_eq!(reader.bounds(at).unwrap().end, end);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_of_a_partition_that_nobody_has_is_refused() {
    let kafka = Kafka::shared();
    let log = open(&options(&kafka), "a");
    let at = stream(&log, "small").await;
    let refused = log.refresh(&[StreamPartition::new(StreamId(99), PartitionId(0))]).await;
    assert!(matches!(refused, Err(Error::NoStreamId(_))), "{refused:?}");
    let refused = log.refresh(&[at, StreamPartition::new(at.stream, PartitionId(1))]).await;
    assert!(matches!(refused, Err(Error::NoPartition { .. })), "{refused:?}");
}

/// Kafka's retention does not ask anybody: who opens the log then finds nothing that says where the partition ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_2_processes_agree_on_the_end_of_a_partition_that_kafka_has_emptied() {
    let kafka = Kafka::shared();
    let options = options(&kafka);
    let before = open(&options, "a");
    let at = stream(&before, "emptied").await;
    for id in ["1", "2", "3"] {
        put(&before, at, id, None).await.unwrap();
    }
    let topic = format!("{}.emptied.{}", options.prefix, at.stream);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.bootstrap());
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, rdkafka::Offset::End).unwrap();
    let removed = admin.delete_records(&list, &AdminOptions::new()).await.unwrap();
    removed.elements().iter().for_each(|element| element.error().unwrap());

    let after = open(&options, "b");
    let bounds = after.bounds(at).unwrap();
    assert_eq!(bounds.start, bounds.end);
    assert!(bounds.end > Offset(3), "LOG-2: offsets would come again: {bounds:?}");
    // The one that knows better follows, too.
    before.refresh(&[at]).await.unwrap();
    assert_eq!(before.bounds(at).unwrap(), bounds);
    let refused = put(&before, at, "late", Some(Offset(3))).await;
    assert!(matches!(refused, Err(Error::WrongEnd { .. })), "{refused:?}");
    let placed = put(&before, at, "4", Some(bounds.end)).await.unwrap();
    after.refresh(&[at]).await.unwrap();
    assert_eq!(after.bounds(at).unwrap().end, placed.end());
    let events = after.read(at, bounds.start, 1 << 20).await.unwrap();
    assert_eq!(events.iter().map(|block| block.header().count).sum::<u32>(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_1_a_trim_to_what_was_the_end_keeps_what_another_process_has_written_since() {
    let kafka = Kafka::shared();
    let options = Options { follow_ms: NEVER_MS, ..options(&kafka) };
    let (trimming, writing) = (open(&options, "a"), open(&options, "b"));
    let at = stream(&trimming, "trimmed").await;
    for id in ["1", "2", "3"] {
        put(&trimming, at, id, None).await.unwrap();
    }
    writing.refresh(&[at]).await.unwrap();
    for id in ["4", "5"] {
        put(&writing, at, id, None).await.unwrap();
    }
    // It does not know of these yet.
    assert_eq!(trimming.bounds(at).unwrap().end, Offset(3));
    trimming.trim(at, Offset(3)).await.unwrap();
    for log in [&trimming, &writing, &open(&options, "c")] {
        log.refresh(&[at]).await.unwrap();
        let events = read_all(log, at, Offset(3)).await;
        assert_eq!(ids(&events), ["4", "5"], "LOG-1: acknowledged events are gone");
    }
    let bounds = Bounds { start: Offset(3), end: Offset(5) };
    assert_eq!(trimming.bounds(at).unwrap(), bounds);
    assert_eq!(open(&options, "d").bounds(at).unwrap(), bounds);
}
