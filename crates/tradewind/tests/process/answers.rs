//! Answers that nodes keep, on a real cluster.

use crate::support::{Cluster, Node, said};
use serde_json::{Value, json};
use tw_testing::eventually;

const DEFINITIONS: &str = "CREATE STREAM orders (id bigint, customer text, total bigint) WITH (partitions = 6);
    CREATE PROJECTION revenue AS SELECT customer, count(*) AS orders, sum(total) AS revenue FROM orders GROUP BY customer";
const QUESTION: &str = "SELECT count(*) AS customers, sum(orders) AS orders FROM revenue";

/// Appends orders; gives the token.
fn append(node: &Node, ids: std::ops::Range<u64>) -> String {
    let lines =
        ids.map(|id| json!({ "id": id, "customer": format!("c{}", id % 7), "total": 3 }).to_string() + "\n");
    let args = ["append", "orders", "--type", "order.placed", "--subject-from", "id", "-o", "json"];
    let output = node.cli_with(&args, &lines.collect::<String>());
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["token"].as_str().unwrap().to_owned()
}

/// What a node measures.
fn metric(node: &Node, name: &str) -> f64 {
    let metrics = node.metrics();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

#[test]
fn prj_2_a_statement_that_is_asked_again_is_answered_by_what_was_kept_until_the_log_moves() {
    let cluster = Cluster::start(2);
    cluster.node(0).ok(&["sql", DEFINITIONS]);
    let mut orders = 0;
    for (round, node) in [0, 1, 0].into_iter().enumerate() {
        // By the other node.
        let token = append(cluster.node(1 - node), orders..orders + 60);
        orders += 60;
        let node = cluster.node(node);
        let known = || node.cli(&["sql", QUESTION, "--token", &token]).status.success().then_some(());
        eventually(known, || "the projection cannot be read".to_owned());
        let before = metric(node, "tradewind_answers_hits");
        let again = || {
            let rows = node.rows(QUESTION, Some(&token));
            assert_eq!(rows[0]["customers"], 7, "round {round}: {rows:?}");
            assert_eq!(
                rows[0]["orders"].to_string().trim_matches('"'),
                orders.to_string(),
                "round {round}: {rows:?}"
            );
            (metric(node, "tradewind_answers_hits") > before).then_some(())
        };
        eventually(again, || format!("round {round}: nothing is kept\n{}", node.metrics()));
        assert!(metric(node, "tradewind_answers_bytes") > 0.0);
    }
    // Nobody has to start anew for that.
    let node = cluster.node(0);
    node.ok(&["config", "set", "query.answers_bytes_max", "0"]);
    let gone = || (metric(node, "tradewind_answers_kept") == 0.0).then_some(());
    eventually(gone, || format!("answers stay\n{}", node.metrics()));
    let misses = metric(node, "tradewind_answers_misses");
    node.rows(QUESTION, None);
    assert_eq!(metric(node, "tradewind_answers_misses"), misses);
}
