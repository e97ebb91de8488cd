//! What can be chosen about the log on Kafka.

use crate::security::{self, SaslOptions, TlsOptions};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tw_log::Error;
use tw_types::RegionId;

/// The options of the log on Kafka. All can be changed from one opening to the next, except `prefix` and `region`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Some of the brokers: `HOST:PORT`, separated by commas.
    pub servers: String,
    /// What the names of the log's topics start with: 1 to 20 letters, digits, `_` and `-`. One cluster of brokers holds
    /// several logs under several prefixes.
    pub prefix: String,
    /// The name of this process among those that write to the log: 1 to 100 letters, digits, `_`, `-` and `.`. A process
    /// that opens the log under a name shuts out the one that had the name before.
    pub writer: String,
    /// How many brokers keep a copy of each new topic: 1 to 15; 0 is the brokers' default.
    pub replicas: u32,
    /// The largest append, in bytes: 4 KiB to 64 MiB.
    pub append_bytes_max: u64,
    /// How many bytes one transaction takes, unless a single append is larger: 4 KiB to 64 MiB.
    pub group_bytes_max: u64,
    /// How many appends one transaction takes: 1 to 65,536.
    pub group_appends_max: u32,
    /// How many bytes of appends may be under way: `append_bytes_max` to 4 GiB.
    pub in_flight_bytes_max: u64,
    /// How many bytes of the blocks that this process wrote last are kept in memory: 0 to 64 GiB.
    pub tail_bytes: u64,
    /// How many threads read what is not in memory, each with a client of its own: 1 to 64.
    pub reader_threads: u32,
    /// The most bytes that one read gives: 64 KiB to 64 MiB. (A single block may be larger.)
    pub read_bytes_max: u64,
    /// How many places per partition are remembered, to find an offset with fewer reads: 16 to 65,536.
    pub places_max: u32,
    /// How often it looks for events that other processes have written, in milliseconds: 5 to 60,000.
    pub follow_ms: u64,
    /// How long a transaction may take before Kafka ends it, in milliseconds: 1,000 to 900,000.
    pub transaction_ms_max: u64,
    /// How long an answer of the brokers may take, a read, a refresh, and until a partition shows all that is known of it, in
    /// milliseconds: 1,000 to 300,000.
    pub request_ms_max: u64,
    /// How long an append waits for brokers that are away, in milliseconds: 1,000 to 3,600,000. Its outcome may be unknown
    /// then.
    pub outage_ms_max: u64,
    /// The region whose log this is; a log belongs to one region for ever.
    pub region: RegionId,
    /// Encrypted connections to the brokers.
    pub tls: TlsOptions,
    /// Logging in at the brokers.
    pub sasl: SaslOptions,
    /// Further settings of the client library (librdkafka's `CONFIGURATION.md`), such as `client.rack`; no secrets.
    pub client: BTreeMap<String, String>,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

impl Default for Options {
    fn default() -> Self {
        Self {
            servers: "127.0.0.1:9092".to_owned(),
            prefix: "tradewind".to_owned(),
            writer: "node".to_owned(),
            replicas: 0,
            append_bytes_max: 32 * MIB,
            group_bytes_max: 8 * MIB,
            group_appends_max: 4_096,
            in_flight_bytes_max: 64 * MIB,
            tail_bytes: 64 * MIB,
            reader_threads: 2,
            read_bytes_max: 4 * MIB,
            places_max: 1_024,
            follow_ms: 50,
            transaction_ms_max: 10_000,
            request_ms_max: 15_000,
            outage_ms_max: 60_000,
            region: RegionId(0),
            tls: TlsOptions::default(),
            sasl: SaslOptions::default(),
            client: BTreeMap::new(),
        }
    }
}

impl Options {
    /// Checks every bound.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for the first option that is outside its bounds; of a text its length, or 0 for one with
    /// other characters than are allowed. [`Error::InvalidText`] for how connections are protected.
    pub fn check(&self) -> Result<(), Error> {
        let length = |text: &str, others: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
            if text.chars().all(allowed) { text.len() as u64 } else { 0 }
        };
        let checks = [
            ("servers", self.servers.len() as u64, 1, 4 * KIB),
            ("prefix", length(&self.prefix, "_-"), 1, 20),
            ("writer", length(&self.writer, "_-."), 1, 100),
            ("replicas", self.replicas.into(), 0, 15),
            ("append_bytes_max", self.append_bytes_max, 4 * KIB, 64 * MIB),
            ("group_bytes_max", self.group_bytes_max, 4 * KIB, 64 * MIB),
            ("group_appends_max", self.group_appends_max.into(), 1, 65_536),
            ("in_flight_bytes_max", self.in_flight_bytes_max, self.append_bytes_max, 4 * GIB),
            ("tail_bytes", self.tail_bytes, 0, 64 * GIB),
            ("reader_threads", self.reader_threads.into(), 1, 64),
            ("read_bytes_max", self.read_bytes_max, 64 * KIB, 64 * MIB),
            ("places_max", self.places_max.into(), 16, 65_536),
            ("follow_ms", self.follow_ms, 5, 60_000),
            ("transaction_ms_max", self.transaction_ms_max, 1_000, 900_000),
            ("request_ms_max", self.request_ms_max, 1_000, 300_000),
            ("outage_ms_max", self.outage_ms_max, 1_000, 3_600_000),
        ];
        for (option, value, min, max) in checks {
            if !(min..=max).contains(&value) {
                return Err(Error::InvalidOption { option, value, min, max });
            }
        }
        security::check(self, cfg!(feature = "tls"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_bounds_and_unknown_options_are_errors() {
        Options::default().check().unwrap();
        assert!(serde_json::from_str::<Options>(r#"{"brokers":1}"#).is_err());
        let options: Options = serde_json::from_str(r#"{"prefix":"a b"}"#).unwrap();
        assert_eq!(
            options.check().unwrap_err().to_string(),
            "option `prefix` of the log is 0, outside 1 to 20"
        );
    }
}
