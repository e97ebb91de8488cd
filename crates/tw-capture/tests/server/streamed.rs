//! Transactions that the server streams before they are committed.

use crate::support::{World, eventually};
use tw_capture::Options;
use tw_testing::{Install, Postgres};

/// A server that streams every transaction of more than a few hundred rows.
fn eager(install: &Install) -> World {
    World::with(Postgres::builder().install(install).setting("logical_decoding_work_mem", "64kB"))
}

fn scratch_files(world: &World) -> usize {
    let folder = world.place().scratch.join("shop").join("streamed");
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

#[test]
fn cap_2_streamed_transactions_with_savepoints_are_cut_exactly() {
    for install in Install::all() {
        let mut world = eager(&install);
        world.sql("CREATE TABLE t (id int PRIMARY KEY, x text); CREATE TABLE bag (id int, x text); ALTER TABLE bag REPLICA IDENTITY FULL");
        let options = Options { spool_bytes_max: 64 << 10, ..world.ordered(&["t", "bag"]) };
        let source = world.start(options);
        world.catch_up(&source);
        let fill = |from: u32, to: u32, x: &str| {
            format!("INSERT INTO t SELECT g, repeat('{x}', 50) FROM generate_series({from}, {to}) g;")
        };
        let sql = [
            "BEGIN;",
            &fill(1, 3000, "a"),
            "SAVEPOINT a;",
            &fill(3001, 6000, "b"),
            "SAVEPOINT b;",
            &fill(6001, 9000, "c"),
            "UPDATE t SET x = 'gone' WHERE id < 3000;",
            "ROLLBACK TO b;",
            &fill(9001, 12000, "d"),
            "RELEASE b;",
            "SAVEPOINT c; SAVEPOINT d;",
            &fill(12001, 15000, "e"),
            "ROLLBACK TO c;",
            "ALTER TABLE t ADD y int; INSERT INTO t VALUES (20000, 'y', 1);",
            "ROLLBACK TO a;",
            &fill(15001, 18000, "f"),
            "DELETE FROM t WHERE id % 5 = 0; INSERT INTO bag SELECT id, x FROM t;",
            "UPDATE bag SET x = 'z' WHERE id % 3 = 0;",
            "COMMIT",
        ];
        world.sql(&sql.concat());
        let status = world.catch_up(&source);
        assert!(status.counters.streamed_transactions >= 1, "it was streamed");
        world.assert_same("shop.t", "public.t");
        world.assert_same("shop.bag", "public.bag");
        assert_eq!(world.told("shop.t")[0], "row.insert 1");
        assert_eq!((scratch_files(&world), status.spooled_bytes), (0, 0));
        source.stop();
    }
}

#[test]
fn a_streamed_transaction_that_is_rolled_back_leaves_nothing() {
    let mut world = eager(&Install::first());
    world.sql("CREATE TABLE t (id int PRIMARY KEY, x text)");
    let options = Options { spool_bytes_max: 64 << 10, ..world.ordered(&["t"]) };
    let source = world.start(options);
    world.catch_up(&source);
    let open = world.connect();
    let fill = "BEGIN; INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(1, 20000) g";
    world.runtime.block_on(open.batch_execute(fill)).unwrap();
    eventually(&source, |status| status.spooled_bytes > 1 << 20);
    assert_eq!(scratch_files(&world), 1);
    assert!(world.events("shop.t").is_empty());
    world.sql("INSERT INTO t VALUES (-1, 'meanwhile')");
    eventually(&source, |_| !world.events("shop.t").is_empty());
    world.runtime.block_on(open.batch_execute("ROLLBACK")).unwrap();
    world.catch_up(&source);
    eventually(&source, |status| status.spooled_bytes == 0);
    assert_eq!((scratch_files(&world), world.told("shop.t")), (0, vec!["row.insert -1".to_owned()]));
    source.stop();
}

#[test]
fn cap_2_transactions_that_are_streamed_at_once_keep_the_order_of_their_commits() {
    let mut world = eager(&Install::first());
    world.sql("CREATE TABLE t (id int PRIMARY KEY, x text)");
    let source = world.start(world.ordered(&["t"]));
    world.catch_up(&source);
    let (first, second) = (world.connect(), world.connect());
    let fill = |from: u32| {
        format!("INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series({from}, {}) g", from + 4999)
    };
    for (client, from) in [(&first, 0), (&second, 10_000), (&first, 20_000), (&second, 30_000)] {
        let sql = if from < 20_000 { format!("BEGIN; {}", fill(from)) } else { fill(from) };
        world.runtime.block_on(client.batch_execute(&sql)).unwrap();
    }
    world.runtime.block_on(second.batch_execute("COMMIT")).unwrap();
    world
        .runtime
        .block_on(first.batch_execute("UPDATE t SET x = 'later' WHERE id >= 10000 AND id < 11000; COMMIT"))
        .unwrap();
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    let told = world.told("shop.t");
    assert_eq!((told[0].as_str(), told.last().unwrap().as_str()), ("row.insert 10000", "row.update 10999"));
    source.stop();
}

#[test]
fn cap_2_a_connection_lost_in_a_streamed_transaction_loses_and_repeats_nothing() {
    let mut world = eager(&Install::first());
    world.sql("CREATE TABLE t (id int PRIMARY KEY, x text)");
    let options = Options { write_bytes_max: 64 << 10, ..world.options(&["t"]) };
    let source = world.start(options);
    world.catch_up(&source);
    let open = world.connect();
    let fill = |from: u32| {
        format!("INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series({from}, {}) g", from + 9999)
    };
    world.runtime.block_on(open.batch_execute(&format!("BEGIN; {}", fill(0)))).unwrap();
    eventually(&source, |status| status.spooled_bytes > 100_000);
    world.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender'");
    eventually(&source, |status| status.counters.connections >= 2);
    world.runtime.block_on(open.batch_execute(&format!("{}; COMMIT", fill(10_000)))).unwrap();
    // Once more while it is written, in many small writes.
    eventually(&source, |status| status.counters.events > 5_000);
    world.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender'");
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    assert_eq!(world.events("shop.t").len(), 20_000);
    source.stop();
}
