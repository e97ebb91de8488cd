//! Answers that are kept: given again as long as what they were made of stays as it is, and never longer.
//!
//! The members of these clusters keep every answer; the node that has everything keeps none, and says what is right.

mod random;

use crate::support::Node;
use crate::support::json;
use crate::support::node::options;
use futures_util::StreamExt as _;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tw_project::{Engine, Error, KeptAnswers, Options, Param, Request};
use tw_types::{Timestamp, Token};

const PROJECTIONS: [&str; 3] = [
    "CREATE PROJECTION totals AS SELECT kind, count(*) AS n, sum(x) AS total FROM things GROUP BY kind",
    "CREATE PROJECTION plain AS SELECT _subject AS who, kind, x FROM things WHERE x <> 7",
    "CREATE PROJECTION shares AS SELECT kind, sum(100 / x) AS share FROM things GROUP BY kind",
];

const QUERIES: [&str; 9] = [
    "SELECT * FROM totals",
    "SELECT kind FROM totals WHERE n > 3 AND kind < 'c'",
    "SELECT * FROM plain",
    "SELECT kind, count(*), sum(x) FROM plain GROUP BY kind",
    "SELECT x, who FROM plain WHERE kind = 'b' ORDER BY x, who LIMIT 3",
    "SELECT a.kind, a.n - b.n FROM totals a JOIN totals b USING (kind)",
    "SELECT t.n, p.x FROM totals t JOIN plain p ON t.kind = p.kind AND p.x > 5",
    "SELECT count(*), sum(x) FROM things",
    "SELECT (SELECT sum(n) FROM totals) = (SELECT count(*) FROM events.things)",
];

/// Two members share the partitions, a third one has none.
fn things(options: Options) -> Node {
    let mut node = Node::with_members(3, |at, _| at.partition.0 as usize % 2, options);
    node.run("CREATE STREAM things (kind text, x integer) WITH (partitions = 4)");
    PROJECTIONS.iter().for_each(|sql| drop(node.run(sql)));
    node
}

fn small() -> Node {
    let mut node = things(options());
    (0..40).for_each(|number| append(&mut node, number, number % 9 + 1));
    node
}

fn append(node: &mut Node, subject: u32, x: u32) {
    let kind = ["a", "b", "c"][subject as usize * 5 % 3];
    let json = format!(r#"{{"kind":"{kind}","x":{x}}}"#);
    node.append("things", "thing", Some(&format!("s{}", subject % 11)), &json);
}

fn engine(node: &Node, member: usize) -> Engine {
    node.members[member].engine.clone()
}

fn request(node: &Node) -> Request {
    Request { token: Some(node.token()), ..Request::new(Timestamp::from_millis(1_800_000_000_000)) }
}

/// The rows of a query, sorted, and what they reflect.
fn read(node: &Node, member: usize, sql: &str, request: Request) -> Result<(Vec<String>, Token), Error> {
    node.runtime.block_on(async {
        let answer = engine(node, member).run(sql, request).await?;
        let (schema, reflects) = (answer.schema.clone(), answer.reflects.clone());
        let batches = answer.collect().await?;
        let rows = batches
            .iter()
            .flat_map(|batch| (0..batch.num_rows()).map(|row| json::array(&schema, batch, row)));
        let mut rows: Vec<String> = rows.collect();
        rows.sort();
        Ok((rows, reflects))
    })
}

/// Runs something; says how many hits and misses a member had meanwhile.
fn counted<T>(node: &Node, member: usize, run: impl FnOnce() -> T) -> (T, (u64, u64)) {
    let engine = engine(node, member);
    let before = engine.kept_answers();
    let done = run();
    let KeptAnswers { hits, misses, .. } = engine.kept_answers();
    (done, (hits - before.hits, misses - before.misses))
}

const HIT: (u64, u64) = (1, 0);
const MISS: (u64, u64) = (0, 1);
/// It is no statement whose answers are kept.
const NEITHER: (u64, u64) = (0, 0);

/// A query of a member: that it answers as the node that keeps nothing does, and whether by what was kept.
fn check(node: &Node, member: usize, sql: &str) -> (u64, u64) {
    let (rows, counts) = counted(node, member, || node.ask(&engine(node, member), sql, &[]).unwrap());
    assert_eq!(rows, node.ask(&node.engine, sql, &[]).unwrap(), "{sql} at {member}");
    counts
}

/// Waits until nothing is being built anywhere.
fn wait_until_built(node: &Node, view: &str) {
    let until = Instant::now() + Duration::from_secs(30);
    let handles = node.members.iter().map(|member| &member.handle).chain([&node.handle]);
    for handle in handles {
        while handle.status_of(view).unwrap().building.is_some() {
            assert!(Instant::now() < until, "`{view}` is not built");
            std::thread::yield_now();
        }
    }
}

#[test]
fn prj_2_the_same_state_gives_the_same_answer_and_an_append_makes_it_new() {
    let mut node = small();
    for (member, sql) in [0, 2].into_iter().flat_map(|member| QUERIES.map(|sql| (member, sql))) {
        let first = read(&node, member, sql, request(&node)).unwrap();
        let requests = node.network.requests.load(Ordering::Relaxed);
        let (second, counts) = counted(&node, member, || read(&node, member, sql, request(&node)).unwrap());
        assert_eq!((&second, counts), (&first, HIT), "{sql} at {member}");
        // Each owner was asked for what it has, and for nothing of it.
        let asked = node.network.requests.load(Ordering::Relaxed) - requests;
        assert!(asked <= 2, "{sql} at {member}: {asked}");
    }
    for round in 0..3 {
        append(&mut node, round, 5);
        for (member, sql) in [0, 2].into_iter().flat_map(|member| QUERIES.map(|sql| (member, sql))) {
            assert_eq!(check(&node, member, sql), MISS, "{sql} at {member}");
            assert_eq!(check(&node, member, sql), HIT, "{sql} at {member}");
        }
    }
    assert!(node.members.iter().all(|member| member.engine.held_moments() == 0));
}

#[test]
fn what_is_said_elsewhere_leaves_an_answer_as_it_is() {
    let mut node = Node::with_members(2, |at, members| at.partition.0 as usize % members, options());
    node.table("shop.orders", "id integer, state text", &["id"], 4);
    node.run("CREATE STREAM others (x integer)");
    for id in 0..20 {
        node.change("shop.orders", &id.to_string(), "null", &format!(r#"{{"id":{id},"state":"new"}}"#));
    }
    let of = |id: u32| tw_order::partition_of(&id.to_string(), 4);
    let (same, other) =
        ((1..20).find(|id| of(*id) == of(0)).unwrap(), (1..20).find(|id| of(*id) != of(0)).unwrap());
    let sql = "SELECT id, state || '!' FROM shop.orders WHERE id = 0 AND state <> ''";
    let change = |node: &mut Node, id: u32, to: &str| {
        let (before, after) = (format!(r#"{{"id":{id}}}"#), format!(r#"{{"id":{id},"state":"{to}"}}"#));
        node.change("shop.orders", &id.to_string(), &before, &after);
    };
    for member in 0..2 {
        assert_eq!((check(&node, member, sql), check(&node, member, sql)), (MISS, HIT));
        change(&mut node, other, "paid");
        node.append("others", "other", None, r#"{"x":1}"#);
        assert_eq!(check(&node, member, sql), HIT);
        change(&mut node, same, "paid");
        assert_eq!((check(&node, member, sql), check(&node, member, sql)), (MISS, HIT));
        change(&mut node, 0, "paid");
        assert_eq!((check(&node, member, sql), check(&node, member, sql)), (MISS, HIT));
    }
}

#[test]
fn another_statement_has_another_answer() {
    let node = small();
    let with = |value: i64, rows_max: Option<u64>| {
        let params = vec![Param::Number(value.to_string())];
        let sql = "SELECT kind FROM totals WHERE n > $1";
        counted(&node, 2, || read(&node, 2, sql, Request { params, rows_max, ..request(&node) }))
    };
    let all = with(0, None);
    assert_eq!((all.0.unwrap().0.len(), all.1), (3, MISS));
    let none = with(100, None);
    assert_eq!((none.0.unwrap().0.len(), none.1), (0, MISS));
    assert_eq!((with(0, None).1, with(100, None).1, with(0, Some(3)).1), (HIT, HIT, HIT));
    // It has more rows than this reader may have.
    let few = with(0, Some(2));
    assert!(matches!(few.0.unwrap_err(), Error::Rows { rows_max: 2 }));
    assert_eq!((few.1, with(0, None).1), (MISS, HIT));
    for sql in [
        "SELECT kind, now() FROM totals",
        "SELECT kind, CURRENT_DATE FROM totals",
        "SELECT kind FROM totals ORDER BY random()",
    ] {
        for _ in 0..2 {
            assert_eq!(
                counted(&node, 2, || read(&node, 2, sql, request(&node)).unwrap()).1,
                NEITHER,
                "{sql}"
            );
        }
    }
    // Reads by key are not kept, nor are plans.
    for sql in ["SELECT n FROM totals WHERE kind = 'a'", "EXPLAIN SELECT * FROM totals"] {
        assert_eq!(counted(&node, 2, || read(&node, 2, sql, request(&node)).unwrap()).1, NEITHER, "{sql}");
    }
}

#[test]
fn another_definition_has_another_answer() {
    let mut node = small();
    let sql = "SELECT * FROM totals ORDER BY kind";
    for (statement, shows) in [
        ("REBUILD PROJECTION totals", 14),
        ("CREATE OR REPLACE PROJECTION totals AS SELECT kind, -count(*) AS n FROM things GROUP BY kind", -14),
        (
            "CREATE OR REPLACE PROJECTION totals AS SELECT kind, count(*) + 1 AS n FROM things GROUP BY kind",
            15,
        ),
    ] {
        for member in 0..3 {
            check(&node, member, sql);
            assert_eq!(check(&node, member, sql), HIT);
        }
        node.run(statement);
        wait_until_built(&node, "projection/totals");
        for member in 0..3 {
            assert_eq!(check(&node, member, sql), MISS, "{statement}");
            assert!(node.ask(&engine(&node, member), sql, &[]).unwrap().contains(&format!("[\"a\",{shows}")));
        }
    }
    // The same definition under the same name is another view.
    node.run("DROP PROJECTION totals");
    assert!(read(&node, 2, sql, request(&node)).is_err());
    node.run("CREATE PROJECTION totals AS SELECT kind, count(*) + 1 AS n FROM things GROUP BY kind");
    node.query(sql);
    assert!(node.ask(&engine(&node, 2), sql, &[]).unwrap().contains("[\"a\",15"));
}

#[test]
fn a_history_is_kept_as_long_as_nothing_of_it_can_go() {
    let mut node = small();
    let sql = "SELECT kind, count(*) FROM things GROUP BY kind";
    assert_eq!((check(&node, 2, sql), check(&node, 2, sql)), (MISS, HIT));
    node.run("ALTER STREAM things SET (retention_ms = 8640000000)");
    assert_eq!((check(&node, 2, sql), check(&node, 2, sql)), (MISS, MISS));
}

#[test]
fn an_answer_that_is_not_taken_to_its_end_is_not_kept() {
    let node = small();
    let sql = "SELECT * FROM plain";
    let engine = engine(&node, 2);
    for _ in 0..2 {
        node.runtime.block_on(async {
            let mut answer = engine.run(sql, request(&node)).await.unwrap();
            assert!(answer.batches.next().await.unwrap().is_ok());
            assert!(engine.kept_answers().bytes > 0);
        });
        assert_eq!((engine.kept_answers().answers, engine.kept_answers().bytes), (0, 0));
    }
    assert_eq!((check(&node, 2, sql), check(&node, 2, sql)), (MISS, HIT));
}

#[test]
fn memory_stays_within_its_bound_under_many_statements() {
    let bytes_max = 256 << 10;
    let mut node = things(Options { answers_bytes_max: bytes_max, ..options() });
    (0..400).for_each(|number| append(&mut node, number, number % 9 + 1));
    let (member, mut most) = (engine(&node, 2), 0);
    for number in 0..300 {
        let sql = format!("SELECT who, kind, x, {number} AS number FROM plain WHERE x < {}", number % 10);
        read(&node, 2, &sql, request(&node)).unwrap();
        let kept = member.kept_answers();
        assert!(kept.bytes <= bytes_max as u64, "{kept:?}");
        most = most.max(kept.answers);
    }
    assert!((20..300).contains(&most), "{most}");
    // What all have together is too large for one.
    let large = "SELECT a.who, b.who, a.x, b.x FROM plain a JOIN plain b ON a.kind = b.kind";
    read(&node, 2, large, request(&node)).unwrap();
    assert_eq!(counted(&node, 2, || read(&node, 2, large, request(&node)).unwrap()).1, MISS);
    member.reconfigure(Options { answers_bytes_max: 0, ..options() }).unwrap();
    assert_eq!((member.kept_answers().answers, member.kept_answers().bytes), (0, 0));
    assert_eq!(check(&node, 2, QUERIES[0]), NEITHER);
}

#[test]
fn pro_3_prj_2_what_changes_without_the_log_moving_is_never_kept() {
    let mut node = small();
    let sql = "SELECT * FROM shares ORDER BY kind";
    assert_eq!((check(&node, 2, sql), check(&node, 2, sql)), (MISS, HIT));
    // Nobody can divide by it; what its subject says next waits behind it.
    append(&mut node, 3, 0);
    append(&mut node, 3, 1);
    let before = read(&node, 2, sql, request(&node)).unwrap();
    for member in 0..3 {
        assert_eq!((check(&node, member, sql), check(&node, member, sql)), (MISS, MISS));
    }
    // Who reads nothing of that partition, or of another view of it, has nothing to do with it.
    assert_eq!((check(&node, 2, QUERIES[0]), check(&node, 2, QUERIES[0])), (MISS, HIT));
    let filter = tw_process::ParkedFilter::default();
    let handles: Vec<_> = node.members.iter().map(|member| &member.handle).chain([&node.handle]).collect();
    let is_told = || handles.iter().map(|handle| handle.parked().ls(&filter, None, 9).unwrap().events.len());
    let until = Instant::now() + Duration::from_secs(30);
    while is_told().sum::<usize>() < 2 {
        assert!(Instant::now() < until, "nothing is parked");
    }
    // One is enough: all hear of it.
    pollster::block_on(node.handle.parked().drop_all(&filter)).unwrap();
    while is_told().sum::<usize>() > 0 {
        assert!(Instant::now() < until, "it is still parked");
    }
    node.query(sql);
    let after = read(&node, 2, sql, request(&node)).unwrap();
    assert_ne!(after.0, before.0);
    // Nothing of the answer's cut has moved.
    assert_eq!(after.1, before.1);
    assert_eq!(check(&node, 2, sql), HIT);
    node.run("REBUILD PROJECTION shares");
    wait_until_built(&node, "projection/shares");
    assert_eq!((check(&node, 2, sql), check(&node, 2, sql)), (MISS, HIT));
    assert_eq!(read(&node, 2, sql, request(&node)).unwrap(), after);
}
