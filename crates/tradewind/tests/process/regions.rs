//! Several regions: nodes of their own behind long lines that are cut, nodes that are killed, and the same everywhere in the end.

mod captured;
mod definitions;
mod dns;
mod drain;
mod evict;
mod merged;
mod order;
mod proxy;
mod restore;
mod rights;
mod route;
mod routing;
mod tokens;
mod unique;

use crate::support::{Node, define_in_all, run, said, tradewind};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tw_testing::{Line, Quality, Way, eventually, free_port};

/// The round trip between two regions.
const ROUND_TRIP: Duration = Duration::from_millis(80);

/// Regions 1 to 3, each linked with the others over lines of its own.
pub(crate) struct World {
    // They end before their folders do.
    pub(crate) nodes: Vec<Option<Node>>,
    folder: TempDir,
    ports: Vec<u16>,
    /// By the region that connects, and the one that it connects to.
    pub(crate) lines: BTreeMap<(usize, usize), Line>,
    written: usize,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| String::new())
    }

    /// With more in the configuration of each.
    pub(crate) fn with(more: impl Fn(usize) -> String) -> Self {
        Self::with_capacities(more, None)
    }

    /// The same, where it is known how many requests a second each can serve.
    pub(crate) fn with_capacities(more: impl Fn(usize) -> String, capacities: Option<[u32; 3]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let links: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let ca = folder.path().join("ca").display().to_string();
        let made = |args: &[&str]| {
            let output = run(args);
            assert!(output.status.success(), "{args:?}: {}", said(&output));
        };
        made(&["region", "ca", "init", "--ca", &ca]);
        let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let mut lines = BTreeMap::new();
        for one in 0..3 {
            let home = folder.path().join(format!("region{one}"));
            let into = home.join("region").display().to_string();
            let (id, name) = ((one + 1).to_string(), format!("region-{one}"));
            made(&["region", "ca", "issue", &id, &name, "--into", &into, "--ca", &ca]);
            let mut config = format!(
                "[region]\nid = {id}\nlisten = \"127.0.0.1:{}\"\nsilent_ms_max = 1500\nreconnect_ms_max = 500\n",
                links[one]
            );
            for other in (0..3).filter(|other| *other != one) {
                let line =
                    Line::open(links[other], Quality::of_round_trip(ROUND_TRIP), (one * 3 + other) as u64);
                let port = line.port();
                lines.insert((one, other), line);
                write!(config, "[[region.peers]]\nid = {}\naddress = \"127.0.0.1:{port}\"\n", other + 1)
                    .unwrap();
            }
            config += &more(one);
            config += &route::config(&ports, capacities);
            std::fs::write(home.join("tradewind.toml"), config).unwrap();
        }
        let mut world = Self { folder, ports, lines, nodes: vec![None, None, None], written: 0 };
        (0..3).for_each(|region| world.start(region));
        world.define(&[ORDERS, REVENUE]);
        world
    }

    /// Defines something in one region, and waits until it is so in all.
    pub(crate) fn define(&self, statements: &[&str]) {
        define_in_all(&[self.node(0), self.node(1), self.node(2)], statements);
    }

    fn home(&self, region: usize) -> PathBuf {
        self.folder.path().join(format!("region{region}"))
    }

    pub(crate) fn start(&mut self, region: usize) {
        self.nodes[region] = Some(Node::start_on(&self.home(region), self.ports[region]));
    }

    pub(crate) fn node(&self, region: usize) -> &Node {
        self.nodes[region].as_ref().unwrap()
    }

    /// Writes some events in a region.
    fn write(&mut self, region: usize, count: usize) {
        let mut lines = String::new();
        for number in self.written..self.written + count {
            let customer = format!("c{}", number % 7);
            let event = json!({
                "specversion": "1.0", "id": format!("{region}-{number}"), "source": "/regions", "type": "order.placed",
                "subject": format!("order-{}", number % 11), "data": { "customer": customer, "total": number % 100 },
            });
            lines += &event.to_string();
            lines.push('\n');
        }
        let output = self.node(region).cli_with(&["append", "orders"], &lines);
        assert!(output.status.success(), "REG-4: {}", said(&output));
        self.written += count;
    }

    /// Whatever a region has, by where it was accepted.
    fn events(&self, region: usize) -> BTreeMap<String, Value> {
        let mut events = BTreeMap::new();
        for line in self.node(region).ok(&["replay", "orders", "-o", "ndjson"]).lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let partition = event["twposition"].as_str().unwrap().split(':').next().unwrap().to_owned();
            let origin = format!("{partition} {}", event["tworigin"].as_str().unwrap());
            let said = json!([event["id"], event["subject"], event["data"], event["twhlc"]]);
            assert_eq!(events.insert(origin.clone(), said), None, "REG-3: {origin} is there twice");
        }
        events
    }

    fn revenue(&self, region: usize) -> Vec<Value> {
        self.node(region).rows("SELECT customer, orders, total FROM revenue ORDER BY customer", None)
    }

    /// Waits until every region has everything, and the same.
    fn converge(&self) {
        for region in 0..3 {
            let has_all = || (self.events(region).len() == self.written).then_some(());
            eventually(has_all, || {
                let (have, state) =
                    (self.events(region).len(), self.node(region).cli(&["region", "partitions"]));
                format!(
                    "region {region} has {have} of {} events: {}",
                    self.written,
                    String::from_utf8_lossy(&state.stdout)
                )
            });
        }
        let (events, revenue) = (self.events(0), self.revenue(0));
        let orders: u64 = revenue.iter().map(|row| row["orders"].as_u64().unwrap()).sum();
        eventually(
            || (self.sum_of_orders(0) == self.written as u64).then_some(()),
            || format!("{orders} orders"),
        );
        let revenue = self.revenue(0);
        for region in 1..3 {
            assert_eq!(self.events(region), events, "REG-1: region {region} has other events");
            eventually(
                || (self.revenue(region) == revenue).then_some(()),
                || format!("REG-1: region {region} has {:?} instead of {revenue:?}", self.revenue(region)),
            );
        }
    }

    fn sum_of_orders(&self, region: usize) -> u64 {
        self.revenue(region).iter().map(|row| row["orders"].as_u64().unwrap()).sum()
    }

    /// Lines that are there already when a region is cut off: those that it makes, and those that others make to it.
    pub(crate) fn lines_of(&self, region: usize) -> impl Iterator<Item = &Line> {
        self.lines
            .iter()
            .filter(move |((from, to), _)| *from == region || *to == region)
            .map(|(_, line)| line)
    }
}

const ORDERS: &str =
    "CREATE STREAM orders (customer text, total bigint) WITH (partitions = 3, mode = 'active-active')";
const REVENUE: &str = "CREATE PROJECTION revenue AS SELECT customer, count(*) AS orders, sum(total) AS total FROM orders GROUP BY customer";

#[test]
fn reg_1_regions_are_the_same_after_cuts_and_kills_and_writes_never_wait() {
    let mut world = World::new();
    (0..3).for_each(|region| world.write(region, 60));
    world.converge();
    // Nobody reaches region 2; then nothing comes from it; then it is killed while others write.
    world.lines_of(2).for_each(|line| Way::BOTH.into_iter().for_each(|way| line.cut(way)));
    (0..3).for_each(|region| world.write(region, 60));
    world.lines_of(2).for_each(Line::mend);
    world.converge();
    world.lines_of(1).for_each(|line| line.cut(Way::Back));
    (0..3).for_each(|region| world.write(region, 60));
    world.lines_of(1).for_each(Line::mend);
    for region in 0..3 {
        (0..3).for_each(|region| world.write(region, 30));
        world.nodes[region].take().unwrap().kill();
        (0..3).filter(|other| *other != region).for_each(|other| world.write(other, 30));
        world.lines.values().for_each(Line::drop_connections);
        world.start(region);
        world.write(region, 30);
    }
    world.converge();
}

#[test]
fn reg_2_an_answer_is_nowhere_before_its_question_over_long_lines() {
    let mut world = World::new();
    // Region 1 reaches region 3 only slowly; region 2 is near to both.
    let slow = Quality::of_round_trip(Duration::from_millis(600));
    for pair in [(0, 2), (2, 0)] {
        Way::BOTH.into_iter().for_each(|way| world.lines[&pair].set(way, slow));
    }
    let has =
        |region: usize, id: &str, world: &World| world.events(region).values().any(|event| event[0] == id);
    for _ in 0..4 {
        let question = format!("0-{}", world.written);
        world.write(0, 1);
        eventually(|| has(1, &question, &world).then_some(()), || "no question at region 1".to_owned());
        let answer = format!("1-{}", world.written);
        world.write(1, 1);
        eventually(
            || {
                // Read in this order: whoever has the answer has the question by then.
                let (answered, asked) = (has(2, &answer, &world), has(2, &question, &world));
                assert!(asked || !answered, "REG-2: an answer without its question");
                answered.then_some(())
            },
            || "no answer at region 2".to_owned(),
        );
    }
    world.converge();
}

#[test]
fn a_link_that_is_down_is_seen_and_one_that_is_up_is_measured() {
    let mut world = World::new();
    world.write(0, 30);
    world.converge();
    let in_sync = || {
        let output = world.node(1).cli(&["region", "status", "-o", "json"]);
        output.status.success().then(|| serde_json::from_slice::<Value>(&output.stdout).unwrap())
    };
    let peers = eventually(in_sync, || said(&world.node(1).cli(&["region", "status"])));
    assert_eq!(peers.as_array().unwrap().len(), 2, "{peers}");
    assert_eq!(peers[0]["name"], "region-0", "{peers}");
    assert!(peers[0]["received_bytes"].as_u64().unwrap() > 0);
    let up = || world.node(1).metrics().contains("tradewind_region_link_up{region=\"1\"} 1").then_some(());
    eventually(up, || world.node(1).metrics());
    world.lines[&(1, 0)].cut(Way::Back);
    let down = || {
        let output = world.node(1).cli(&["region", "status"]);
        (output.status.code() == Some(6)).then(|| said(&output))
    };
    let said_so = eventually(down, || "the link is still up".to_owned());
    assert!(said_so.contains("region 1 is down"), "{said_so}");
    let about = r#""code":"region_link","about":{"kind":"region","name":"1"}"#;
    let problem = || world.node(1).get("/v1/status").contains(about).then_some(());
    eventually(problem, || world.node(1).get("/v1/status"));
    world.lines[&(1, 0)].mend();
    eventually(in_sync, || said(&world.node(1).cli(&["region", "status"])));
    // A node that is the only one says so.
    let alone = tempfile::tempdir().unwrap();
    let node = Node::start(alone.path());
    let refused = node.cli(&["region", "status"]);
    assert!(said(&refused).contains("[region]"), "{}", said(&refused));
}

/// What a node says that does not start with this configuration.
fn refused(folder: &Path, config: &str) -> String {
    std::fs::write(folder.join("tradewind.toml"), config).unwrap();
    let output = tradewind().args(["up", "--listen", "127.0.0.1:0"]).current_dir(folder).output().unwrap();
    assert!(!output.status.success(), "{config}");
    said(&output)
}

#[test]
fn what_cannot_be_a_region_does_not_start_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let start = |config: &str| refused(folder.path(), config);
    assert!(start("[region]\nid = 1\n").contains("region.pem"), "no certificates");
    assert!(start("[region]\nid = 1\n[cluster]\nenabled = true\n").contains("Kafka"));
    assert!(start("[region]\n[[region.peers]]\nid = 2\naddress = \"a:1\"\n").contains("`id`"));
    let ca = folder.path().join("ca").display().to_string();
    let into = folder.path().join("region").display().to_string();
    for args in [
        vec!["region", "ca", "init", "--ca", &ca],
        vec!["region", "ca", "issue", "2", "us", "--into", &into, "--ca", &ca],
    ] {
        assert!(run(&args).status.success());
    }
    let other = start("[region]\nid = 1\n");
    assert!(other.contains("region 2") && other.contains("region 1"), "{other}");
}
