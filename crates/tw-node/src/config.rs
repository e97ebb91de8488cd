//! The configuration of a node: one table of `tradewind.toml` per component.

mod reference;

pub use reference::reference;

use crate::cluster::ClusterOptions;
use crate::meters::MetricsOptions;
use crate::routing::RoutingOptions;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Everything that can be configured. What is not said has its default; what is not known is an error.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The node as a whole.
    pub node: NodeOptions,
    /// What the node measures of itself over time.
    pub metrics: MetricsOptions,
    /// The HTTP interface.
    pub http: tw_api::Options,
    /// The embedded log.
    pub log: tw_log::Options,
    /// The event store: versions, histories, idempotency.
    pub events: tw_log::store::Options,
    /// The store of derived state.
    pub state: tw_state::Options,
    /// The workers that keep projections up to date.
    pub process: tw_process::Options,
    /// Objects that are kept outside of the node.
    pub depot: tw_depot::Options,
    /// Snapshots of state in the depot.
    pub snapshots: tw_process::snapshot::Options,
    /// Queries and projections.
    pub query: tw_project::Options,
    /// The node's part in a cluster, if it is one of many.
    pub cluster: ClusterOptions,
    /// The log of a cluster.
    pub kafka: tw_log_kafka::Options,
    /// The coordination of a cluster.
    pub etcd: tw_cluster::EtcdOptions,
    /// Locks for clients.
    pub locks: tw_cluster::LockOptions,
    /// The region that this installation is, if there are several, and its links with others.
    pub region: tw_region::service::Options,
    /// Where regions agree on who is the home of a stream.
    pub arbiter: crate::regions::ArbiterOptions,
    /// Which region serves a user.
    pub routing: RoutingOptions,
    /// The zone of DNS by which users find their region, if this one answers for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<tw_dns::Options>,
}

/// The node as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeOptions {
    /// The folder of all data; a relative path starts at the working folder. Default `tradewind-data`.
    pub data: PathBuf,
    /// How often metrics are refreshed and failed sources of definitions are tried again, in milliseconds: 100 to
    /// 60,000. Default 1,000.
    pub refresh_ms: u64,
    /// The node is degraded when fewer bytes are free on its disk: 0 to 1 TiB. Default 1 GiB.
    pub disk_free_bytes_min: u64,
    /// How many spans of recorded requests are kept in memory, the last ones: 0, which records nothing, to 1,000,000. Default 10,000.
    pub trace_spans_max: u32,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            data: PathBuf::from("tradewind-data"),
            refresh_ms: 1_000,
            disk_free_bytes_min: 1 << 30,
            trace_spans_max: 10_000,
        }
    }
}

/// A configuration that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    /// The text does not read; with the place and the line.
    #[error("{0}")]
    Syntax(String),
    /// A value breaks a rule.
    #[error("[{table}] {reason}")]
    Value {
        /// The table.
        table: &'static str,
        /// Which option, and why.
        reason: String,
    },
}

impl Config {
    /// Reads the text of a `tradewind.toml` and checks every bound.
    ///
    /// # Errors
    /// [`InvalidConfig`].
    pub fn read(text: &str) -> Result<Self, InvalidConfig> {
        let config: Self = toml::from_str(text)
            .map_err(|error| InvalidConfig::Syntax(error.to_string().trim_end().to_owned()))?;
        config.check()?;
        Ok(config)
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// [`InvalidConfig::Value`] for the first value that breaks a rule.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        fn in_table<E: std::error::Error>(
            table: &'static str,
            checked: Result<(), E>,
        ) -> Result<(), InvalidConfig> {
            checked.map_err(|error| InvalidConfig::Value { table, reason: tw_types::chain(&error) })
        }
        self.node.check()?;
        self.metrics.check()?;
        in_table("http", self.http.check())?;
        in_table("log", self.log.check())?;
        in_table("events", self.events.check())?;
        in_table("state", self.state.check())?;
        in_table("process", self.process.check())?;
        in_table("depot", self.depot.check())?;
        in_table("snapshots", self.snapshots.check())?;
        in_table("query", self.query.check())?;
        self.cluster.check()?;
        in_table("kafka", self.kafka.check())?;
        in_table("etcd", self.etcd.check())?;
        in_table("locks", self.locks.check())?;
        self.check_region()?;
        in_table("arbiter", self.arbiter.check())?;
        in_table("routing", self.routing.plan(self.region.id).map(drop))?;
        self.check_dns()?;
        let (sql_ms, query_ms) = (u64::from(self.http.sql_timeout_ms), self.query.query_ms_max);
        if sql_ms > query_ms {
            let reason = format!(
                "option `sql_timeout_ms` is {sql_ms}, over `query_ms_max` of [query], which is {query_ms} and ends a query first: lower the one, or raise the other"
            );
            return Err(InvalidConfig::Value { table: "http", reason });
        }
        Ok(())
    }

    /// Checks the zone, and that every region of the plan has addresses in it.
    fn check_dns(&self) -> Result<(), InvalidConfig> {
        let Some(dns) = &self.dns else { return Ok(()) };
        let refuse = |reason: String| Err(InvalidConfig::Value { table: "dns", reason });
        if let Err(error) = dns.check() {
            return refuse(tw_types::chain(&error));
        }
        if self.routing.regions.is_empty() {
            return refuse(
                "there is a zone, and nothing says which regions serve users: name them in [[routing.regions]], or leave [dns] out".to_owned(),
            );
        }
        let has_addresses = |id| dns.regions.iter().any(|region| region.id == id);
        match self.routing.regions.iter().find(|region| !has_addresses(region.id)) {
            Some(region) => refuse(format!(
                "region {} of [[routing.regions]] has no addresses here: add it to `regions`, or leave it out there",
                region.id
            )),
            None => Ok(()),
        }
    }

    fn check_region(&self) -> Result<(), InvalidConfig> {
        let refuse = |reason: String| Err(InvalidConfig::Value { table: "region", reason });
        if let Err(error) = self.region.check() {
            return refuse(error.to_string());
        }
        let id = self.region.id;
        if self.region.is_region() && self.cluster.enabled {
            return refuse(format!(
                "option `id` is {id}, and a node of a cluster keeps its log on Kafka, which holds no events of other regions yet: \
                 use a node that is alone"
            ));
        }
        if self.log.region != tw_types::RegionId(0) && self.log.region != id {
            return refuse(format!(
                "option `id` is {id}, but `region` of [log] is {}: leave the latter out",
                self.log.region
            ));
        }
        Ok(())
    }

    /// The options of the embedded log: it belongs to the region.
    pub fn embedded_log(&self) -> tw_log::Options {
        tw_log::Options { region: self.region.id, ..self.log.clone() }
    }

    /// The options of the interface as it is served: other nodes call it by the name under which this one is registered.
    pub(crate) fn interface(&self) -> tw_api::Options {
        let mut http = self.http.clone();
        if self.cluster.enabled
            && let Ok(advertised) = self.cluster.advertise.parse::<http::uri::Authority>()
        {
            http.hosts.push(advertised.host().to_owned());
        }
        http
    }

    /// As the text of a `tradewind.toml` that says everything.
    ///
    /// # Errors
    /// When a value has no form in TOML: a path that is not UTF-8.
    pub fn to_toml(&self) -> Result<String, InvalidConfig> {
        toml::to_string(self).map_err(|error| InvalidConfig::Syntax(error.to_string()))
    }
}

impl NodeOptions {
    fn check(&self) -> Result<(), InvalidConfig> {
        let refuse = |reason: String| Err(InvalidConfig::Value { table: "node", reason });
        if self.data.as_os_str().is_empty() {
            return refuse("option `data` is empty: name a folder".into());
        }
        for (option, value, range, bounds) in [
            ("refresh_ms", self.refresh_ms, 100..=60_000, "100 to 60000 ms"),
            ("trace_spans_max", self.trace_spans_max.into(), 0..=1_000_000, "0 to 1000000"),
            ("disk_free_bytes_min", self.disk_free_bytes_min, 0..=1 << 40, "0 to 1099511627776 bytes"),
        ] {
            if !range.contains(&value) {
                return refuse(format!("option `{option}` is {value}, outside {bounds}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_is_the_default_and_everything_said_reads_back() {
        assert_eq!(Config::read("").unwrap(), Config::default());
        let config = Config::default();
        assert_eq!(Config::read(&config.to_toml().unwrap()).unwrap(), config);
    }

    #[test]
    fn a_node_of_a_cluster_is_called_by_the_name_that_it_advertises() {
        let hosts = |text: &str| Config::read(text).unwrap().interface().hosts;
        let advertised = "advertise = \"n1.lan:7070\"\n[http]\nhosts = [\"db.lan\"]\n";
        assert_eq!(hosts(&format!("[cluster]\nenabled = true\n{advertised}")), ["db.lan", "n1.lan"]);
        assert_eq!(hosts(&format!("[cluster]\n{advertised}")), ["db.lan"], "nobody else knows it");
    }

    #[test]
    fn unknown_keys_are_errors_that_name_them() {
        for text in ["[http]\nlissten = \"127.0.0.1:1\"\n", "[htpp]\n", "data = \"x\"\n"] {
            let error = Config::read(text).unwrap_err().to_string();
            assert!(error.contains("unknown field"), "{error}");
        }
    }

    #[test]
    fn each_bound_is_said_with_its_table() {
        for (text, expected) in [
            ("[node]\nrefresh_ms = 1\n", "[node] option `refresh_ms` is 1, outside 100 to 60000 ms"),
            ("[http]\ndepth_max = 0\n", "[http] option `depth_max` is 0, outside 1 to 120"),
            (
                "[http]\nsql_timeout_ms = 60001\n",
                "[http] option `sql_timeout_ms` is 60001, over `query_ms_max` of [query], which is 60000 and ends a query first: lower the one, or raise the other",
            ),
            ("[log]\nspare_segments = 0\n", "[log] option `spare_segments` of the log is 0, outside 1 to 64"),
        ] {
            assert_eq!(Config::read(text).unwrap_err().to_string(), expected);
        }
        for (table, option) in [
            ("cluster", "report_ms"),
            ("cluster.ownership", "review_ms"),
            ("cluster.ownership.lease", "ttl_ms"),
            ("cluster.ownership.placement", "standbys"),
            ("cluster.ownership.detection", "probe_ms"),
            ("cluster.balance", "avoid_ms"),
        ] {
            let text = format!("[{table}]\n{option} = 99999999\n");
            let refused = Config::read(&text).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("[{table}] option `{option}`")), "{refused}");
        }
        Config::read("[http]\nsql_timeout_ms = 120000\n[query]\nquery_ms_max = 120000\n").unwrap();
    }
}
