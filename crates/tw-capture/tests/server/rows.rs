//! Row changes of every kind, and what tells which row they are about.

use crate::support::{MINUTE, World, eventually};
use serde_json::{Value, json};
use tw_capture::{SourcePhase, TableIdentity};
use tw_testing::Postgres;

const MARKER: &str = "__debezium_unavailable_value";

#[test]
fn an_unchanged_large_value_is_its_own_marker_and_never_null() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, small text, large text); ALTER TABLE t ALTER large SET STORAGE EXTERNAL");
    let source = world.start(world.ordered(&["t"]));
    world.catch_up(&source);
    world.sql("INSERT INTO t VALUES (1, 'a', repeat('x', 10000)), (2, 'a', NULL)");
    world.sql("UPDATE t SET small = 'b'");
    world.catch_up(&source);
    let data = world.data("shop.t");
    assert_eq!(data[2]["after"], json!({"id": 1, "small": "b", "large": MARKER}));
    assert_eq!(data[3]["after"], json!({"id": 2, "small": "b", "large": null}));
    // With replica identity full the old row holds the value.
    world.sql("ALTER TABLE t REPLICA IDENTITY FULL");
    world.sql("UPDATE t SET small = 'c' WHERE id = 1");
    world.catch_up(&source);
    let last = world.data("shop.t").pop().unwrap();
    let large = "x".repeat(10000);
    assert_eq!(last["before"], json!({"id": 1, "small": "b", "large": large}));
    assert_eq!(last["after"], json!({"id": 1, "small": "c", "large": large}));
    world.assert_same("shop.t", "public.t");
    source.stop();
}

#[test]
fn a_truncation_is_one_event_for_each_partition_of_each_stream() {
    let mut world = World::new();
    world.sql("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY REFERENCES a); CREATE TABLE c (id int)");
    world.sql(
        "INSERT INTO a SELECT generate_series(1, 20); INSERT INTO b VALUES (1); INSERT INTO c VALUES (1)",
    );
    let source = world.capture(&["a", "b", "c"]);
    world.catch_up(&source);
    world.sql("TRUNCATE a CASCADE; INSERT INTO a VALUES (7)");
    world.sql("TRUNCATE c");
    world.catch_up(&source);
    for (stream, table) in [("shop.a", "public.a"), ("shop.b", "public.b"), ("shop.c", "public.c")] {
        let truncations: Vec<_> =
            world.events(stream).into_iter().filter(|stored| stored.event.ty == "table.truncate").collect();
        assert_eq!(truncations.len(), 4, "{stream}");
        assert!(truncations.iter().all(|stored| stored.event.subject.is_none()));
        let data: Value = serde_json::from_slice(truncations[0].event.data.bytes()).unwrap();
        assert_eq!((&data["op"], &data["before"], &data["after"]), (&json!("t"), &json!(null), &json!(null)));
        world.assert_same(stream, table);
    }
    source.stop();
}

#[test]
fn a_changed_key_ends_the_old_row_and_begins_a_new_one() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, x text); INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    let source = world.start(world.ordered(&["t"]));
    world.catch_up(&source);
    world.sql("UPDATE t SET id = id + 10");
    world.sql("UPDATE t SET id = 1, x = 'c' WHERE id = 12");
    world.catch_up(&source);
    let told = world.told("shop.t");
    let expected =
        ["row.delete 1", "row.insert 11", "row.delete 2", "row.insert 12", "row.delete 12", "row.insert 1"];
    assert_eq!(told[2..], expected);
    let events = world.events("shop.t");
    let (delete, insert) = (&events[2].event, &events[3].event);
    assert_eq!(format!("{}.1", delete.id), insert.id);
    assert_eq!(world.data("shop.t")[2]["before"], json!({"id": 1}));
    world.assert_same("shop.t", "public.t");
    source.stop();
}

#[test]
fn replica_identity_index_makes_the_index_the_key() {
    let mut world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL, b text NOT NULL, x int);
         CREATE UNIQUE INDEX by_ba ON t (b, a); ALTER TABLE t REPLICA IDENTITY USING INDEX by_ba;
         INSERT INTO t VALUES (1, 1, 'x', 0), (2, 2, 'y', 0)",
    );
    let source = world.start(world.ordered(&["t"]));
    world.catch_up(&source);
    world.sql("UPDATE t SET x = 1 WHERE id = 1");
    world.sql("UPDATE t SET b = 'z' WHERE id = 1");
    world.sql("DELETE FROM t WHERE id = 2");
    world.catch_up(&source);
    assert_eq!(
        world.told("shop.t"),
        [
            r#"row.read ["x","1"]"#,
            r#"row.read ["y","2"]"#,
            r#"row.update ["x","1"]"#,
            r#"row.delete ["x","1"]"#,
            r#"row.insert ["z","1"]"#,
            r#"row.delete ["y","2"]"#,
        ]
    );
    let last = world.data("shop.t").pop().unwrap();
    assert_eq!((&last["before"], &last["after"]), (&json!({"a": 2, "b": "y"}), &json!(null)));
    world.assert_same("shop.t", "public.t");
    source.stop();
}

#[test]
fn a_table_without_key_but_full_identity_is_captured_as_whole_rows() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (a int, b text); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1, 'x'), (1, 'x'), (NULL, NULL)");
    let source = world.capture(&["t"]);
    let status = world.catch_up(&source);
    assert_eq!(status.tables[0].identity, TableIdentity::WholeRow);
    world.assert_same("shop.t", "public.t");
    world.sql("INSERT INTO t VALUES (2, 'y'), (2, 'y'); UPDATE t SET b = 'z' WHERE a = 1; DELETE FROM t WHERE ctid = (SELECT max(ctid) FROM t WHERE a = 2); UPDATE t SET b = b");
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    let subjects: Vec<_> =
        world.events("shop.t").into_iter().map(|stored| stored.event.subject.unwrap()).collect();
    assert!(subjects.iter().all(|subject| subject.len() == 32), "{subjects:?}");
    source.stop();
}

#[test]
fn a_table_without_key_is_append_only_and_lost_updates_are_told() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 3000)");
    let source = world.capture(&["t"]);
    let status = world.catch_up(&source);
    assert_eq!(status.tables[0].identity, TableIdentity::AppendOnly);
    world.sql("INSERT INTO t VALUES (-1), (-2)");
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    let events = world.events("shop.t");
    assert!(events.iter().all(|stored| stored.event.subject.is_none()));
    // The application is not hindered, but the loss is not silent.
    world.sql("UPDATE t SET a = 0 WHERE a < 0");
    let status = eventually(&source, |status| status.tables[0].problem.is_some());
    let problem = status.tables[0].problem.clone().unwrap();
    assert!(
        problem.contains("2 updates or deletes") && problem.contains("REPLICA IDENTITY FULL"),
        "{problem}"
    );
    source.stop();
}

#[test]
fn replica_identity_nothing_is_refused_with_the_remedy() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY NOTHING");
    let found = world.runtime.block_on(tw_capture::check(&world.options(&["t"]), MINUTE)).unwrap();
    assert!(!found.is_ready());
    assert!(found.problems[0].remedy.contains("REPLICA IDENTITY DEFAULT"), "{found:?}");
    let source = world.capture(&["t"]);
    let status = eventually(&source, |status| status.phase == SourcePhase::Failed);
    assert!(status.last_error.unwrap().message.contains("REPLICA IDENTITY DEFAULT"));
    // It looks again by itself once the cause is gone.
    world.sql("ALTER TABLE t REPLICA IDENTITY DEFAULT; INSERT INTO t VALUES (1)");
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    source.stop();
}

#[test]
fn cap_2_rows_that_share_a_place_in_the_log_are_told_apart() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, x text)");
    let source = world.start(world.ordered(&["t"]));
    world.catch_up(&source);
    // COPY and multi-row inserts write many rows into one WAL record.
    let client = world.connect();
    world.runtime.block_on(async {
        use futures_util::SinkExt;
        let sink = client.copy_in("COPY t FROM STDIN").await.unwrap();
        tokio::pin!(sink);
        let text: String = (0..500).map(|id| format!("{id}\tx\n")).collect();
        sink.send(bytes::Bytes::from(text)).await.unwrap();
        sink.close().await.unwrap();
    });
    world.catch_up(&source);
    let events = world.events("shop.t");
    assert_eq!(events.len(), 500);
    let lsn = events[0].event.id.rsplit_once('/').unwrap().0.to_owned();
    for (index, stored) in events.iter().enumerate() {
        assert_eq!(stored.event.id, format!("{lsn}/{}", index + 1));
        assert_eq!(stored.event.subject.as_deref(), Some(index.to_string().as_str()));
    }
    source.stop();
}

#[test]
fn what_is_rolled_back_is_not_captured() {
    let mut world = World::with(Postgres::builder().setting("max_prepared_transactions", "5"));
    world.sql("CREATE TABLE t (id int PRIMARY KEY, x text)");
    let source = world.start(world.ordered(&["t"]));
    world.catch_up(&source);
    world.sql("BEGIN; INSERT INTO t VALUES (1, 'no'); ROLLBACK");
    world.sql(
        "BEGIN; INSERT INTO t VALUES (2, 'yes'); SAVEPOINT a; INSERT INTO t VALUES (3, 'no'); SAVEPOINT b;
         INSERT INTO t VALUES (4, 'no'); RELEASE b; ROLLBACK TO a; INSERT INTO t VALUES (5, 'yes'); SAVEPOINT c;
         INSERT INTO t VALUES (6, 'yes'); RELEASE c; COMMIT",
    );
    world.sql("BEGIN; INSERT INTO t VALUES (7, 'yes'); PREPARE TRANSACTION 'p'");
    world.sql("BEGIN; INSERT INTO t VALUES (8, 'no'); PREPARE TRANSACTION 'q'");
    world.sql("INSERT INTO t VALUES (9, 'yes')");
    world.sql("COMMIT PREPARED 'p'");
    world.sql("ROLLBACK PREPARED 'q'");
    world.catch_up(&source);
    let told = world.told("shop.t");
    assert_eq!(told, ["row.insert 2", "row.insert 5", "row.insert 6", "row.insert 9", "row.insert 7"]);
    world.assert_same("shop.t", "public.t");
    source.stop();
}

#[test]
fn keys_that_look_alike_stay_apart() {
    let mut world = World::new();
    world.sql("CREATE TABLE one (k text PRIMARY KEY); CREATE TABLE two (a text, b text, PRIMARY KEY (a, b)); CREATE TABLE r (k int4range PRIMARY KEY)");
    let source = world.start(world.ordered(&["one", "two", "r"]));
    world.catch_up(&source);
    world.sql("INSERT INTO one VALUES (''), ('[\"\"]'), ('a,b'), ('ü')");
    world.sql("INSERT INTO two VALUES ('a', 'b'), ('a\",\"b', ''), ('', 'a')");
    world.sql("INSERT INTO r VALUES ('[1,5)'), ('empty')");
    world.catch_up(&source);
    let subjects = |stream| -> Vec<String> {
        world.events(stream).into_iter().map(|stored| stored.event.subject.unwrap()).collect()
    };
    assert_eq!(subjects("shop.one"), [r#"[""]"#, r#"["[\"\"]"]"#, "a,b", "ü"]);
    assert_eq!(subjects("shop.two"), [r#"["a","b"]"#, r#"["a\",\"b",""]"#, r#"["","a"]"#]);
    assert_eq!(subjects("shop.r"), [r#"["[1,5)"]"#, "empty"]);
    source.stop();
}
