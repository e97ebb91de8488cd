//! Options of a running node: set, in effect at once, remembered, brought back.

use crate::support::{Node, said};
use serde_json::{Value, json};

const TWO_ROWS: &[&str] = &["sql", "SELECT * FROM (VALUES (1), (2)) AS t (n)"];

fn json_of(node: &Node, args: &[&str]) -> Value {
    serde_json::from_str(&node.ok(&[args, &["-o", "json"]].concat())).unwrap()
}

/// The exit code, and what was said.
fn refused(node: &Node, args: &[&str]) -> (Option<i32>, String) {
    let output = node.cli(args);
    (output.status.code(), said(&output))
}

#[test]
fn what_is_set_is_in_effect_at_once_and_outlives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tradewind.toml"), "[query]\nquery_rows_max = 100\n").unwrap();
    let node = Node::start(folder.path());
    let rows = "query.query_rows_max";
    node.ok(TWO_ROWS);
    let before = json_of(&node, &["config", "get", rows]);
    assert_eq!(
        (&before["value"], &before["source"], &before["version"]),
        (&json!(100), &json!("file"), &json!(0))
    );
    node.ok(&["config", "set", rows, "1", "--author", "ann", "--if-version", "0"]);
    let (code, why) = refused(&node, TWO_ROWS);
    assert!(code == Some(4) && why.contains("rows"), "{why}");
    let (code, why) = refused(&node, &["config", "set", rows, "5", "--if-version", "0"]);
    assert!(code == Some(4) && why.contains("has version 1"), "{why}");

    node.kill();
    let node = Node::start(folder.path());
    assert_eq!(refused(&node, TWO_ROWS).0, Some(4), "what was set is forgotten");
    node.ok(&["config", "set", rows, "2", "--author", "bob"]);
    node.ok(TWO_ROWS);
    node.ok(&["config", "rollback", rows, "1", "--author", "carl"]);
    assert_eq!(refused(&node, TWO_ROWS).0, Some(4));
    let unset = json_of(&node, &["config", "unset", rows]);
    assert_eq!(
        (&unset["value"], &unset["source"], &unset["version"]),
        (&json!(100), &json!("file"), &json!(4))
    );
    node.ok(TWO_ROWS);
    let history = json_of(&node, &["config", "history", rows]);
    let history: Vec<_> = history.as_array().unwrap().iter().rev().collect();
    let values: Vec<_> = history.iter().map(|change| &change["value"]).collect();
    assert_eq!(values, [&json!(1), &json!(2), &json!(1), &json!(null)]);
    assert_eq!((&history[2]["author"], &history[2]["restored"]), (&json!("carl"), &json!(1)));
    assert_eq!(history[2]["previous"], json!(2));

    // Each change is an event like any other.
    let watched = node.ok(&["config", "watch", "--from", "earliest", "-n", "4", "-o", "ndjson"]);
    let events: Vec<Value> = watched.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&events[0]["type"], &events[0]["data"]["author"]),
        (&json!("tradewind.config.changed"), &json!("ann"))
    );
    assert_eq!(events[3]["data"]["value"], json!(null));
}

#[test]
fn options_of_each_component_take_effect_while_the_node_runs() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    node.ok(&["config", "set", "locks.names_max", "1"]);
    let (code, why) = refused(&node, &["lock", "run", "a", "b", "--url", &node.url, "--", "true"]);
    assert!(code == Some(4) && why.contains("names_max"), "{why}");
    node.ok(&["config", "set", "query.stream_partitions", "3"]);
    node.ok(&["sql", "CREATE STREAM visits (page text)"]);
    assert_eq!(json_of(&node, &["stream", "show", "visits"])["offsets"].as_array().unwrap().len(), 3);
    node.ok(&["config", "set", "node.disk_free_bytes_min", "1099511627776"]);
    assert_eq!(refused(&node, &["status"]).0, Some(6), "a disk with less is degraded");
    node.ok(&["config", "set", "process.turn_ms_max", "7"]);
    let set = json_of(&node, &["config", "get"]);
    let set: Vec<_> = set.as_array().unwrap().iter().filter(|option| option["source"] == "set").collect();
    assert_eq!(set.len(), 4, "{set:?}");
}

#[test]
fn what_is_wrong_is_refused_and_nothing_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    for (key, value, code, why) in [
        ("http.request_max", "1", 3, "did you mean `http.requests_max`?"),
        ("http", "1", 3, "there is no option `http`"),
        ("http.requests_max", "0", 4, "option `requests_max` is 0, outside 1 to 100000"),
        ("http.requests_max", "many", 4, "invalid type: string \"many\", expected u32"),
        ("http.hosts", "[1]", 4, "expected a string"),
        ("http.listen", "127.0.0.1:1", 4, "takes effect when a node starts"),
        ("log.tail_bytes", "1", 4, "takes effect when a node starts"),
        ("query.query_ms_max", "1000", 4, "over `query_ms_max`"),
    ] {
        let (found, said) = refused(&node, &["config", "set", key, value]);
        assert!(found == Some(code) && said.contains(why), "{key} {value}: {found:?} {said}");
    }
    let (code, why) = refused(&node, &["config", "rollback", "http.requests_max", "1"]);
    assert!(code == Some(3) && why.contains("was never set"), "{why}");
    let all = json_of(&node, &["config", "get", "--all"]);
    let all = all.as_array().unwrap();
    assert!(all.len() > 60 && all.iter().all(|option| option["version"] == 0), "something was stored");
}
