//! Reading what is there while it changes.

use crate::load::Writers;
use crate::support::{World, eventually};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tw_capture::{Options, SnapshotMode, SnapshotPhase};
use tw_testing::{Install, Postgres};

fn small_chunks(world: &World, tables: &[&str]) -> Options {
    Options { chunk_rows_max: 50, ..world.options(tables) }
}

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, x text); INSERT INTO t SELECT g, 'old ' || g FROM generate_series(0, 5999) g";

#[test]
fn cap_2_a_snapshot_under_load_and_the_changes_give_the_table() {
    for install in Install::all() {
        let mut world = World::with(Postgres::builder().install(&install));
        world.sql(TABLE);
        let writers = Writers::start(&world.runtime, &world.server.url("postgres"), 6, true);
        let source = world.start(small_chunks(&world, &["t"]));
        eventually(&source, |status| {
            status.tables.first().is_some_and(|table| table.snapshot == SnapshotPhase::Done)
        });
        // Again, on top of what is there, and this time with little memory for what changes meanwhile.
        world.runtime.block_on(source.resnapshot("public.t")).unwrap();
        eventually(&source, |status| status.tables[0].snapshot == SnapshotPhase::Done);
        let commits = writers.stop(&world.runtime);
        assert!(commits > 100, "{commits} commits");
        world.catch_up(&source);
        world.assert_same("shop.t", "public.t");
        source.stop();
    }
}

#[test]
fn cap_2_a_snapshot_with_little_memory_still_ends_and_is_right() {
    let mut world = World::new();
    world.sql(TABLE);
    let options = Options { window_bytes_max: 64 << 10, ..small_chunks(&world, &["t"]) };
    let writers = Writers::start(&world.runtime, &world.server.url("postgres"), 4, false);
    let source = world.start(options);
    eventually(&source, |status| status.tables.first().is_some_and(|table| table.snapshot_rows > 1000));
    // More keys in one transaction than may be remembered.
    world.sql("LOCK TABLE t IN EXCLUSIVE MODE; UPDATE t SET x = 'all' WHERE id < 2500");
    eventually(&source, |status| status.tables[0].snapshot == SnapshotPhase::Done);
    writers.stop(&world.runtime);
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    source.stop();
}

#[test]
fn cap_2_a_commit_that_others_do_not_see_yet_does_not_bring_an_old_row_back() {
    // A standby that does not exist: a commit is in the write-ahead log, and so in the stream, long before others see it.
    let mut world = World::with(Postgres::builder().setting("synchronous_standby_names", "nobody"));
    world.sql("SET synchronous_commit = local; CREATE TABLE t (id int PRIMARY KEY, x text); INSERT INTO t SELECT g, 'old' FROM generate_series(1, 500) g");
    world.sql("SET synchronous_commit = local");
    let options = Options { snapshot_rows_per_second_max: 200, ..small_chunks(&world, &["t"]) };
    let source = world.start(options);
    eventually(&source, |status| status.tables.first().is_some_and(|table| table.snapshot_rows >= 50));
    let stuck = world.connect();
    let waiting = world
        .runtime
        .spawn(async move { stuck.batch_execute("UPDATE t SET x = 'new' WHERE id IN (490, 491)").await });
    // The change is in the stream while SELECT still shows the old row.
    eventually(&source, |status| status.counters.changes >= 1);
    let before = world.value("SELECT count(*) FROM public.t WHERE x = 'new'");
    eventually(&source, |status| status.tables[0].snapshot == SnapshotPhase::Done);
    assert_eq!(
        (before.as_str(), world.value("SELECT count(*) FROM public.t WHERE x = 'new'").as_str()),
        ("0", "0")
    );
    let newer =
        world.model("shop.t").rows().into_iter().filter(|row| row[1].as_deref() == Some("new")).count();
    assert_eq!(newer, 2, "the stream keeps what it knows");
    world.sql("ALTER SYSTEM SET synchronous_standby_names = ''");
    world.sql("SELECT pg_reload_conf()");
    world.runtime.block_on(waiting).unwrap().unwrap();
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    source.stop();
}

#[test]
fn a_snapshot_waits_for_transactions_that_were_open_before_it_and_says_so() {
    let mut world = World::new();
    world.sql(TABLE);
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    let open = world.connect();
    world.runtime.block_on(open.batch_execute("BEGIN; INSERT INTO t VALUES (-1, 'open')")).unwrap();
    world.runtime.block_on(source.resnapshot("shop.t")).unwrap();
    let status = eventually(&source, |status| status.waits_for.is_some());
    assert!(status.waits_for.unwrap().contains("pg_stat_activity"));
    // Meanwhile changes go on.
    world.sql("INSERT INTO t VALUES (-2, 'meanwhile')");
    eventually(&source, |_| world.told("shop.t").contains(&"row.insert -2".to_owned()));
    world.runtime.block_on(open.batch_execute("COMMIT")).unwrap();
    let status = world.catch_up(&source);
    assert_eq!(status.waits_for, None);
    world.assert_same("shop.t", "public.t");
    source.stop();
}

#[test]
fn a_snapshot_goes_on_where_it_was_after_a_restart() {
    let mut world = World::new();
    world.sql(TABLE);
    let slow = Options { snapshot_rows_per_second_max: 500, ..small_chunks(&world, &["t"]) };
    let source = world.start(slow);
    eventually(&source, |status| status.tables.first().is_some_and(|table| table.snapshot_rows >= 200));
    source.stop();
    let read = world.told("shop.t").len();
    assert!((200..5000).contains(&read), "{read}");
    let source = world.start(small_chunks(&world, &["t"]));
    world.catch_up(&source);
    assert_eq!(world.told("shop.t").len(), 6000, "no row is read twice");
    let status = source.status();
    assert_eq!(status.tables[0].snapshot_rows, 6000);
    world.assert_same("shop.t", "public.t");
    source.stop();
}

#[test]
fn keys_of_every_kind_are_read_in_chunks() {
    let mut world = World::new();
    world.sql(
        "CREATE TYPE mood AS ENUM ('a', 'c', 'b'); CREATE DOMAIN code AS varchar(8);
         CREATE TABLE texts (k text PRIMARY KEY); INSERT INTO texts SELECT md5(g::text) || '''\\' FROM generate_series(1, 300) g;
         CREATE TABLE many (m mood, n numeric(8,2), t timestamptz, c code, h char(4), PRIMARY KEY (m, n, t, c, h));
         INSERT INTO many SELECT m::mood, n / 7.0, '2024-01-01'::timestamptz + n * interval '1.000001 s', 'x', 'y'
           FROM unnest(ARRAY['a', 'b', 'c']) m, generate_series(1, 100) n;
         CREATE TABLE floats (f float8 PRIMARY KEY);
         INSERT INTO floats SELECT random() * g FROM generate_series(1, 200) g; INSERT INTO floats VALUES ('NaN'), ('Infinity'), ('-Infinity');
         CREATE TABLE uuids (u uuid PRIMARY KEY); INSERT INTO uuids SELECT gen_random_uuid() FROM generate_series(1, 200);
         CREATE TABLE bytes (b bytea PRIMARY KEY); INSERT INTO bytes SELECT sha256(g::text::bytea) FROM generate_series(1, 200) g;
         CREATE TABLE empty (id int PRIMARY KEY)",
    );
    let options = Options {
        chunk_rows_max: 7,
        ..world.options(&["texts", "many", "floats", "uuids", "bytes", "empty"])
    };
    let source = world.start(options);
    world.catch_up(&source);
    for table in ["texts", "many", "floats", "uuids", "bytes", "empty"] {
        world.assert_same(&format!("shop.{table}"), &format!("public.{table}"));
    }
    source.stop();
}

#[test]
fn cap_2_a_table_without_key_is_copied_while_rows_are_added() {
    let mut world = World::new();
    world.sql(
        "CREATE TABLE t (id int, x text); INSERT INTO t SELECT g, 'old' FROM generate_series(1, 5000) g",
    );
    world.sql("CREATE TABLE full_rows (id int, x text); ALTER TABLE full_rows REPLICA IDENTITY FULL; INSERT INTO full_rows SELECT g, 'old' FROM generate_series(1, 3000) g");
    let options = Options { snapshot_rows_per_second_max: 20_000, ..world.options(&["t", "full_rows"]) };
    let stop = Arc::new(AtomicBool::new(false));
    let task = {
        let (client, stop) = (world.connect(), stop.clone());
        world.runtime.spawn(async move {
            let mut id = 10_000;
            while !stop.load(Ordering::Relaxed) {
                id += 1;
                let sql = format!(
                    "INSERT INTO t VALUES ({id}, 'new'); INSERT INTO full_rows VALUES ({id}, 'new');
                     UPDATE full_rows SET x = 'changed' WHERE id = {}; DELETE FROM full_rows WHERE id = {}",
                    id % 3000,
                    (id * 7) % 3000
                );
                client.batch_execute(&sql).await.unwrap();
            }
        })
    };
    let source = world.start(options);
    eventually(&source, |status| {
        status.tables.len() == 2 && status.tables.iter().all(|table| table.snapshot == SnapshotPhase::Done)
    });
    // Interrupted and begun anew, it is told to be empty first.
    world.runtime.block_on(source.resnapshot("full_rows")).unwrap();
    eventually(&source, |status| status.tables[0].snapshot_rows > 0);
    world.runtime.block_on(source.resnapshot("full_rows")).unwrap();
    eventually(&source, |status| status.tables[0].snapshot == SnapshotPhase::Done);
    stop.store(true, Ordering::Relaxed);
    world.runtime.block_on(task).unwrap();
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    world.assert_same("shop.full_rows", "public.full_rows");
    source.stop();
}

#[test]
fn without_a_snapshot_only_changes_are_captured() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    let options = Options { snapshot: SnapshotMode::Never, ..world.options(&["t"]) };
    let source = world.start(options);
    world.catch_up(&source);
    world.sql("INSERT INTO t VALUES (2)");
    world.catch_up(&source);
    assert_eq!(world.told("shop.t"), ["row.insert 2"]);
    source.stop();
}

#[test]
fn a_table_that_is_added_to_a_source_is_read_and_the_others_are_not() {
    let mut world = World::new();
    world.sql("CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b VALUES (1); CREATE TABLE c (id int); INSERT INTO c VALUES (1)");
    let source = world.capture(&["a"]);
    world.catch_up(&source);
    source.stop();
    world.sql("INSERT INTO a VALUES (2); INSERT INTO b VALUES (2); INSERT INTO c VALUES (2)");
    let source = world.capture(&["a", "b", "c"]);
    world.catch_up(&source);
    world.sql("INSERT INTO a VALUES (3); INSERT INTO b VALUES (3); INSERT INTO c VALUES (3)");
    world.catch_up(&source);
    for table in ["a", "b", "c"] {
        world.assert_same(&format!("shop.{table}"), &format!("public.{table}"));
    }
    assert_eq!(world.told("shop.a").len(), 3);
    assert_eq!(source.status().counters.gaps, 0);
    source.stop();
}

#[test]
fn an_idle_source_moves_its_slot_on() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE noise (x text)");
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    let before = world.value("SELECT confirmed_flush_lsn FROM pg_replication_slots");
    world.sql("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 1000)");
    let status = world.catch_up(&source);
    world.until(&format!("SELECT confirmed_flush_lsn > '{before}' FROM pg_replication_slots"), "t");
    let slot = status.slot.unwrap();
    assert_eq!(
        (slot.name.as_str(), slot.wal_status.as_str(), slot.active),
        ("tradewind_shop", "reserved", true)
    );
    eventually(&source, |status| status.lag_bytes < 1 << 20);

    source.stop();
}

#[test]
fn a_table_without_key_is_copied_whose_rows_are_of_very_different_sizes() {
    let mut world = World::new();
    world.sql(
        "CREATE TABLE t (id int, x text);
         INSERT INTO t SELECT g, 'small' FROM generate_series(1, 2000) g;
         INSERT INTO t SELECT g, repeat('x', 300000) || g FROM generate_series(2001, 2100) g;
         INSERT INTO t SELECT g, 'small' FROM generate_series(2101, 4000) g",
    );
    let options = Options { chunk_bytes_max: 64 << 10, ..world.options(&["t"]) };
    let source = world.start(options);
    world.catch_up(&source);
    assert_eq!(source.status().tables[0].snapshot_rows, 4000);
    world.assert_same("shop.t", "public.t");
    source.stop();
}

#[test]
fn a_row_that_cannot_be_captured_stops_its_table_and_no_other() {
    let mut world = World::new();
    world.sql(
        "CREATE TABLE a (id int PRIMARY KEY, x text); CREATE TABLE b (x text); CREATE TABLE c (id int PRIMARY KEY);
         INSERT INTO a VALUES (1, 'x'), (2, repeat('x', 17 << 20)), (3, 'x');
         INSERT INTO b VALUES ('x'), (repeat('x', 17 << 20)); INSERT INTO c VALUES (1)",
    );
    let source = world.capture(&["a", "b", "c"]);
    let status = eventually(&source, |status| {
        let failed = |index: usize| status.tables.get(index).is_some_and(|table| table.problem.is_some());
        failed(0) && failed(1) && status.tables[2].snapshot == SnapshotPhase::Done
    });
    for (table, name) in status.tables.iter().zip(["a", "b"]) {
        let problem = table.problem.clone().unwrap();
        let row = format!("a row of table `public.{name}` cannot be captured");
        for part in [&row, "over the limit of 16777216 bytes", "goes on by itself"] {
            assert!(problem.contains(part), "{problem}");
        }
    }
    world.sql("INSERT INTO c VALUES (2); INSERT INTO a VALUES (4, 'x')");
    eventually(&source, |_| world.told("shop.c").contains(&"row.insert 2".to_owned()));
    eventually(&source, |_| world.told("shop.a").contains(&"row.insert 4".to_owned()));
    world.assert_same("shop.c", "public.c");
    // Put right, it goes on by itself.
    world.sql("UPDATE a SET x = 'x'; UPDATE b SET x = 'x'");
    let status = world.catch_up(&source);
    assert_eq!(status.counters.connections, 1);
    world.assert_same("shop.a", "public.a");
    world.assert_same("shop.b", "public.b");
    source.stop();
}
