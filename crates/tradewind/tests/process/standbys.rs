//! Reads of standbys on a real cluster: right while owners are paused and killed, and spread over the nodes.

use crate::support::{Cluster, Node, said};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tw_testing::eventually;

const DEFINITIONS: &str = "CREATE STREAM orders (id bigint NOT NULL, customer text, total numeric(12,2)) WITH (partitions = 6);
    CREATE PROJECTION revenue AS SELECT customer, count(*) AS orders, sum(total) AS revenue FROM orders GROUP BY customer;
    CREATE PROJECTION single AS SELECT id, customer, total FROM orders";
/// Nobody is taken for dead in the time of a test: whatever goes on does so without a takeover.
const PATIENT: &str = "cooldown_ms = 0\n\n[cluster.ownership.lease]\nttl_ms = 60000\n\n[cluster.ownership.detection]\n\
                       silent_ms_max = 60000\nrefused_max = 100\nprobe_ms = 1000\nprobe_ms_max = 1000\naway_ms_max = 2000\n";
/// How long a read may take while an owner is paused: far below the lease. A client that starts, and a machine that is busy, are in it.
const BOUND: Duration = Duration::from_secs(6);

/// Appends orders by a node; gives the token.
fn append(node: &Node, ids: std::ops::Range<u64>) -> String {
    let line = |id| json!({ "id": id, "customer": format!("c{}", id % 7), "total": 1.5 }).to_string() + "\n";
    let args = ["append", "orders", "--type", "order.placed", "--subject-from", "id", "-o", "json"];
    let output = node.cli_with(&args, &ids.map(line).collect::<String>());
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["token"].as_str().unwrap().to_owned()
}

/// The numbers of a row, whatever their types.
fn numbers(row: &Value, names: &[&str]) -> Vec<f64> {
    names.iter().map(|name| row[name].to_string().trim_matches('"').parse().unwrap()).collect()
}

/// Reads by a node, with a token, in every way; all orders up to `end` must be there.
fn read_all(node: &Node, token: &str, end: u64) {
    let sql = "SELECT count(*) AS customers, sum(orders) AS orders, sum(revenue) AS revenue FROM revenue";
    let groups = node.rows(sql, Some(token)).swap_remove(0);
    assert_eq!(numbers(&groups, &["customers", "orders", "revenue"]), [7.0, end as f64, end as f64 * 1.5]);
    let rows = node.rows("SELECT count(*) AS n, max(id) AS last FROM single", Some(token)).swap_remove(0);
    assert_eq!(numbers(&rows, &["n", "last"]), [end as f64, end as f64 - 1.0]);
    let group = node.rows("SELECT orders FROM revenue WHERE customer = 'c3'", Some(token)).swap_remove(0);
    assert_eq!(numbers(&group, &["orders"]), [(end + 3).div_euclid(7) as f64]);
}

/// How many partitions a node says that it has read, by node and role.
fn reads(node: &Node) -> Vec<(String, u64)> {
    let metrics = node.metrics();
    let lines = metrics.lines().filter_map(|line| line.strip_prefix("tradewind_partition_reads_total{"));
    let read = |line: &str| {
        let (labels, count) = line.split_once("} ").unwrap();
        (labels.to_owned(), count.parse().unwrap())
    };
    lines.map(read).collect()
}

fn count(reads: &[(String, u64)], label: &str) -> u64 {
    reads.iter().filter(|(labels, _)| labels.contains(label)).map(|(_, count)| count).sum()
}

/// A cluster on which everything can be read from standbys, and the number of orders in it.
fn started() -> (Cluster, u64) {
    let cluster = Cluster::start_with(3, PATIENT);
    cluster.node(0).ok(&["sql", DEFINITIONS]);
    let token = append(cluster.node(0), 0..70);
    cluster.node(0).ok(&["config", "set", "query.read_from", "standbys"]);
    // Every node reads both roles of all others sooner or later.
    for number in 0..3 {
        let node = cluster.node(number);
        let is_spread = || {
            let answer = node.cli(&["sql", "SELECT sum(orders) FROM revenue", "--token", &token]);
            let reads = reads(node);
            let nodes = (0..3).all(|of| count(&reads, &format!("node=\"n{of}\"")) > 0);
            (answer.status.success() && nodes && count(&reads, "standby") > 0).then_some(())
        };
        eventually(is_spread, || format!("n{number}: {:?}", reads(node)));
    }
    (cluster, 70)
}

#[test]
fn prj_2_reads_with_tokens_go_on_at_standbys_while_an_owner_is_paused_or_killed() {
    let (mut cluster, mut end) = started();
    let mut token = String::new();
    for round in 0..12 {
        token = append(cluster.node(round % 3), end..end + 7);
        end += 7;
        (0..3).for_each(|reader| read_all(cluster.node(reader), &token, end));
    }
    let owned = |cluster: &Cluster| {
        let units = cluster.node(0).ok(&["cluster", "partitions", "--node", "n1", "-o", "ndjson"]);
        units.lines().filter(|unit| unit.contains(r#""owner":"n1""#)).count()
    };
    let before = owned(&cluster);
    assert!(before > 0, "n1 owns nothing");
    cluster.node(1).send("-STOP");
    for round in 0..8 {
        for reader in [0, 2] {
            let since = Instant::now();
            read_all(cluster.node(reader), &token, end);
            // Three statements.
            assert!(since.elapsed() < 3 * BOUND, "round {round}, n{reader}: {:?}", since.elapsed());
        }
    }
    assert_eq!(owned(&cluster), before, "somebody has taken over");
    // Who may read from owners only has to wait for it.
    cluster.node(0).ok(&["config", "set", "query.read_from", "owners"]);
    let waits = cluster.node(0).cli(&["sql", "SELECT sum(orders) FROM revenue", "--timeout", "2s"]);
    assert!(!waits.status.success(), "{}", String::from_utf8_lossy(&waits.stdout));
    cluster.node(0).ok(&["config", "set", "query.read_from", "standbys"]);
    cluster.node(1).send("-CONT");
    read_all(cluster.node(1), &token, end);
    cluster.kill(1);
    for reader in [0, 2] {
        let since = Instant::now();
        read_all(cluster.node(reader), &token, end);
        assert!(since.elapsed() < 3 * BOUND, "n{reader}: {:?}", since.elapsed());
    }
    assert_eq!(owned(&cluster), before, "somebody has taken over");
}

#[test]
fn reads_are_spread_as_the_policy_says_which_is_changed_while_nodes_run() {
    let (cluster, _) = started();
    let node = cluster.node(0);
    // One partition, which two nodes have.
    node.ok(&["sql", "CREATE STREAM notes (kind text) WITH (partitions = 1); CREATE PROJECTION noted AS SELECT kind, count(*) AS n FROM notes GROUP BY kind"]);
    let noted = node
        .cli_with(&["append", "notes", "--type", "note", "--subject", "s", "-o", "json"], r#"{"kind":"a"}"#);
    let noted: Value = serde_json::from_slice(&noted.stdout).unwrap();
    let sql = "SELECT n FROM noted WHERE kind = 'a'";
    let is_warm = || {
        let plan = node.ok(&["sql", &format!("EXPLAIN {sql}")]);
        let rows = node.cli(&["sql", sql, "--token", noted["token"].as_str()?]);
        (plan.contains("or a standby") && rows.status.success()).then_some(())
    };
    eventually(is_warm, || "nobody stands by".to_owned());
    let answers = || {
        let before = reads(node);
        for _ in 0..20 {
            assert_eq!(node.rows(sql, noted["token"].as_str())[0]["n"].to_string().trim_matches('"'), "1");
        }
        let more = reads(node).into_iter().map(|(labels, count)| {
            let known = before.iter().find(|(known, _)| *known == labels);
            count - known.map_or(0, |(_, count)| *count)
        });
        let mut more: Vec<u64> = more.filter(|more| *more > 0).collect();
        more.sort_unstable();
        more
    };
    node.ok(&["config", "set", "cluster.balance.policy", "round_robin"]);
    // As soon as the standby has the projection.
    let is_spread = || answers().first().filter(|least| (7..=13).contains(*least)).map(drop);
    eventually(is_spread, || format!("{:?}\n{}", answers(), node.metrics()));
    node.ok(&["config", "set", "cluster.balance.policy", "sticky"]);
    let sticky = || answers().last().filter(|most| **most == 20).map(drop);
    eventually(sticky, || format!("{:?}\n{}", answers(), node.metrics()));
    let refused = node.cli(&["config", "set", "cluster.balance.policy", "best"]);
    assert!(said(&refused).contains("cluster.balance.policy"), "{}", said(&refused));
}
