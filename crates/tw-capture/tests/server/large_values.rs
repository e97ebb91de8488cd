//! Large values that updates do not touch, and that the server therefore does not send.

use crate::support::{World, eventually};
use tw_capture::{Options, SnapshotPhase};
use tw_testing::Postgres;

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, small text, large text); ALTER TABLE t ALTER large SET STORAGE EXTERNAL;
    INSERT INTO t SELECT g, 'old', repeat('x', 3000) || g FROM generate_series(1, 500) g;";

/// Waits until the stream gives the table.
fn comes_right(world: &mut World, source: &tw_capture::Handle) {
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
