//! What is compared, grouped or sorted, wherever a statement does so: as PostgreSQL does it, or not at all.

use crate::support::Node;
use expect_test::expect;

fn things() -> Node {
    let mut node = Node::new();
    node.run("CREATE STREAM s (x integer, n numeric(10,2), t text, i interval, u uuid, d date) WITH (partitions = 1)");
    node.run("CREATE STREAM other (x bigint, n numeric(8,4), t text, i interval, u uuid, d timestamp) WITH (partitions = 1)");
    for (stream, json) in [
        (
            "s",
            r#"{"x":1,"n":1.50,"t":"2026-01-31","i":"1 month","u":"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11","d":"2026-01-31"}"#,
        ),
        ("s", r#"{"x":2,"n":2.25,"t":"b","i":"100 days","u":null,"d":"2026-02-01"}"#),
        (
            "other",
            r#"{"x":1,"n":1.5,"t":"c","i":"30 days","u":"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11","d":"2026-01-31T00:00:00"}"#,
        ),
    ] {
        node.append(stream, "t", None, json);
    }
    node
}

fn answers(node: &Node, statements: &[&str]) -> String {
    let answer = |sql: &&str| {
        let answer = node.try_query(sql, &[]).unwrap_or_else(|error| error.to_string());
        format!("{sql}\n{answer}")
    };
    statements.iter().map(answer).collect::<Vec<_>>().join("\n\n")
}

#[test]
fn windows_distinct_on_and_grouping_sets_do_not_compare_texts_of_other_types() {
    let all = [
        "SELECT rank() OVER (ORDER BY i) FROM s",
        "SELECT count(*) OVER (PARTITION BY i) FROM s",
        "SELECT max(i) OVER () FROM s",
        "SELECT x, rank() OVER (PARTITION BY t ORDER BY n) FROM s",
        "SELECT DISTINCT ON (i) x FROM s",
        "SELECT DISTINCT ON (x) x, n FROM s ORDER BY x, i",
        "SELECT DISTINCT ON (x) x, n FROM s ORDER BY x, n",
        "SELECT i, count(*) FROM s GROUP BY ROLLUP (i)",
        "SELECT i, count(*) FROM s GROUP BY GROUPING SETS ((x), (i))",
        "SELECT x, count(*) FROM s GROUP BY CUBE (x)",
    ];
    expect![[r#"
        SELECT rank() OVER (ORDER BY i) FROM s
        not supported: ORDER BY a value of type interval: use extract(epoch from x), or cast to text

        SELECT count(*) OVER (PARTITION BY i) FROM s
        not supported: PARTITION BY a value of type interval: use extract(epoch from x), or cast to text

        SELECT max(i) OVER () FROM s
        not supported: max() of a value of type interval: use extract(epoch from x), or cast to text

        SELECT x, rank() OVER (PARTITION BY t ORDER BY n) FROM s
        [1,1]
        [2,1]

        SELECT DISTINCT ON (i) x FROM s
        not supported: DISTINCT ON a value of type interval: use extract(epoch from x), or cast to text

        SELECT DISTINCT ON (x) x, n FROM s ORDER BY x, i
        not supported: ORDER BY a value of type interval: use extract(epoch from x), or cast to text

        SELECT DISTINCT ON (x) x, n FROM s ORDER BY x, n
        [1,"1.50"]
        [2,"2.25"]

        SELECT i, count(*) FROM s GROUP BY ROLLUP (i)
        not supported: GROUP BY a value of type interval: use extract(epoch from x), or cast to text

        SELECT i, count(*) FROM s GROUP BY GROUPING SETS ((x), (i))
        not supported: GROUP BY a value of type interval: use extract(epoch from x), or cast to text

        SELECT x, count(*) FROM s GROUP BY CUBE (x)
        [1,1]
        [2,1]
        [null,2]"#]]
    .assert_eq(&answers(&things(), &all));
}

#[test]
fn subqueries_compare_as_an_equals_sign_does() {
    let all = [
        "SELECT x FROM s WHERE x IN (SELECT x FROM other)",
        "SELECT x FROM other WHERE x IN (SELECT x FROM s)",
        "SELECT x FROM s WHERE x NOT IN (SELECT x FROM other)",
        "SELECT x FROM s WHERE n IN (SELECT n FROM other) AND x > 0",
        "SELECT x FROM s WHERE n = ANY (SELECT n FROM other)",
        "SELECT x FROM s WHERE n > ALL (SELECT n FROM other)",
        "SELECT x FROM s WHERE i IN (SELECT i FROM other)",
        "SELECT x FROM s WHERE u IN (SELECT u FROM other)",
        "SELECT x FROM s WHERE u IN (SELECT t FROM other)",
        "SELECT x FROM s WHERE t IN (SELECT d FROM other)",
        "SELECT x FROM s WHERE t = ANY (SELECT x FROM other)",
        "SELECT x FROM s WHERE d IN (SELECT d FROM other)",
        "SELECT x FROM s WHERE '1' IN (SELECT x FROM other) AND x = 1",
        "SELECT x FROM s WHERE n IN (SELECT CASE WHEN x = 1 THEN n ELSE 0 END FROM other WHERE other.x = s.x)",
    ];
    expect![[r#"
        SELECT x FROM s WHERE x IN (SELECT x FROM other)
        [1]

        SELECT x FROM other WHERE x IN (SELECT x FROM s)
        [1]

        SELECT x FROM s WHERE x NOT IN (SELECT x FROM other)
        [2]

        SELECT x FROM s WHERE n IN (SELECT n FROM other) AND x > 0
        [1]

        SELECT x FROM s WHERE n = ANY (SELECT n FROM other)
        [1]

        SELECT x FROM s WHERE n > ALL (SELECT n FROM other)
        [2]

        SELECT x FROM s WHERE i IN (SELECT i FROM other)
        [1]

        SELECT x FROM s WHERE u IN (SELECT u FROM other)
        [1]

        SELECT x FROM s WHERE u IN (SELECT t FROM other)
        operator does not exist: uuid = text: cast to text to compare or combine the text form

        SELECT x FROM s WHERE t IN (SELECT d FROM other)
        operator does not exist: text = timestamp: add a cast

        SELECT x FROM s WHERE t = ANY (SELECT x FROM other)
        operator does not exist: text = bigint: add a cast

        SELECT x FROM s WHERE d IN (SELECT d FROM other)
        [1]

        SELECT x FROM s WHERE '1' IN (SELECT x FROM other) AND x = 1
        [1]

        SELECT x FROM s WHERE n IN (SELECT CASE WHEN x = 1 THEN n ELSE 0 END FROM other WHERE other.x = s.x)
        [1]"#]]
    .assert_eq(&answers(&things(), &all));
}

#[test]
fn joins_with_using_compare_as_an_equals_sign_does() {
    let all = [
        "SELECT x FROM s JOIN other USING (x)",
        "SELECT x FROM s JOIN other USING (n)",
        "SELECT s.x FROM s JOIN other USING (n)",
        "SELECT s.x FROM s JOIN other USING (u)",
        "SELECT s.x FROM s JOIN other USING (d)",
        "SELECT s.x FROM s JOIN other USING (i)",
        "SELECT s.x FROM s JOIN (SELECT u AS t FROM other) o USING (t)",
        "SELECT s.x FROM s JOIN (SELECT t AS d FROM other) o USING (d)",
    ];
    expect![[r#"
        SELECT x FROM s JOIN other USING (x)
        [1]

        SELECT x FROM s JOIN other USING (n)
        the column `x` is in several tables: write table.x

        SELECT s.x FROM s JOIN other USING (n)
        [1]

        SELECT s.x FROM s JOIN other USING (u)
        [1]

        SELECT s.x FROM s JOIN other USING (d)
        [1]

        SELECT s.x FROM s JOIN other USING (i)
        not supported: JOIN on a value of type interval: use extract(epoch from x), or cast to text

        SELECT s.x FROM s JOIN (SELECT u AS t FROM other) o USING (t)
        operator does not exist: text = uuid: cast to text to compare or combine the text form

        SELECT s.x FROM s JOIN (SELECT t AS d FROM other) o USING (d)
        operator does not exist: date = text: add a cast to the join condition"#]]
    .assert_eq(&answers(&things(), &all));
}

#[test]
fn subqueries_within_one_another_are_planned_in_a_time_that_does_not_double_with_each() {
    let node = things();
    for condition in ["x IN", "x > 0 AND x IN"] {
        let nested = (0..16).fold("SELECT x FROM other".to_owned(), |inner, _| {
            format!("SELECT x FROM s WHERE {condition} ({inner})")
        });
        assert_eq!(node.query(&nested), "[1]");
    }
}
