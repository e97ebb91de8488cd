//! Reads of a topic that looks as Kafka's compaction and deletion leave one.

use super::*;
use crate::partition::tests::ends_with;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::sync::atomic::{AtomicU32, Ordering};
use tw_env::Env;
use tw_testing::Kafka;
use tw_types::{EventRef, Hlc, Origin, PartitionId, StoredRef, StreamId, Version};

const PARTITION: PartitionId = PartitionId(0);

/// A topic with one partition, and who reads it.
struct Topic {
    _kafka: Arc<Kafka>,
    producer: BaseProducer,
    admin: AdminClient<DefaultClientContext>,
    partition: Arc<Partition>,
    reader: Reader,
}

impl Topic {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let kafka = Kafka::shared();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", kafka.bootstrap());
        let admin: AdminClient<_> = config.create().unwrap();
        let name = format!("r{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1));
        let made = pollster::block_on(admin.create_topics([&topic], &AdminOptions::new())).unwrap();
        made.into_iter().for_each(|made| assert!(made.is_ok(), "{made:?}"));
        let at = StreamPartition::new(StreamId(1), PARTITION);
        let partition = Arc::new(Partition::new(at, name.into(), false));
        let options =
            crate::Options { servers: kafka.bootstrap(), request_ms_max: 20_000, ..Default::default() };
        let reader = Reader::new(Arc::new(Shared::new(options, Env::real()))).unwrap();
        Self { _kafka: kafka, producer: config.create().unwrap(), admin, partition, reader }
    }

    /// Writes the record of an event, the next one of the topic, whatever the event's offset is.
    fn write(&self, offset: u64) {
        let id = offset.to_string();
        let event = EventRef { id: &id, source: "/test", ty: "t", ..EventRef::default() };
        let (hlc, version) = (Hlc::new(offset, 0), Version(0));
        let stored = StoredRef { event, offset: Offset(offset), version, hlc, origin: Origin::default() };
        let mut headers = record::Collected::new();
        tw_wire::kafka::write_headers(PARTITION, &stored, false, &mut |name, value| headers.add(name, value));
        let record = BaseRecord::<[u8], [u8]>::to(&self.partition.topic).partition(0).payload(b"");
        self.producer.send(record.headers(headers.finish())).map_err(|(error, _)| error).unwrap();
        self.producer.flush(Duration::from_secs(60)).unwrap();
    }

    /// What a read from `from` to `end` comes to, which begins with `record` unless the client stands there.
    fn try_read(&mut self, from: u64, end: u64, record: u64) -> Result<Vec<u64>> {
        let (reply, _nobody_waits) = oneshot::channel();
        let (partition, bytes_max) = (self.partition.clone(), 1 << 20);
        let job = Job { partition, from: Offset(from), end: Offset(end), record, bytes_max, reply };
        let blocks = self.reader.read(&job)?;
        let offsets = blocks.iter().flat_map(|block| {
            let header = block.header();
            header.base_offset.0..header.end_offset().0
        });
        Ok(offsets.collect())
    }

    fn read(&mut self, from: u64, end: u64, record: u64) -> Vec<u64> {
        self.try_read(from, end, record).unwrap()
    }

    /// Where what is there begins, if the wanted event is not there any more.
    fn start(&mut self, from: u64, end: u64, record: u64) -> u64 {
        match self.try_read(from, end, record) {
            Err(Error::Trimmed { start, .. }) => start.0,
            other => panic!("{other:?}"),
        }
    }

    /// Removes the records before this one.
    fn remove(&self, before: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.partition.topic, 0, At::Offset(before)).unwrap();
        let removed = pollster::block_on(self.admin.delete_records(&list, &AdminOptions::new())).unwrap();
        removed.elements().iter().for_each(|element| element.error().unwrap());
    }

    fn stands_at(&self) -> Option<u64> {
        self.reader.cursor.map(|cursor| cursor.next)
    }
}

#[test]
fn log_4_a_record_that_was_looked_at_and_not_given_is_in_the_next_read() {
    let mut topic = Topic::new();
    // Compaction has removed what was before the end that the first read knows of.
    [0, 1, 2, 12, 13].into_iter().for_each(|offset| topic.write(offset));
    assert_eq!(topic.read(0, 10, 0), [0, 1, 2]);
    assert_eq!(topic.read(3, 14, 3), [12, 13]);
}

#[test]
fn a_read_to_the_end_goes_on_where_it_stands() {
    let mut topic = Topic::new();
    [0, 1].into_iter().for_each(|offset| topic.write(offset));
    assert_eq!(topic.read(0, 2, 0), [0, 1]);
    assert_eq!(topic.stands_at(), Some(2));
    topic.write(2);
    assert_eq!(topic.read(2, 3, 2), [2]);
    assert_eq!(topic.stands_at(), Some(3));
}

#[test]
fn log_4_what_was_removed_where_a_client_stands_hides_nothing_behind_it() {
    let mut topic = Topic::new();
    [0, 1].into_iter().for_each(|offset| topic.write(offset));
    assert_eq!(topic.read(0, 2, 0), [0, 1]);
    let standing = topic.reader.consumer.assignment().unwrap();
    topic.reader.consumer.pause(&standing).unwrap();
    // The first one stands for a record that is no event, such as Kafka's own.
    [1, 2].into_iter().for_each(|offset| topic.write(offset));
    topic.partition.learn(&ends_with(2, 2));
    topic.remove(3);
    topic.reader.consumer.resume(&standing).unwrap();
    assert_eq!(topic.read(2, 3, 3), [2]);
}

#[test]
fn log_4_what_is_there_is_found_also_when_it_was_looked_for_where_all_is_removed() {
    let mut topic = Topic::new();
    // Each second one stands for a record that is no event.
    [0, 0, 1, 1, 2, 2, 3, 3].into_iter().for_each(|offset| topic.write(offset));
    topic.partition.learn(&ends_with(3, 6));
    topic.remove(4);
    assert_eq!(topic.read(2, 3, 2), [2]);
    assert_eq!(topic.start(1, 4, 1), 2);
    topic.remove(8);
    assert_eq!(topic.start(3, 4, 3), 4);
}
