//! Hashes by which regions see that they hold the same: two real nodes with a line between them.

use crate::support::{Node, define_in_all, run, said, tradewind};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::process::Output;
use tempfile::TempDir;
use tw_testing::{Line, Quality, Way, eventually, free_port};

/// Regions 1 and 2, and the two lines between them.
struct Pair {
    // They end before their folders do.
    nodes: Vec<Node>,
    lines: Vec<Line>,
    _folder: TempDir,
}

impl Pair {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ports = [free_port(), free_port()];
        let ca = folder.path().join("ca").display().to_string();
        let made = |args: &[&str]| {
            let output = run(args);
            assert!(output.status.success(), "{args:?}: {}", said(&output));
        };
        made(&["region", "ca", "init", "--ca", &ca]);
        let (mut nodes, mut lines) = (Vec::new(), Vec::new());
        for (id, other) in [(1, 2), (2, 1)] {
            let home = folder.path().join(format!("region{id}"));
            let into = home.join("region").display().to_string();
            made(&["region", "ca", "issue", &id.to_string(), "here", "--into", &into, "--ca", &ca]);
            let line = Line::open(ports[other - 1], Quality::default(), id as u64);
            let config = format!(
                "[region]\nid = {id}\nlisten = \"127.0.0.1:{}\"\nsilent_ms_max = 1500\nreconnect_ms_max = 500\n\
                 [[region.peers]]\nid = {other}\naddress = \"127.0.0.1:{}\"\n",
                ports[id - 1],
                line.port()
            );
            std::fs::write(home.join("tradewind.toml"), config).unwrap();
            lines.push(line);
            nodes.push(Node::start(&home));
        }
        Self { nodes, lines, _folder: folder }
    }

    fn define(&self) {
        let orders = "CREATE STREAM orders (customer text, total numeric(12,2)) WITH (partitions = 1, mode = 'active-active')";
        let revenue =
            "CREATE PROJECTION revenue AS SELECT customer, sum(total) AS total FROM orders GROUP BY customer";
        define_in_all(&[&self.nodes[0], &self.nodes[1]], &[orders, revenue]);
    }

    fn cut(&self) {
        self.lines.iter().for_each(|line| Way::BOTH.into_iter().for_each(|way| line.cut(way)));
    }

    fn mend(&self) {
        self.lines.iter().for_each(Line::mend);
    }

    fn write(&self, region: usize, count: u32) {
        let mut lines = String::new();
        for number in 0..count {
            let event = json!({
                "specversion": "1.0", "id": format!("{region}-{number}-{count}"), "source": "/hashes", "type": "order.placed",
                "subject": format!("order-{number}"), "data": { "customer": format!("c{}", number % 5), "total": "1.10" },
            });
            writeln!(lines, "{event}").unwrap();
        }
        let output = self.nodes[region].cli_with(&["append", "orders"], &lines);
        assert!(output.status.success(), "{}", said(&output));
    }

    fn compare(&self) -> Output {
        let urls = self.nodes.iter().map(|node| node.url.as_str());
        tradewind().args(["region", "compare", "-o", "json"]).args(urls).output().unwrap()
    }

    fn hashes(&self, region: usize) -> Vec<Value> {
        let printed = self.nodes[region].ok(&["region", "hashes", "-o", "json"]);
        serde_json::from_str(&printed).unwrap()
    }

    /// Where the events of a region were accepted, in the order in which it has them.
    fn order(&self, region: usize) -> Vec<String> {
        let replayed = self.nodes[region].ok(&["replay", "orders", "-o", "ndjson"]);
        let origin = |line: &str| {
            serde_json::from_str::<Value>(line).unwrap()["tworigin"].as_str().unwrap().to_owned()
        };
        replayed.lines().map(origin).collect()
    }

    fn converge(&self) {
        let is_same = || self.compare().status.success().then_some(());
        eventually(is_same, || said(&self.compare()));
    }
}

#[test]
fn reg_1_two_regions_have_the_same_hashes_exactly_when_they_have_the_same_events() {
    let pair = Pair::start();
    assert!(pair.nodes[0].ok(&["region", "hashes"]).contains("no stream is written in every region"));
    pair.define();
    pair.cut();
    // Each has its own events first, and those of the other after them.
    pair.write(0, 40);
    pair.write(1, 30);
    let different = pair.compare();
    assert_eq!(different.status.code(), Some(6), "{}", said(&different));
    assert!(said(&different).contains("region 2 lacks 40 of the events of region 1"), "{}", said(&different));
    let table: Value = serde_json::from_slice(&different.stdout).unwrap();
    assert_eq!((&table[0]["name"], &table[0]["verdict"]), (&json!("orders"), &json!("different")));
    pair.mend();
    pair.converge();
    let (one, other) = (pair.hashes(0), pair.hashes(1));
    assert_eq!(one, other, "REG-1");
    assert_eq!((&one[0]["count"], &one[1]["count"]), (&json!(70), &json!(5)), "{one:?}");
    let (mut here, mut there) = (pair.order(0), pair.order(1));
    assert_ne!(here, there, "the order was the same, so that nothing is proved");
    here.sort();
    there.sort();
    assert_eq!(here, there, "REG-3");
    // One more event is another hash.
    pair.write(1, 1);
    pair.converge();
    let more = pair.hashes(0);
    assert_eq!(more[0]["count"], json!(71));
    for (before, after) in one.iter().zip(&more) {
        assert_ne!(before["hash"], after["hash"], "{before} {after}");
    }
}

#[test]
fn what_cannot_be_hashed_or_compared_is_refused_with_the_reason() {
    let pair = Pair::start();
    pair.define();
    let node = &pair.nodes[0];
    node.ok(&["sql", "CREATE STREAM notes (text text)"]);
    let local = node.cli(&["region", "hashes", "notes"]);
    assert_eq!(local.status.code(), Some(4), "{}", said(&local));
    assert!(said(&local).contains("`active-active`"), "{}", said(&local));
    assert_eq!(node.cli(&["region", "hashes", "nothing"]).status.code(), Some(3));
    let twice = run(&["region", "compare", &node.url, &node.url]);
    assert_eq!(twice.status.code(), Some(2), "{}", said(&twice));
    assert_eq!(run(&["region", "compare", &node.url]).status.code(), Some(2));
    // A projection that does not go on is never the same as another one.
    node.ok(&["projection", "pause", "revenue"]);
    let paused = pair.compare();
    assert_eq!(paused.status.code(), Some(6), "{}", said(&paused));
    assert!(said(&paused).contains("is paused"), "{}", said(&paused));
    let alone = tempfile::tempdir().unwrap();
    let refused = Node::start(alone.path()).cli(&["region", "hashes"]);
    assert!(said(&refused).contains("[region]"), "{}", said(&refused));
}
