//! What a source is told.

use crate::{Error, Secret};
use serde::{Deserialize, Serialize};
use tw_types::{StreamDef, StreamMode};

/// Everything that can be set for a PostgreSQL source. Only `name`, `url` and `tables` have no default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The source's name: 1 to 50 lower-case letters, digits and `_`. Streams and defaults are called after it.
    pub name: String,
    /// `postgres://user@host:port/database?sslmode=…`, without a password.
    pub url: String,
    /// The user's password, if the server asks for one. It can be read with the others, but is never written with them.
    #[serde(default, skip_serializing)]
    pub password: Secret,
    /// The tables: `table` (in the schema `public`), `schema.table`, with double quotes as in SQL. 1 to 1,000.
    pub tables: Vec<String>,
    /// The publication; `tradewind_` and the name by default. One that is not there is made.
    #[serde(default)]
    pub publication: Option<String>,
    /// The replication slot; `tradewind_` and the name by default. One that is not there is made.
    #[serde(default)]
    pub slot: Option<String>,
    /// How many partitions new streams get: 1 to 1,024. Default 4.
    #[serde(default = "defaults::partitions")]
    pub partitions: u32,
    /// `local`, the default; `home-region` for streams that other regions have, too, of which this one is the home. Streams that are there keep theirs.
    #[serde(default)]
    pub mode: StreamMode,
    /// Whether the rows that are there already are read. Default `initial`.
    #[serde(default)]
    pub snapshot: SnapshotMode,
    /// How often an idle source moves its slot on and looks at the catalogue, in milliseconds: 100 to 600,000.
    /// Default 10,000.
    #[serde(default = "defaults::heartbeat_ms")]
    pub heartbeat_ms: u64,
    /// The longest pause before a lost connection is tried again, in milliseconds: 100 to 600,000. Default 30,000.
    #[serde(default = "defaults::retry_ms_max")]
    pub retry_ms_max: u64,
    /// A write to the log is closed when it has this many bytes: 64 KiB to 16 MiB. Default 1 MiB.
    #[serde(default = "defaults::write_bytes_max")]
    pub write_bytes_max: usize,
    /// How many writes may be under way at once: 1 to 64. Default 4.
    #[serde(default = "defaults::writes_in_flight_max")]
    pub writes_in_flight_max: usize,
    /// The largest message of the server, about the text of a row (or of two): 1 MiB to 1 GiB. Default 64 MiB.
    #[serde(default = "defaults::message_bytes_max")]
    pub message_bytes_max: usize,
    /// Transactions that wait for their commit take at most this much memory: 64 KiB to 1 GiB. Default 16 MiB.
    #[serde(default = "defaults::spool_bytes_max")]
    pub spool_bytes_max: usize,
    /// Transactions that wait for their commit take at most this much disk: 1 MiB and more. Default 100 GiB.
    #[serde(default = "defaults::scratch_bytes_max")]
    pub scratch_bytes_max: u64,
    /// The most rows that a snapshot reads at once: 1 to 100,000. Default 10,000.
    #[serde(default = "defaults::chunk_rows_max")]
    pub chunk_rows_max: u32,
    /// A snapshot reads no further at once when it has this many bytes: 64 KiB to 16 MiB. Default 4 MiB.
    #[serde(default = "defaults::chunk_bytes_max")]
    pub chunk_bytes_max: usize,
    /// The most rows that snapshots read in a second; 0, the default, for no bound.
    #[serde(default)]
    pub snapshot_rows_per_second_max: u32,
    /// What a snapshot remembers of concurrent changes takes at most this much memory: 64 KiB to 1 GiB. Default 32 MiB.
    #[serde(default = "defaults::window_bytes_max")]
    pub window_bytes_max: usize,
}

/// Whether the rows that are there already are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotMode {
    /// Every table is read once, while changes go on.
    #[default]
    Initial,
    /// Only changes are captured.
    Never,
}

mod defaults {
    pub(super) fn partitions() -> u32 {
        4
    }
    pub(super) fn heartbeat_ms() -> u64 {
        10_000
    }
    pub(super) fn retry_ms_max() -> u64 {
        30_000
    }
    pub(super) fn write_bytes_max() -> usize {
        1 << 20
    }
    pub(super) fn writes_in_flight_max() -> usize {
        4
    }
    pub(super) fn message_bytes_max() -> usize {
        64 << 20
    }
    pub(super) fn spool_bytes_max() -> usize {
        16 << 20
    }
    pub(super) fn scratch_bytes_max() -> u64 {
        100 << 30
    }
    pub(super) fn chunk_rows_max() -> u32 {
        10_000
    }
    pub(super) fn chunk_bytes_max() -> usize {
        4 << 20
    }
    pub(super) fn window_bytes_max() -> usize {
        32 << 20
    }
}

impl Options {
    /// Default options for a source.
    pub fn new(name: impl Into<String>, url: impl Into<String>, tables: Vec<String>) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            password: Secret::default(),
            tables,
            publication: None,
            slot: None,
            partitions: defaults::partitions(),
            mode: StreamMode::default(),
            snapshot: SnapshotMode::default(),
            heartbeat_ms: defaults::heartbeat_ms(),
            retry_ms_max: defaults::retry_ms_max(),
            write_bytes_max: defaults::write_bytes_max(),
            writes_in_flight_max: defaults::writes_in_flight_max(),
            message_bytes_max: defaults::message_bytes_max(),
            spool_bytes_max: defaults::spool_bytes_max(),
            scratch_bytes_max: defaults::scratch_bytes_max(),
            chunk_rows_max: defaults::chunk_rows_max(),
            chunk_bytes_max: defaults::chunk_bytes_max(),
            snapshot_rows_per_second_max: 0,
            window_bytes_max: defaults::window_bytes_max(),
        }
    }

    /// The publication's name.
    pub fn publication(&self) -> String {
        self.publication.clone().unwrap_or_else(|| format!("tradewind_{}", self.name))
    }

    /// The name of the publication of append-only tables: only their inserts and truncations are published.
    pub fn append_publication(&self) -> String {
        format!("{}_append", self.publication())
    }

    /// The slot's name.
    pub fn slot(&self) -> String {
        self.slot.clone().unwrap_or_else(|| format!("tradewind_{}", self.name))
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// [`Error::Option`] for the first option that is outside its bounds; [`Error::Address`].
    pub fn check(&self) -> Result<(), Error> {
        let refuse =
            |option, value: String, rule: &str| Err(Error::Option { option, value, rule: rule.into() });
        let plain =
            |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !(1..=50).contains(&self.name.len()) || !plain(&self.name) {
            return refuse("name", self.name.clone(), "use 1 to 50 lower-case letters, digits and `_`");
        }
        let slot = self.slot();
        if !(1..=63).contains(&slot.len()) || !plain(&slot) {
            return refuse("slot", slot, "use 1 to 63 lower-case letters, digits and `_`");
        }
        let publication = self.append_publication();
        if publication.len() > 63 || publication.contains('\0') {
            return refuse("publication", self.publication(), "use at most 56 bytes");
        }
        if !(1..=1000).contains(&self.tables.len()) {
            return refuse("tables", self.tables.len().to_string(), "name 1 to 1000 tables");
        }
        if self.mode == StreamMode::ActiveActive {
            let rule = "the changes of a captured table belong to one database: use `local` or `home-region`";
            return refuse("mode", self.mode.as_str().to_owned(), rule);
        }
        self.check_numbers()?;
        crate::postgres::check_address_and_tables(self)
    }

    fn check_numbers(&self) -> Result<(), Error> {
        const KIB: u64 = 1 << 10;
        const MIB: u64 = 1 << 20;
        const GIB: u64 = 1 << 30;
        let partitions_max = u64::from(StreamDef::PARTITIONS_MAX);
        for (option, value, range, rule) in [
            ("partitions", u64::from(self.partitions), 1..=partitions_max, "use 1 to 1024"),
            ("heartbeat_ms", self.heartbeat_ms, 100..=600_000, "use 100 to 600000 ms"),
            ("retry_ms_max", self.retry_ms_max, 100..=600_000, "use 100 to 600000 ms"),
            (
                "write_bytes_max",
                self.write_bytes_max as u64,
                64 * KIB..=16 * MIB,
                "use 65536 to 16777216 bytes",
            ),
            ("writes_in_flight_max", self.writes_in_flight_max as u64, 1..=64, "use 1 to 64"),
            (
                "message_bytes_max",
                self.message_bytes_max as u64,
                MIB..=GIB,
                "use 1048576 to 1073741824 bytes",
            ),
            ("spool_bytes_max", self.spool_bytes_max as u64, 64 * KIB..=GIB, "use 65536 to 1073741824 bytes"),
            ("scratch_bytes_max", self.scratch_bytes_max, MIB..=u64::MAX, "use 1048576 bytes or more"),
            ("chunk_rows_max", u64::from(self.chunk_rows_max), 1..=100_000, "use 1 to 100000 rows"),
            (
                "chunk_bytes_max",
                self.chunk_bytes_max as u64,
                64 * KIB..=16 * MIB,
                "use 65536 to 16777216 bytes",
            ),
            (
                "window_bytes_max",
                self.window_bytes_max as u64,
                64 * KIB..=GIB,
                "use 65536 to 1073741824 bytes",
            ),
        ] {
            if !range.contains(&value) {
                return Err(Error::Option { option, value: value.to_string(), rule: rule.into() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options::new("shop", "postgres://u@h/d", vec!["orders".into()])
    }

    #[test]
    fn defaults_are_within_bounds_and_unknown_options_are_errors() {
        options().check().unwrap();
        let text = r#"{"name":"shop","url":"postgres://u@h/d","tables":["orders"],"password":"p"}"#;
        let read: Options = serde_json::from_str(text).unwrap();
        assert_eq!(Options { password: Secret::default(), ..read }, options());
        assert!(serde_json::from_str::<Options>(&text.replace("url", "uri")).is_err());
    }

    #[test]
    fn each_bound_is_named() {
        for (change, part) in [
            (Box::new(|o: &mut Options| o.name = "Shop".into()) as Box<dyn Fn(&mut Options)>, "name"),
            (Box::new(|o| o.slot = Some("a-b".into())), "slot"),
            (Box::new(|o| o.tables.clear()), "tables"),
            (Box::new(|o| o.tables = vec!["a.b.c".into()]), "tables"),
            (Box::new(|o| o.tables = vec!["a".into(), "public.a".into()]), "twice"),
            (Box::new(|o| o.partitions = 0), "partitions"),
            (Box::new(|o| o.mode = StreamMode::ActiveActive), "home-region"),
            (Box::new(|o| o.heartbeat_ms = 1), "heartbeat_ms"),
            (Box::new(|o| o.url = "postgres://u:p@h/d".into()), "password"),
        ] {
            let mut options = options();
            change(&mut options);
            let message = options.check().unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_password_never_shows() {
        let plain = options();
        let options = Options { password: Secret::new("hunter2"), ..options() };
        let written = serde_json::to_string(&options).unwrap();
        assert!(!format!("{options:?} {written}").contains("hunter2"));
        assert_eq!(serde_json::from_str::<Options>(&written).unwrap(), plain);
    }
}
