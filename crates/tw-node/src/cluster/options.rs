//! How a node takes part in a cluster.

use super::BalanceOptions;
use crate::InvalidConfig;
use serde::{Deserialize, Serialize};
use tw_cluster::OwnersOptions;
use tw_types::NodeId;

/// How a node takes part in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterOptions {
    /// Whether the node is one of many. Its log is then Apache Kafka (`[kafka]`), its coordination etcd (`[etcd]`); `[log]` is
    /// not used. Default false.
    pub enabled: bool,
    /// The node's name, which no other node has: 1 to 100 letters, digits, `_`, `-` and `.`. Empty: the name of the host.
    pub node: String,
    /// Where the other nodes reach this one, as `host:port`. Empty: the address it listens on.
    pub advertise: String,
    /// What the node can do next to others, in thousandths of a core: 0 to 4,000,000,000. 0: what the machine has.
    pub capacity_millicores: u64,
    /// How often it tells how busy it is, in milliseconds: 100 to 600,000. Default 2,000.
    pub report_ms: u64,
    /// How long the servers of the log may give no sign of life, in milliseconds, before the node says that it does not reach them,
    /// and other nodes, if they do, take over what it has: 1,000 to 600,000. Default 5,000.
    pub log_silent_ms_max: u64,
    /// How often the node looks whether the cluster keeps its promises (CLU-1 to CLU-3), in milliseconds: 1,000 to 3,600,000. Each
    /// look reads all claims from etcd, about 150 bytes for each partition. Default 30,000.
    pub audit_ms: u64,
    /// How far the views of a partition may be behind the log on the node that takes it over, in events: 0 to 1,000,000,000.
    /// Default 1,000.
    pub warm_events_max: u64,
    /// Leases, placement and hand-over.
    pub ownership: OwnersOptions,
    /// Which node is asked where several can answer a read.
    pub balance: BalanceOptions,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            enabled: false,
            node: String::new(),
            advertise: String::new(),
            capacity_millicores: 0,
            report_ms: 2_000,
            log_silent_ms_max: 5_000,
            audit_ms: 30_000,
            warm_events_max: 1_000,
            ownership: OwnersOptions::default(),
            balance: BalanceOptions::default(),
        }
    }
}

impl ClusterOptions {
    pub(crate) fn check(&self) -> Result<(), InvalidConfig> {
        let refuse = |reason: String| Err(InvalidConfig::Value { table: "cluster", reason });
        if !self.node.is_empty()
            && let Err(error) = NodeId::new(&self.node)
        {
            return refuse(format!("option `node`: {error}"));
        }
        if !self.advertise.is_empty() && self.advertise.parse::<http::uri::Authority>().is_err() {
            return refuse(format!("option `advertise` is `{}`: use `host:port`", self.advertise));
        }
        for (option, value, range, bounds) in [
            ("capacity_millicores", self.capacity_millicores, 0..=4_000_000_000, "0 to 4000000000"),
            ("report_ms", self.report_ms, 100..=600_000, "100 to 600000 ms"),
            ("log_silent_ms_max", self.log_silent_ms_max, 1_000..=600_000, "1000 to 600000 ms"),
            ("audit_ms", self.audit_ms, 1_000..=3_600_000, "1000 to 3600000 ms"),
            ("warm_events_max", self.warm_events_max, 0..=1_000_000_000, "0 to 1000000000"),
        ] {
            if !range.contains(&value) {
                return refuse(format!("option `{option}` is {value}, outside {bounds}"));
            }
        }
        let OwnersOptions { lease, placement, detection, .. } = &self.ownership;
        // The last one checks all of them once more, which is how the others are known not to be its own.
        let checks = [
            ("cluster.ownership.lease", lease.check().map_err(|error| error.to_string())),
            ("cluster.ownership.placement", placement.check().map_err(|error| error.to_string())),
            ("cluster.ownership.detection", detection.check().map_err(|error| error.to_string())),
            ("cluster.balance", self.balance.core().check().map_err(|error| error.to_string())),
            ("cluster.ownership", self.ownership.check().map_err(|error| error.to_string())),
        ];
        let refused = |(table, checked): (_, Result<(), String>)| {
            checked.err().map(|reason| InvalidConfig::Value { table, reason })
        };
        checks.into_iter().find_map(refused).map_or(Ok(()), Err)
    }

    /// The node's name: the configured one, or the host's.
    pub(crate) fn name(&self) -> Result<String, InvalidConfig> {
        if !self.node.is_empty() {
            return Ok(self.node.clone());
        }
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        match NodeId::new(&host) {
            Ok(_) => Ok(host),
            Err(error) => {
                let reason = format!("the host's name does not do ({error}): set option `node`");
                Err(InvalidConfig::Value { table: "cluster", reason })
            }
        }
    }
}
