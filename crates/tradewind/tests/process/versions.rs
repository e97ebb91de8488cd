//! A new version of a projection waits, is compared with what answers, and takes over when it is released.

use crate::support::{Node, said};
use serde_json::{Value, json};
use tw_testing::eventually;

const OLD: &str = "SELECT customer, sum(total) AS total FROM orders GROUP BY customer";
const NEW: &str =
    "SELECT customer, sum(total) AS total, count(*) AS n FROM orders WHERE total > 0 GROUP BY customer";

fn order(id: &str, customer: &str, total: i64) -> String {
    json!({
        "specversion": "1.0", "id": id, "source": "/shop", "type": "order", "subject": id,
        "data": { "customer": customer, "total": total },
    })
    .to_string()
        + "\n"
}

fn ready(node: &Node) {
    let projection = || -> Value {
        serde_json::from_str(&node.ok(&["projection", "show", "revenue", "-o", "json"])).unwrap()
    };
    let is_ready = || (projection()["build"]["ready"] == json!(true)).then_some(());
    eventually(is_ready, || projection().to_string());
}

#[test]
fn prj_1_a_new_version_is_compared_before_it_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    node.ok(&["sql", "CREATE STREAM orders (customer text NOT NULL, total bigint) WITH (partitions = 2)"]);
    let orders: String =
        [order("1", "ann", 40), order("2", "ann", -10), order("3", "bob", -3), order("4", "cid", 5)].concat();
    assert!(node.cli_with(&["append", "orders"], &orders).status.success());
    node.ok(&["sql", &format!("CREATE PROJECTION revenue AS {OLD}")]);
    node.ok(&["projection", "wait", "revenue"]);
    let refused = node.cli(&["projection", "compare", "revenue"]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(said(&refused).contains("no new version of it is being built"), "{}", said(&refused));

    node.ok(&["projection", "hold", "revenue"]);
    node.ok(&["sql", &format!("CREATE OR REPLACE PROJECTION revenue AS {NEW}")]);
    ready(&node);
    node.ok(&["projection", "wait", "revenue"]);
    // A crash in between changes nothing.
    node.kill();
    let node = Node::start(folder.path());
    ready(&node);
    let told = node.ok(&["projection", "compare", "revenue"]);
    let expected = "\
projection        revenue
rows              3 now, 2 in the new version
the same          1
different         1
only now          1
only new          0
columns only new  n

version  customer  total
───────  ────────  ─────
now      ann       30
new      ann       40
now      bob       -3
";
    assert_eq!(told, expected);
    let part = node.ok(&["projection", "compare", "revenue", "--where", "customer = 'cid'", "-o", "json"]);
    let part: Value = serde_json::from_str(&part).unwrap();
    assert_eq!((&part["same"], &part["rows"], &part["new"]["sql"]), (&json!(1), &json!([]), &json!(NEW)));
    let refused = node.cli(&["projection", "compare", "revenue", "--where", "total >"]);
    assert_eq!(refused.status.code(), Some(4), "{}", said(&refused));
    assert_eq!(
        node.rows("SELECT count(*) AS n FROM revenue", None),
        [json!({"n": 3})],
        "it does not answer yet"
    );

    node.ok(&["projection", "release", "revenue"]);
    node.ok(&["projection", "wait", "revenue"]);
    let rows = node.rows("SELECT * FROM revenue ORDER BY customer", None);
    assert_eq!(
        rows,
        [json!({"customer": "ann", "total": "40", "n": 1}), json!({"customer": "cid", "total": "5", "n": 1})]
    );
}
