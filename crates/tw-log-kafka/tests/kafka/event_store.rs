//! The event store on this engine.

use super::options;
use std::sync::Arc;
use tw_env::Env;
use tw_log::Log;
use tw_log_kafka::KafkaLog;
use tw_testing::Kafka;

fn log(kafka: &Kafka) -> Arc<dyn Log> {
    Arc::new(KafkaLog::open(options(kafka), Env::real()).unwrap())
}

tw_log::event_store_conformance!(log(&Kafka::shared()));
