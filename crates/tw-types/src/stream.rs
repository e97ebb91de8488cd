//! Definitions of streams.

use crate::{Merge, RegionId, Schema, StreamId, StreamName};
use serde::{Deserialize, Serialize};

/// What the events of a stream mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamKind {
    /// Facts: each event stands for itself.
    #[default]
    Events,
    /// Changes of a table's rows in the Debezium envelope; the subject is the row's key.
    Table,
}

/// What happens to old events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cleanup {
    /// They are removed when a retention bound is reached; without a bound they stay for ever.
    #[default]
    Delete,
    /// Of each subject the latest event stays; events without a subject stay too.
    Compact,
}

/// How blocks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4 block format, where it makes the block smaller.
    #[default]
    Lz4,
}

/// Where a stream is written, where several regions belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamMode {
    /// Each region has a stream of its own under this name.
    #[default]
    Local,
    /// In every region, and what one has accepted comes to all others. It is never refused because another region is away.
    ActiveActive,
    /// In one region at a time, its home; what that has accepted comes to all others. See [`StreamOptions::home`].
    HomeRegion,
}

impl StreamMode {
    /// The text under which it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::ActiveActive => "active-active",
            Self::HomeRegion => "home-region",
        }
    }

    fn is_local(&self) -> bool {
        *self == Self::Local
    }
}

/// The options of a stream; each but `topic`, `home` and `replaces` can be changed later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StreamOptions {
    /// Events older than this may be removed, in milliseconds; at least 1,000. None: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<u64>,
    /// Each partition's oldest events may be removed beyond this many stored bytes; at least 1 MiB. None: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_bytes: Option<u64>,
    /// What removal means.
    pub cleanup: Cleanup,
    /// How new blocks are compressed.
    pub compression: Compression,
    /// The largest event, in encoded bytes: 1 KiB to 16 MiB.
    pub event_bytes_max: u32,
    /// The topic of Kafka, made and written by others, that the stream shows; nothing can be appended to it. Only the log on
    /// Kafka knows such streams, and this one option cannot be changed later. None: the stream is one of the platform's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Where it is written, where several regions belong together.
    #[serde(skip_serializing_if = "StreamMode::is_local")]
    pub mode: StreamMode,
    /// The region in which a stream with the mode `home-region` is written first, the same in all regions. Moving it is not a matter of options. With
    /// the mode `active-active` it is where values of unique columns are claimed first; without such columns it means nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub home: Option<RegionId>,
    /// Set by the platform where several regions belong together: the timestamp, as an integer, of the event that dropped the stream that had
    /// this name before. So regions know a stream from an earlier one of its name. None: there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<u64>,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            retention_ms: None,
            retention_bytes: None,
            cleanup: Cleanup::Delete,
            compression: Compression::Lz4,
            event_bytes_max: 1024 * 1024,
            topic: None,
            mode: StreamMode::Local,
            home: None,
            replaces: None,
        }
    }
}

/// An option outside its bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stream option `{option}` is {value}, outside {bounds}")]
pub struct InvalidOption {
    /// The option's name.
    pub option: &'static str,
    /// The refused value.
    pub value: u64,
    /// What is allowed, with the unit.
    pub bounds: &'static str,
}

impl StreamOptions {
    /// Checks every bound.
    ///
    /// # Errors
    /// The first option that is outside its bounds.
    pub fn check(&self) -> Result<(), InvalidOption> {
        let event_bytes = u64::from(self.event_bytes_max);
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let topic = self.topic.as_deref().unwrap_or("-");
        let topic_length = if topic.chars().all(allowed) { topic.len() as u64 } else { 0 };
        // 0 stands for what is not there, and is of no region.
        let home = u64::from(self.home.map_or(0, |home| home.0));
        let homes = match self.mode {
            StreamMode::HomeRegion => 1..=u64::from(u16::MAX),
            StreamMode::ActiveActive if self.home.is_some() => 1..=u64::from(u16::MAX),
            StreamMode::ActiveActive | StreamMode::Local => 0..=0,
        };
        let checks = [
            ("retention_ms", self.retention_ms.unwrap_or(1_000), 1_000..=u64::MAX, "1000 ms and more"),
            (
                "retention_bytes",
                self.retention_bytes.unwrap_or(1 << 20),
                1 << 20..=u64::MAX,
                "1048576 bytes and more",
            ),
            ("event_bytes_max", event_bytes, 1 << 10..=16 << 20, "1024 to 16777216 bytes"),
            ("topic", topic_length, 1..=249, "1 to 249 letters, digits, `.`, `_` and `-`"),
            (
                "home",
                home,
                homes,
                "1 to 65535, the number of a region, with the mode `home-region`, or `active-active` with unique columns; with the mode `local` it is left out",
            ),
        ];
        for (option, value, range, bounds) in checks {
            if !range.contains(&value) {
                return Err(InvalidOption { option, value, bounds });
            }
        }
        Ok(())
    }
}

/// A stream as it is defined now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamDef {
    /// Its number.
    pub id: StreamId,
    /// Its name.
    pub name: StreamName,
    /// What its events mean.
    #[serde(default)]
    pub kind: StreamKind,
    /// How many partitions it has: 1 to 1,024.
    pub partitions: u32,
    /// Its declared columns; None for plain JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Schema>,
    /// Its options.
    #[serde(default)]
    pub options: StreamOptions,
}

impl StreamDef {
    /// The most partitions a stream may have.
    pub const PARTITIONS_MAX: u32 = 1_024;

    /// Whether its events are changes of rows that are merged.
    pub fn merges(&self) -> bool {
        self.schema.as_ref().is_some_and(crate::Schema::merges)
    }

    /// Whether a column is merged by this class.
    pub fn has_merge(&self, class: &Merge) -> bool {
        self.schema
            .as_ref()
            .is_some_and(|schema| schema.columns.iter().any(|column| column.merge.as_ref() == Some(class)))
    }

    /// Whether its name means a table of the latest rows, in place of its events.
    pub fn is_table(&self) -> bool {
        self.kind == StreamKind::Table || self.merges()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_bounds_and_unknown_options_are_errors() {
        StreamOptions::default().check().unwrap();
        assert!(serde_json::from_str::<StreamOptions>(r#"{"retention":1}"#).is_err());
        let options: StreamOptions = serde_json::from_str(r#"{"retention_ms":10}"#).unwrap();
        assert_eq!(
            options.check().unwrap_err().to_string(),
            "stream option `retention_ms` is 10, outside 1000 ms and more"
        );
        let everywhere: StreamOptions = serde_json::from_str(r#"{"mode":"active-active"}"#).unwrap();
        assert_eq!(everywhere.mode.as_str(), "active-active");
        assert_eq!(serde_json::to_value(&everywhere).unwrap()["mode"], "active-active");
        for wrong in [
            r#"{"mode":"home-region"}"#,
            r#"{"mode":"home-region","home":0}"#,
            r#"{"mode":"active-active","home":0}"#,
            r#"{"home":1}"#,
        ] {
            let options: StreamOptions = serde_json::from_str(wrong).unwrap();
            assert_eq!(options.check().unwrap_err().option, "home", "{wrong}");
        }
        let at_home: StreamOptions = serde_json::from_str(r#"{"mode":"home-region","home":2}"#).unwrap();
        at_home.check().unwrap();
        let everywhere: StreamOptions = serde_json::from_str(r#"{"mode":"active-active","home":2}"#).unwrap();
        everywhere.check().unwrap();
        let options: StreamOptions = serde_json::from_str(r#"{"topic":"two words"}"#).unwrap();
        assert_eq!(options.check().unwrap_err().option, "topic");
    }
}
