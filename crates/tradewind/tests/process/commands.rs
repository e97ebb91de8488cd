//! The commands against a node: what they do, and the codes with which they end.

use crate::support::{Node, run, said, tradewind};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

/// A command and the code with which it must end.
type Case<'a> = (&'a [&'a str], i32);

#[test]
fn exit_codes_tell_what_went_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    node.ok(&["stream", "create", "orders", "-c", "id bigint not null"]);
    node.ok(&["append", "orders", "{\"id\": 1}", "--subject", "a"]);
    node.ok(&["sql", "CREATE PROJECTION n AS SELECT count(*) AS n FROM orders"]);
    let number = node.ok(&["stream", "show", "orders", "-o", "json"]);
    let number: Value = serde_json::from_str(&number).unwrap();
    // A cut that nothing will reach.
    let far = format!("tw1;{}=0:1000000", number["id"]);
    let none = folder.path().join("none").display().to_string();
    let empty = folder.path().display().to_string();
    let cases: &[Case<'_>] = &[
        (&["stream", "show", "orders"], 0),
        (&["sql", "SELECT * FROM n"], 0),
        (&["status"], 0),
        // The command line is wrong.
        (&["stream", "shwo"], 2),
        (&["sql", ""], 2),
        (&["append", "orders", "no json"], 2),
        (&["append", "orders", "-", "--idempotency-key", "k"], 2),
        (&["parked", "show", "n/orders/0"], 2),
        (&["status", "--url", "https://localhost"], 2),
        // Nothing has that name.
        (&["stream", "show", "nothing"], 3),
        (&["stream", "history", "orders", "nobody"], 3),
        (&["projection", "show", "nothing"], 3),
        (&["projection", "wait", "nothing"], 3),
        (&["source", "show", "nothing"], 3),
        (&["source", "resume", "nothing"], 3),
        (&["append", "nothing", "{}"], 3),
        (&["tail", "nothing", "-n", "1"], 3),
        (&["sql", "SELECT * FROM nothing"], 3),
        (&["sql", "SELECT * FROM events.nothing"], 3),
        (&["sql", "CREATE PROJECTION p AS SELECT a FROM nothing"], 3),
        (&["sql", "DROP STREAM nothing"], 3),
        (&["sql", "-f", &none], 3),
        (&["log", "verify", &none], 3),
        (&["log", "verify", &empty], 3),
        (&["config", "check", &none], 3),
        // The node says no.
        (&["sql", "SELEC 1"], 4),
        (&["sql", "SELECT nothing FROM orders"], 4),
        (&["sql", "SELECT 1 / 0"], 4),
        (&["sql", "DROP STREAM orders"], 4),
        (&["stream", "drop", "orders"], 4),
        (&["stream", "create", "orders"], 4),
        (&["append", "orders", "{\"id\": \"x\"}"], 4),
        (&["append", "orders", "{\"id\": 1}", "--subject", "a", "--expect", "3"], 4),
        // It takes too long.
        (&["sql", "SELECT * FROM orders", "--token", &far, "--timeout", "50ms"], 5),
        (&["sql", "SELECT * FROM n", "--token", &far, "--timeout", "50ms"], 5),
    ];
    for (args, code) in cases {
        let output = node.cli(args);
        assert_eq!(output.status.code(), Some(*code), "{args:?}: {}", said(&output));
        assert_eq!(said(&output).is_empty(), *code == 0, "{args:?}: {}", said(&output));
    }
    let nobody = run(&["status", "--url", "http://127.0.0.1:9"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(said(&nobody).contains("tradewind up"), "{}", said(&nobody));
    node.kill();
    // Nothing can be well on a disk of which so much must be free.
    std::fs::write(folder.path().join("tradewind.toml"), "[node]\ndisk_free_bytes_min = 1099511627776\n")
        .unwrap();
    let node = Node::start(folder.path());
    let degraded = node.cli(&["status"]);
    assert_eq!(degraded.status.code(), Some(6), "{}", said(&degraded));
    assert!(said(&degraded).contains("bytes are free"), "{}", said(&degraded));
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
fn a_dash_stands_for_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    node.ok(&["stream", "create", "orders"]);
    for args in [&["append", "orders", "-"][..], &["append", "orders"]] {
        let output = node.cli_with(args, "{\"a\": 1}\n{\"a\": 2}\n");
        assert!(output.status.success(), "{}", said(&output));
    }
    assert!(node.ok(&["sql", "SELECT count(*) AS n FROM orders", "-o", "ndjson"]).contains("\"n\":4"));
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
    let filters = ["--json-path", "$.page=/cart", "--text", "CART"];
    for command in [vec!["tail", "clicks", "--from", "earliest", "-n", "1"], vec!["replay", "clicks"]] {
        let found = node.ok(&[&command[..], &filters, &["-o", "ndjson"]].concat());
        let found: Value = serde_json::from_str(&found).unwrap();
        assert_eq!(found["data"]["page"], "/cart", "{command:?}");
    }
    let refused = node.cli(&["replay", "clicks", "--json-path", "page"]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(said(&refused).contains("write a path of JSONPath"), "{}", said(&refused));
}

#[test]
fn a_tail_of_several_streams_names_each_and_goes_on_where_it_was_after_a_restart_of_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    for stream in ["clicks", "orders"] {
        node.ok(&["stream", "create", stream]);
    }
    node.ok(&["append", "clicks", "{\"n\": 1}"]);
    node.ok(&["append", "orders", "{\"n\": 2}"]);
    let tail =
        ["tail", "clicks", "orders", "--from", "earliest", "-o", "ndjson", "-n", "4", "--url", &node.url];
    let mut child = tradewind()
        .args(tail)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || {
        let event: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        (event["stream"].as_str().unwrap().to_owned(), event["data"]["n"].as_u64().unwrap())
    };
    assert_eq!([next(), next()], [("clicks".into(), 1), ("orders".into(), 2)]);
    let port: u16 = node.url.rsplit(':').next().unwrap().parse().unwrap();
    node.kill();
    let node = Node::start_on(folder.path(), port);
    node.ok(&["append", "orders", "{\"n\": 3}"]);
    node.ok(&["append", "clicks", "{\"n\": 4}"]);
    assert_eq!([next(), next()], [("orders".into(), 3), ("clicks".into(), 4)]);
    assert!(child.wait().unwrap().success());
    assert_eq!(node.cli(&["tail", "clicks", "orders", "--partition", "1"]).status.code(), Some(2));
    assert_eq!(node.cli(&["tail", "clicks", "nothing", "-n", "1"]).status.code(), Some(3));
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

#[test]
fn top_is_a_table_where_there_is_no_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    node.ok(&["stream", "create", "orders", "-p", "2"]);
    node.ok(&["append", "orders", "{\"id\": 1}", "--subject", "a"]);
    node.ok(&["sql", "CREATE PROJECTION n AS SELECT count(*) AS n FROM orders"]);
    node.ok(&["projection", "wait", "n"]);
    let top: Vec<Value> = serde_json::from_str(&node.ok(&["top", "--sort", "name", "-o", "json"])).unwrap();
    let lines: Vec<Value> = top.iter().map(|one| json!([one["kind"], one["name"], one["state"]])).collect();
    assert_eq!(lines, [json!(["stream", "orders", ""]), json!(["projection", "n", "running"])]);
    assert!(top[0]["bytes"].as_u64().unwrap() > 0 && top[1]["lag_events"] == 0, "{top:?}");
    let table = node.ok(&["top"]);
    assert!(table.starts_with("kind ") && table.contains("orders") && table.contains("running"), "{table}");
    let all = node.ok(&["top", "--all", "-o", "csv"]);
    assert!(all.contains("stream,$config,"), "{all}");
    let partitions: Vec<Value> = serde_json::from_str(&node.ok(&["top", "orders", "-o", "json"])).unwrap();
    let held: u64 = partitions.iter().map(|one| one["held_events"].as_u64().unwrap()).sum();
    assert_eq!((partitions.len(), held), (2, 1));
    assert_eq!(node.cli(&["top", "nothing"]).status.code(), Some(3));
}
