//! Sources as their users see them: how they are, and what pausing and dropping them does.

use crate::support::{Node, psql, said};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use tw_testing::{Postgres, eventually};

const TABLE: &str = "CREATE TABLE orders (id int PRIMARY KEY, total int);
    INSERT INTO orders SELECT g, g FROM generate_series(1, 3000) g; ANALYZE orders";
/// A snapshot that lasts long enough to be seen.
const SLOWLY: &str = "WITH (snapshot_rows_per_second_max = 1000, chunk_rows_max = 200, retry_ms_max = 200, heartbeat_ms = 200)";

/// Keeps everybody from the table until it is dropped.
struct Held(Child);

impl Held {
    fn new(server: &Postgres) -> Self {
        let mut psql = Command::new(server.install().program("psql"))
            .args(["-v", "ON_ERROR_STOP=1", "-q", &server.url("postgres")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let sql = b"BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE;\n\\echo held\n";
        psql.stdin.as_mut().unwrap().write_all(sql).unwrap();
        let mut line = String::new();
        BufReader::new(psql.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Self(psql)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Without its client, the server rolls the transaction back.
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

fn create(node: &Node, server: &Postgres, with: &str) {
    let url = server.url("postgres");
    node.ok(&["sql", &format!("CREATE SOURCE shop FROM POSTGRES '{url}' TABLES (orders) {with}")]);
}

/// The source as `tradewind source ls` tells it.
fn source(node: &Node) -> Value {
    let listed: Value = serde_json::from_str(&node.ok(&["source", "ls", "-o", "json"])).unwrap();
    listed[0].clone()
}

/// Waits until the source is in this state, and gives it.
fn in_state(node: &Node, state: &str) -> Value {
    let look = || Some(source(node)).filter(|source| source["state"] == state);
    eventually(look, || format!("it is not {state}: {}", source(node)))
}

/// What SHOW SOURCES says of its state.
fn shown(node: &Node) -> Value {
    node.rows("SHOW SOURCES", None)[0]["state"].clone()
}

/// Waits until a metric of the source has a value that fits.
fn metric(node: &Node, name: &str, fits: impl Fn(f64) -> bool) {
    let value = || {
        let text = node.metrics();
        let line = text.lines().find(|line| line.starts_with(name) && line.contains("source=\"shop\""))?;
        line.rsplit_once(' ')?.1.parse::<f64>().ok()
    };
    eventually(|| value().filter(|value| fits(*value)).map(drop), || format!("{name}: {:?}", value()));
}

fn is_streaming_from(server: &Postgres, active: bool) {
    psql(server, &format!("SELECT 1 / (bool_and(active) = {active})::int FROM pg_replication_slots"));
}

#[test]
fn a_source_tells_its_snapshot_its_lag_its_slot_and_what_is_wrong_with_it() {
    let mut server = Postgres::start();
    psql(&server, TABLE);
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    create(&node, &server, &SLOWLY.replace("max = 1000", "max = 400"));
    let reading = || {
        let source = in_state(&node, "snapshotting");
        let snapshot = source["tables"][0]["snapshot"].clone();
        let (done, total) = (snapshot["done"].as_u64()?, snapshot["total"].as_u64()?);
        (done > 0 && (3_000..3_300).contains(&total)).then_some(())
    };
    eventually(reading, || format!("no progress: {}", source(&node)));
    // It does not come to its end while it is looked at.
    let held = Held::new(&server);
    assert!(node.ok(&["source", "ls"]).contains("% of about 3,000"));
    assert_eq!(shown(&node), "snapshotting");
    metric(&node, "tradewind_source_snapshot_rows{", |rows| rows > 0.0);
    metric(&node, "tradewind_source_snapshot_rows_estimate{", |rows| rows >= 3_000.0);
    metric(&node, "tradewind_source_streaming{", |streaming| streaming == 1.0);
    drop(held);

    in_state(&node, "streaming");
    let told = || {
        let source = source(&node);
        (source["slot"]["wal_status"] == "reserved"
            && source["retained_bytes"].is_u64()
            && source["lag_bytes"].is_u64()
            && source["lag_ms"].is_u64())
        .then_some(())
    };
    eventually(told, || format!("something is missing: {}", source(&node)));
    let row = &node.rows("SHOW SOURCES", None)[0];
    assert_eq!((&row["state"], row["lag_ms"].is_u64()), (&json!("streaming"), true), "{row}");
    metric(&node, "tradewind_source_streaming{", |streaming| streaming == 1.0);
    metric(&node, "tradewind_source_slot_reserved{", |reserved| reserved == 1.0);
    metric(&node, "tradewind_source_retained_bytes{", |bytes| bytes >= 0.0);
    metric(&node, "tradewind_source_snapshot_rows{", f64::is_nan);

    server.kill();
    let broken = in_state(&node, "retrying");
    assert!(broken["error"].as_str().unwrap().contains("PostgreSQL"), "{broken}");
    assert_eq!(shown(&node), "retrying");
    let status = node.cli(&["status"]);
    assert_eq!(status.status.code(), Some(6));
    assert!(said(&status).contains("source `shop`"), "{}", said(&status));
    metric(&node, "tradewind_source_streaming{", |streaming| streaming == 0.0);
    // Nobody knows how far it is behind now, nor how its slot is.
    assert!(broken["lag_ms"].is_null() && broken["lag_bytes"].is_null(), "{broken}");
    assert!(broken["retained_bytes"].is_null() && broken["slot"].is_null(), "{broken}");
    metric(&node, "tradewind_source_lag_seconds{", f64::is_nan);
    metric(&node, "tradewind_source_slot_reserved{", f64::is_nan);
    server.start_again();
    in_state(&node, "streaming");
    psql(&server, "INSERT INTO orders VALUES (5000, 1)");
    node.eventually("SELECT count(*) AS n FROM shop.orders", &[json!({ "n": 3_001 })]);
    assert_eq!(node.cli(&["status"]).status.code(), Some(0));
}

#[test]
fn a_source_whose_database_is_unreachable_is_dropped_and_what_stays_is_named() {
    let mut server = Postgres::start();
    psql(&server, TABLE);
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    create(&node, &server, "");
    in_state(&node, "streaming");
    server.stop();
    let dropped = node.ok(&["source", "drop", "shop", "--yes"]);
    assert!(
        dropped.contains("`tradewind_shop`") && dropped.contains("may still be in the database"),
        "{dropped}"
    );
    assert_eq!(node.cli(&["source", "show", "shop"]).status.code(), Some(3));
    metric(&node, "tradewind_source_streaming{", f64::is_nan);
    node.kill();
    let node = Node::start(folder.path());
    assert_eq!(node.ok(&["source", "ls", "-o", "json"]).trim(), "[]");
    node.eventually("SELECT count(*) AS n FROM shop.orders", &[json!({ "n": 3_000 })]);
    // What was said about what stays is true, and a new source of the name goes on.
    server.start_again();
    psql(
        &server,
        "SELECT 1 / (count(*) = 1)::int FROM pg_replication_slots WHERE slot_name = 'tradewind_shop'",
    );
    psql(&server, "DELETE FROM orders WHERE id <= 1000");
    create(&node, &server, "");
    node.eventually("SELECT count(*) AS n FROM shop.orders", &[json!({ "n": 2_000 })]);
    let dropped = node.ok(&["sql", "DROP SOURCE shop"]);
    assert!(!dropped.contains("still"), "{dropped}");
    psql(&server, "SELECT 1 / (count(*) = 0)::int FROM pg_replication_slots");
}

#[test]
fn cap_1_a_paused_source_stands_still_also_after_a_restart_and_goes_on_without_loss() {
    let server = Postgres::start();
    psql(&server, TABLE);
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    create(&node, &server, SLOWLY);
    // In the middle of its snapshot.
    in_state(&node, "snapshotting");
    let paused = node.ok(&["sql", "PAUSE SOURCE shop"]);
    assert!(paused.contains("keeps WAL"), "{paused}");
    is_streaming_from(&server, false);
    assert_eq!((source(&node)["state"].clone(), shown(&node)), (json!("paused"), json!("paused")));
    psql(&server, "UPDATE orders SET total = -1 WHERE id % 2 = 0; DELETE FROM orders WHERE id <= 100");
    let refused = node.cli(&["source", "resnapshot", "shop"]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(said(&refused).contains("resume"), "{}", said(&refused));

    node.kill();
    let node = Node::start(folder.path());
    let still = source(&node);
    assert_eq!((&still["state"], &still["tables"][0]["state"]), (&json!("paused"), &json!("paused")));
    is_streaming_from(&server, false);
    assert_eq!(node.cli(&["status"]).status.code(), Some(0), "somebody has wanted it so");
    assert!(node.ok(&["sql", "PAUSE SOURCE shop"]).contains("paused already"));
    node.ok(&["source", "resume", "shop"]);
    let question = "SELECT count(*) AS n, sum(total) AS total FROM shop.orders";
    let all = (101..=3_000).map(|id| if id % 2 == 0 { -1 } else { id }).sum::<i64>();
    node.eventually(question, &[json!({ "n": 2_900, "total": all })]);

    // While it streams.
    in_state(&node, "streaming");
    node.ok(&["source", "pause", "shop"]);
    is_streaming_from(&server, false);
    psql(&server, "INSERT INTO orders VALUES (9000, 7)");
    node.ok(&["sql", "RESUME SOURCE shop"]);
    node.eventually(question, &[json!({ "n": 2_901, "total": all + 7 })]);
    let again: Value = serde_json::from_str(&node.ok(&["source", "show", "shop", "-o", "json"])).unwrap();
    assert_eq!(again["state"], "streaming", "{again}");

    assert_eq!(node.cli(&["source", "pause", "shoop"]).status.code(), Some(3));
    node.ok(&["source", "pause", "shop"]);
    node.ok(&["source", "drop", "shop", "--yes"]);
    psql(&server, "SELECT 1 / (count(*) = 0)::int FROM pg_replication_slots");
}

#[test]
fn tables_with_quoted_names_are_captured_by_their_names() {
    let server = Postgres::start();
    psql(
        &server,
        "CREATE SCHEMA sales; CREATE TABLE sales.\"Order Lines\" (id int PRIMARY KEY); INSERT INTO sales.\"Order Lines\" VALUES (1);
         CREATE TABLE \"Orders\" (id int PRIMARY KEY); INSERT INTO \"Orders\" VALUES (1), (2);
         CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders VALUES (1), (2), (3)",
    );
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    let url = server.url("postgres");
    let tables = "sales.\"Order Lines\", \"Orders\"";
    node.ok(&["sql", &format!("CREATE SOURCE shop FROM POSTGRES '{url}' TABLES ({tables})")]);
    node.eventually("SELECT count(*) AS n FROM shop.\"sales.Order Lines\"", &[json!({ "n": 1 })]);
    node.eventually("SELECT count(*) AS n FROM shop.\"Orders\"", &[json!({ "n": 2 })]);
    let named = |source: &Value| {
        let tables = source["tables"].as_array().unwrap().iter();
        tables.map(|table| format!("{} {}", table["name"], table["stream"])).collect::<Vec<_>>()
    };
    let wanted = ["\"public.Orders\" \"shop.Orders\"", "\"sales.Order Lines\" \"shop.sales.Order Lines\""];
    in_state(&node, "streaming");
    assert_eq!(named(&source(&node)), wanted);
    // A name that is wrong is told before any table is read again.
    let refused = node.cli(&["source", "resnapshot", "shop", "public.Orders", "orders"]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(said(&refused).contains("`orders` is no table of source `shop`"), "{}", said(&refused));
    node.ok(&["source", "resnapshot", "shop", "sales.\"Order Lines\""]);
    node.ok(&["source", "pause", "shop"]);
    let mut paused = named(&source(&node));
    paused.sort();
    assert_eq!(paused, wanted);
}
