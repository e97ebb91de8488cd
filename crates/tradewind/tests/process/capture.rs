//! A table of a PostgreSQL as a live view.

use crate::support::{Node, psql, said};
use serde_json::json;
use tw_testing::Postgres;

const TABLE: &str = "CREATE TABLE orders (id int PRIMARY KEY, customer text, total numeric(12,2));
    INSERT INTO orders SELECT g, 'c' || g % 2, 1.25 FROM generate_series(1, 100) g";
const VIEW: &str = "CREATE PROJECTION revenue AS SELECT customer, count(*) AS orders, sum(total) AS revenue FROM shop.orders GROUP BY customer";
const QUESTION: &str = "SELECT customer, orders, revenue::text AS revenue FROM revenue ORDER BY customer";

#[test]
fn cap_2_a_captured_table_is_a_view_that_is_right_after_kill_9_of_either_side() {
    let mut server = Postgres::start();
    psql(&server, TABLE);
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    let url = server.url("postgres");
    node.ok(&["sql", &format!("CREATE SOURCE shop FROM POSTGRES '{url}' TABLES (public.orders)")]);
    node.ok(&["sql", VIEW]);
    let row =
        |customer, orders, revenue| json!({ "customer": customer, "orders": orders, "revenue": revenue });
    node.eventually(QUESTION, &[row("c0", 50, "62.50"), row("c1", 50, "62.50")]);
    psql(&server, "UPDATE orders SET customer = 'c2' WHERE id <= 10; DELETE FROM orders WHERE id > 90");
    node.eventually(QUESTION, &[row("c0", 40, "50.00"), row("c1", 40, "50.00"), row("c2", 10, "12.50")]);
    node.kill();
    psql(&server, "DELETE FROM orders WHERE customer = 'c2'; INSERT INTO orders VALUES (1000, 'c3', 7)");
    server.kill();
    let node = Node::start(folder.path());
    server.start_again();
    node.eventually(QUESTION, &[row("c0", 40, "50.00"), row("c1", 40, "50.00"), row("c3", 1, "7.00")]);
    let latest = "SELECT count(*) AS n FROM shop.orders";
    node.eventually(latest, &[json!({ "n": 81 })]);
    let listed = node.ok(&["source", "ls", "-o", "json"]);
    assert!(listed.contains("\"shop\"") && listed.contains("shop.orders"), "{listed}");
    node.ok(&["projection", "drop", "revenue", "--yes"]);
    node.ok(&["source", "drop", "shop", "--yes"]);
    psql(&server, "SELECT 1 / (count(*) = 0)::int FROM pg_replication_slots");
    psql(&server, "SELECT 1 / (count(*) = 0)::int FROM pg_publication");
}

#[test]
fn a_database_that_cannot_be_captured_is_refused_with_the_remedy() {
    let server = Postgres::builder().setting("wal_level", "replica").start();
    psql(&server, TABLE);
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    let url = server.url("postgres");
    let create = format!("CREATE SOURCE shop FROM POSTGRES '{url}' TABLES (public.orders)");
    let refused = node.cli(&["sql", &create]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(said(&refused).contains("wal_level"), "{}", said(&refused));
    assert_eq!(node.cli(&["source", "show", "shop"]).status.code(), Some(3));
}
