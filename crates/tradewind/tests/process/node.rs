//! A node's life: events in, views out, crashes, and an orderly end.

use crate::support::{Node, run, said, tradewind};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use tw_testing::eventually;

const DEFINITIONS: &str = "CREATE STREAM orders (id bigint NOT NULL, customer text, total numeric(12,2));
    CREATE PROJECTION revenue AS SELECT customer, count(*) AS orders, sum(total) AS revenue FROM orders GROUP BY customer";

/// Appends `count` orders from number `first` on; gives the token.
fn append(node: &Node, first: u64, count: u64) -> String {
    let lines: String = (first..first + count)
        .map(|id| json!({ "id": id, "customer": format!("c{}", id % 3), "total": 1.5 }).to_string() + "\n")
        .collect();
    let args = ["append", "orders", "--type", "order.placed", "--subject-from", "id", "-o", "json"];
    let output = node.cli_with(&args, &lines);
    assert!(output.status.success(), "{}", said(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    answer["token"].as_str().unwrap().to_owned()
}

fn total(node: &Node, token: &str) -> Value {
    let sql = "SELECT sum(orders) AS orders, sum(revenue) AS revenue FROM revenue";
    node.rows(sql, Some(token)).swap_remove(0)
}

#[test]
fn prj_2_a_read_with_the_token_of_a_write_sees_it() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    node.ok(&["sql", DEFINITIONS]);
    for round in 0..10 {
        let token = append(&node, round * 7, 7);
        let seen = total(&node, &token);
        assert_eq!(seen["orders"].to_string().trim_matches('"'), ((round + 1) * 7).to_string());
    }
}

#[test]
fn log_1_pro_1_events_and_views_outlive_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(folder.path());
    node.ok(&["sql", DEFINITIONS]);
    let mut events = 0;
    for round in 1..=5 {
        let token = append(&node, events, 50 * round);
        events += 50 * round;
        node.kill();
        node = Node::start(folder.path());
        let seen = total(&node, &token);
        assert_eq!(seen["orders"].to_string().trim_matches('"'), events.to_string());
        assert_eq!(
            seen["revenue"].to_string().trim_matches('"').parse::<f64>().unwrap(),
            events as f64 * 1.5
        );
    }
    let version = node.ok(&["stream", "history", "orders", "7", "-o", "ndjson"]);
    assert_eq!(version.lines().count(), 1, "order 7 was placed once: {version}");
}

#[test]
fn prj_1_state_that_is_lost_is_built_anew_from_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    node.ok(&["sql", DEFINITIONS]);
    let token = append(&node, 0, 100);
    let before = node.rows("SELECT * FROM revenue ORDER BY customer", Some(&token));
    node.kill();
    std::fs::remove_dir_all(folder.path().join("data/state")).unwrap();
    let node = Node::start(folder.path());
    assert_eq!(node.rows("SELECT * FROM revenue ORDER BY customer", Some(&token)), before);
}

#[test]
fn a_signal_drains_and_exits_with_0_and_what_follows_goes_on() {
    for signal in ["-TERM", "-INT"] {
        let folder = tempfile::tempdir().unwrap();
        let node = Node::start(folder.path());
        node.ok(&["sql", DEFINITIONS]);
        let token = append(&node, 0, 30);
        assert_eq!(node.signal(signal).code(), Some(0));
        let node = Node::start(folder.path());
        assert_eq!(total(&node, &token)["orders"].to_string().trim_matches('"'), "30");
    }
}

#[test]
fn a_folder_belongs_to_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let _node = Node::start(folder.path());
    let second = tradewind()
        .args(["up", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.path().join("data"))
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(4), "{}", said(&second));
    assert!(said(&second).contains("another node uses"), "{}", said(&second));
    let verified = tradewind().args(["log", "verify"]).arg(folder.path().join("data")).output().unwrap();
    assert_eq!(verified.status.code(), Some(4), "{}", said(&verified));
}

#[test]
fn an_address_that_others_can_reach_is_refused() {
    let refused = run(&["up", "--listen", "0.0.0.0:0"]);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert!(said(&refused).contains("insecure"), "{}", said(&refused));
}

#[test]
fn log_5_a_log_that_was_left_is_whole_and_damage_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    node.ok(&["sql", DEFINITIONS]);
    append(&node, 0, 500);
    node.kill();
    let data = folder.path().join("data");
    let verify = || tradewind().args(["log", "verify", "-o", "json"]).arg(&data).output().unwrap();
    let verified = verify();
    assert!(verified.status.success(), "{}", said(&verified));
    let told: Value = serde_json::from_slice(&verified.stdout).unwrap();
    let events: u64 =
        told["segments"].as_array().unwrap().iter().map(|segment| segment["events"].as_u64().unwrap()).sum();
    assert!(events >= 500, "{told}");
    let segment = data.join("log/000000000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    // Within the first frames, long before the end.
    bytes[4_200] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let verified = verify();
    assert_eq!(verified.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&verified.stdout).contains("000000000001.seg"), "{}", said(&verified));
}

#[test]
fn a_command_that_is_turned_away_waits_for_its_turn() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tradewind.toml"), "[http]\nrequests_max = 1\n").unwrap();
    let node = Node::start(folder.path());
    node.ok(&["sql", "CREATE STREAM orders (a int)"]);
    // Whoever announces events and does not send them has the only place.
    let address = node.url.strip_prefix("http://").unwrap();
    let mut open = TcpStream::connect(address).unwrap();
    let head = "content-type: application/x-ndjson\r\nexpect: 100-continue\r\ncontent-length: 1\r\nconnection: close";
    write!(open, "POST /v1/streams/orders/events HTTP/1.1\r\nhost: {address}\r\n{head}\r\n\r\n").unwrap();
    let mut invited = [0; 25];
    open.read_exact(&mut invited).unwrap();
    assert_eq!(&invited, b"HTTP/1.1 100 Continue\r\n\r\n");
    std::thread::scope(|scope| {
        let listed = scope.spawn(|| node.ok(&["stream", "ls"]));
        let is_refused = |line: &str| {
            line.starts_with("tradewind_http_requests_total{") && line.contains(r#"status="503""#)
        };
        let refused = || node.metrics().lines().any(is_refused).then_some(());
        eventually(refused, || format!("nobody is turned away:\n{}", node.metrics()));
        assert!(!listed.is_finished());
        open.write_all(b"\n").unwrap();
        assert!(listed.join().unwrap().contains("orders"));
    });
}
