//! Ad-hoc queries.

use crate::support::Node;
use expect_test::expect;
use tw_project::Param;

fn events() -> Node {
    let mut node = Node::new();
    node.run("CREATE STREAM raw WITH (partitions = 2)");
    for n in 0..10 {
        let json = format!(r#"{{"n":{n},"tags":["a","b"],"who":{{"name":"p{}"}}}}"#, n % 3);
        node.append("raw", if n % 2 == 0 { "even" } else { "odd" }, Some(&format!("s{}", n % 4)), &json);
    }
    node
}

#[test]
fn plain_json_is_read_with_json_operators() {
    let node = events();
    expect![[r#"
        ["p0",18]
        ["p1",12]
        ["p2",15]"#]]
    .assert_eq(&node.query("SELECT data->'who'->>'name' AS who, sum((data->>'n')::int) FROM raw GROUP BY 1"));
}

#[test]
fn a_subject_and_a_range_of_offsets_narrow_what_is_read() {
    let node = events();
    expect![[r#"
        ["s1","odd"]
        ["s1","odd"]
        ["s1","odd"]"#]]
    .assert_eq(&node.query("SELECT _subject, _type FROM raw WHERE _subject = 's1'"));
    expect!["[2]"].assert_eq(
        &node.query("SELECT count(*) FROM raw WHERE _partition = 0 AND _offset >= 1 AND _offset < 3"),
    );
    expect!["[3]"].assert_eq(&node.query("SELECT count(*) FROM (SELECT * FROM raw LIMIT 3) t"));
}

#[test]
fn parameters_take_the_type_of_their_place() {
    let mut node = events();
    node.run("CREATE PROJECTION kinds AS SELECT _type AS kind, count(*) AS n FROM raw GROUP BY _type");
    let get = |sql: &str, param: Param| node.try_query(sql, &[param]).unwrap();
    expect![[r#"["odd",5]"#]]
        .assert_eq(&get("SELECT * FROM kinds WHERE kind = $1", Param::Text("odd".into())));
    expect![[r#"["even"]"#]]
        .assert_eq(&get("SELECT kind FROM kinds WHERE kind = $1", Param::Text("even".into())));
    expect![[r#""#]].assert_eq(&get("SELECT kind FROM kinds WHERE kind = $1", Param::Text("none".into())));
    expect![[r#"[1]"#]].assert_eq(&get(
        "SELECT count(*) FROM kinds WHERE n < $1 + 1 AND kind < 'f'",
        Param::Number("5".into()),
    ));
}

#[test]
fn explain_tells_a_read_by_key_from_a_scan() {
    let mut node = events();
    node.run("CREATE PROJECTION kinds AS SELECT _type AS kind, count(*) AS n FROM raw GROUP BY _type");
    expect![[r#"
        ["columns: n"]
        ["look up the row with this key: kind"]"#]]
    .assert_eq(&node.query("EXPLAIN SELECT n FROM kinds WHERE kind = 'odd'"));
    let scan = node.query("EXPLAIN SELECT n FROM kinds WHERE kind > 'even'");
    assert!(scan.contains("FilterExec: kind@0 > even"), "{scan}");
}

#[test]
fn whatever_makes_no_sense_is_refused_with_the_reason() {
    let mut node = events();
    let all: Vec<String> = [
        "SELECT x FROM raw",
        "SELECT * FROM row",
        "SELECT _offset + _type FROM raw",
        "SELECT 1 FROM raw WHERE _offset",
        "SELEC 1",
        "SELECT 1/0",
        "SELECT $1",
        "CREATE TABLE x (a int)",
        "SELECT to_char(_time, 'YYYY') FROM raw",
        "SELECT * FROM raw FOR UPDATE",
    ]
    .iter()
    .map(|sql| node.refused(sql))
    .collect();
    expect![[r#"
        there is no column `x`: there is `data`
        there is no table `row`: did you mean `raw`?
        operator does not exist: bigint + text: add a cast
        the condition `raw._offset` is neither true nor false: compare it with something
        expected a statement: CREATE, ALTER, DROP, SHOW, DESCRIBE, EXPLAIN, PAUSE, RESUME, REBUILD, HOLD, RELEASE, SELECT, WITH or VALUES, found `SELEC`: did you mean `SELECT`? (line 1, column 1)
        division by zero
        there is no parameter `$1`: none has a value (line 1, column 8)
        expected what to create: STREAM, SOURCE or PROJECTION, found `TABLE` (line 1, column 8)
        function to_char() is not supported: its patterns would be DataFusion's, not PostgreSQL's: cast to text, or use extract()
        not supported: FOR UPDATE and FOR SHARE: nothing is locked by reading"#]].assert_eq(&all.join("\n"));
}

#[test]
fn an_aggregate_may_be_filtered_by_what_is_never_null() {
    let mut node = Node::new();
    node.table("db.t", "k integer, f double precision, n integer", &["k"], 1);
    node.change("db.t", "1", "null", r#"{"k":1,"f":-1.25,"n":null}"#);
    let sql =
        "SELECT k, bool_or(n IS NOT NULL) FILTER (WHERE k = k OR -1.25::float8 = f) FROM db.t GROUP BY k";
    assert_eq!(node.query(sql), "[1,false]");
}

#[test]
fn a_value_and_its_cast_are_two_keys() {
    let mut node = Node::new();
    node.run("CREATE STREAM s (a integer) WITH (partitions = 1)");
    node.append("s", "t", None, r#"{"a":7}"#);
    node.append("s", "t", None, r#"{"a":7}"#);
    let sql = "SELECT a::numeric AS n, a, sum(a) AS s, sum(a::numeric) AS t FROM s GROUP BY a::numeric, a";
    expect![[r#"["7",7,14,"14"]"#]].assert_eq(&node.query(sql));
    node.run(&format!("CREATE PROJECTION p AS {sql}"));
    expect![[r#"["7",7,14,"14"]"#]].assert_eq(&node.query("SELECT * FROM p"));
    let sql =
        "SELECT a + 1 FROM (SELECT a::bigint FROM s UNION ALL SELECT a::bigint FROM s) t WHERE a::text = '7'";
    expect![[r#"
        [8]
        [8]
        [8]
        [8]"#]]
    .assert_eq(&node.query(sql));
    expect!["[14]"].assert_eq(&node.query("SELECT sum(a) FROM s HAVING sum(a::numeric) IS NOT NULL"));
}

#[test]
fn a_query_may_have_so_many_rows_and_takes_no_longer_than_it_may() {
    let node = events();
    let now = tw_types::Timestamp::from_millis(0);
    let request = tw_project::Request { rows_max: Some(3), ..tw_project::Request::new(now) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let error = runtime.block_on(async {
        let answer = node.engine.run("SELECT * FROM raw", request).await.unwrap();
        answer.collect().await.unwrap_err()
    });
    assert_eq!(error.to_string(), "the result has more than 3 rows: use LIMIT, or raise the bound");
}

#[test]
fn negative_numbers_are_numbers_also_as_parameters() {
    let mut node = Node::new();
    node.run("CREATE STREAM s (x integer, t text) WITH (partitions = 1)");
    node.append("s", "t", None, r#"{"x":-5,"t":"-5"}"#);
    let ask = |sql: &str, number: &str| {
        let answer = node.try_query(sql, &[Param::Number(number.into())]);
        answer.unwrap_or_else(|error| error.to_string())
    };
    assert_eq!(ask("SELECT $1 + 1, x - $1, - $1 FROM s", "-5"), "[-4,0,5]");
    assert_eq!(ask("SELECT x FROM s WHERE x = $1", "-5"), "[-5]");
    assert_eq!(ask("SELECT $1", "-0.50"), r#"["-0.50"]"#);
    // As of any other number.
    assert_eq!(ask("SELECT x FROM s WHERE t = $1", "-5"), ask("SELECT x FROM s WHERE t = $1", "5"));
}

#[test]
fn a_value_that_is_another_each_time_is_not_computed_twice() {
    let node = events();
    let ask = |sql: &str| node.try_query(sql, &[]).unwrap_or_else(|error| error.to_string());
    expect!["not supported: a function that gives another value each time, such as random(), where its value is needed twice: compute it in a subquery in FROM"].assert_eq(&ask("SELECT count(*) FROM raw WHERE random() BETWEEN 0.2 AND 0.8"));
    expect!["not supported: a function that gives another value each time, such as random(), where its value is needed twice: compute it in a subquery in FROM"].assert_eq(&ask("SELECT nullif(random(), 2) > 1 FROM raw LIMIT 1"));
    expect!["division by zero"]
        .assert_eq(&ask("SELECT count(*) FROM raw WHERE random() >= 0 AND 10 / (data->>'n')::int > 1"));
    expect!["[10]"]
        .assert_eq(&ask("SELECT count(*) FROM (SELECT random() AS r FROM raw) x WHERE r BETWEEN 0 AND 1"));
}

#[test]
fn a_read_by_key_computes_only_what_it_is_asked_for() {
    let mut node = events();
    node.run("CREATE PROJECTION p AS SELECT _type AS kind, count(*) AS n, 1 / (count(*) - 5) AS bad, array_agg(_offset) AS all FROM raw GROUP BY _type");
    assert_eq!(node.query("SELECT n FROM p WHERE kind = 'odd'"), "[5]");
    let error = node.try_query("SELECT bad FROM p WHERE kind = 'odd'", &[]).unwrap_err();
    assert_eq!(error.to_string(), "division by zero");
    assert_eq!(node.query("SELECT kind, all FROM p WHERE kind = 'odd'").matches(',').count(), 5);
}
