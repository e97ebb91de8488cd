//! Consumer groups by the command line, on nodes whose log is on Kafka and on one whose log is its own. That programs really
//! read as members of groups is shown by the tests of `tw-log-kafka`.

use crate::support::{Cluster, Node, said};
use serde_json::{Value, json};
use tw_testing::eventually;

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Appends so many events to a stream, each of a subject of its own.
fn append(node: &Node, stream: &str, count: u64) {
    let lines: String = (0..count).map(|id| json!({ "id": id }).to_string() + "\n").collect();
    let output = node.cli_with(&["append", stream, "--type", "t", "--subject-from", "id"], &lines);
    assert!(output.status.success(), "{}", said(&output));
}

/// Waits until a node, which may still learn of what another one has stored, says that a group lacks so many events.
fn lacks(node: &Node, group: &str, expected: u64) {
    let shown = || parsed(&node.ok(&["group", "show", group, "-o", "json"]))["partitions"].clone();
    let lag = |shown: &Value| -> u64 {
        shown.as_array().unwrap().iter().map(|place| place["lag_events"].as_u64().unwrap()).sum()
    };
    eventually(|| (lag(&shown()) == expected).then_some(()), || format!("not {expected}: {}", shown()));
}

#[test]
fn groups_are_seen_and_reset_through_any_node() {
    let cluster = Cluster::start(2);
    let (first, second) = (cluster.node(0), cluster.node(1));
    assert_eq!(first.ok(&["group", "ls"]).trim(), "no consumer group reads a stream");
    first.ok(&["stream", "create", "shop.orders", "--partitions", "2"]);
    append(first, "shop.orders", 40);
    let reset = ["group", "reset", "billing", "--stream", "shop.orders"];
    let with = |more: &[&'static str]| [&reset[..], more].concat();

    // Without a terminal nothing is done that nobody has agreed to.
    let refused = first.cli(&with(&["--to", "end"]));
    assert_eq!(refused.status.code(), Some(4));
    assert!(said(&refused).contains("add `--yes`"), "{}", said(&refused));
    let plan = parsed(&first.ok(&with(&["--to", "end", "--dry-run", "-o", "json"])));
    assert_eq!((&plan["exists"], &plan["dry_run"]), (&json!(false), &json!(true)));
    assert_eq!(first.cli(&["group", "show", "billing"]).status.code(), Some(3));

    let done = parsed(&first.ok(&with(&["--to", "end", "--yes", "-o", "json"])));
    let steps = done["partitions"].as_array().unwrap();
    let ends: Vec<u64> = steps.iter().map(|step| step["to"].as_u64().unwrap()).collect();
    assert_eq!((ends.iter().sum::<u64>(), &steps[0]["from"]), (40, &Value::Null));
    for node in [first, second] {
        lacks(node, "billing", 0);
        let row = parsed(&node.ok(&["group", "ls", "--stream", "shop.orders", "-o", "json"]));
        let expected = json!([{"group": "billing", "state": "empty", "protocol": null, "members": 0, "streams": ["shop.orders"], "lag_events": 0}]);
        assert_eq!(row, expected);
    }
    // Kafka counts the markers of transactions, too, and the platform does not.
    let shown = parsed(&second.ok(&["group", "show", "billing", "-o", "json"]));
    for (place, end) in shown["partitions"].as_array().unwrap().iter().zip(&ends) {
        assert_eq!(
            (&place["committed"], &place["end"], &place["start"]),
            (&json!(end), &json!(end), &json!(0))
        );
        assert!(place["kafka_offset"].as_u64().unwrap() >= *end);
    }
    second.ok(&with(&["--to", "-3", "--yes"]));
    lacks(first, "billing", 6);
    second.ok(&with(&["--to", "0", "--partition", "1", "--yes"]));
    lacks(first, "billing", 3 + ends[1]);
    second.ok(&with(&["--to", "1d", "--yes"]));
    lacks(first, "billing", 40);
    let table = first.ok(&with(&["--to", "1000", "--yes"]));
    assert!(table.contains("nothing is where it was to be"), "{table}");
    lacks(first, "billing", 0);
    let table = first.ok(&["group", "show", "billing"]);
    assert!(table.contains("shop.orders") && table.contains("next offset"), "{table}");

    for (args, code, told) in [
        (with(&["--to", "middle"]), 2, "is no place to go on"),
        (with(&["--to", "end", "--partition", "2", "--yes"]), 3, "partition"),
        (
            ["group", "reset", "x", "--stream", "shop.order", "--to", "end"].to_vec(),
            3,
            "did you mean `shop.orders`?",
        ),
        (
            ["group", "reset", "x", "--stream", "shop.orders", "--to", "-1", "--yes"].to_vec(),
            4,
            "committed nothing",
        ),
        (["group", "show", "biling"].to_vec(), 3, "did you mean `billing`?"),
    ] {
        let output = first.cli(&args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(told), "{args:?}: {}", said(&output));
    }
}

#[test]
fn the_examples_about_groups_run() {
    let cluster = Cluster::start(1);
    let node = cluster.node(0);
    node.ok(&["stream", "create", "orders", "--partitions", "6"]);
    append(node, "orders", 9);
    let (page, section) = ("getting-started-cluster.md", Some("## Consumer groups"));
    let output = crate::docs::examples(page, section, node, &cluster.data(0));
    assert!(output.contains("tradewind.orders."), "{output}");
    lacks(node, "billing", 9);
}

#[test]
fn a_node_that_keeps_its_log_itself_has_no_groups_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    assert_eq!(node.ok(&["group", "ls", "-o", "json"]).trim(), "[]");
    assert!(node.ok(&["group", "ls"]).contains("not on Kafka"));
    let shown = node.cli(&["group", "show", "billing"]);
    assert_eq!(shown.status.code(), Some(4));
    assert!(said(&shown).contains("only a log on Kafka has consumer groups"), "{}", said(&shown));
}
