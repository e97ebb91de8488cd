//! The reference of the configuration, made of what the options say about themselves: the comments of their fields and
//! their defaults. So it cannot say anything else than the code.

use super::Config;
use crate::live::is_live;
use std::fmt::Write as _;

/// A table of the configuration, and the source of the struct that defines it.
struct Table {
    name: &'static str,
    about: &'static str,
    source: &'static str,
    item: &'static str,
}

const TABLES: [Table; 36] = [
    Table {
        name: "node",
        about: "The node as a whole.",
        source: include_str!("../config.rs"),
        item: "NodeOptions",
    },
    Table {
        name: "metrics",
        about: "What the node measures of itself over time, for `GET /v1/metrics`. It is kept in the stream `$metrics`, for 25 hours.",
        source: include_str!("../meters.rs"),
        item: "MetricsOptions",
    },
    Table {
        name: "http",
        about: "The HTTP interface.",
        source: include_str!("../../../tw-api/src/options.rs"),
        item: "Options",
    },
    Table {
        name: "http.overload",
        about: "How many requests are worked on at once, for each class of requests. docs/http-api.md says how it works.",
        source: include_str!("../../../tw-api/src/options/overload.rs"),
        item: "OverloadOptions",
    },
    Table {
        name: "log",
        about: "The embedded log.",
        source: include_str!("../../../tw-log/src/embedded/options.rs"),
        item: "Options",
    },
    Table {
        name: "events",
        about: "The event store: versions, histories, idempotency.",
        source: include_str!("../../../tw-log/src/store/options.rs"),
        item: "Options",
    },
    Table {
        name: "state",
        about: "The store of derived state.",
        source: include_str!("../../../tw-state/src/disk/options.rs"),
        item: "Options",
    },
    Table {
        name: "process",
        about: "The workers that keep projections up to date.",
        source: include_str!("../../../tw-process/src/options.rs"),
        item: "Options",
    },
    Table {
        name: "process.retry",
        about: "When events that cannot be processed are tried again.",
        source: include_str!("../../../tw-order/src/gate/options.rs"),
        item: "Options",
    },
    Table {
        name: "region",
        about: "The region that this installation is, if there are several, and its links: docs/getting-started-regions.md.",
        source: include_str!("../../../tw-region/src/service/options.rs"),
        item: "Options",
    },
    Table {
        name: "region.peers",
        about: "Another region, one table `[[region.peers]]` for each.",
        source: include_str!("../../../tw-region/src/service/options.rs"),
        item: "PeerOptions",
    },
    Table {
        name: "region.inbound",
        about: "What is held and appended of other regions.",
        source: include_str!("../../../tw-region/src/link/inbound/options.rs"),
        item: "Options",
    },
    Table {
        name: "region.inbound.skew",
        about: "How far clocks of regions may differ.",
        source: include_str!("../../../tw-merge/src/skew.rs"),
        item: "Options",
    },
    Table {
        name: "routing",
        about: "Which region serves a user: docs/http-api.md, `/v1/route`.",
        source: include_str!("../routing.rs"),
        item: "RoutingOptions",
    },
    Table {
        name: "routing.regions",
        about: "A region that serves users, one table `[[routing.regions]]` for each.",
        source: include_str!("../routing.rs"),
        item: "RoutingRegion",
    },
    Table {
        name: "dns",
        about: "The zone of DNS by which users find their region, if this one answers for it: docs/dns.md. Without this table it answers nothing.",
        source: include_str!("../../../tw-dns/src/options.rs"),
        item: "Options",
    },
    Table {
        name: "dns.name_servers",
        about: "A name server of the zone.",
        source: include_str!("../../../tw-dns/src/options.rs"),
        item: "NameServer",
    },
    Table {
        name: "dns.regions",
        about: "A region and its addresses.",
        source: include_str!("../../../tw-dns/src/options.rs"),
        item: "RegionAddresses",
    },
    Table {
        name: "dns.networks",
        about: "A network of clients, and where it is.",
        source: include_str!("../../../tw-dns/src/options.rs"),
        item: "Network",
    },
    Table {
        name: "depot",
        about: "Objects that are kept outside of the node.",
        source: include_str!("../../../tw-depot/src/options.rs"),
        item: "Options",
    },
    Table {
        name: "snapshots",
        about: "Snapshots of state in the depot: docs/operations.md says what they are for.",
        source: include_str!("../../../tw-process/src/snapshot/options.rs"),
        item: "Options",
    },
    Table {
        name: "query",
        about: "Queries and projections.",
        source: include_str!("../../../tw-project/src/options.rs"),
        item: "Options",
    },
    Table {
        name: "cluster",
        about: "The node's part in a cluster, if it is one of many.",
        source: include_str!("../cluster/options.rs"),
        item: "ClusterOptions",
    },
    Table {
        name: "cluster.ownership",
        about: "How units are owned, and handed over.",
        source: include_str!("../../../tw-cluster/src/ownership/options.rs"),
        item: "OwnersOptions",
    },
    Table {
        name: "cluster.ownership.lease",
        about: "The lease on which a node's registration rests.",
        source: include_str!("../../../tw-cluster/src/lease.rs"),
        item: "LeaseOptions",
    },
    Table {
        name: "cluster.ownership.placement",
        about: "How units are placed.",
        source: include_str!("../../../tw-plan/src/placement/options.rs"),
        item: "Options",
    },
    Table {
        name: "cluster.ownership.detection",
        about: "How soon a node that does not answer is taken for dead.",
        source: include_str!("../../../tw-plan/src/detection/options.rs"),
        item: "Options",
    },
    Table {
        name: "cluster.balance",
        about: "Which node is asked where several can answer a read of a partition: `read_from` of `[query]`.",
        source: include_str!("../cluster/balance.rs"),
        item: "BalanceOptions",
    },
    Table {
        name: "kafka",
        about: "The log of a cluster, on Apache Kafka 4.0 or 4.1.",
        source: include_str!("../../../tw-log-kafka/src/options.rs"),
        item: "Options",
    },
    Table {
        name: "kafka.tls",
        about: "Encrypted connections to the brokers: docs/operations.md, Protected connections.",
        source: include_str!("../../../tw-log-kafka/src/security.rs"),
        item: "TlsOptions",
    },
    Table {
        name: "kafka.sasl",
        about: "Logging in at the brokers.",
        source: include_str!("../../../tw-log-kafka/src/security.rs"),
        item: "SaslOptions",
    },
    Table {
        name: "etcd",
        about: "The coordination of a cluster, on etcd 3.4 or newer.",
        source: include_str!("../../../tw-cluster/src/etcd/options.rs"),
        item: "EtcdOptions",
    },
    Table {
        name: "etcd.tls",
        about: "Encrypted connections to etcd: docs/operations.md, Protected connections.",
        source: include_str!("../../../tw-cluster/src/etcd/options.rs"),
        item: "EtcdTls",
    },
    Table {
        name: "arbiter",
        about: "Where regions agree on who is the home of a stream: an etcd 3.4 or newer that all of them reach.",
        source: include_str!("../regions/registry.rs"),
        item: "ArbiterOptions",
    },
    Table {
        name: "arbiter.tls",
        about: "Encrypted connections to that etcd.",
        source: include_str!("../../../tw-cluster/src/etcd/options.rs"),
        item: "EtcdTls",
    },
    Table {
        name: "locks",
        about: "Locks that clients hold.",
        source: include_str!("../../../tw-cluster/src/sessions.rs"),
        item: "LockOptions",
    },
];

/// What an option of a table that is listed has in place of a default.
const MUST: &str = "must be said";

/// A documented field.
#[derive(Debug, PartialEq, Eq)]
struct Field {
    name: String,
    text: String,
}

/// The reference, in Markdown.
///
/// # Errors
/// When a default has no form in TOML, which a test rules out.
pub fn reference() -> Result<String, super::InvalidConfig> {
    let config = Config::default().to_toml()?;
    let defaults: toml::Table =
        config.parse().map_err(|error: toml::de::Error| super::InvalidConfig::Syntax(error.to_string()))?;
    let mut page = String::from(
        "# Configuration reference\n\nGenerated by `tradewind config reference`; docs/configuration.md explains how it is used. \
         Every option has a default, and a key that is not listed here is an error. Live options can be set while nodes run, with \
         `tradewind config set TABLE.OPTION VALUE`; the others are read when a node starts.\n",
    );
    for table in &TABLES {
        // Writing to memory does not fail.
        let _infallible = write!(
            page,
            "\n## [{}]\n\n{}\n\n| option | default | live | what it is |\n|---|---|---|---|\n",
            table.name, table.about
        );
        for field in fields(table.source, table.item) {
            if let Some(default) = default_of(&defaults, table.name, &field.name) {
                let live =
                    if is_live(&format!("{}.{}", table.name, field.name)) { "yes" } else { "at start" };
                let default = match default.as_str() {
                    MUST if field.text.contains("Default") => "may be left out".to_owned(),
                    _ => default,
                };
                let text = field.text.replace('|', "\\|");
                let _infallible = writeln!(page, "| `{}` | {default} | {live} | {text} |", field.name);
            }
        }
    }
    Ok(page)
}

/// The default of an option as it is written; None when it is a table of its own.
fn default_of(defaults: &toml::Table, table: &str, option: &str) -> Option<String> {
    let mut at = defaults;
    for name in table.split('.') {
        // A table that is left out has no defaults either.
        if name == "dns" {
            return Some(MUST.to_owned());
        }
        at = match at.get(name)? {
            // Each of a list says all of it.
            toml::Value::Array(_) => return Some(MUST.to_owned()),
            value => value.as_table()?,
        };
    }
    match at.get(option) {
        Some(toml::Value::Table(_)) => None,
        // It depends on the machine.
        Some(_) if matches!(option, "worker_threads" | "query_threads_max") => Some("processors".to_owned()),
        Some(value) => Some(format!("`{value}`")),
        None => Some("none".to_owned()),
    }
}

/// The public fields of the struct `item`, with their comments, from its source.
fn fields(source: &str, item: &str) -> Vec<Field> {
    let head = format!("pub struct {item} {{");
    let body = source.split_once(&head).map_or("", |(_, rest)| rest);
    let body = body.split_once("\n}").map_or(body, |(body, _)| body);
    let mut fields = Vec::new();
    let mut text = String::new();
    for line in body.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("///") {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(comment.trim());
        } else if let Some(name) = line.strip_prefix("pub ").and_then(|rest| rest.split(':').next()) {
            fields.push(Field { name: name.to_owned(), text: std::mem::take(&mut text) });
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_described() {
        let defaults: toml::Table = Config::default().to_toml().unwrap().parse().unwrap();
        let page = reference().unwrap();
        for table in &TABLES {
            let described = fields(table.source, table.item);
            assert!(!described.is_empty(), "[{}]", table.name);
            for field in &described {
                assert!(field.text.len() > 10, "[{}] {}", table.name, field.name);
            }
            let mut at = &defaults;
            let is_list = table.name.split('.').any(|name| match at.get(name) {
                // Each of a list says all of it; and so does one that is left out by default.
                Some(toml::Value::Array(_)) | None => true,
                Some(value) => {
                    at = value.as_table().unwrap();
                    false
                }
            });
            if is_list {
                let listed = |field: &Field| {
                    let default = if field.text.contains("Default") { "may be left out" } else { MUST };
                    page.contains(&format!("| `{}` | {default} |", field.name))
                };
                assert!(described.iter().all(listed), "[{}]", table.name);
                continue;
            }
            for (option, value) in at {
                let known = described.iter().any(|field| field.name == *option);
                assert!(known, "[{}] {option} is not described", table.name);
                assert!(value.is_table() || page.contains(&format!("| `{option}` |")), "{option}");
            }
        }
    }

    #[test]
    fn comments_of_several_lines_become_one() {
        let source =
            "pub struct Options {\n    /// One\n    /// two.\n    #[serde(default)]\n    pub a_ms: u64,\n}\n";
        assert_eq!(fields(source, "Options"), [Field { name: "a_ms".into(), text: "One two.".into() }]);
    }
}
