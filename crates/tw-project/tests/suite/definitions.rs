//! Definitions: what may be created, and what is refused.

use crate::support::Node;
use expect_test::expect;

#[test]
fn what_cannot_be_kept_up_to_date_is_refused_at_create() {
    let mut node = Node::new();
    node.run("CREATE STREAM s (a integer, b text, j json) WITH (partitions = 1)");
    let all: Vec<String> = [
        "SELECT a FROM s ORDER BY a",
        "SELECT a FROM s LIMIT 1",
        "SELECT x.a FROM s x JOIN s y ON x.a = y.a",
        "SELECT a FROM s UNION ALL SELECT a FROM s",
        "SELECT a, row_number() OVER () AS n FROM s",
        "SELECT a FROM s WHERE a IN (SELECT a FROM s)",
        "SELECT now() AS n FROM s",
        "SELECT random() AS n FROM s",
        "SELECT stddev(a) AS n FROM s",
        "SELECT a, a FROM s",
        "SELECT a + 1 FROM s",
        "SELECT j, count(*) FROM s GROUP BY j",
        "SELECT 1 AS one",
        "SELECT count(*) AS n FROM (SELECT b, count(*) FROM s GROUP BY b) t",
        "SELECT b, count(*) FROM s GROUP BY ROLLUP (b)",
        "SELECT a FROM s WHERE b = $1",
        "SELECT nope FROM s",
        "SELECT a FROM nope",
        "SELECT sum(b) FROM s",
    ]
    .iter()
    .map(|sql| node.refused(&format!("CREATE PROJECTION p AS {sql}")))
    .collect();
    expect![[]].assert_eq(&all.join("\n"));
}

#[test]
fn names_are_taken_once_and_used_things_stay() {
    let mut node = Node::new();
    let mut all = Vec::new();
    for sql in [
        "CREATE STREAM s (a integer NOT NULL)",
        "CREATE STREAM IF NOT EXISTS s",
        "CREATE PROJECTION p AS SELECT a, count(*) AS n FROM s GROUP BY a",
        "ALTER STREAM s ADD COLUMN b text",
        "ALTER STREAM s SET (retention_ms = 60000)",
        "CREATE SOURCE shop FROM POSTGRES 'postgres://me:secret@localhost/db' TABLES (orders, sales.items)",
        "SHOW SOURCES",
        "SHOW TABLES",
        "DESCRIBE s",
        "DESCRIBE p",
        "DESCRIBE shop",
        "EXPLAIN p",
        "DROP PROJECTION IF EXISTS q",
    ] {
        all.push(format!("{sql}\n{}", node.run(sql)));
    }
    for sql in [
        "CREATE STREAM s",
        "CREATE PROJECTION s AS SELECT a FROM s",
        "CREATE STREAM shop.orders",
        "DROP STREAM s",
        "DROP PROJECTION q",
        "PAUSE PROJECTION pp",
        "CREATE STREAM t WITH (partition = 1)",
        "CREATE STREAM t WITH (partitions = 0)",
        "ALTER STREAM s ADD COLUMN c text NOT NULL",
        "CREATE STREAM t (_a integer)",
        "CREATE STREAM t (a money)",
    ] {
        all.push(format!("{sql}\n{}", node.refused(sql)));
    }
    for sql in ["DROP PROJECTION p", "DROP STREAM s", "DROP SOURCE shop"] {
        all.push(format!("{sql}\n{}", node.run(sql)));
    }
    expect![[]].assert_eq(&all.join("\n\n"));
}
