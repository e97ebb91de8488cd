//! Real servers for tests: private to one test, on a free port, in a temporary folder, gone when the test ends.
//!
//! A development dependency only. There are no mock servers in Tradewind's tests; this crate is why that is cheap:
//! a PostgreSQL server starts in about a third of a second from a template that is made once, an etcd server in less, a
//! Kafka broker or an S3Proxy in some seconds, which is why tests that do not disturb it share one.
#![expect(clippy::expect_used, reason = "this crate serves tests, which stop at the first surprise")]

mod authority;
mod cases;
mod etcd;
mod files;
mod install;
mod kafka;
mod line;
mod postgres;
mod process;
mod random;
mod s3proxy;
mod user;
mod wait;

pub use authority::{Authority, CertificateFiles};
pub use cases::{asked, cases};
pub use etcd::Etcd;
pub use install::{
    DIG_VARIABLE, ETCD_VARIABLE, Install, JAVA_VARIABLE, KAFKA_LIBRARIES_VARIABLE, POSTGRES_BIN_VARIABLE,
    S3PROXY_LIBRARIES_VARIABLE, dig_program,
};
pub use kafka::{Broker, Kafka, KafkaBuilder};
pub use line::{Line, Quality, Way};
pub use postgres::{Postgres, PostgresBuilder};
pub use process::free_port;
pub use random::Random;
pub use s3proxy::S3Proxy;
pub use wait::{PATIENCE, eventually};
