//! Aggregates over rows that are on several nodes: each computes them of what it has, and the answer is that of one node that has all.

use crate::support::Node;
use crate::support::member::Keeper;
use expect_test::expect;
use proptest::prelude::*;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tw_project::{Error, Request};
use tw_types::Timestamp;

/// Two members share the partitions, a third one has none.
const TWO_OF_THREE: Keeper = |at, _| at.partition.0 as usize % 2;

/// Those of tests, where no answer is kept: every query is carried out.
fn options() -> tw_project::Options {
    tw_project::Options { answers_bytes_max: 0, ..crate::support::node::options() }
}

/// Columns of every type that can be grouped by or computed, and values of each: how NULL and they are written in JSON.
const COLUMNS: &[(&str, &str, &[&str])] = &[
    ("kind", "text", &["null", "\"a\"", "\"b\"", "\"a longer text that is not kept inline\"", "\"\""]),
    ("small", "smallint", &["null", "-3", "0", "7", "32767"]),
    ("x", "integer", &["null", "-2147483648", "0", "5", "2147483647"]),
    ("big", "bigint", &["null", "9223372036854775807", "9223372036854775806", "-1", "3"]),
    ("price", "numeric(12,2)", &["null", "\"0.10\"", "\"-12.34\"", "\"9999999999.99\"", "\"0.20\""]),
    (
        "exact",
        "numeric",
        &["null", "\"0.1\"", "\"1000000000000000000000000000000\"", "\"-0.000000000000000001\"", "\"7\""],
    ),
    ("f", "double precision", &["null", "0.1", "0.2", "1e300", "-1e300"]),
    ("r", "real", &["null", "0.1", "0.25", "-3.5", "16777216"]),
    ("ok", "boolean", &["null", "true", "true", "true", "false"]),
    ("day", "date", &["null", "\"2026-01-31\"", "\"1969-12-31\"", "\"infinity\"", "\"2026-02-01\""]),
    (
        "at",
        "timestamptz",
        &[
            "null",
            "\"2026-01-31T09:30:00Z\"",
            "\"1970-01-01T00:00:00.000001Z\"",
            "\"2026-01-31T09:30:00Z\"",
            "\"1900-01-01T00:00:00Z\"",
        ],
    ),
    (
        "id",
        "uuid",
        &[
            "null",
            "\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\"",
            "\"00000000-0000-0000-0000-000000000001\"",
            "\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\"",
            "null",
        ],
    ),
    ("raw", "bytea", &["null", "\"AAE=\"", "\"\"", "\"AAE=\"", "\"/w==\""]),
];

const AGGREGATES: &[&str] = &[
    "count(*)",
    "count(kind)",
    "count(raw)",
    "sum(small)",
    "sum(x)",
    "sum(big)",
    "sum(price)",
    "sum(exact)",
    "sum(f)",
    "sum(r)",
    "avg(small)",
    "avg(x)",
    "avg(big)",
    "avg(price)",
    "avg(exact)",
    "avg(f)",
    "avg(r)",
    "min(kind)",
    "max(kind)",
    "min(small)",
    "max(x)",
    "min(big)",
    "max(price)",
    "min(exact)",
    "min(f)",
    "max(r)",
    "min(day)",
    "max(at)",
    "min(_subject)",
    "bool_and(ok)",
    "bool_or(ok)",
    "every(ok)",
];

const CONDITIONS: &[&str] = &[
    "kind = 'a'",
    "x > 0",
    "price <= 0.10",
    "ok",
    "NOT ok",
    "day IS NULL",
    "kind IN ('a', 'b') AND big IS NOT NULL",
    "small <> 7 OR ok",
    "kind = 'nothing'",
];

fn node() -> Node {
    let mut node = Node::with_members(3, TWO_OF_THREE, options());
    let columns: Vec<String> = COLUMNS.iter().map(|(name, ty, _)| format!("{name} {ty}")).collect();
    node.run(&format!("CREATE STREAM things ({}) WITH (partitions = 5)", columns.join(", ")));
    let names: Vec<&str> = COLUMNS.iter().map(|(name, ..)| *name).collect();
    node.run(&format!("CREATE PROJECTION plain AS SELECT _subject, {} FROM things", names.join(", ")));
    node.table("shop.things", &format!("key integer, {}", columns.join(", ")), &["key"], 4);
    node
}

/// One row as JSON: one die for each column, and one for the subject.
fn row(dice: &[u8]) -> (u8, String) {
    let value = |(die, (name, _, values)): (&u8, &(&str, &str, &[&str]))| {
        format!("\"{name}\":{}", values[usize::from(*die) % values.len()])
    };
    let values: Vec<String> = dice.iter().zip(COLUMNS).map(value).collect();
    (dice.last().copied().unwrap_or_default() % 12, values.join(","))
}

fn append(node: &mut Node, dice: &[u8]) {
    let (subject, values) = row(dice);
    node.append("things", "thing", Some(&format!("s{subject}")), &format!("{{{values}}}"));
    // The same rows, of which later ones replace earlier ones, or delete them.
    let after = format!("{{\"key\":{subject},{values}}}");
    let deleted = dice.first().is_some_and(|die| die % 9 == 8);
    let (before, after) = if deleted { (after.as_str(), "null") } else { ("null", after.as_str()) };
    node.change("shop.things", &subject.to_string(), before, after);
}

/// A query: which columns it groups by, what it computes, and of which rows.
fn sql(table: &str, dice: &[u8]) -> String {
    let die = |index: usize| usize::from(dice[index]);
    let mut keys: Vec<&str> = Vec::new();
    for number in 0..die(0) % 3 {
        let key = COLUMNS[die(1 + number) % COLUMNS.len()].0;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let mut items: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    for number in 0..die(3) % 5 + usize::from(keys.is_empty()) {
        let aggregate = AGGREGATES[die(4 + number) % AGGREGATES.len()];
        // Captured rows have no subject, but a key.
        let aggregate =
            if table == "plain" { aggregate.to_owned() } else { aggregate.replace("_subject", "key") };
        let filter = CONDITIONS.get(die(9 + number) % 16);
        items.push(match filter {
            Some(filter) => format!("{aggregate} FILTER (WHERE {filter})"),
            None => aggregate,
        });
    }
    let mut sql = format!("SELECT {} FROM {table}", items.join(", "));
    if let Some(condition) = CONDITIONS.get(die(14) % 16) {
        sql += &format!(" WHERE {condition}");
    }
    if !keys.is_empty() {
        sql += &format!(" GROUP BY {}", keys.join(", "));
    }
    sql
}

fn explained(node: &Node, sql: &str) -> String {
    node.ask(&node.members[2].engine, &format!("EXPLAIN {sql}"), &[]).unwrap()
}

fn is_there(node: &Node, sql: &str) -> bool {
    explained(node, sql).contains("GatherExec: parts of groups")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: tw_testing::cases(8), ..ProptestConfig::default() })]

    #[test]
    fn prj_1_aggregates_of_several_nodes_are_those_of_one_that_has_everything(
        rows in proptest::collection::vec(any::<[u8; 14]>(), 0..150),
        queries in proptest::collection::vec(any::<[u8; 15]>(), 40),
    ) {
        let mut node = node();
        rows.iter().for_each(|row| append(&mut node, row));
        for (query, table) in queries.iter().zip(["plain", "shop.things"].iter().cycle()) {
            node.query(&sql(table, query));
        }
    }
}

#[test]
fn prj_1_every_aggregate_by_every_column_is_computed_where_the_rows_are() {
    let mut node = node();
    for number in 0..90u8 {
        let die = |column: u8| number.wrapping_mul(31).wrapping_add(column.wrapping_mul(number / 3));
        let dice: Vec<u8> = (0..14).map(die).collect();
        append(&mut node, &dice);
    }
    for (key, ..) in COLUMNS {
        for aggregates in AGGREGATES.chunks(8) {
            let sql = format!("SELECT {key}, {} FROM plain GROUP BY {key}", aggregates.join(", "));
            node.query(&sql);
            assert!(is_there(&node, &sql), "{sql}");
        }
    }
    for condition in CONDITIONS {
        let sql = format!("SELECT count(*), sum(price), max(kind) FROM shop.things WHERE {condition}");
        node.query(&sql);
    }
}

#[test]
fn prj_1_an_empty_table_has_one_row_without_groups_and_none_with_groups() {
    let node = node();
    for table in ["plain", "shop.things"] {
        let all = format!("SELECT count(*), sum(x), min(kind), avg(f), bool_or(ok) FROM {table}");
        assert_eq!(node.query(&all), "[0,null,null,null,null]");
        assert_eq!(node.query(&format!("{all} WHERE x > 0 GROUP BY kind")), "");
        assert!(is_there(&node, &all));
    }
}

/// Some things with a long note each.
fn noted(events: u32, groups: u32, options: tw_project::Options) -> Node {
    let mut node = Node::with_members(3, TWO_OF_THREE, options);
    node.run("CREATE STREAM things (kind text, x integer, note text) WITH (partitions = 5)");
    node.run("CREATE PROJECTION plain AS SELECT _subject AS who, kind, x, note FROM things");
    let note = "some text ".repeat(10);
    for number in 0..events {
        let json = format!(r#"{{"kind":"k{}","x":{number},"note":"{note}{number}"}}"#, number % groups);
        node.append("things", "thing", Some(&format!("s{}", number % 101)), &json);
    }
    node
}

/// How many bytes a query of the member without partitions gets from the others.
fn bytes(node: &Node, sql: &str) -> usize {
    let expected = node.query(sql);
    let before = node.network.bytes.load(Ordering::Relaxed);
    assert_eq!(node.ask(&node.members[2].engine, sql, &[]).unwrap(), expected);
    node.network.bytes.load(Ordering::Relaxed) - before
}

#[test]
fn only_parts_of_groups_cross() {
    let node = noted(5_000, 4, options());
    let by = |what: &str| format!("SELECT kind, {what} FROM plain GROUP BY kind");
    let all = bytes(&node, "SELECT kind, x, note FROM plain");
    let there = bytes(&node, &by("count(*), sum(x), avg(x), min(note), max(who)"));
    assert!(there < 8_000 && all > 50 * there, "{there} of {all} bytes");
    // What might fail for a row is computed here.
    let here = bytes(&node, &by("sum(x + 1)"));
    assert!(here > 5 * there, "{here} bytes, not {there}");
    for sql in [
        "SELECT DISTINCT kind FROM plain",
        "SELECT kind FROM plain GROUP BY kind HAVING count(*) > 3 ORDER BY sum(x) DESC LIMIT 2",
        "SELECT count(*) FROM plain WHERE kind = 'k1'",
        "SELECT (SELECT max(x) FROM plain) - x FROM plain WHERE who = 's1' AND kind = 'k3'",
        "SELECT a.kind FROM (SELECT kind, count(*) AS n FROM plain GROUP BY kind) a JOIN (SELECT max(x) AS n FROM plain) b ON a.n < b.n",
    ] {
        let bytes = bytes(&node, sql);
        assert!(bytes < 8_000, "{bytes} bytes: {sql}");
    }
}

#[test]
fn what_cannot_be_put_together_of_parts_is_computed_here() {
    let node = noted(200, 4, options());
    for sql in [
        "SELECT kind, count(DISTINCT x) FROM plain GROUP BY kind",
        "SELECT count(*), sum(DISTINCT x) FROM plain",
        "SELECT array_agg(x ORDER BY x) FROM plain",
        "SELECT first_value(note ORDER BY x) FROM plain",
        "SELECT x % 3, count(*) FROM plain GROUP BY x % 3",
        "SELECT kind, count(*) FROM plain WHERE x % 2 = 0 GROUP BY kind",
        "SELECT kind, who, count(*) FROM plain GROUP BY ROLLUP (kind, who)",
        "SELECT count(*) FROM (SELECT x FROM plain LIMIT 10)",
        "SELECT count(*) FROM plain a JOIN plain b USING (x)",
        "SELECT sum(x) FILTER (WHERE x % 2 = 0) FROM plain",
    ] {
        node.query(sql);
        assert!(!is_there(&node, sql), "{}", explained(&node, sql));
    }
}

#[test]
fn explain_says_what_is_computed_where_the_rows_are() {
    let node = noted(0, 1, options());
    let sql = "SELECT kind, count(*), sum(x) FILTER (WHERE note = 'a') FROM plain WHERE x > 3 GROUP BY kind";
    expect![[r#"
        ["      GatherExec: parts of groups of plain: kind, count(*), sum(x) FILTER (…)"]
        ["    RepartitionExec: partitioning=Hash([kind@0], 2), input_partitions=1"]
        ["  AggregateExec: mode=FinalPartitioned, gby=[kind@0 as kind], aggr=[count(Int64(1)), sum(plain.x) FILTER (WHERE plain.note = Utf8View(\"a\"))]"]
        ["ProjectionExec: expr=[kind@0 as column 0, count(Int64(1))@1 as column 1, sum(plain.x) FILTER (WHERE plain.note = Utf8View(\"a\"))@2 as column 2]"]
        ["gather plain from `n0`: partitions 0, 2, 4"]
        ["gather plain from `n1`: partitions 1, 3"]"#]].assert_eq(&explained(&node, sql));
}

#[test]
fn a_node_of_an_earlier_version_gives_its_rows() {
    let node = noted(500, 4, options());
    let sql = "SELECT kind, count(*), sum(x), max(note) FROM plain WHERE kind <> 'k2' GROUP BY kind";
    let there = bytes(&node, sql);
    node.network.old.lock().insert(1);
    let with_old = bytes(&node, sql);
    assert!(with_old > 5 * there, "{with_old} bytes, not {there}");
    bytes(&node, "SELECT count(*), max(x) FROM plain WHERE kind = 'nothing'");
}

#[test]
fn a_sum_beyond_its_type_is_the_same_error_everywhere() {
    let mut node = Node::with_members(3, TWO_OF_THREE, options());
    node.run("CREATE STREAM things (r real) WITH (partitions = 4)");
    node.run("CREATE PROJECTION plain AS SELECT r FROM things");
    (0..8).for_each(|number| node.append("things", "thing", Some(&number.to_string()), r#"{"r":3e38}"#));
    assert!(is_there(&node, "SELECT sum(r) FROM plain"));
    let error = node.try_query("SELECT sum(r) FROM plain", &[]).unwrap_err();
    expect!["value out of range: overflow"].assert_eq(&error.to_string());
}

/// Waits until no owner holds anything.
fn wait_until_nothing_is_held(node: &Node) {
    let until = Instant::now() + Duration::from_secs(30);
    while held(node) > 0 {
        assert!(Instant::now() < until, "something is still held");
        std::thread::yield_now();
    }
}

fn held(node: &Node) -> usize {
    node.members.iter().map(|member| member.engine.held_moments()).sum()
}

#[test]
fn groups_take_no_more_memory_than_a_query_may() {
    let options = tw_project::Options { query_memory_bytes_max: 1 << 20, ..options() };
    let node = noted(16_000, 8, options);
    // All rows together are more than that.
    let few = "SELECT kind, count(*), max(note), min(note) FROM plain GROUP BY kind";
    assert!(bytes(&node, few) < 10_000);
    let many = "SELECT note, max(who), count(*) FROM plain GROUP BY note";
    assert!(is_there(&node, many));
    let error = node.ask(&node.members[2].engine, many, &[]).unwrap_err();
    assert!(matches!(error, Error::Memory { bytes_max: 1_048_576 }), "{error}");
    wait_until_nothing_is_held(&node);
}

#[test]
fn a_query_that_goes_away_lets_go_of_what_owners_hold() {
    let node = noted(3_000, 3_000, options());
    let sql = "SELECT kind, count(*), max(note) FROM plain GROUP BY kind";
    node.query(sql);
    wait_until_nothing_is_held(&node);
    // The owners are in the middle of their answers.
    *node.network.pieces_max.lock() = Some(30);
    *node.network.stalls.lock() = true;
    node.runtime.block_on(async {
        let request = Request::new(Timestamp::from_millis(0));
        let answer = node.members[2].engine.run(sql, request).await.unwrap();
        assert_eq!(held(&node), 2);
        drop(answer);
    });
    wait_until_nothing_is_held(&node);
}
