//! Conditions that can fail for some rows, and what guards them.

use crate::support::Node;
use expect_test::expect;

/// Rows of which one has a zero, and one nothing, to divide by.
fn numbers() -> Node {
    let mut node = Node::new();
    node.run("CREATE STREAM s (x integer, yes boolean) WITH (partitions = 1)");
    for json in [
        r#"{"x":0,"yes":true}"#,
        r#"{"x":2,"yes":null}"#,
        r#"{"x":5,"yes":false}"#,
        r#"{"x":20,"yes":null}"#,
        r#"{"x":null,"yes":true}"#,
    ] {
        node.append("s", "t", None, json);
    }
    node
}

/// The answer to a query, which must be that of a projection, too.
fn both(node: &mut Node, sql: &str) -> String {
    let answer = node.query(sql);
    node.run(&format!("CREATE OR REPLACE PROJECTION p AS {sql}"));
    assert_eq!(node.query("SELECT * FROM p"), answer, "{sql}");
    node.run("DROP PROJECTION p");
    answer
}

#[test]
fn prj_1_what_a_condition_excludes_is_not_computed() {
    let mut node = numbers();
    let mut all = Vec::new();
    for sql in [
        "SELECT x FROM s WHERE x <> 0 AND 10 / x > 1",
        "SELECT x FROM s WHERE x = 0 OR 10 / x > 1",
        "SELECT x FROM s WHERE NOT (x = 0 OR 10 / x <= 1)",
        "SELECT x, x <> 0 AND 10 / x > 1 AND x < 5 AS a FROM s",
        "SELECT x FROM s WHERE CASE WHEN x = 0 THEN false ELSE 10 / x > 1 END",
        "SELECT x, CASE WHEN x = 0 THEN yes WHEN x = 5 THEN 1 / (x - 5) = 0 AND x <> 5 ELSE 10 / x > 1 END AS a FROM s WHERE x <> 5",
        "SELECT x FROM s WHERE CASE x WHEN 0 THEN false ELSE 10 / x > 1 END",
        "SELECT x, coalesce(x = 0 OR NULL, 10 / x > 1) AS a FROM s",
        "SELECT x FROM s WHERE x BETWEEN 1 AND 9 AND 10 / x BETWEEN 2 AND 5",
    ] {
        all.push(format!("{sql}\n{}", both(&mut node, sql)));
    }
    expect![[r#"
        SELECT x FROM s WHERE x <> 0 AND 10 / x > 1
        [2]
        [5]

        SELECT x FROM s WHERE x = 0 OR 10 / x > 1
        [0]
        [2]
        [5]

        SELECT x FROM s WHERE NOT (x = 0 OR 10 / x <= 1)
        [2]
        [5]

        SELECT x, x <> 0 AND 10 / x > 1 AND x < 5 AS a FROM s
        [0,false]
        [2,true]
        [20,false]
        [5,false]
        [null,null]

        SELECT x FROM s WHERE CASE WHEN x = 0 THEN false ELSE 10 / x > 1 END
        [2]
        [5]

        SELECT x, CASE WHEN x = 0 THEN yes WHEN x = 5 THEN 1 / (x - 5) = 0 AND x <> 5 ELSE 10 / x > 1 END AS a FROM s WHERE x <> 5
        [0,true]
        [2,true]
        [20,false]

        SELECT x FROM s WHERE CASE x WHEN 0 THEN false ELSE 10 / x > 1 END
        [2]
        [5]

        SELECT x, coalesce(x = 0 OR NULL, 10 / x > 1) AS a FROM s
        [0,true]
        [2,true]
        [20,false]
        [5,true]
        [null,null]

        SELECT x FROM s WHERE x BETWEEN 1 AND 9 AND 10 / x BETWEEN 2 AND 5
        [2]
        [5]"#]].assert_eq(&all.join("\n\n"));
}

#[test]
fn prj_1_what_a_compared_case_excludes_is_not_computed() {
    let mut node = numbers();
    let mut all = Vec::new();
    for sql in [
        "SELECT x FROM s WHERE CASE WHEN x = 0 THEN 'none' WHEN 10 / x > 1 THEN 'big' ELSE 'small' END = 'big'",
        "SELECT x FROM s WHERE CASE WHEN x = 0 THEN 7 ELSE 10 / x END = 5",
        "SELECT x FROM s WHERE CASE x WHEN 0 THEN 'none' WHEN 10 / x THEN 'one' ELSE 'small' END = 'small'",
    ] {
        all.push(format!("{sql}\n{}", both(&mut node, sql)));
    }
    expect![[r#"
        SELECT x FROM s WHERE CASE WHEN x = 0 THEN 'none' WHEN 10 / x > 1 THEN 'big' ELSE 'small' END = 'big'
        [2]
        [5]

        SELECT x FROM s WHERE CASE WHEN x = 0 THEN 7 ELSE 10 / x END = 5
        [2]

        SELECT x FROM s WHERE CASE x WHEN 0 THEN 'none' WHEN 10 / x THEN 'one' ELSE 'small' END = 'small'
        [20]
        [2]
        [5]
        [null]"#]]
    .assert_eq(&all.join("\n\n"));
}

#[test]
fn prj_1_what_a_filter_excludes_is_not_computed() {
    let mut node = numbers();
    let mut all = Vec::new();
    for sql in [
        "SELECT sum(10 / x) FILTER (WHERE x <> 0) AS s, count(*) AS n FROM s",
        "SELECT x > 3 AS big, sum(10 / x) FILTER (WHERE x <> 0) AS s, count(*) AS n FROM s GROUP BY x > 3",
        "SELECT bool_or(10 / x > 1) FILTER (WHERE x <> 0) AS s, min(10 / x) FILTER (WHERE x <> 0) + 1 AS n FROM s",
        "SELECT array_agg(x ORDER BY 10 / x) FILTER (WHERE x <> 0) AS s FROM s",
        "SELECT yes, count(*) AS n FROM s GROUP BY yes HAVING max(10 / x) FILTER (WHERE x <> 0) > 1",
    ] {
        all.push(format!("{sql}\n{}", both(&mut node, sql)));
    }
    expect![[r#"
        SELECT sum(10 / x) FILTER (WHERE x <> 0) AS s, count(*) AS n FROM s
        [7,5]

        SELECT x > 3 AS big, sum(10 / x) FILTER (WHERE x <> 0) AS s, count(*) AS n FROM s GROUP BY x > 3
        [false,5,2]
        [null,null,1]
        [true,2,2]

        SELECT bool_or(10 / x > 1) FILTER (WHERE x <> 0) AS s, min(10 / x) FILTER (WHERE x <> 0) + 1 AS n FROM s
        [true,1]

        SELECT array_agg(x ORDER BY 10 / x) FILTER (WHERE x <> 0) AS s FROM s
        [[20,5,2]]

        SELECT yes, count(*) AS n FROM s GROUP BY yes HAVING max(10 / x) FILTER (WHERE x <> 0) > 1
        [false,1]
        [null,2]"#]].assert_eq(&all.join("\n\n"));
}

#[test]
fn conditions_that_can_fail_take_no_more_memory_than_their_number() {
    let mut node = Node::new();
    node.run("CREATE STREAM raw WITH (partitions = 1)");
    node.append("raw", "t", None, r#"{"x":"1"}"#);
    let one = "(data->>'x')::int = 1";
    for glue in [" AND ", " OR "] {
        let all = vec![one; 200].join(glue);
        assert_eq!(node.query(&format!("SELECT count(*) FROM raw WHERE {all}")), "[1]");
    }
    let nested =
        |open: &str, inner: &str, close: &str| format!("{}{inner}{}", open.repeat(20), close.repeat(20));
    for condition in [
        nested("((", one, &format!(" AND {one}) OR {one})")),
        nested(&format!("({one} AND ({one} OR "), one, "))"),
        nested("(", "true", " = (data->>'x')::bool AND true)"),
        nested("(CASE WHEN ", one, " THEN true ELSE false END)"),
        nested("nullif(", "1", ", 2)") + " = 1",
        nested("coalesce(", "(data->>'x')::int", ", 2)") + " = 1",
        nested("(CASE ", "1", " WHEN 1 THEN 1 WHEN 2 THEN 3 END)") + " = 1",
        nested("(", "1", " BETWEEN 0 AND 1)::int") + " = 1",
        nested("(coalesce(", one, ", true))"),
    ] {
        // It is carried out or refused; either is an answer.
        let answer = node.try_query(&format!("SELECT count(*) FROM raw WHERE {condition}"), &[]);
        match answer {
            Ok(rows) => assert_eq!(rows, "[1]", "{condition}"),
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("too large") || error.contains("too deeply"), "{condition}: {error}");
            }
        }
    }
}
