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
    expect![[r#"
        not supported in a projection: ORDER BY and LIMIT: a projection is a table, and tables have no order: use them when you query it
        not supported in a projection: ORDER BY and LIMIT: a projection is a table, and tables have no order: use them when you query it
        not supported in a projection: joins: a projection reads one stream: join projections and tables when you query them
        not supported in a projection: UNION: a projection reads one stream: make two projections, and unite them when you query
        not supported in a projection: window functions: one new row could change all others: use them when you query
        not supported in a projection: subqueries: a projection reads one stream: use them when you query
        now() is not supported in a projection: its value would depend on when a row is computed; use it when querying
        random() is not supported in a projection: it has another value each time a row is computed
        not supported in a projection: stddev(): use count, sum, avg, min, max, first, last, array_agg, bool_and or bool_or, or aggregate when you query
        the result has two columns `a`: give one of them another name with AS
        column 1 of the result has no name: add AS name
        not supported: GROUP BY a value of type json: take a member with ->>, or cast to text
        not supported in a projection: a SELECT without a stream: add FROM
        not supported in a projection: aggregates of aggregates: make a projection, and aggregate again when you query it
        not supported in a projection: GROUPING SETS, ROLLUP and CUBE: make a projection for each
        there is no parameter `$1`: none has a value (line 1, column 27)
        there is no column `nope`: there are `a`, `b`, `j`
        there is no table `nope`: SHOW TABLES lists all
        function sum(text) does not exist: add a cast"#]].assert_eq(&all.join("\n"));
}

/// What each of the statements answers, one after the other.
fn answers(node: &mut Node, statements: &[&str]) -> String {
    let all: Vec<String> = statements.iter().map(|sql| format!("{sql}\n{}", node.run(sql))).collect();
    all.join("\n\n")
}

#[test]
fn definitions_are_carried_out_and_shown() {
    let mut node = Node::new();
    let all = answers(
        &mut node,
        &[
            "CREATE STREAM s (a integer NOT NULL)",
            "CREATE STREAM IF NOT EXISTS s",
            "CREATE PROJECTION p AS SELECT a, count(*) AS n FROM s GROUP BY a",
            "ALTER STREAM s ADD COLUMN b text",
            "ALTER STREAM s SET (retention_ms = 60000)",
            "SHOW TABLES",
            "DESCRIBE p",
            "EXPLAIN p",
            "DROP PROJECTION IF EXISTS q",
        ],
    );
    expect![[r#"
        CREATE STREAM s (a integer NOT NULL)
        stream `s` created

        CREATE STREAM IF NOT EXISTS s
        stream `s` exists already

        CREATE PROJECTION p AS SELECT a, count(*) AS n FROM s GROUP BY a
        projection `p` created

        ALTER STREAM s ADD COLUMN b text
        column `b` of `s` added

        ALTER STREAM s SET (retention_ms = 60000)
        stream `s` altered

        SHOW TABLES
        ["$config","stream"]
        ["$parked","stream"]
        ["p","projection"]
        ["s","stream"]

        DESCRIBE p
        ["a","integer",true,true,null]
        ["n","bigint",true,false,null]

        EXPLAIN p
        ["read the events of s: a"]
        ["compute a"]
        ["group by s.a"]
        ["  count(*)"]
        ["when it is read"]
        ["  compute a, count(*)"]
        ["columns: a, n"]

        DROP PROJECTION IF EXISTS q
        there is no projection `q`"#]]
    .assert_eq(&all);
}

#[test]
fn sources_are_defined_paused_and_shown() {
    let mut node = Node::new();
    let all = answers(
        &mut node,
        &[
            "CREATE SOURCE shop FROM POSTGRES 'postgres://me:secret@localhost/db' TABLES (orders, sales.items)",
            "SHOW SOURCES",
            "DESCRIBE shop",
            "PAUSE SOURCE shop",
            "PAUSE SOURCE shop",
            "RESUME SOURCE shop",
            "RESUME SOURCE shop",
        ],
    );
    expect![[r#"
        CREATE SOURCE shop FROM POSTGRES 'postgres://me:secret@localhost/db' TABLES (orders, sales.items)
        source `shop` created

        SHOW SOURCES
        ["shop","postgres","streaming",7,null,null,null,"postgres://me@localhost/db","public.orders, sales.items"]

        DESCRIBE shop
        ["public.orders","shop.orders"]
        ["sales.items","shop.sales.items"]

        PAUSE SOURCE shop
        source `shop` paused: until it is resumed, its database keeps WAL for it

        PAUSE SOURCE shop
        source `shop` is paused already

        RESUME SOURCE shop
        source `shop` resumed

        RESUME SOURCE shop
        source `shop` is not paused"#]]
    .assert_eq(&all);
}

#[test]
fn what_is_wrong_with_a_definition_is_said_and_used_things_stay() {
    let mut node = Node::new();
    let mut all = Vec::new();
    for sql in [
        "CREATE STREAM s (a integer NOT NULL)",
        "CREATE PROJECTION p AS SELECT a, count(*) AS n FROM s GROUP BY a",
        "CREATE SOURCE shop FROM POSTGRES 'postgres://localhost/db' TABLES (orders)",
    ] {
        node.run(sql);
    }
    for sql in [
        "CREATE STREAM s",
        "CREATE PROJECTION s AS SELECT a FROM s",
        "CREATE STREAM shop.orders",
        "DROP STREAM s",
        "DROP PROJECTION q",
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
    expect![[r#"
        CREATE STREAM s
        there is a stream `s` already

        CREATE PROJECTION s AS SELECT a FROM s
        there is a stream `s` already

        CREATE STREAM shop.orders
        `shop.orders` cannot name a stream: names that start with `shop.` belong to the source `shop`

        DROP STREAM s
        the stream `s` is used by the projection `p`: drop that first

        DROP PROJECTION q
        there is no projection `q`: did you mean `p`?

        CREATE STREAM t WITH (partition = 1)
        a stream has no option `partition`: did you mean `partitions`?

        CREATE STREAM t WITH (partitions = 0)
        option `partitions` is `0`, outside 1 to 1024

        ALTER STREAM s ADD COLUMN c text NOT NULL
        the new column `c` cannot be NOT NULL: earlier events do not have it

        CREATE STREAM t (_a integer)
        the column `_a` cannot be declared: names that start with `_` are the platform's own (line 1, column 18)

        CREATE STREAM t (a money)
        unknown column type `money`: use boolean, smallint, integer, bigint, real, double precision, numeric(p,s), text, bytea, date, time, timestamp, timestamptz, interval, uuid or json (line 1, column 20)

        DROP PROJECTION p
        projection `p` dropped

        DROP STREAM s
        stream `s` dropped

        DROP SOURCE shop
        source `shop` dropped"#]].assert_eq(&all.join("\n\n"));
}

#[test]
fn a_dropped_source_leaves_its_tables_to_a_source_of_the_same_name() {
    let mut node = Node::new();
    let create = "CREATE SOURCE shop FROM POSTGRES 'postgres://localhost/db' TABLES (orders, sales.items)";
    node.run(create);
    node.table("shop.orders", "id integer", &["id"], 1);
    node.table("shop.sales.Items", "id integer", &["id"], 1);
    node.run("CREATE PROJECTION n AS SELECT count(*) AS n FROM shop.orders");
    expect!["the stream `shop.orders` is used by the projection `n`: drop that first"]
        .assert_eq(&node.refused("DROP STREAM shop.orders"));
    expect!["source `shop` dropped; its tables stay as they are (`shop.orders`, `shop.sales.Items`): a source of the same name goes on with them, DROP STREAM shop.orders removes one"]
        .assert_eq(&node.run("DROP SOURCE shop"));
    node.change("shop.orders", "1", "null", r#"{"id":1}"#);
    assert_eq!(node.query("SELECT n FROM n"), "[1]");
    assert_eq!(node.run(create), "source `shop` created");
    node.run("DROP SOURCE shop");
    node.run("DROP PROJECTION n");
    node.run("DROP STREAM shop.orders");
    expect!["source `shop` dropped; its tables stay as they are (`shop.sales.Items`): a source of the same name goes on with them, DROP STREAM \"shop.sales.Items\" removes one"]
        .assert_eq(&{ node.run(create); node.run("DROP SOURCE shop") });
    node.run("DROP STREAM \"shop.sales.Items\"");
    node.run("CREATE STREAM shop.visits");
    expect!["`shop` cannot name a source: names that start with `shop.` would belong to it, and there is a stream `shop.visits`: drop that first"]
        .assert_eq(&node.refused(create));
}

#[test]
fn a_described_stream_has_its_own_columns_and_those_of_every_event() {
    let mut node = Node::new();
    node.run("CREATE STREAM s (a integer NOT NULL, b text CLASS confidential)");
    expect![[r#"
        ["a","integer",false,false,null]
        ["b","text",true,false,"confidential"]
        ["_partition","integer",true,false,null]
        ["_offset","bigint",true,false,null]
        ["_version","bigint",true,false,null]
        ["_id","text",true,false,null]
        ["_source","text",true,false,null]
        ["_type","text",true,false,null]
        ["_subject","text",true,false,null]
        ["_time","timestamptz",true,false,null]
        ["_hlc","bigint",true,false,null]"#]]
    .assert_eq(&node.run("DESCRIBE s"));
}

#[test]
fn more_aggregates_than_can_be_told_apart_are_refused() {
    let mut node = Node::new();
    node.run("CREATE STREAM s (a integer) WITH (partitions = 1)");
    let create = |many: usize| {
        let sums: Vec<String> = (0..many).map(|n| format!("min(a + {n}) AS m{n}")).collect();
        format!("CREATE PROJECTION p AS SELECT {} FROM s", sums.join(", "))
    };
    expect!["not supported in a projection: 257 aggregates: at most 256: make two projections, and join them when you query"]
        .assert_eq(&node.refused(&create(257)));
    node.append("s", "t", None, r#"{"a":1}"#);
    node.run(&create(256));
    assert_eq!(node.query("SELECT m0, m255 FROM p"), "[1,256]");
}
