//! Large values that updates do not touch, and that the server therefore does not send.

use crate::support::{World, eventually};
use tw_capture::{Handle, Options, SnapshotMode, SnapshotPhase};
use tw_testing::Postgres;

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, small text, large text); ALTER TABLE t ALTER large SET STORAGE EXTERNAL;
    INSERT INTO t SELECT g, 'old', repeat('x', 3000) || g FROM generate_series(1, 500) g;";

/// Waits until the stream gives the table.
fn comes_right(world: &mut World, source: &Handle) {
    world.catch_up(source);
    let rows = world.rows("SELECT id, small, large FROM public.t ORDER BY id::text, small, large");
    let look = || {
        let mut told = world.model("shop.t").rows();
        told.sort();
        (told == rows).then_some(())
    };
    tw_testing::eventually(look, || format!("{:#?}", source.status()));
    world.assert_same("shop.t", "public.t");
}

#[test]
fn cap_2_a_row_that_gets_another_key_keeps_its_large_values() {
    let mut world = World::new();
    world.sql(TABLE);
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    world.sql("UPDATE t SET id = 1000 WHERE id = 1; UPDATE t SET id = -id WHERE id BETWEEN 10 AND 20");
    // Again before it has been read, and gone before it has been read.
    world.sql("UPDATE t SET id = 1001 WHERE id = 1000; UPDATE t SET id = 1002 WHERE id = 2; DELETE FROM t WHERE id = 1002");
    comes_right(&mut world, &source);
    // What is to be read again is remembered through a restart.
    source.stop();
    world.sql("UPDATE t SET id = 2000 WHERE id = 3");
    let source = world.capture(&["t"]);
    let open = world.connect();
    world.runtime.block_on(open.batch_execute("BEGIN; SELECT pg_current_xact_id()")).unwrap();
    world.sql("UPDATE t SET id = 2001 WHERE id = 4");
    eventually(&source, |_| world.told("shop.t").contains(&"row.insert 2001".to_owned()));
    source.stop();
    let source = world.capture(&["t"]);
    world.runtime.block_on(open.batch_execute("COMMIT")).unwrap();
    comes_right(&mut world, &source);
    source.stop();
}

#[test]
fn cap_2_a_row_that_a_chunk_is_too_old_for_keeps_its_large_values() {
    // A standby that does not exist: a commit is in the stream long before a chunk sees it.
    let mut world = World::with(Postgres::builder().setting("synchronous_standby_names", "nobody"));
    world.sql(&format!("SET synchronous_commit = local; {TABLE}"));
    world.sql("SET synchronous_commit = local");
    let options = Options { chunk_rows_max: 50, snapshot_rows_per_second_max: 200, ..world.options(&["t"]) };
    let source = world.start(options);
    eventually(&source, |status| status.tables.first().is_some_and(|table| table.snapshot_rows >= 50));
    let stuck = world.connect();
    let waiting = world
        .runtime
        .spawn(async move { stuck.batch_execute("UPDATE t SET small = 'new' WHERE id IN (490, 491)").await });
    eventually(&source, |status| status.counters.changes >= 1);
    eventually(&source, |status| status.tables[0].snapshot == SnapshotPhase::Done);
    assert_eq!(world.value("SELECT count(*) FROM public.t WHERE small = 'new'"), "0");
    world.sql("ALTER SYSTEM SET synchronous_standby_names = ''");
    world.sql("SELECT pg_reload_conf()");
    world.runtime.block_on(waiting).unwrap().unwrap();
    comes_right(&mut world, &source);
    source.stop();
}

#[test]
fn cap_2_a_row_that_is_noted_again_while_it_is_read_again_is_kept() {
    // A standby that does not exist: a commit is in the stream long before a chunk sees it.
    let mut world = World::with(Postgres::builder().setting("synchronous_standby_names", "nobody"));
    world.sql(&format!("SET synchronous_commit = local; {TABLE}"));
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    // Key 1000 waits for its turn, as long as this transaction is open.
    let open = world.connect();
    let begin = "SET synchronous_commit = local; BEGIN; SELECT pg_current_xact_id()";
    world.runtime.block_on(open.batch_execute(begin)).unwrap();
    world.sql(
        "SET synchronous_commit = local; UPDATE t SET id = 1000 WHERE id = 1; DELETE FROM t WHERE id = 1000",
    );
    let first = eventually(&source, |status| status.waits_for.is_some()).waits_for;
    // Another row gets that key, and the reading will not see it.
    let stuck = world.connect();
    let waiting =
        world.runtime.spawn(async move { stuck.batch_execute("UPDATE t SET id = 1000 WHERE id = 2").await });
    eventually(&source, |_| world.told("shop.t").contains(&"row.delete 2".to_owned()));
    world.runtime.block_on(open.batch_execute("COMMIT")).unwrap();
    // The key has been read, in vain, and waits again: for the transaction that is not visible yet.
    eventually(&source, |status| status.waits_for.is_some() && status.waits_for != first);
    world.sql("ALTER SYSTEM SET synchronous_standby_names = ''");
    world.sql("SELECT pg_reload_conf()");
    world.runtime.block_on(waiting).unwrap().unwrap();
    comes_right(&mut world, &source);
    source.stop();
}

/// How often the stream tells that the row with this key was read.
fn times_read(world: &World, subject: &str) -> usize {
    let wanted = format!("row.read {subject}");
    world.told("shop.t").into_iter().filter(|told| *told == wanted).count()
}

/// A table of 2,000 rows that is being read slowly, from its first row on.
fn being_read(world: &mut World, key: &str) -> Handle {
    world.sql(&format!(
        "CREATE TABLE t (id text PRIMARY KEY, small text, large text); ALTER TABLE t ALTER large SET STORAGE EXTERNAL;
         INSERT INTO t SELECT to_char(g, '00000') || {key}, 'old', repeat('x', 3000) || g FROM generate_series(1, 2000) g"
    ));
    let options = Options { chunk_rows_max: 50, snapshot_rows_per_second_max: 500, ..world.options(&["t"]) };
    let source = world.start(options);
    eventually(&source, |status| status.tables.first().is_some_and(|table| table.snapshot_rows >= 100));
    source
}

#[test]
fn many_rows_that_get_another_key_do_not_begin_a_snapshot_anew() {
    let mut world = World::new();
    let source = being_read(&mut world, "''");
    world.sql("UPDATE t SET id = replace(id, ' 0', '-0') WHERE id > ' 00800'");
    eventually(&source, |status| status.tables[0].snapshot == SnapshotPhase::Done);
    comes_right(&mut world, &source);
    assert_eq!(times_read(&world, " 00001"), 1);
    source.stop();
}

#[test]
fn more_rows_with_another_key_than_can_be_remembered_have_the_table_read_twice() {
    let mut world = World::new();
    let source = being_read(&mut world, "repeat('k', 1000)");
    world.sql("UPDATE t SET id = replace(id, ' 0', '-0') WHERE id > ' 00800'");
    comes_right(&mut world, &source);
    let first = format!(" 00001{}", "k".repeat(1000));
    eventually(&source, |status| {
        status.tables[0].snapshot == SnapshotPhase::Done && times_read(&world, &first) == 2
    });
    comes_right(&mut world, &source);
    source.stop();
}

#[test]
fn without_a_snapshot_rows_are_read_by_their_keys_only() {
    let mut world = World::new();
    world.sql(
        "CREATE TABLE t (id text PRIMARY KEY, large text); ALTER TABLE t ALTER large SET STORAGE EXTERNAL;
         INSERT INTO t SELECT to_char(g, '00000') || repeat('k', 1000), repeat('x', 3000) FROM generate_series(1, 1000) g",
    );
    let options = Options { snapshot: SnapshotMode::Never, ..world.options(&["t"]) };
    let source = world.start(options);
    world.catch_up(&source);
    world.sql("UPDATE t SET id = 'moved' WHERE id < ' 00002'");
    eventually(&source, |_| times_read(&world, "moved") == 1);
    assert_eq!(source.status().tables[0].problem, None);
    // More than can be remembered.
    world.sql("UPDATE t SET id = replace(id, ' 0', '-0') WHERE id < ' 00900'");
    let status = eventually(&source, |status| status.tables[0].problem.is_some());
    let problem = status.tables[0].problem.clone().unwrap();
    assert!(problem.contains("got another key") && problem.contains("read the table again"), "{problem}");
    assert_eq!(status.tables[0].snapshot, SnapshotPhase::Done);
    world.runtime.block_on(source.resnapshot("t")).unwrap();
    eventually(&source, |status| status.tables[0].problem.is_none());
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    source.stop();
}
