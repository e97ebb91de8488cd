//! Views whose partitions are on several nodes: every query of a node that has some of them, or none, answers as one that has all.
//! The other tests of this suite check that as well, with every query that they run.

use crate::support::Node;
use crate::support::member::Keeper;
use crate::support::node::options;
use expect_test::expect;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tw_project::arrow::array::RecordBatch;
use tw_project::{Error, Request};
use tw_types::{PartitionId, StreamPartition, Timestamp};

/// Two members share the partitions, a third one has none.
const TWO_OF_THREE: Keeper = |at, _| at.partition.0 as usize % 2;

const PROJECTIONS: &[&str] = &[
    "CREATE PROJECTION totals AS SELECT kind, count(*) AS n, sum(x) AS total, avg(x) AS mean, min(x) AS low, max(x) AS high FROM things GROUP BY kind",
    "CREATE PROJECTION lists AS SELECT kind, x % 3 AS rest, count(DISTINCT x) AS different, sum(DISTINCT x) AS of_them, array_agg(x ORDER BY x, _subject) AS all, first(note) AS first FROM things GROUP BY kind, x % 3",
    "CREATE PROJECTION everything AS SELECT count(*) AS n, count(DISTINCT kind) AS kinds, array_agg(DISTINCT kind) AS names FROM things",
    "CREATE PROJECTION subjects AS SELECT _subject AS who, count(DISTINCT x) AS different, last(x) AS latest FROM things GROUP BY _subject",
    "CREATE PROJECTION plain AS SELECT _subject AS who, kind, x, x * 2 AS twice, note FROM things WHERE x <> 7",
];

const QUERIES: &[&str] = &[
    "SELECT * FROM totals",
    "SELECT kind, n, mean FROM totals WHERE kind = 'b'",
    "SELECT kind FROM totals WHERE n > 3 AND kind < 'c'",
    "SELECT * FROM lists",
    "SELECT kind, rest, different FROM lists WHERE kind = 'a'",
    "SELECT different, of_them, first FROM lists WHERE kind = 'a' AND rest = 1",
    "SELECT rest, sum(different) FROM lists GROUP BY rest",
    "SELECT * FROM everything",
    "SELECT n FROM everything",
    "SELECT * FROM subjects WHERE who = 's3'",
    "SELECT count(*), sum(different) FROM subjects",
    "SELECT * FROM plain",
    "SELECT count(*) FROM plain",
    "SELECT who, note FROM plain WHERE kind = 'a' AND (x > 5 OR x IS NULL)",
    "SELECT who FROM plain WHERE kind IN ('a', 'c') AND NOT x = 3",
    "SELECT x FROM plain WHERE twice > 10 AND x % 2 = 0",
    "SELECT kind, count(*), sum(x), count(DISTINCT note) FROM plain GROUP BY kind",
    "SELECT kind, count(*), sum(x), avg(twice), min(note), max(x) FILTER (WHERE note <> 'note 1') FROM plain GROUP BY kind",
    "SELECT x, who FROM plain WHERE kind = 'b' ORDER BY x, who, note LIMIT 3",
    "SELECT a.kind, a.n, b.rest FROM totals a JOIN lists b ON a.kind = b.kind",
    "SELECT a.n - b.n FROM totals a JOIN totals b USING (kind)",
    "SELECT kind, n FROM totals UNION ALL SELECT who, different FROM subjects",
    "SELECT count(*) FROM plain p JOIN events.things e ON e._subject = p.who",
    "SELECT (SELECT sum(n) FROM totals) = (SELECT count(*) FROM things)",
];

/// Things with a kind, a number and a note, of some subjects.
fn things(partitions: u32, keeper: Keeper, options: tw_project::Options) -> Node {
    let mut node = Node::with_members(3, keeper, options);
    node.run(&format!(
        "CREATE STREAM things (kind text, x integer, note text) WITH (partitions = {partitions})"
    ));
    PROJECTIONS.iter().for_each(|sql| drop(node.run(sql)));
    node
}

fn fill(node: &mut Node, events: u32) {
    for number in 0..events {
        let (subject, kind) = (number * 7 % 11, ["a", "b", "c"][number as usize * 5 % 3]);
        let x = if number % 13 == 0 { "null".to_owned() } else { (number % 9).to_string() };
        let json = format!(r#"{{"kind":"{kind}","x":{x},"note":"note {}"}}"#, number % 4);
        node.append("things", "thing", Some(&format!("s{subject}")), &json);
    }
}

/// The options of members that read each time.
fn forgetful() -> tw_project::Options {
    tw_project::Options { answers_bytes_max: 0, ..options() }
}

fn small() -> Node {
    let mut node = things(5, TWO_OF_THREE, forgetful());
    fill(&mut node, 60);
    node
}

fn partition(node: &Node, partition: u32) -> StreamPartition {
    let stream = tw_log::Log::streams(node.log.as_ref()).get("things").unwrap().id;
    StreamPartition::new(stream, PartitionId(partition))
}

/// A query of one member.
fn member(node: &Node, member: usize, sql: &str) -> Result<String, Error> {
    node.ask(&node.members[member].engine, sql, &[])
}

/// A query of one member that may take only so long.
fn hurried(node: &Node, member: usize, sql: &str, timeout_ms: u64) -> Result<usize, Error> {
    let now = Timestamp::from_millis(1_800_000_000_000);
    let request = Request { timeout_ms: Some(timeout_ms), token: Some(node.token()), ..Request::new(now) };
    node.runtime.block_on(async {
        let batches = node.members[member].engine.run(sql, request).await?.collect().await?;
        Ok(batches.iter().map(RecordBatch::num_rows).sum())
    })
}

#[test]
fn prj_1_every_member_answers_as_one_node_that_has_everything() {
    let mut node = things(5, TWO_OF_THREE, options());
    QUERIES.iter().for_each(|sql| drop(node.query(sql)));
    fill(&mut node, 200);
    QUERIES.iter().for_each(|sql| drop(node.query(sql)));
}

#[test]
fn prj_1_many_groups_with_many_entries_are_put_together() {
    let mut node = things(3, |at, members| at.partition.0 as usize % members, options());
    node.run("CREATE PROJECTION many AS SELECT x, count(*) AS n, count(DISTINCT kind) AS kinds, array_agg(note) AS notes FROM things GROUP BY x");
    let note = "some text ".repeat(20);
    for number in 0..12_000u32 {
        let (subject, x) = (number % 17, number * 31 % 5_000);
        let json = format!(r#"{{"kind":"k{}","x":{x},"note":"{note}{number}"}}"#, number % 7);
        node.append("things", "thing", Some(&format!("s{subject}")), &json);
    }
    node.query("SELECT * FROM many");
    node.query("SELECT x, kinds FROM many WHERE n > 2");
    node.query("SELECT kinds, notes FROM many WHERE x = 77");
    node.query("SELECT * FROM plain WHERE x < 700");
}

#[test]
fn a_group_is_read_in_one_request_to_each_owner() {
    let node = small();
    let requests = |sql: &str| {
        let before = node.network.requests.load(Ordering::Relaxed);
        member(&node, 2, sql).unwrap();
        node.network.requests.load(Ordering::Relaxed) - before
    };
    node.query("SELECT * FROM subjects");
    // Every partition can have a part of it.
    assert_eq!(requests("SELECT n FROM totals WHERE kind = 'a'"), 2);
    assert_eq!(requests("SELECT n, low FROM totals WHERE kind = 'a' AND n > 0"), 4);
}

#[test]
fn a_row_of_a_captured_table_is_read_from_its_owner_in_one_request() {
    let mut node = Node::with_members(3, TWO_OF_THREE, options());
    node.table("shop.orders", "id integer, total integer", &["id"], 4);
    for id in 0..20 {
        let row = format!(r#"{{"id":{id},"total":{}}}"#, id * 10);
        node.change("shop.orders", &id.to_string(), "null", &row);
    }
    node.change("shop.orders", "7", r#"{"id":7,"total":70}"#, r#"{"id":7,"total":71}"#);
    assert_eq!(node.query("SELECT total FROM shop.orders WHERE id = 7"), "[71]");
    node.query("SELECT total FROM shop.orders WHERE id = 99");
    node.query("SELECT sum(total) FROM shop.orders");
    let before = node.network.requests.load(Ordering::Relaxed);
    assert_eq!(member(&node, 2, "SELECT total FROM shop.orders WHERE id = 7").unwrap(), "[71]");
    assert_eq!(node.network.requests.load(Ordering::Relaxed) - before, 1);
    // The long way goes to one node as well: to hold, and to read.
    assert_eq!(member(&node, 2, "SELECT total + 1 FROM shop.orders WHERE id = 7").unwrap(), "[72]");
    assert_eq!(node.network.requests.load(Ordering::Relaxed) - before, 3);
    node.truncate("shop.orders");
    node.change("shop.orders", "3", "null", r#"{"id":3,"total":5}"#);
    assert_eq!(node.query("SELECT * FROM shop.orders"), "[3,5]");
}

#[test]
fn conditions_columns_and_limits_are_applied_where_the_rows_are() {
    let mut node = things(5, TWO_OF_THREE, forgetful());
    fill(&mut node, 3_000);
    let bytes = |sql: &str| {
        let rows = node.query(sql).lines().count();
        let before = node.network.bytes.load(Ordering::Relaxed);
        assert_eq!(member(&node, 2, sql).unwrap().lines().count(), rows, "{sql}");
        node.network.bytes.load(Ordering::Relaxed) - before
    };
    let all = bytes("SELECT * FROM plain");
    let one_column = bytes("SELECT x FROM plain");
    let few = bytes("SELECT * FROM plain WHERE x = 4 AND note = 'note 1' AND kind = 'c'");
    let limited = bytes("SELECT kind FROM plain WHERE kind = 'b' LIMIT 3");
    let counted = bytes("SELECT count(*) FROM plain");
    assert!(one_column < all / 5, "{one_column} of {all} bytes");
    assert!(few < all / 10, "{few} of {all} bytes");
    assert!(limited < all / 20, "{limited} of {all} bytes");
    assert!(counted < all / 50, "{counted} of {all} bytes");
}

#[test]
fn explain_says_from_where_a_query_gathers() {
    let node = small();
    let explain = |sql: &str| member(&node, 0, sql).unwrap();
    expect![[r#"
        ["      StreamingTableExec: partition_sizes=1, projection=[kind, n]"]
        ["    RepartitionExec: partitioning=RoundRobinBatch(2), input_partitions=1"]
        ["  FilterExec: n@1 > 1"]
        ["ProjectionExec: expr=[kind@0 as column 0, n@1 as column 1]"]
        ["gather totals from `n1`: partitions 1, 3"]
        ["gather totals here: partitions 0, 2, 4"]"#]]
    .assert_eq(&explain("EXPLAIN SELECT kind, n FROM totals WHERE n > 1"));
    expect![[r#"
        ["columns: n"]
        ["gather totals from `n1`: partitions 1, 3"]
        ["gather totals here: partitions 0, 2, 4"]
        ["look up the row with this key: kind"]"#]]
    .assert_eq(&explain("EXPLAIN SELECT n FROM totals WHERE kind = 'a'"));
    expect![[r#"
        ["          GatherExec: rows of plain, filtered there: kind, x"]
        ["        RepartitionExec: partitioning=RoundRobinBatch(2), input_partitions=1"]
        ["      ProjectionExec: expr=[kind@0 = a as __common_expr_3, x@1 as x]"]
        ["    FilterExec: CASE guard(__common_expr_3@0 IS NOT DISTINCT FROM false) WHEN true THEN false ELSE __common_expr_3@0 AND modulo(x@1, 2) = 1 END, projection=[x@1], fetch=3"]
        ["  CoalescePartitionsExec: fetch=3"]
        ["ProjectionExec: expr=[x@0 as column 0]"]
        ["gather plain from `n1`: partitions 1, 3"]
        ["gather plain here: partitions 0, 2, 4"]"#]]
        .assert_eq(&explain("EXPLAIN SELECT x FROM plain WHERE kind = 'a' AND x % 2 = 1 LIMIT 3"));
}

#[test]
fn a_partition_without_an_owner_is_an_error_that_names_it() {
    let node = small();
    let at = partition(&node, 3);
    node.network.moved.lock().insert(at, None);
    let error = member(&node, 2, "SELECT * FROM totals").unwrap_err();
    assert_eq!(error.code(), "no_owner");
    expect!["`totals` cannot be read: partition 3 of `things` has no owner at the moment: try again"]
        .assert_eq(&error.to_string());
    // What needs nothing of it is answered.
    let only = |name: &str| member(&node, 2, &format!("SELECT count(*) FROM {name}"));
    only("events.things").unwrap();
    only("totals").unwrap_err();
}

#[test]
fn what_has_moved_is_looked_up_again() {
    let node = small();
    for sql in [
        "SELECT * FROM totals",
        "SELECT n FROM totals WHERE kind = 'b'",
        "SELECT x, note FROM plain",
        "SELECT kind, count(*), max(x) FROM plain GROUP BY kind",
    ] {
        let expected = node.query(sql);
        *node.network.rumour.lock() = Some((2, 7));
        assert_eq!(member(&node, 0, sql).unwrap(), expected);
        assert_eq!(*node.network.rumour.lock(), Some((2, 0)), "{sql}");
    }
}

#[test]
fn a_node_that_comes_back_is_asked_again_and_one_that_does_not_is_named() {
    let node = small();
    let sql = "SELECT * FROM totals";
    let expected = node.query(sql);
    node.network.down.lock().insert(1, 3);
    assert_eq!(member(&node, 2, sql).unwrap(), expected);
    node.network.down.lock().insert(1, usize::MAX);
    let error = hurried(&node, 2, sql, 200).unwrap_err();
    assert!(matches!(&error, Error::Peer { node, .. } if node.as_str() == "n1"), "{error}");
    expect!["node `n1` does not answer: try again"].assert_eq(&error.to_string());
    assert_eq!(error.code(), "peer");
}

#[test]
fn an_answer_that_breaks_off_is_an_error_and_never_a_part() {
    let node = small();
    for sql in [
        "SELECT * FROM lists",
        "SELECT * FROM plain",
        "SELECT x, sum(x) FROM plain GROUP BY x",
        "SELECT first FROM lists WHERE kind = 'a' AND rest = 1",
    ] {
        let rows = node.query(sql).lines().count();
        let mut broken = 0;
        for pieces in 0.. {
            *node.network.pieces_max.lock() = Some(pieces);
            match hurried(&node, 2, sql, 60) {
                Ok(all) => {
                    assert_eq!(all, rows, "{sql}");
                    break;
                }
                Err(Error::Peer { .. } | Error::Timeout { .. }) => broken += 1,
                Err(error) => panic!("{sql}: {error}"),
            }
        }
        *node.network.pieces_max.lock() = None;
        assert!(broken > 5, "{sql}: {broken}");
    }
}

#[test]
fn entries_of_other_nodes_take_no_more_memory_than_a_query_may() {
    let options = tw_project::Options { query_memory_bytes_max: 1 << 20, ..options() };
    let mut node = things(3, TWO_OF_THREE, options);
    node.run("CREATE PROJECTION one AS SELECT count(DISTINCT note) AS notes FROM things");
    for number in 0..12_000 {
        let json = format!(r#"{{"kind":"a","x":1,"note":"{number}"}}"#);
        node.append("things", "thing", Some(&number.to_string()), &json);
    }
    assert_eq!(node.ask(&node.engine, "SELECT * FROM one", &[]).unwrap(), "[12000]");
    let error = member(&node, 2, "SELECT * FROM one").unwrap_err();
    assert!(matches!(error, Error::Memory { bytes_max: 1_048_576 }), "{error}");
}

#[test]
fn prj_2_a_token_is_waited_for_by_whoever_has_the_partition() {
    let mut node = small();
    node.query("SELECT * FROM totals");
    node.members[1].handle.pause("projection/totals").unwrap();
    fill(&mut node, 30);
    for sql in ["SELECT * FROM totals", "SELECT n FROM totals WHERE kind = 'a'"] {
        let error = hurried(&node, 2, sql, 100).unwrap_err();
        assert!(matches!(&error, Error::TokenTimeout { table, .. } if table == "totals"), "{error}");
    }
    node.members[1].handle.resume("projection/totals").unwrap();
    node.query("SELECT * FROM totals");
}

#[test]
fn different_definitions_are_never_mixed() {
    let mut node = small();
    let sql = "SELECT * FROM totals";
    node.query(sql);
    // One of the two that have partitions does not come to build the new definition.
    node.members[1].rest(true);
    node.run("CREATE OR REPLACE PROJECTION totals AS SELECT kind, -count(*) AS n FROM things GROUP BY kind");
    let until = Instant::now() + Duration::from_secs(30);
    let error = loop {
        assert!(Instant::now() < until, "the first member has not built the new definition");
        match member(&node, 0, sql) {
            Ok(rows) => assert!(rows.contains("[\"a\",20,"), "{rows}"),
            Err(error) => break error,
        }
    };
    expect!["`totals` cannot be read: it is being changed: try again later"].assert_eq(&error.to_string());
    assert!(member(&node, 2, sql).is_err());
    node.members[1].rest(false);
    while !node.query(sql).contains("[\"a\",-20]") {
        assert!(Instant::now() < until, "the new definition is not read");
    }
}

#[test]
fn a_node_without_partitions_reads_what_the_owners_read() {
    let mut node = small();
    let sql = "SELECT * FROM totals";
    let before = node.query(sql);
    (0..2).for_each(|owner| node.members[owner].rest(true));
    node.run("CREATE OR REPLACE PROJECTION totals AS SELECT kind, -count(*) AS n FROM things GROUP BY kind");
    assert_eq!(member(&node, 2, sql).unwrap(), before);
    assert_eq!(member(&node, 2, "SELECT low FROM totals WHERE kind = 'a'").unwrap(), "[0]");
    (0..2).for_each(|owner| node.members[owner].rest(false));
    let until = Instant::now() + Duration::from_secs(30);
    while !node.query(sql).contains("[\"a\",-20]") {
        assert!(Instant::now() < until, "the new definition is not read");
    }
}

#[test]
fn what_a_statement_reads_of_a_node_is_of_one_moment() {
    let mut node = small();
    let sql = "SELECT (SELECT sum(n) FROM totals), (SELECT sum(n) FROM totals), (SELECT count(*) FROM events.things)";
    let engine = node.members[2].engine.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let reader = runtime.spawn(async move {
        let mut last = 0;
        while last < 1_000 {
            let answer = engine.run(sql, Request::new(Timestamp::from_millis(0))).await.unwrap();
            let batches = answer.collect().await.unwrap();
            // There is no sum before the first event is seen.
            let number = |column: usize| -> i64 {
                tw_project::text(batches[0].column(column), 0).map_or(0, |text| text.parse().unwrap())
            };
            assert_eq!(number(0), number(1));
            assert!(number(0) <= number(2), "{} of {} events", number(0), number(2));
            last = number(0);
        }
    });
    fill(&mut node, 940);
    runtime.block_on(reader).unwrap();
    assert!(node.members.iter().all(|member| member.engine.held_moments() == 0));
}

#[test]
fn prj_1_queries_go_on_while_partitions_move() {
    let node = small();
    let sqls = [
        "SELECT * FROM totals",
        "SELECT n FROM totals WHERE kind = 'b'",
        "SELECT x, note FROM plain",
        "SELECT kind, count(*), sum(x), min(note) FROM plain GROUP BY kind",
    ];
    let expected = sqls.map(|sql| node.query(sql));
    for (number, to) in [(0, 1), (3, 2), (0, 2), (3, 0), (4, 1)] {
        let at = partition(&node, number);
        let from = node.network.keeper(at).unwrap();
        // The new one is warm before it is said to be there, and the old one lets go after that.
        node.members[to].assign(&[at]);
        let moved = node.members[to].handle.moved();
        while !node.members[to].handle.warmth(at).is_within(0) {
            moved.wait_over(moved.get(), Duration::from_millis(100));
        }
        node.network.moved.lock().insert(at, Some(to));
        for (asking, (sql, expected)) in (0..3).cycle().zip(sqls.iter().zip(&expected)) {
            assert_eq!(member(&node, asking, sql).unwrap(), *expected, "{sql} at {asking}");
        }
        node.members[from].assign(&[]);
        for asking in 0..3 {
            for (sql, expected) in sqls.iter().zip(&expected) {
                assert_eq!(member(&node, asking, sql).unwrap(), *expected, "{sql} at {asking}");
            }
        }
    }
}

#[test]
fn what_is_said_to_be_here_and_is_not_is_not_read() {
    let node = small();
    let at = partition(&node, 0);
    node.query("SELECT * FROM totals");
    // Everybody says that it has moved, but nobody has told the workers of the new owner.
    node.network.moved.lock().insert(at, Some(2));
    for asking in 0..3 {
        let error = hurried(&node, asking, "SELECT * FROM totals", 100).unwrap_err();
        assert!(matches!(error, Error::Peer { .. } | Error::NoOwner { .. }), "{error}");
    }
}

#[test]
fn what_was_just_defined_is_waited_for_on_other_nodes() {
    let mut node = small();
    let until = Instant::now() + Duration::from_secs(30);
    // The second owner hears of it last.
    let late = node.members.remove(1);
    node.run("CREATE PROJECTION late AS SELECT note, count(*) AS n FROM things GROUP BY note");
    let engine = node.members[1].engine.clone();
    let asked = node.network.requests.load(Ordering::Relaxed);
    let answer = node.runtime.spawn(async move {
        let answer = engine.run("SELECT sum(n) FROM late", Request::new(Timestamp::from_millis(0))).await?;
        answer.collect().await.map(|batches| tw_project::text(batches[0].column(0), 0))
    });
    while node.network.requests.load(Ordering::Relaxed) < asked + 5 {
        assert!(Instant::now() < until, "the owners are not asked again");
    }
    node.members.insert(1, late);
    node.members[1].follow();
    assert!(node.runtime.block_on(answer).unwrap().unwrap().is_some());
    assert_eq!(node.query("SELECT sum(n) FROM late"), "[\"60\"]");
}
