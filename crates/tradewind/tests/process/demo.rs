//! The demo: the README's main command.

use crate::support::{Node, said, tradewind};
use serde_json::json;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use tw_testing::Postgres;

fn demo(folder: &Path, args: &[&str]) -> Command {
    let mut command = tradewind();
    command.args(["demo", "--listen", "127.0.0.1:0", "--rate", "1000"]).args(args);
    command.args(["--data", "data"]).current_dir(folder).stdin(Stdio::null());
    command
}

/// Runs it until it has printed so many lines, and then ends it as a crash would.
fn crash(folder: &Path, lines: usize) {
    let mut running = demo(folder, &[]).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(running.stdout.take().unwrap()).lines();
    for _ in 0..lines {
        output.next().expect("it goes on").unwrap();
    }
    running.kill().unwrap();
    running.wait().unwrap();
}

#[test]
fn pro_1_a_demo_that_crashed_goes_on_and_everything_has_happened_once() {
    let folder = tempfile::tempdir().unwrap();
    crash(folder.path(), 11);
    crash(folder.path(), 9);
    let again = demo(folder.path(), &["--seconds", "1"]).output().unwrap();
    assert!(again.status.success(), "{}", said(&again));
    assert!(said(&again).contains("going on where it was"), "{}", said(&again));
    let node = Node::start(folder.path());
    node.ok(&["projection", "wait", "orders_by_state"]);
    // Order n is the n-th: none is missing, none is there twice.
    let placed = "SELECT count(*) = max(id) + 1 AND count(DISTINCT id) = count(*) AS exact FROM shop.orders WHERE state = 'placed'";
    node.eventually(placed, &[json!({ "exact": true })]);
    let view = "SELECT (SELECT sum(orders) FROM orders_by_state)::bigint = (SELECT count(*) FROM shop.orders) AS exact";
    node.eventually(view, &[json!({ "exact": true })]);
}

#[test]
fn prj_1_a_demo_with_a_database_shows_what_the_database_says() {
    let server = Postgres::start();
    let url = server.url("postgres");
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let ran = demo(folder.path(), &["--seconds", "2", "--postgres", &url]).output().unwrap();
        assert!(ran.status.success(), "{}", said(&ran));
    }
    let question = "SELECT state, count(*) FROM orders GROUP BY state ORDER BY state";
    let psql =
        Command::new(server.install().program("psql")).args(["-XAtq", "-F,", "-c", question, &url]).output();
    let theirs = String::from_utf8(psql.unwrap().stdout).unwrap();
    assert!(theirs.lines().count() >= 3, "{theirs}");
    let node = Node::start(folder.path());
    let rows: Vec<_> = theirs
        .lines()
        .map(|line| {
            let (state, orders) = line.split_once(',').unwrap();
            json!({ "state": state, "orders": orders.parse::<u64>().unwrap() })
        })
        .collect();
    node.eventually("SELECT state, orders FROM orders_by_state WHERE orders > 0 ORDER BY state", &rows);
}

#[test]
fn a_database_that_does_not_let_the_demo_in_is_named_without_its_password() {
    let server = Postgres::builder().access("host all all 127.0.0.1/32 scram-sha-256\n").start();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("postgres://somebody:a-secret@127.0.0.1:{}/postgres", server.port());
    let ran = demo(folder.path(), &["--seconds", "1", "--postgres", &url]).output().unwrap();
    assert!(!ran.status.success(), "{}", said(&ran));
    let database = format!("as `somebody` at `127.0.0.1:{}`", server.port());
    for part in [database.as_str(), "password authentication failed", "check that"] {
        assert!(said(&ran).contains(part), "{}", said(&ran));
    }
    assert!(!said(&ran).contains("a-secret"), "{}", said(&ran));
}
