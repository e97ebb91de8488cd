//! Topics: what they are called, and how they are set up.

use crate::Options;
use tw_log::CONFIG_STREAM;
use tw_types::{Cleanup, StreamDef, StreamOptions};

/// The longest record: the largest event, and what its headers may add.
pub(crate) const RECORD_BYTES_MAX: u32 = (16 << 20) + (1 << 20);

/// How much of a stream's name is in its topic's; Kafka takes 249 bytes altogether.
const NAME_BYTES_MAX: usize = 200;

/// The topic of a stream: the one that it shows, or prefix, name and number, which makes it another one when the name comes
/// back. What Kafka does not allow in a name becomes `-`.
pub(crate) fn of_stream(options: &Options, def: &StreamDef) -> String {
    if let Some(topic) = &def.options.topic {
        return topic.clone();
    }
    let name: String = def
        .name
        .as_str()
        .trim_start_matches('$')
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
        .take(NAME_BYTES_MAX)
        .collect();
    format!("{}{name}.{}", prefix(options), def.id)
}

/// What the names of all topics of a log start with.
pub(crate) fn prefix(options: &Options) -> String {
    format!("{}.", options.prefix)
}

/// The topic that says which process writes under which name.
pub(crate) fn of_writers(options: &Options) -> String {
    format!("{}writers", prefix(options))
}

/// The settings of a stream's topic.
pub(crate) fn settings(def: &StreamDef) -> Vec<(&'static str, String)> {
    let StreamOptions { retention_ms, retention_bytes, cleanup, .. } = &def.options;
    let bound = |bound: &Option<u64>| bound.map_or_else(|| "-1".to_owned(), |bound| bound.to_string());
    // Definitions are never removed, whatever the brokers do by default.
    let cleanup = if *cleanup == Cleanup::Compact && def.id != CONFIG_STREAM { "compact" } else { "delete" };
    vec![
        ("cleanup.policy", cleanup.to_owned()),
        ("retention.ms", bound(retention_ms)),
        ("retention.bytes", bound(retention_bytes)),
        ("max.message.bytes", RECORD_BYTES_MAX.to_string()),
        // Timestamps are the platform's, whose clock may be ahead of a broker's.
        ("message.timestamp.type", "CreateTime".to_owned()),
        ("message.timestamp.after.max.ms", i64::MAX.to_string()),
    ]
}

/// The settings of the topic of writers.
pub(crate) fn settings_of_writers() -> Vec<(&'static str, String)> {
    vec![("cleanup.policy", "compact".to_owned())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use tw_types::{StreamId, StreamKind, StreamName};

    #[test]
    fn names_of_topics_are_what_kafka_allows() {
        let topic = |name: &str, id| {
            let name = StreamName::new(name).unwrap();
            let options = StreamOptions::default();
            let (id, kind) = (StreamId(id), StreamKind::Events);
            of_stream(
                &Options::default(),
                &StreamDef { id, name, kind, partitions: 1, schema: None, options },
            )
        };
        assert_eq!(topic("$config", 0), "tradewind.config.0");
        assert_eq!(topic("shop.orders", 7), "tradewind.shop.orders.7");
        assert_eq!(topic("shop.sales.Order größe", 8), "tradewind.shop.sales.Order-gr--e.8");
        assert!(topic(&"x".repeat(200), u32::MAX).len() < 249);
    }
}
