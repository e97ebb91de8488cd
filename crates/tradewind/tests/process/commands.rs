//! The commands against a node: what they do, and the codes with which they end.

use crate::support::{Node, run, said};
use serde_json::{Value, json};

#[test]
fn exit_codes_tell_what_went_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    node.ok(&["stream", "create", "orders", "-c", "id bigint not null"]);
    for (args, code) in [
        (&["stream", "show", "orders"][..], 0),
        (&["stream", "show", "nothing"][..], 3),
        (&["projection", "show", "nothing"][..], 3),
        (&["source", "show", "nothing"][..], 3),
        (&["sql", "SELEC 1"][..], 4),
        (&["stream", "drop", "orders"][..], 4),
        (&["append", "orders", "{\"id\": \"x\"}"][..], 4),
        (&["append", "orders", "{\"id\": 1}", "--subject", "a", "--expect", "3"][..], 4),
        (&["stream", "shwo"][..], 2),
    ] {
        let output = node.cli(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", said(&output));
    }
    let nobody = run(&["status", "--url", "http://127.0.0.1:9"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(said(&nobody).contains("tradewind up"), "{}", said(&nobody));
}

#[test]
fn a_name_that_is_almost_right_is_answered_with_the_right_one() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    node.ok(&["stream", "create", "orders"]);
    let output = node.cli(&["stream", "show", "order"]);
    assert!(said(&output).contains("did you mean `orders`?"), "{}", said(&output));
}

#[test]
fn log_3_an_append_with_an_expected_version_succeeds_once() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    node.ok(&["stream", "create", "orders"]);
    let append = |expect: &str| {
        node.cli(&["append", "orders", "{\"a\": 1}", "--subject", "order-7", "--expect", expect])
            .status
            .code()
    };
    assert_eq!(append("none"), Some(0));
    assert_eq!(append("none"), Some(4));
    assert_eq!(append("1"), Some(0));
    assert_eq!(append("1"), Some(4));
    let history = node.ok(&["stream", "history", "orders", "order-7", "-o", "ndjson"]);
    assert_eq!(history.lines().count(), 2);
}

#[test]
fn a_tail_from_the_earliest_event_shows_all_and_then_what_comes() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    node.ok(&["stream", "create", "clicks"]);
    node.ok(&["append", "clicks", "{\"page\": \"/\"}", "{\"page\": \"/cart\"}"]);
    let tail = node.ok(&["tail", "clicks", "--from", "earliest", "-n", "2", "-o", "ndjson"]);
    let pages: Vec<Value> = tail
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap().pointer("/data/page").unwrap().clone())
        .collect();
    assert_eq!(pages.len(), 2);
    assert!(pages.contains(&json!("/cart")), "{pages:?}");
}

#[test]
fn a_projection_is_paused_resumed_rebuilt_and_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    node.ok(&[
        "sql",
        "CREATE STREAM n (x bigint); CREATE PROJECTION s AS SELECT sum(x) AS s, count(*) AS c FROM n",
    ]);
    node.ok(&["append", "n", "{\"x\": 1}", "{\"x\": 2}"]);
    node.ok(&["projection", "wait", "s"]);
    node.ok(&["projection", "pause", "s"]);
    assert_eq!(node.cli(&["projection", "wait", "s"]).status.code(), Some(4));
    node.ok(&["append", "n", "{\"x\": 4}"]);
    node.ok(&["projection", "resume", "s"]);
    node.eventually("SELECT c FROM s", &[json!({ "c": 3 })]);
    node.ok(&["projection", "rebuild", "s", "--wait"]);
    node.eventually("SELECT c FROM s", &[json!({ "c": 3 })]);
    assert_eq!(node.cli(&["stream", "drop", "n", "--yes"]).status.code(), Some(4), "a projection reads it");
    node.ok(&["projection", "drop", "s", "--yes"]);
    node.ok(&["stream", "drop", "n", "--yes"]);
    assert_eq!(node.cli(&["stream", "show", "n"]).status.code(), Some(3));
}

#[test]
fn the_state_of_the_node_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    let status: Value = serde_json::from_str(&node.ok(&["status", "-o", "json"])).unwrap();
    assert_eq!((&status["state"], &status["problems"]), (&json!("ready"), &json!([])));
}

#[test]
fn configurations_are_checked_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tradewind.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        run(&["config", "check", file.to_str().unwrap()])
    };
    assert!(check("[http]\nlisten = \"127.0.0.1:7171\"\n").status.success());
    let unknown = check("[http]\nlissten = \"127.0.0.1:7171\"\n");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(said(&unknown).contains("lissten"), "{}", said(&unknown));
    assert_eq!(check("[http]\nlisten = \"0.0.0.0:7171\"\n").status.code(), Some(2));
    let shown = run(&["config", "show", "--listen", "127.0.0.1:7272"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("listen = \"127.0.0.1:7272\""), "{shown}");
    assert!(check(&shown).status.success());
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        assert!(output.status.success() && output.stdout.len() > 1_000, "{shell}");
    }
}
