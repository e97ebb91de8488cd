//! The log on a real broker.
#![allow(clippy::unwrap_used, reason = "test code")]

mod conformance;
mod event_store;
mod fencing;
mod groups;
mod outages;
mod secured;
mod sharing;
mod shown;

use std::sync::atomic::{AtomicU32, Ordering};
use tw_env::Env;
use tw_log::conformance::{Read, check_dense, read_all};
use tw_log::{Append, Log, NewStream, Placed, Result};
use tw_log_kafka::{KafkaLog, Options};
use tw_testing::Kafka;
use tw_types::{Compression, EventRef, Offset, PartitionId, StreamName, StreamPartition};
use tw_wire::BatchBuilder;

/// A log of its own on this cluster, whoever else uses it. What it says is shown with a test that fails.
fn options(kafka: &Kafka) -> Options {
    let said = tracing_subscriber::fmt().with_env_filter("info,tw_log_kafka=debug").with_test_writer();
    let _other_tests_did_it = said.try_init();
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let prefix = format!("t{number}-{}", std::process::id());
    // However busy the machine is.
    let patient = Options {
        transaction_ms_max: 60_000,
        request_ms_max: 60_000,
        outage_ms_max: 300_000,
        ..Options::default()
    };
    Options { servers: kafka.bootstrap(), prefix, ..patient }
}

/// Opens the log in the name of `writer`.
fn open(options: &Options, writer: &str) -> KafkaLog {
    KafkaLog::open(Options { writer: writer.to_owned(), ..options.clone() }, Env::real()).unwrap()
}

/// A new stream with one partition.
async fn stream(log: &dyn Log, name: &str) -> StreamPartition {
    let def = log.create_stream(NewStream::plain(StreamName::new(name).unwrap(), 1)).await.unwrap();
    StreamPartition::new(def.id, PartitionId(0))
}

/// Appends one event.
async fn put(log: &dyn Log, at: StreamPartition, id: &str, expected_end: Option<Offset>) -> Result<Placed> {
    let mut builder = BatchBuilder::new();
    builder.push(&EventRef { id, source: "/test", ty: "t", subject: Some("s"), ..EventRef::default() });
    let batch = builder.finish(Compression::None).unwrap();
    let permit = log.reserve(batch.bytes()).await?;
    let placed = log.append(permit, vec![Append { at, batch, expected_end, foreign: None }]).await?;
    Ok(placed[0])
}

/// Everything in a partition, which must be without gaps.
async fn all(log: &dyn Log, at: StreamPartition) -> Vec<Read> {
    let events = read_all(log, at, Offset::ZERO).await;
    check_dense(&events);
    events
}

fn ids(events: &[Read]) -> Vec<&str> {
    events.iter().map(|read| read.event.id.as_str()).collect()
}
