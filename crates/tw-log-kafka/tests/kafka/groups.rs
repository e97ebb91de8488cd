//! Consumer groups of other programs, on a real broker: those programs are librdkafka's consumers.

use super::{open, options, put, stream};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tw_log::conformance::read_all;
use tw_log::{Error, Log, NewStream};
use tw_log_kafka::{
    Group, GroupError, GroupFilter, Groups, KafkaLog, Options, Reset, ResetPartition, Target,
};
use tw_testing::{Kafka, PATIENCE};
use tw_types::{Offset, PartitionId, StreamName, StreamOptions, StreamPartition, Timestamp};

/// A program that reads topics as a member of a group.
fn program(kafka: &Kafka, group: &str, protocol: &str, topic: &str) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", kafka.bootstrap())
        .set("group.id", group)
        .set("client.id", "billing")
        .set("group.protocol", protocol)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.subscribe(&[topic]).unwrap();
    consumer
}

/// The id of the event in a record.
fn id(message: &BorrowedMessage<'_>) -> String {
    let Some(headers) = message.headers() else { return String::new() };
    let id = headers.iter().find(|header| header.key == "ce_id").and_then(|Header { value, .. }| value);
    String::from_utf8(id.unwrap_or_default().to_vec()).unwrap()
}

/// Has programs read until they have read so many events together, and commit what they have; returns their ids.
fn read(programs: &[&BaseConsumer], count: usize) -> BTreeSet<String> {
    let (mut ids, since) = (BTreeSet::new(), Instant::now());
    while ids.len() < count {
        assert!(since.elapsed() < PATIENCE, "only {ids:?}");
        for program in programs {
            if let Some(message) = program.poll(Duration::from_millis(20)) {
                let message = message.unwrap();
                program.commit_message(&message, CommitMode::Sync).unwrap();
                ids.insert(id(&message));
            }
        }
    }
    ids
}

fn topic(options: &Options, name: &str, at: StreamPartition) -> String {
    format!("{}.{name}.{}", options.prefix, at.stream)
}

/// A log, and its groups.
fn log_of(options: &Options) -> (Arc<KafkaLog>, Groups) {
    let log = Arc::new(open(options, "a"));
    (log.clone(), Groups::new(log))
}

/// A new stream with two partitions and these events in each, every one in a transaction of its own.
async fn filled(log: &KafkaLog, name: &str, ids: &[&str]) -> [StreamPartition; 2] {
    let def = log.create_stream(NewStream::plain(StreamName::new(name).unwrap(), 2)).await.unwrap();
    let at = [0, 1].map(|number| StreamPartition::new(def.id, PartitionId(number)));
    for (number, at) in at.iter().enumerate() {
        for id in ids {
            put(log, *at, &format!("{number}{id}"), None).await.unwrap();
        }
    }
    at
}

fn reset(stream: &str, to: Target) -> Reset {
    Reset { stream: stream.to_owned(), partitions: None, to, dry_run: false }
}

/// The partitions of a group: what is committed, and what it lacks.
fn places(group: &Group) -> Vec<(u32, Option<u64>, Option<u64>)> {
    let place = |p: &tw_log_kafka::GroupPartition| (p.partition.0, p.committed.map(|at| at.0), p.lag_events);
    group.partitions.iter().map(place).collect()
}

/// Whether the group is refused because it has members.
fn has_members<T: std::fmt::Debug>(outcome: Result<T, GroupError>) -> bool {
    matches!(outcome.unwrap_err(), GroupError::HasMembers(_))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_with_members_is_seen_and_is_reset_only_without_them() {
    let kafka = Kafka::shared();
    let options = options(&kafka);
    let (log, groups) = log_of(&options);
    let at = filled(&log, "orders", &["a", "b", "c", "d"]).await;
    let (name, topic) = (format!("billing-{}", options.prefix), topic(&options, "orders", at[0]));
    let programs = [0, 1].map(|_| program(&kafka, &name, "classic", &topic));
    let since = Instant::now();
    while programs.iter().any(|program| program.assignment().unwrap().count() != 1) {
        assert!(since.elapsed() < PATIENCE);
        programs
            .iter()
            .for_each(|program| assert!(program.poll(Duration::from_millis(20)).is_none_or(|m| m.is_ok())));
    }
    for program in &programs {
        program.seek_partitions(start(program), Duration::from_secs(10)).unwrap();
    }
    assert_eq!(read(&programs.each_ref(), 8).len(), 8);

    let shown = groups.show(&name).await.unwrap();
    assert_eq!((shown.state.as_str(), shown.protocol.as_deref()), ("stable", Some("range")));
    let members = shown.members.clone().unwrap();
    assert_eq!(members.len(), 2);
    let stream = StreamName::new("orders").unwrap();
    for member in &members {
        assert_eq!((member.client.as_str(), member.host.as_str()), ("billing", "127.0.0.1"));
        assert_eq!(member.partitions.len(), 1);
    }
    // Markers of transactions count in Kafka's offsets, and not in ours.
    assert_eq!(places(&shown), [(0, Some(4), Some(0)), (1, Some(4), Some(0))]);
    assert!(shown.partitions.iter().all(|p| p.record == Some(7) && p.end == Offset(4) && p.stream == stream));
    let owners: BTreeSet<_> = shown.partitions.iter().map(|p| p.member.clone().unwrap()).collect();
    assert_eq!(owners, members.iter().map(|member| member.id.clone()).collect());
    put(&*log, at[0], "0e", None).await.unwrap();
    put(&*log, at[0], "0f", None).await.unwrap();
    assert_eq!(places(&groups.show(&name).await.unwrap()), [(0, Some(4), Some(2)), (1, Some(4), Some(0))]);

    assert!(has_members(groups.reset(&name, reset("orders", Target::Start)).await));
    assert!(has_members(
        groups.reset(&name, Reset { dry_run: true, ..reset("orders", Target::Start) }).await
    ));
    drop(programs);
    let plan =
        groups.reset(&name, Reset { dry_run: true, ..reset("orders", Target::Offset(Offset(5))) }).await;
    let plan = plan.unwrap();
    assert!(plan.exists);
    let line = |number, to, record, clamped| ResetPartition {
        partition: PartitionId(number),
        from: Some(Offset(4)),
        to: Offset(to),
        record,
        clamped,
    };
    assert_eq!(plan.partitions, [line(0, 5, 10, false), line(1, 4, 7, true)]);
    // That was only a plan.
    let shown = groups.show(&name).await.unwrap();
    assert_eq!((shown.state.as_str(), shown.members.as_deref()), ("empty", Some(&[][..])));
    assert_eq!(places(&shown), [(0, Some(4), Some(2)), (1, Some(4), Some(0))]);
}

/// The beginning of what a program has.
fn start(program: &BaseConsumer) -> rdkafka::TopicPartitionList {
    let mut list = program.assignment().unwrap();
    list.set_all_offsets(rdkafka::Offset::Beginning).unwrap();
    list
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_was_reset_reads_on_from_there() {
    let kafka = Kafka::shared();
    let options = options(&kafka);
    let (log, groups) = log_of(&options);
    let at = filled(&log, "sales", &["a", "b", "c", "d"]).await;
    let (name, topic) = (format!("report-{}", options.prefix), topic(&options, "sales", at[0]));
    let first = program(&kafka, &name, "classic", &topic);
    assert_eq!(read(&[&first], 8).len(), 8);
    drop(first);
    let events = read_all(&*log, at[0], Offset::ZERO).await;
    let time_ms = events[2].hlc.millis();
    // All of that millisecond and later ones are read.
    let timed: Vec<_> = events.iter().filter(|event| event.hlc.millis() >= time_ms).collect();
    let time = Target::Time(Timestamp::from_millis(time_ms as i64));
    for (to, only, expected) in [
        (Target::Start, None, vec!["0a", "0b", "0c", "0d", "1a", "1b", "1c", "1d"]),
        (Target::Offset(Offset(3)), None, vec!["0d", "1d"]),
        (Target::Back(1), None, vec!["0d", "1d"]),
        (Target::Back(3), Some(1), vec!["1b", "1c", "1d"]),
        (time, Some(0), timed.iter().map(|event| event.event.id.as_str()).collect()),
    ] {
        let partitions = only.map(|number| vec![PartitionId(number)]);
        let done = groups.reset(&name, Reset { partitions, ..reset("sales", to) }).await.unwrap();
        assert!(done.partitions.iter().all(|line| line.from == Some(Offset(4)) && !line.clamped), "{done:?}");
        let lag: u64 = groups.show(&name).await.unwrap().partitions.iter().filter_map(|p| p.lag_events).sum();
        assert_eq!(lag, expected.len() as u64, "{to:?}");
        let again = program(&kafka, &name, "classic", &topic);
        assert_eq!(
            read(&[&again], expected.len()),
            expected.iter().map(|id| (*id).to_owned()).collect(),
            "{to:?}"
        );
        assert_eq!(
            places(&groups.show(&name).await.unwrap()),
            [(0, Some(4), Some(0)), (1, Some(4), Some(0))]
        );
    }
    // What was removed meanwhile is not there to go back to.
    log.trim(at[0], Offset(2)).await.unwrap();
    let done = groups.reset(&name, reset("sales", Target::Back(4))).await.unwrap();
    let moved: Vec<_> = done.partitions.iter().map(|line| (line.to.0, line.clamped)).collect();
    assert_eq!(moved, [(2, true), (0, false)]);
    // At the end is what comes next, and nothing else.
    groups.reset(&name, reset("sales", Target::End)).await.unwrap();
    put(&*log, at[1], "1e", None).await.unwrap();
    let last = program(&kafka, &name, "classic", &topic);
    assert_eq!(read(&[&last], 1), BTreeSet::from(["1e".to_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_the_newer_protocol_shows_its_offsets_and_is_reset_without_members() {
    let kafka = Kafka::shared();
    let options = options(&kafka);
    let (log, groups) = log_of(&options);
    let at = filled(&log, "newer", &["a", "b"]).await;
    let (name, topic) = (format!("newer-{}", options.prefix), topic(&options, "newer", at[0]));
    let member = program(&kafka, &name, "consumer", &topic);
    assert_eq!(read(&[&member], 4).len(), 4);
    let shown = groups.show(&name).await.unwrap();
    assert_eq!((shown.state.as_str(), shown.members.as_ref()), ("unknown", None));
    assert_eq!(places(&shown), [(0, Some(2), Some(0)), (1, Some(2), Some(0))]);
    // Here only the broker knows.
    assert!(has_members(groups.reset(&name, reset("newer", Target::Start)).await));
    drop(member);
    groups.reset(&name, reset("newer", Target::Start)).await.unwrap();
    assert_eq!(places(&groups.show(&name).await.unwrap()), [(0, Some(0), Some(2)), (1, Some(0), Some(2))]);
    assert_eq!(read(&[&program(&kafka, &name, "consumer", &topic)], 4).len(), 4);
}

/// Makes two topics of others, of which the stream `shown` shows the first.
async fn show_topic(kafka: &Kafka, log: &KafkaLog, shown: &str, other: &str) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.bootstrap());
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    for name in [shown, other] {
        let new = NewTopic::new(name, 1, TopicReplication::Fixed(1));
        admin.create_topics([&new], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    }
    let shows = StreamOptions { topic: Some(shown.to_owned()), ..StreamOptions::default() };
    let plain = NewStream::plain(StreamName::new("shown").unwrap(), 1);
    log.create_stream(NewStream { options: shows, ..plain }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_listed_in_pages_with_the_streams_that_they_read() {
    let kafka = Kafka::shared();
    let options = options(&kafka);
    let (log, groups) = log_of(&options);
    filled(&log, "listed", &["a", "b", "c"]).await;
    let elsewhere = format!("not-shown-{}", options.prefix);
    show_topic(&kafka, &log, &format!("theirs-{}", options.prefix), &elsewhere).await;
    let name = |number: u32| format!("{}-{number}", options.prefix);
    // A group is there from its first commit on, which a reset is.
    for (number, stream, to) in [
        (1, "listed", Target::Start),
        (2, "listed", Target::End),
        (3, "shown", Target::End),
        (4, "shown", Target::End),
    ] {
        assert!(!groups.reset(&name(number), reset(stream, to)).await.unwrap().exists);
    }
    groups.reset(&name(4), reset("listed", Target::Offset(Offset(2)))).await.unwrap();
    let elsewhere = program(&kafka, &name(5), "classic", &elsewhere);
    elsewhere.poll(Duration::from_millis(10));
    let filter = GroupFilter { prefix: format!("{}-", options.prefix), ..GroupFilter::default() };
    let mut page = groups.list(filter.clone()).await.unwrap();
    let since = Instant::now();
    while page.groups.len() < 5 {
        assert!(since.elapsed() < PATIENCE);
        elsewhere.poll(Duration::from_millis(20));
        page = groups.list(filter.clone()).await.unwrap();
    }
    let row = |row: &tw_log_kafka::GroupRow| {
        let streams: Vec<_> = row.streams.iter().map(ToString::to_string).collect();
        (row.group.clone(), streams.join(" "), row.lag_events)
    };
    let rows: Vec<_> = page.groups.iter().map(row).collect();
    let expected = [
        (1, "listed", Some(6)),
        (2, "listed", Some(0)),
        (3, "shown", Some(0)),
        (4, "listed shown", Some(2)),
        (5, "", None),
    ];
    assert_eq!(rows, expected.map(|(number, streams, lag)| (name(number), streams.to_owned(), lag)));
    assert_eq!(page.next, None);
    // The same in pages, and of one stream.
    let mut paged = Vec::new();
    let mut after = None;
    loop {
        let page = groups.list(GroupFilter { limit: Some(2), after, ..filter.clone() }).await.unwrap();
        assert!(page.groups.len() <= 2);
        paged.extend(page.groups);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(paged, groups.list(filter.clone()).await.unwrap().groups);
    let shown = GroupFilter { stream: Some("shown".to_owned()), limit: Some(1), ..filter.clone() };
    let first = groups.list(shown.clone()).await.unwrap();
    assert_eq!((first.groups[0].group.as_str(), first.next.as_ref()), (name(3).as_str(), Some(&name(3))));
    let second = groups.list(GroupFilter { after: first.next, ..shown.clone() }).await.unwrap();
    assert_eq!(second.groups[0].group, name(4));
    let unknown = groups.list(GroupFilter { stream: Some("nope".to_owned()), ..shown }).await;
    assert!(matches!(unknown, Err(GroupError::Log(Error::NoStream(_)))), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_reset_is_refused_and_says_why() {
    let kafka = Kafka::shared();
    let options = options(&kafka);
    let (log, groups) = log_of(&options);
    let at = stream(&*log, "plain").await;
    let name = format!("nobody-{}", options.prefix);
    assert!(matches!(groups.show(&name).await, Err(GroupError::NoGroup(_))));
    assert!(matches!(groups.show("a\0b").await, Err(GroupError::InvalidName(_))));
    let back = groups.reset(&name, reset("plain", Target::Back(1))).await;
    assert!(matches!(back, Err(GroupError::NothingCommitted { .. })), "{back:?}");
    let missing = groups.reset(&name, reset("nope", Target::End)).await;
    assert!(matches!(missing, Err(GroupError::Log(Error::NoStream(_)))), "{missing:?}");
    let beyond = Reset { partitions: Some(vec![PartitionId(1)]), ..reset("plain", Target::End) };
    let beyond = groups.reset(&name, beyond).await;
    assert!(matches!(beyond, Err(GroupError::Log(Error::NoPartition { .. }))), "{beyond:?}");
    // Nothing of it was done, and a stream without events has an end.
    assert!(matches!(groups.show(&name).await, Err(GroupError::NoGroup(_))));
    groups.reset(&name, reset("plain", Target::End)).await.unwrap();
    put(&*log, at, "1", None).await.unwrap();
    assert_eq!(places(&groups.show(&name).await.unwrap()), [(0, Some(0), Some(1))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_are_away_are_told_in_time() {
    let mut kafka = Kafka::start();
    let options = Options { request_ms_max: 3_000, transaction_ms_max: 5_000, ..options(&kafka) };
    let (log, groups) = log_of(&options);
    stream(&*log, "away").await;
    groups.reset("g", reset("away", Target::End)).await.unwrap();
    kafka.kill();
    let since = Instant::now();
    let outcomes = [
        groups.list(GroupFilter::default()).await.map(drop),
        groups.show("g").await.map(drop),
        groups.reset("g", reset("away", Target::Start)).await.map(drop),
    ];
    assert!(since.elapsed() < Duration::from_secs(3 * (3 + 2) + 1), "{:?}", since.elapsed());
    for outcome in outcomes {
        assert!(matches!(outcome, Err(GroupError::Log(Error::Unavailable { .. }))), "{outcome:?}");
    }
}

/// Each group has one of the brokers as its coordinator.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_of_all_brokers_are_told_also_when_one_of_three_has_gone() {
    let mut kafka = Kafka::builder().brokers(3).start();
    let options = Options { replicas: 3, ..options(&kafka) };
    let (log, groups) = log_of(&options);
    filled(&log, "spread", &["a"]).await;
    let names: Vec<String> = (0..6).map(|number| format!("{}-{number}", options.prefix)).collect();
    for name in &names {
        groups.reset(name, reset("spread", Target::Start)).await.unwrap();
    }
    let expected: Vec<_> = names.iter().map(|name| (name.clone(), Some(2))).collect();
    let told = async || -> Vec<_> {
        let page = groups.list(GroupFilter::default()).await.unwrap();
        page.groups.into_iter().map(|row| (row.group, row.lag_events)).collect()
    };
    assert_eq!(told().await, expected);
    // What it coordinated is another one's then, which may still be reading it.
    kafka.broker(0).kill();
    let since = Instant::now();
    while told().await != expected {
        assert!(since.elapsed() < PATIENCE);
    }
    for name in &names {
        assert_eq!(places(&groups.show(name).await.unwrap()), [(0, Some(0), Some(1)), (1, Some(0), Some(1))]);
    }
    // Before its brokers go, for which it would wait.
    drop((groups, log));
}
