//! Clients of Kafka: how they are set up, and where what they say goes.

use crate::topics::RECORD_BYTES_MAX;
use crate::{Options, security, topics};
use parking_lot::{Condvar, Mutex};
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{NoCustomPartitioner, ProducerContext};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tw_log::Error;

/// How long the coordinator of a group may take to answer at most, in milliseconds.
const GROUP_MS_MAX: u64 = 6_000;

/// What every client needs.
fn base(options: &Options) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &options.servers)
        .set("client.id", format!("tradewind-{}", options.writer))
        .set("allow.auto.create.topics", "false")
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "500")
        .set("retry.backoff.ms", "20")
        .set("socket.nagle.disable", "true");
    security::apply(&mut config, options);
    config
}

/// Lets the client tell of every lost connection, which the other levels do not do when one is lost again within 30 s. It
/// has to be polled now and then, or what it says piles up.
fn watched(config: &mut ClientConfig) {
    config.set("debug", "broker").set_log_level(RDKafkaLogLevel::Debug);
}

/// What the user has set counts last.
fn with_settings(mut config: ClientConfig, options: &Options) -> ClientConfig {
    for (name, value) in &options.client {
        config.set(name, value);
    }
    config
}

/// A client that manages topics.
pub(crate) fn admin(options: &Options) -> ClientConfig {
    with_settings(base(options), options)
}

/// What a client that reads gets to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// What is committed, as far as nothing before it is undecided.
    Committed,
    /// Everything, whatever became of it or will.
    Uncommitted,
}

/// A client that reads all the time. `wait_ms` is how long a broker may hold back the answer that there is no more.
pub(crate) fn consumer(
    options: &Options,
    isolation: Isolation,
    wait_ms: u32,
) -> Result<BaseConsumer<Quiet>, KafkaError> {
    read_by(base(options), options, isolation, wait_ms)
}

/// A client that reads now and then, and counts signs of trouble.
pub(crate) fn prober(options: &Options, isolation: Isolation) -> Result<BaseConsumer<Quiet>, KafkaError> {
    let mut config = base(options);
    watched(&mut config);
    read_by(config, options, isolation, 5)
}

/// A client that sees and sets the offsets of a group of others, and never joins it.
pub(crate) fn of_group(options: &Options, group: &str) -> Result<BaseConsumer<Quiet>, KafkaError> {
    // Neither a coordinator nor an answer is waited for longer than a request may take.
    let limit_ms = options.request_ms_max.min(GROUP_MS_MAX);
    let mut config = base(options);
    config
        .set("session.timeout.ms", limit_ms.to_string())
        .set("socket.timeout.ms", limit_ms.to_string())
        // What a transaction of the group is about to commit does not count yet, and is not waited for.
        .set("isolation.level", "read_uncommitted");
    let mut config = with_settings(config, options);
    config.set("group.id", group).set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
    config.create_with_context(Quiet::default())
}

fn read_by(
    mut config: ClientConfig,
    options: &Options,
    isolation: Isolation,
    wait_ms: u32,
) -> Result<BaseConsumer<Quiet>, KafkaError> {
    let isolation = match isolation {
        Isolation::Committed => "read_committed",
        Isolation::Uncommitted => "read_uncommitted",
    };
    config
        // The library wants one; partitions are assigned by hand, and no group is ever joined.
        .set("group.id", &options.prefix)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("isolation.level", isolation)
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", wait_ms.to_string())
        .set("fetch.error.backoff.ms", "20")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.message.max.bytes", (1 << 20).to_string())
        .set("receive.message.max.bytes", (256 << 20).to_string())
        .set("queued.min.messages", "10000")
        .set("queued.max.messages.kbytes", "4096");
    with_settings(config, options).create_with_context(Quiet::default())
}

/// A client that writes transactions in the name of `options.writer`.
pub(crate) fn producer(options: &Options) -> ClientConfig {
    let mut config = base(options);
    watched(&mut config);
    config
        .set("transactional.id", transactional_id(options))
        .set("transaction.timeout.ms", options.transaction_ms_max.to_string())
        // A request whose answer does not come within a transaction is given up with the transaction.
        .set("socket.timeout.ms", options.transaction_ms_max.to_string())
        .set("message.max.bytes", RECORD_BYTES_MAX.to_string())
        .set("queue.buffering.max.messages", "1000000")
        .set("queue.buffering.max.kbytes", (256 << 10).to_string())
        .set("linger.ms", "0")
        .set("compression.codec", "lz4");
    with_settings(config, options)
}

/// What Kafka knows a writer by.
fn transactional_id(options: &Options) -> String {
    format!("{}.{}", topics::of_writers(options), options.writer)
}

/// Whether the error says that another process writes in our name.
pub(crate) fn is_fenced(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode::{Fenced, ProducerFenced};
    matches!(error.rdkafka_error_code(), Some(Fenced | ProducerFenced))
}

/// The error of an operation that the brokers do not carry out now.
pub(crate) fn unavailable(options: &Options, action: &'static str, cause: KafkaError) -> Error {
    Error::Unavailable { action, servers: options.servers.clone(), source: Arc::new(cause) }
}

/// Whether what the library says is a sign of trouble: a connection that was lost, an answer that did not come in time. That
/// a broker cannot be reached is none: no request is on its way to it. Nor is the end of a connection that has only served
/// to find the brokers, which the library closes itself.
fn is_trouble(facility: &str, message: &str) -> bool {
    let harmless =
        ["in state INIT", "in state DOWN", "in state TRY_CONNECT", "in state CONNECT", "/bootstrap: "];
    match facility {
        "FAIL" => !harmless.iter().any(|sign| message.contains(sign)),
        "REQTMOUT" => true,
        _ => false,
    }
}

fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning => tracing::warn!(facility, "kafka client: {message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(facility, "kafka client: {message}");
        }
        RDKafkaLogLevel::Debug if is_trouble(facility, message) => {
            tracing::debug!(facility, "kafka client: {message}");
        }
        RDKafkaLogLevel::Debug => {}
    }
}

/// Whether what the library says is that it cannot speak with one of the brokers that there are, or not any more.
fn is_unreachable(facility: &str, message: &str) -> bool {
    facility == "REQTMOUT" || facility == "FAIL" && !message.contains("/bootstrap: ")
}

/// A context that tells the log what the library says, and counts the signs of trouble. They are counted when the client is
/// polled.
#[derive(Debug, Clone, Default)]
pub(crate) struct Quiet {
    troubles: Arc<AtomicU64>,
    unreachable: Arc<AtomicU64>,
}

impl Quiet {
    /// How many signs of trouble there were.
    pub(crate) fn troubles(&self) -> u64 {
        self.troubles.load(Ordering::Acquire)
    }

    /// How often a broker could not be spoken with, of those that there are. The library says so once in 30 s.
    pub(crate) fn unreachable(&self) -> u64 {
        self.unreachable.load(Ordering::Acquire)
    }
}

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if is_trouble(facility, message) {
            self.troubles.fetch_add(1, Ordering::AcqRel);
        }
        if is_unreachable(facility, message) {
            self.unreachable.fetch_add(1, Ordering::AcqRel);
        }
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition comes as an error, too; what is trouble is in the library's log as well.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            tracing::debug!(%error, reason, "kafka client");
        }
    }
}

impl ConsumerContext for Quiet {}

/// What the broker says of the records of a transaction.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    state: Mutex<Delivered>,
    changed: Condvar,
    /// Whether there was a sign that a request may have been lost, or sent twice.
    is_troubled: AtomicBool,
}

#[derive(Debug, Default)]
struct Delivered {
    under_way: usize,
    failed: Option<KafkaError>,
    /// Per partition of the transaction: its first offset, its last one, and how many there are.
    runs: Vec<Option<Run>>,
}

/// Where records went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) count: u64,
}

impl Deliveries {
    /// Forgets the transaction before, and expects records for so many partitions.
    pub(crate) fn begin(&self, partitions: usize) {
        let mut state = self.state.lock();
        *state = Delivered { under_way: 0, failed: None, runs: vec![None; partitions] };
    }

    /// One more record is under way.
    pub(crate) fn sent(&self) {
        self.state.lock().under_way += 1;
    }

    /// It was not, after all.
    pub(crate) fn not_sent(&self) {
        self.state.lock().under_way -= 1;
    }

    /// Waits until fewer than `under_way` records are, or there is trouble; returns whether that is so.
    pub(crate) fn wait_below(&self, under_way: usize, deadline: Instant) -> bool {
        let mut state = self.state.lock();
        while state.under_way >= under_way && !self.is_troubled() {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        state.under_way < under_way
    }

    /// Where the records of all partitions went, or the first error.
    pub(crate) fn outcome(&self) -> Result<Vec<Option<Run>>, KafkaError> {
        let mut state = self.state.lock();
        match state.failed.take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut state.runs)),
        }
    }

    /// Whether there was a sign of trouble since the client was calm.
    pub(crate) fn is_troubled(&self) -> bool {
        self.is_troubled.load(Ordering::Acquire)
    }

    /// What was before does not count.
    pub(crate) fn calm_down(&self) {
        self.is_troubled.store(false, Ordering::Release);
    }
}

/// The context of the client that writes.
#[derive(Debug, Clone)]
pub(crate) struct Writing(pub(crate) Arc<Deliveries>);

impl ClientContext for Writing {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if is_trouble(facility, message) {
            let state = self.0.state.lock();
            self.0.is_troubled.store(true, Ordering::Release);
            drop(state);
            self.0.changed.notify_all();
        }
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client");
    }
}

impl ProducerContext<NoCustomPartitioner> for Writing {
    /// Which partition of the transaction it is.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, partition: usize) {
        let mut state = self.0.state.lock();
        match result {
            Ok(message) => {
                let offset = u64::try_from(message.offset()).unwrap_or_default();
                if let Some(slot) = state.runs.get_mut(partition) {
                    let run = slot.get_or_insert(Run { first: offset, last: offset, count: 0 });
                    (run.first, run.last) = (run.first.min(offset), run.last.max(offset));
                    run.count += 1;
                }
            }
            Err((error, _)) => {
                state.failed.get_or_insert_with(|| error.clone());
            }
        }
        state.under_way = state.under_way.saturating_sub(1);
        drop(state);
        self.0.changed.notify_all();
    }
}

/// How often a thread that waits for Kafka looks whether it should end.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_connection_is_trouble_and_a_broker_that_is_not_there_is_none() {
        let lost = "127.0.0.1:9092/1: Disconnected: connection closed by peer (after 3002ms in state UP)";
        let absent = "127.0.0.1:9092/1: Connect to ipv4#127.0.0.1:9092 failed: Connection refused (after 0ms in state CONNECT)";
        let found = "127.0.0.1:9092/bootstrap: Decommissioning this broker (after 177ms in state UP)";
        assert!(is_trouble("FAIL", lost));
        assert!(!is_trouble("FAIL", found));
        assert!(!is_trouble("FAIL", absent));
        // Who lists what all brokers have misses something of it.
        assert!(is_unreachable("FAIL", absent));
        assert!(!is_unreachable("FAIL", found));
        assert!(is_trouble("REQTMOUT", "Timed out 1 in-flight request"));
        assert!(!is_trouble("STATE", "Broker changed state UP -> DOWN"));
    }
}
