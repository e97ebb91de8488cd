//! What holds: the configuration of this node, with what was set for all nodes laid over it. Pure.

use crate::{Config, InvalidConfig};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What can be set while nodes run: each of these is in effect when the next request, statement, turn or connection begins.
const LIVE: [&str; 83] = [
    "cluster.balance.adaptive_choices",
    "cluster.balance.avoid_ms",
    "cluster.balance.capacity_aware",
    "cluster.balance.failure_ms",
    "cluster.balance.failures_max",
    "cluster.balance.policy",
    "cluster.balance.sticky_epsilon_permille",
    "cluster.balance.sticky_in_flight_min",
    "events.dedup_bytes_max",
    "events.idempotency_keys_max",
    "events.idempotency_ms",
    "events.index_bytes_max",
    "events.index_flush_events",
    "events.index_flush_ms",
    "events.read_bytes_max",
    "events.write_bytes_max",
    "events.write_events_max",
    "http.attribute_bytes_max",
    "http.body_bytes_max",
    "http.body_bytes_total_max",
    "http.body_timeout_ms",
    "http.connections_max",
    "http.depth_max",
    "http.events_max",
    "http.extensions_max",
    "http.header_bytes_max",
    "http.header_timeout_ms",
    "http.headers_max",
    "http.heartbeat_ms",
    "http.hosts",
    "http.overload.appends_max",
    "http.overload.appends_min",
    "http.overload.appends_start",
    "http.overload.baseline_ms",
    "http.overload.enabled",
    "http.overload.queries_max",
    "http.overload.queries_min",
    "http.overload.queries_start",
    "http.overload.queue_us_max",
    "http.overload.reads_max",
    "http.overload.reads_min",
    "http.overload.reads_start",
    "http.overload.retry_ms_max",
    "http.overload.retry_ms_min",
    "http.overload.tolerance_permille",
    "http.overload.window_ms_max",
    "http.overload.window_requests",
    "http.page_bytes_max",
    "http.page_events_max",
    "http.readers_max",
    "http.request_timeout_ms",
    "http.requests_max",
    "http.shutdown_ms_max",
    "http.sql_timeout_ms",
    "http.write_stall_ms_max",
    "locks.grace_ms",
    "locks.names_max",
    "locks.ttl_ms_max",
    "locks.wait_ms_max",
    "metrics.enabled",
    "node.disk_free_bytes_min",
    "node.refresh_ms",
    "process.commit_ms_max",
    "process.commit_ms_min",
    "process.drain_ms_max",
    "process.failure_ms_max",
    "process.failure_ms_min",
    "process.pending_bytes_max",
    "process.switch_events_max",
    "process.switch_ms_max",
    "process.turn_ms_max",
    "query.answers_bytes_max",
    "query.answers_ms_min",
    "query.hedge_ms",
    "query.plans_max",
    "query.query_memory_bytes_max",
    "query.query_ms_max",
    "query.query_rows_max",
    "query.query_threads_max",
    "query.read_from",
    "query.standby_lag_events_max",
    "query.stream_partitions",
    "region.send_bytes_per_second_max",
];

/// Whether an option can be set while nodes run; all others take effect when a node starts.
pub(crate) fn is_live(key: &str) -> bool {
    LIVE.contains(&key)
}

/// Every option by its key, such as `process.retry.attempts_max`.
///
/// # Errors
/// For a path that is not UTF-8.
pub(crate) fn options(config: &Config) -> Result<BTreeMap<String, Value>, InvalidConfig> {
    let mut options = BTreeMap::new();
    flatten("", &tree(config)?, &mut options);
    Ok(options)
}

fn tree(config: &Config) -> Result<Map<String, Value>, InvalidConfig> {
    match serde_json::to_value(config) {
        Ok(Value::Object(tree)) => Ok(tree),
        Ok(_) => Ok(Map::new()),
        Err(error) => Err(InvalidConfig::Syntax(error.to_string())),
    }
}

fn flatten(prefix: &str, tree: &Map<String, Value>, options: &mut BTreeMap<String, Value>) {
    for (name, value) in tree {
        match value {
            Value::Object(inner) => flatten(&format!("{prefix}{name}."), inner, options),
            value => drop(options.insert(format!("{prefix}{name}"), value.clone())),
        }
    }
}

/// The configuration with these options set.
///
/// # Errors
/// [`InvalidConfig`] for the first value that is not accepted.
pub(crate) fn overlay<'v>(
    config: &Config,
    values: impl IntoIterator<Item = (&'v str, &'v Value)>,
) -> Result<Config, InvalidConfig> {
    let mut tree = tree(config)?;
    let mut last = None;
    for (key, value) in values {
        put(&mut tree, key, value.clone());
        // Read each time, because the error does not say which of them it is about.
        let read = serde_json::from_value::<Config>(Value::Object(tree.clone()));
        last = Some(read.map_err(|error| InvalidConfig::Syntax(format!("option `{key}`: {error}")))?);
    }
    let config = last.unwrap_or_else(|| config.clone());
    config.check()?;
    Ok(config)
}

fn put(tree: &mut Map<String, Value>, key: &str, value: Value) {
    match key.split_once('.') {
        Some((table, rest)) => {
            let inner = tree.entry(table).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
        None => drop(tree.insert(key.to_owned(), value)),
    }
}

/// The configuration with as many of these options set as fit each other and this node, in their order; and why the others
/// do not.
pub(crate) fn effective(
    config: &Config,
    values: &BTreeMap<String, Value>,
) -> (Config, BTreeMap<String, String>) {
    if let Ok(all) = overlay(config, values.iter().map(|(key, value)| (key.as_str(), value))) {
        return (all, BTreeMap::new());
    }
    let (mut holds, mut refused) = (config.clone(), BTreeMap::new());
    for (key, value) in values {
        match overlay(&holds, [(key.as_str(), value)]) {
            Ok(with) => holds = with,
            Err(error) => drop(refused.insert(key.clone(), error.to_string())),
        }
    }
    (holds, refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(key: &str, value: Value, expect: Expect) {
        let outcome = overlay(&Config::default(), [(key, &value)]);
        expect.assert_eq(&outcome.map_or_else(|error| error.to_string(), |_| "accepted".to_owned()));
    }

    #[test]
    fn what_the_file_would_refuse_is_refused_with_its_words() {
        check("http.requests_max", json!(1), expect!["accepted"]);
        check("http.hosts", json!(["a.example"]), expect!["accepted"]);
        check("process.retry.attempts_max", json!(3), expect!["accepted"]);
        check("query.read_from", json!("standbys"), expect!["accepted"]);
        check(
            "cluster.balance.policy",
            json!("best"),
            expect![
                "option `cluster.balance.policy`: unknown variant `best`, expected one of `round_robin`, `least_loaded`, `two_choices`, `adaptive`, `sticky`"
            ],
        );
        check(
            "cluster.balance.failures_max",
            json!(0),
            expect!["[cluster.balance] option `failures_max` is 0, outside 1 to 1000"],
        );
        check(
            "http.requests_max",
            json!(0),
            expect!["[http] option `requests_max` is 0, outside 1 to 100000"],
        );
        check(
            "http.requests_max",
            json!("many"),
            expect![[r#"option `http.requests_max`: invalid type: string "many", expected u32"#]],
        );
        check(
            "http.requests_max",
            json!(-1),
            expect!["option `http.requests_max`: invalid value: integer `-1`, expected u32"],
        );
        check(
            "query.query_ms_max",
            json!(1000),
            expect![
                "[http] option `sql_timeout_ms` is 60000, over `query_ms_max` of [query], which is 1000 and ends a query first: lower the one, or raise the other"
            ],
        );
    }

    #[test]
    fn every_option_can_be_set_to_what_it_is_and_most_are_live() {
        let config = Config::default();
        let options = options(&config).unwrap();
        for (key, value) in &options {
            assert_eq!(overlay(&config, [(key.as_str(), value)]).unwrap(), config, "{key}");
        }
        for key in LIVE {
            assert!(options.contains_key(key), "`{key}` is no option any more");
        }
        assert!(LIVE.is_sorted());
        assert!(is_live("http.requests_max") && !is_live("http.listen") && !is_live("log.segment_bytes"));
    }

    #[test]
    fn what_does_not_fit_this_node_is_left_out_and_the_rest_holds() {
        let values = [
            ("http.sql_timeout_ms", json!(90_000)),
            ("http.requests_max", json!(7)),
            ("of.later", json!(1)),
            ("query.query_rows_max", json!(5)),
        ];
        let values = values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let (config, refused) = effective(&Config::default(), &values);
        assert_eq!((config.http.requests_max, config.query.query_rows_max), (7, 5));
        assert_eq!(config.http.sql_timeout_ms, Config::default().http.sql_timeout_ms);
        assert_eq!(refused.keys().collect::<Vec<_>>(), ["http.sql_timeout_ms", "of.later"]);
        // In whatever order they were set, together they fit.
        let values = [("http.sql_timeout_ms", json!(90_000)), ("query.query_ms_max", json!(90_000))];
        let values = values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let (config, refused) = effective(&Config::default(), &values);
        assert_eq!((config.http.sql_timeout_ms, refused.len()), (90_000, 0));
    }
}
