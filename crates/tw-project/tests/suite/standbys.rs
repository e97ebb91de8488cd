//! Views that are read from standbys: right, never older than the token, and not held up by an owner that is away.

use crate::support::Node;
use crate::support::node::options;
use expect_test::expect;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tw_project::arrow::array::RecordBatch;
use tw_project::{Error, Options, ReadFrom, Request};
use tw_types::{PartitionId, StreamPartition, Timestamp, Token};

const QUERIES: &[&str] = &[
    "SELECT * FROM totals",
    "SELECT n, kinds FROM totals WHERE x = 3",
    "SELECT sum(n), sum(kinds) FROM totals",
    "SELECT * FROM plain",
    "SELECT kind, count(*), sum(x), min(x) FROM plain GROUP BY kind",
    "SELECT who, x FROM plain WHERE kind = 'a' AND x > 3",
    "SELECT n FROM subjects WHERE who = 's3'",
    "SELECT a.x, b.kind FROM totals a JOIN plain b ON a.x = b.x WHERE a.n > 2",
    "SELECT (SELECT sum(n) FROM totals) - (SELECT count(*) FROM plain)",
];

/// The options of members that may read from standbys, and look at once.
fn spread() -> Options {
    Options { read_from: ReadFrom::Standbys, hedge_ms: 50, answers_bytes_max: 0, ..options() }
}

/// Three members. The first two have every second partition, and stand by for each other; the third one has nothing.
fn things(options: Options) -> Node {
    let mut node = Node::with_standbys(3, |at, _| at.partition.0 as usize % 2, |_, _| vec![0, 1], options);
    node.run("CREATE STREAM things (kind text, x integer) WITH (partitions = 5)");
    for sql in [
        "CREATE PROJECTION totals AS SELECT x, count(*) AS n, count(DISTINCT kind) AS kinds FROM things GROUP BY x",
        "CREATE PROJECTION plain AS SELECT _subject AS who, kind, x FROM things",
        "CREATE PROJECTION subjects AS SELECT _subject AS who, count(*) AS n FROM things GROUP BY _subject",
    ] {
        node.run(sql);
    }
    node
}

fn fill(node: &mut Node, events: u32) {
    for number in 0..events {
        let (subject, kind) = (number * 7 % 11, ["a", "b", "c"][number as usize * 5 % 3]);
        let json = format!(r#"{{"kind":"{kind}","x":{}}}"#, number % 9);
        node.append("things", "thing", Some(&format!("s{subject}")), &json);
    }
}

fn small(options: Options) -> Node {
    let mut node = things(options);
    fill(&mut node, 60);
    QUERIES.iter().for_each(|sql| drop(node.query(sql)));
    node
}

/// A query of one member that carries the token of everything.
fn member(node: &Node, member: usize, sql: &str) -> Result<String, Error> {
    node.ask(&node.members[member].engine, sql, &[])
}

/// The same, which may take only so long, and demands nothing unless it has a token.
fn hurried(
    node: &Node,
    member: usize,
    sql: &str,
    token: Option<Token>,
    timeout_ms: u64,
) -> Result<usize, Error> {
    let now = Timestamp::from_millis(1_800_000_000_000);
    let request = Request { timeout_ms: Some(timeout_ms), token, ..Request::new(now) };
    node.runtime.block_on(async {
        let batches = node.members[member].engine.run(sql, request).await?.collect().await?;
        Ok(batches.iter().map(RecordBatch::num_rows).sum())
    })
}

fn partition(node: &Node, partition: u32) -> StreamPartition {
    let stream = tw_log::Log::streams(node.log.as_ref()).get("things").unwrap().id;
    StreamPartition::new(stream, PartitionId(partition))
}

/// Has the first member own everything; the second one stands by for all of it.
fn everything_of_the_first(node: &Node) {
    let all = (0..5).map(|number| (partition(node, number), Some(0)));
    node.network.moved.lock().extend(all);
    node.members.iter().for_each(|member| member.assign(&[]));
}

#[test]
fn prj_1_whoever_answers_gives_what_one_node_gives_that_has_everything() {
    let mut node = things(spread());
    for _ in 0..4 {
        fill(&mut node, 50);
        QUERIES.iter().for_each(|sql| drop(node.query(sql)));
    }
    for member in 0..2 {
        for owns in [true, false] {
            let heard = node.network.heard(member, owns);
            assert!(heard.answered > 20, "n{member}, owns: {owns}: {heard:?}");
        }
    }
    assert!(node.members.iter().all(|member| member.engine.held_moments() == 0));
}

#[test]
fn prj_2_a_standby_answers_a_read_with_a_token_once_it_has_what_the_token_demands() {
    let mut node = small(spread());
    for round in 61..140 {
        node.append("things", "thing", Some(&format!("s{}", round % 11)), r#"{"kind":"a","x":1}"#);
        for reader in 0..3 {
            let sum = member(&node, reader, "SELECT sum(n) FROM totals").unwrap();
            assert_eq!(sum, format!("[\"{round}\"]"), "n{reader}");
            let subject = format!("SELECT n FROM subjects WHERE who = 's{}'", round % 11);
            assert_eq!(
                member(&node, reader, &subject).unwrap(),
                node.ask(&node.engine, &subject, &[]).unwrap()
            );
        }
    }
    let stood_by = [0, 1].map(|member| node.network.heard(member, false).answered);
    assert!(stood_by.iter().all(|answered| *answered > 50), "{stood_by:?}");
}

#[test]
fn reads_go_on_while_an_owner_is_silent() {
    let node = small(spread());
    let expected: Vec<String> = QUERIES.iter().map(|sql| node.query(sql)).collect();
    node.network.silent.lock().insert(1);
    for (sql, expected) in QUERIES.iter().zip(&expected) {
        for reader in [0, 2] {
            let since = Instant::now();
            assert_eq!(member(&node, reader, sql).unwrap(), *expected, "{sql}");
            assert!(since.elapsed() < Duration::from_secs(10), "{sql}: {:?}", since.elapsed());
        }
    }
    let (owner, standby) = (node.network.heard(1, true), node.network.heard(1, false));
    assert!(owner.failed > 0 && standby.failed > 0, "{owner:?} {standby:?}");
    // Who reads from owners only has to wait for it.
    let owners = Options { read_from: ReadFrom::Owners, ..spread() };
    node.members[2].engine.reconfigure(owners).unwrap();
    let error = hurried(&node, 2, "SELECT * FROM totals", None, 300).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
}

#[test]
fn reads_go_on_while_a_partition_has_no_owner_or_its_owner_is_down() {
    let node = small(spread());
    let expected: Vec<String> = QUERIES.iter().map(|sql| node.query(sql)).collect();
    let moved = partition(&node, 1);
    node.network.moved.lock().insert(moved, None);
    node.network.down.lock().insert(0, usize::MAX);
    for (sql, expected) in QUERIES.iter().zip(&expected) {
        assert_eq!(member(&node, 2, sql).unwrap(), *expected, "{sql}");
    }
    let down = node.network.heard(0, true);
    assert!(down.failed > 0, "{down:?}");
}

#[test]
fn a_standby_that_is_too_far_behind_refuses_and_the_owner_answers() {
    let mut node = small(Options { standby_lag_events_max: 0, ..spread() });
    // It works for all views of the second member: of what that owns as well.
    node.members[1].handle.pause("projection/totals").unwrap();
    for number in 0..30 {
        // Only partitions that the first member owns.
        let subject = (0..).map(|more| format!("t{number}-{more}"));
        let mut subject = subject.filter(|subject| tw_order::partition_of(subject, 5).0.is_multiple_of(2));
        node.append("things", "thing", Some(&subject.next().unwrap()), r#"{"kind":"a","x":1}"#);
    }
    node.ask(&node.engine, "SELECT sum(n) FROM totals", &[]).unwrap();
    let before = node.network.heard(1, false);
    for reader in 0..3 {
        assert_eq!(member(&node, reader, "SELECT sum(n) FROM totals").unwrap(), "[\"90\"]");
    }
    let after = node.network.heard(1, false);
    assert!(after.declined > before.declined, "{before:?} {after:?}");
    assert_eq!(after.answered, before.answered, "{before:?} {after:?}");
    // One that is near enough is asked, does not answer, and others are asked beside it.
    node.members.iter().for_each(|member| member.engine.reconfigure(spread()).unwrap());
    for reader in 0..3 {
        assert_eq!(member(&node, reader, "SELECT sum(n) FROM totals").unwrap(), "[\"90\"]");
    }
    // Where nobody has what is demanded, that is said, and in time.
    node.members[0].handle.pause("projection/totals").unwrap();
    fill(&mut node, 20);
    let since = Instant::now();
    let error = hurried(&node, 2, "SELECT * FROM totals", Some(node.token()), 400).unwrap_err();
    assert!(matches!(&error, Error::TokenTimeout { .. } | Error::Timeout { .. }), "{error}");
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    node.members.iter().for_each(|member| member.handle.resume("projection/totals").unwrap());
    node.query("SELECT * FROM totals");
}

#[test]
fn an_owner_that_is_silent_is_not_waited_for_when_its_standby_was_behind_for_a_while() {
    let mut node = small(Options { standby_lag_events_max: 0, ..spread() });
    node.network.silent.lock().insert(0);
    node.members[1].handle.pause("projection/totals").unwrap();
    fill(&mut node, 20);
    let (engine, token) = (node.members[2].engine.clone(), Some(node.token()));
    let declined = node.network.heard(1, false).declined;
    let request = Request { token, ..Request::new(Timestamp::from_millis(0)) };
    let answer = node.runtime.spawn(async move {
        let answer = engine.run("SELECT sum(n) FROM totals", request).await?;
        answer.collect().await.map(|batches| tw_project::text(batches[0].column(0), 0))
    });
    let until = Instant::now() + Duration::from_secs(30);
    while node.network.heard(1, false).declined < declined + 3 {
        assert!(Instant::now() < until, "the standby is not asked again");
        std::thread::yield_now();
    }
    node.members[1].handle.resume("projection/totals").unwrap();
    assert_eq!(node.runtime.block_on(answer).unwrap().unwrap().as_deref(), Some("80"));
}

#[test]
fn who_has_let_go_of_a_partition_and_who_is_of_an_earlier_version_are_passed_over() {
    let node = small(spread());
    let expected: Vec<String> = QUERIES.iter().map(|sql| node.query(sql)).collect();
    node.network.old.lock().extend([0, 1]);
    for (sql, expected) in QUERIES.iter().zip(&expected) {
        assert_eq!(member(&node, 2, sql).unwrap(), *expected, "{sql}");
    }
    node.network.old.lock().clear();
    // Everybody says that the second member stands by for everything.
    everything_of_the_first(&node);
    node.members[1].let_go();
    let before = node.network.heard(1, false);
    for (sql, expected) in QUERIES.iter().zip(&expected) {
        for reader in 0..3 {
            assert_eq!(member(&node, reader, sql).unwrap(), *expected, "{sql}");
        }
    }
    let after = node.network.heard(1, false);
    assert_eq!(after.answered, before.answered, "{before:?} {after:?}");
    assert!(after.declined + after.failed > before.declined + before.failed, "{before:?} {after:?}");
}

#[test]
fn different_definitions_are_never_mixed_and_a_standby_of_another_one_is_passed_over() {
    let mut node = small(spread());
    everything_of_the_first(&node);
    // The standby does not come to build the new definition.
    node.members[1].rest(true);
    node.run("CREATE OR REPLACE PROJECTION totals AS SELECT x, -count(*) AS n FROM things GROUP BY x");
    let until = Instant::now() + Duration::from_secs(30);
    let mut seen = std::collections::BTreeSet::new();
    while !seen.contains("[\"-60\"]") {
        assert!(Instant::now() < until, "the new definition is not read: {seen:?}");
        for reader in [0, 2] {
            let sum = member(&node, reader, "SELECT sum(n) FROM totals").unwrap();
            assert!(["[\"60\"]", "[\"-60\"]"].contains(&sum.as_str()), "{sum}");
            seen.insert(sum);
        }
    }
    for _ in 0..10 {
        assert_eq!(member(&node, 0, "SELECT sum(n) FROM totals").unwrap(), "[\"-60\"]");
    }
}

#[test]
fn prj_2_what_was_kept_of_an_answer_of_one_node_is_not_compared_with_another() {
    let mut node =
        Node::with_standbys(3, |_, _| 0, |_, _| vec![1], Options { answers_bytes_max: 1 << 20, ..spread() });
    node.run("CREATE STREAM things (kind text, x integer) WITH (partitions = 1)");
    node.run("CREATE PROJECTION kinds AS SELECT kind, count(*) AS n FROM things GROUP BY kind");
    fill(&mut node, 30);
    let sql = "SELECT sum(n) FROM kinds";
    let hits = || node.members[2].engine.kept_answers().hits;
    // One after the other: what is read has always another number than what was kept.
    for _ in 0..6 {
        assert_eq!(member(&node, 2, sql).unwrap(), "[\"30\"]");
    }
    assert_eq!(hits(), 0);
    node.network.sticky.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        assert_eq!(member(&node, 2, sql).unwrap(), "[\"30\"]");
    }
    assert!(hits() >= 2, "{}", hits());
    let before = hits();
    node.append("things", "thing", Some("s"), r#"{"kind":"a","x":1}"#);
    assert_eq!(member(&node, 2, sql).unwrap(), "[\"31\"]");
    assert_eq!(node.members[2].engine.kept_answers().hits, before);
}

#[test]
fn explain_says_who_can_be_asked() {
    let node = small(spread());
    let lines = |reader| {
        let plan = member(&node, reader, "EXPLAIN SELECT n FROM totals WHERE x = 3").unwrap();
        plan.lines().filter(|line| line.contains("gather")).collect::<Vec<_>>().join("\n")
    };
    expect![[r#"
        ["gather totals from `n0`, or a standby from `n1`: partitions 0, 2, 4"]
        ["gather totals from `n1`, or a standby from `n0`: partitions 1, 3"]"#]]
    .assert_eq(&lines(2));
    expect![[r#"
        ["gather totals from `n1`, or a standby here: partitions 1, 3"]
        ["gather totals here, or a standby from `n1`: partitions 0, 2, 4"]"#]]
    .assert_eq(&lines(0));
}
