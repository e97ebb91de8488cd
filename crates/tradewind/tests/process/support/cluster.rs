//! Nodes on a Kafka and an etcd of their own.

use super::Node;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;
use tempfile::TempDir;
use tw_testing::{Etcd, Kafka, Line, Quality, eventually, free_port};

/// How long a packet takes from the far node to everything else, and back.
const ROUND_TRIP: Duration = Duration::from_millis(20);

/// The lines between a far node and everything else.
pub(crate) struct Lines {
    /// From the node to Kafka.
    pub(crate) kafka: Line,
    /// From the node to etcd.
    pub(crate) etcd: Line,
    /// From other nodes and clients to the node.
    pub(crate) node: Line,
}

/// A cluster that belongs to one test.
pub(crate) struct Cluster {
    pub(crate) kafka: Kafka,
    pub(crate) etcd: Etcd,
    placement: String,
    nodes: Vec<(TempDir, Option<Node>)>,
    /// Whether the test itself breaks promises: otherwise no node may have found one broken in the end.
    pub(crate) breaks_promises: bool,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() && !self.breaks_promises {
            assert_eq!(self.broken(), Vec::<String>::new(), "CLU-1, CLU-2, CLU-3");
        }
    }
}

impl Cluster {
    /// Starts the servers and the nodes `n0`, `n1` and so on.
    pub(crate) fn start(count: usize) -> Self {
        Self::start_with(count, "cooldown_ms = 0")
    }

    /// Starts one whose units are placed by these options; tables may follow them.
    pub(crate) fn start_with(count: usize, placement: &str) -> Self {
        let (nodes, placement) = (Vec::new(), placement.to_owned());
        let (kafka, etcd) = (Kafka::start(), Etcd::start());
        let mut cluster = Self { kafka, etcd, placement, nodes, breaks_promises: false };
        (0..count).for_each(|_| cluster.add());
        cluster
    }

    /// Starts the servers, so many nodes near to them, and a last one that is far from all. Commands to that one need no line.
    pub(crate) fn start_with_a_far_node(near: usize) -> (Self, Lines) {
        let quality = Quality::of_round_trip(ROUND_TRIP);
        let (kafka_port, port) = (free_port(), free_port());
        let kafka_line = Line::open(kafka_port, quality, 1);
        let kafka = Kafka::builder().listen_behind(kafka_port, kafka_line.port()).start();
        let (etcd, placement) = (Etcd::start(), "cooldown_ms = 0".to_owned());
        let (etcd_line, node) = (Line::open(etcd.port(), quality, 2), Line::open(port, quality, 3));
        let mut cluster = Self { kafka, etcd, placement, nodes: Vec::new(), breaks_promises: false };
        (0..near).for_each(|_| cluster.add());
        let lines = Lines { kafka: kafka_line, etcd: etcd_line, node };
        let advertise = format!("advertise = \"127.0.0.1:{}\"\n", lines.node.port());
        let [kafka, etcd] = [&lines.kafka, &lines.etcd].map(|line| format!("127.0.0.1:{}", line.port()));
        cluster.add_at(port, &advertise, &kafka, &format!("http://{etcd}"));
        (cluster, lines)
    }

    /// Starts another node.
    pub(crate) fn add(&mut self) {
        let (kafka, etcd) = (self.kafka.bootstrap(), self.etcd.endpoint());
        self.add_at(0, "", &kafka, &etcd);
    }

    /// Starts a node on the same Kafka that knows nothing of the others: it has a namespace of its own in etcd.
    pub(crate) fn start_stranger(&self) -> (TempDir, Node) {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "[cluster]\nenabled = true\nnode = \"stranger\"\naudit_ms = 1000\n\n[kafka]\nservers = \"{}\"\n\n\
             [etcd]\nendpoints = [\"{}\"]\nnamespace = \"elsewhere\"\n",
            self.kafka.bootstrap(),
            self.etcd.endpoint(),
        );
        fs::write(folder.path().join("tradewind.toml"), config).unwrap();
        let node = Node::start(folder.path());
        (folder, node)
    }

    /// The promises that the nodes that answer have found broken, as they measure them.
    pub(crate) fn broken(&self) -> Vec<String> {
        let answering = self.nodes.iter().filter_map(|(_, node)| node.as_ref().filter(|node| node.answers()));
        let is_broken =
            |line: &&str| line.starts_with("tradewind_invariant_broken_total{") && !line.ends_with(" 0");
        let broken = answering.flat_map(|node| {
            let metrics = node.metrics();
            metrics.lines().filter(is_broken).map(str::to_owned).collect::<Vec<_>>()
        });
        broken.collect()
    }

    fn add_at(&mut self, port: u16, more: &str, kafka: &str, etcd: &str) {
        let (folder, number) = (tempfile::tempdir().unwrap(), self.nodes.len());
        let config = format!(
            "[cluster]\nenabled = true\nnode = \"n{number}\"\naudit_ms = 1000\n{more}\n[cluster.ownership.placement]\n{}\n\n\
             [kafka]\nservers = \"{kafka}\"\n\n[etcd]\nendpoints = [\"{etcd}\"]\n",
            self.placement,
        );
        fs::write(folder.path().join("tradewind.toml"), config).unwrap();
        let node = Node::start_on(folder.path(), port);
        self.nodes.push((folder, Some(node)));
    }

    pub(crate) fn node(&self, number: usize) -> &Node {
        self.nodes[number].1.as_ref().unwrap()
    }

    /// The folder of a node's data.
    pub(crate) fn data(&self, number: usize) -> PathBuf {
        self.nodes[number].0.path().join("data")
    }

    pub(crate) fn kill(&mut self, number: usize) {
        self.nodes[number].1.take().unwrap().kill();
    }

    /// Ends a node in order.
    pub(crate) fn stop(&mut self, number: usize) -> ExitStatus {
        self.nodes[number].1.take().unwrap().signal("-TERM")
    }

    /// What a node says of all nodes.
    pub(crate) fn nodes(&self, number: usize) -> Vec<Value> {
        serde_json::from_str(&self.node(number).ok(&["cluster", "nodes", "-o", "json"])).unwrap()
    }

    pub(crate) fn start_again(&mut self, number: usize) {
        let (folder, node) = &mut self.nodes[number];
        *node = Some(Node::start(folder.path()));
    }

    /// What the node `asked` says of the cluster; nothing while it cannot.
    pub(crate) fn view(&self, asked: usize) -> Option<Value> {
        let output = self.node(asked).cli(&["cluster", "status", "-o", "json"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// The number of the node that has a unit, such as `source/shop`; none while nobody has it.
    pub(crate) fn owner(&self, asked: usize, unit: &str) -> Option<usize> {
        let view = self.view(asked)?;
        let unit = view["units"].as_array()?.iter().find(|listed| listed["unit"] == unit)?;
        unit["owner"].as_str()?.strip_prefix('n')?.parse().ok()
    }

    /// Waits until the node `asked` has node `number` among those that are registered, or no longer.
    pub(crate) fn registered(&self, asked: usize, number: usize, expected: bool) {
        let name = format!("n{number}");
        let is_as_expected = || {
            let view = self.view(asked)?;
            let mut nodes = view["nodes"].as_array()?.iter();
            (nodes.any(|node| node["name"] == name.as_str()) == expected).then_some(())
        };
        eventually(is_as_expected, || format!("{name} registered: {expected}? {:?}", self.view(asked)));
    }
}
