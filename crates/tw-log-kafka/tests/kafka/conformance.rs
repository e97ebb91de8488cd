//! The suites that every engine must pass, on a real broker.

use super::options;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tw_env::Env;
use tw_log::conformance::Engine;
use tw_log::{BoxFuture, Log};
use tw_log_kafka::{KafkaLog, Options};
use tw_testing::Kafka;

/// Logs on one broker, each under a prefix of its own.
struct OnKafka {
    kafka: Arc<Kafka>,
    tail_bytes: u64,
    /// The options of each log, by its address, so that it can be opened again.
    opened: Mutex<HashMap<usize, Options>>,
}

impl OnKafka {
    fn new(tail_bytes: u64) -> Self {
        Self { kafka: Kafka::shared(), tail_bytes, opened: Mutex::default() }
    }

    fn open(&self, options: Options) -> Arc<dyn Log> {
        let log: Arc<dyn Log> = Arc::new(KafkaLog::open(options.clone(), Env::real()).unwrap());
        self.opened.lock().insert(address(&log), options);
        log
    }
}

fn address(log: &Arc<dyn Log>) -> usize {
    Arc::as_ptr(log).cast::<()>() as usize
}

impl Engine for OnKafka {
    fn create(&self) -> BoxFuture<'_, Arc<dyn Log>> {
        let options = Options { tail_bytes: self.tail_bytes, ..options(&self.kafka) };
        Box::pin(async { self.open(options) })
    }

    fn reopen(&self, log: Arc<dyn Log>) -> BoxFuture<'_, Arc<dyn Log>> {
        let options = self.opened.lock().remove(&address(&log)).unwrap();
        drop(log);
        Box::pin(async { self.open(options) })
    }
}

mod with_a_tail {
    use super::*;

    tw_log::conformance!(OnKafka::new(64 << 20));
}

/// Nothing in memory, so that every read goes to the broker.
mod from_the_broker {
    use super::*;

    tw_log::conformance!(OnKafka::new(0));
}
