//! A source that is interrupted between two writes: what is in the log and what its cursor says agree (CAP-1, CAP-2).

use crate::support::{World, eventually};
use std::process::Command;
use tw_capture::Options;
use tw_log::faulty::Fault;

#[test]
fn cap_2_a_change_behind_a_new_column_survives_an_interruption_between_the_two() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    world.faults.refuse_alter();
    world.sql("ALTER TABLE t ADD x text; INSERT INTO t VALUES (2, 'x')");
    eventually(&source, |_| world.faults.has_refused_alter());
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    source.stop();
}

#[test]
fn cap_2_a_truncation_of_several_tables_survives_an_interruption_between_them() {
    let mut world = World::new();
    world.sql(
        "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1);
         CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b VALUES (1)",
    );
    let source = world.capture(&["a", "b"]);
    world.catch_up(&source);
    world.faults.refuse_alter();
    world.sql("ALTER TABLE b ADD x text; TRUNCATE a, b");
    eventually(&source, |_| world.faults.has_refused_alter());
    world.catch_up(&source);
    for table in ["a", "b"] {
        world.assert_same(&format!("shop.{table}"), &format!("public.{table}"));
    }
    source.stop();
}

#[test]
fn cap_2_changes_before_a_chunk_of_several_writes_come_once_when_only_the_first_of_them_arrives() {
    let mut world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, x text);
         INSERT INTO t SELECT g, repeat('x', 1 << 20) FROM generate_series(1, 12) g;
         CREATE TABLE u (id int PRIMARY KEY)",
    );
    let source = world.start(Options { chunk_bytes_max: 16 << 20, ..world.options(&["t", "u"]) });
    world.catch_up(&source);
    // The table is read again once this has ended.
    let open = world.connect();
    world.runtime.block_on(open.batch_execute("BEGIN; SELECT pg_current_xact_id()")).unwrap();
    world.runtime.block_on(source.resnapshot("t")).unwrap();
    eventually(&source, |status| status.waits_for.is_some());
    world.faults.hold(true);
    world.sql("INSERT INTO u VALUES (1)");
    eventually(&source, |_| world.faults.held() == 1);
    // This waits for its write, and the chunk comes to it.
    world.sql("INSERT INTO u VALUES (2)");
    world.runtime.block_on(open.batch_execute("COMMIT")).unwrap();
    eventually(&source, |_| world.faults.held() == 3);
    world.runtime.block_on(async {
        assert!(world.faults.release(Fault::None).await && world.faults.release(Fault::None).await);
        world.faults.hold(false);
        while world.faults.release(Fault::Refused).await {}
    });
    world.catch_up(&source);
    assert!(source.status().counters.connections > 1, "the third write failed");
    world.assert_same("shop.t", "public.t");
    world.assert_same("shop.u", "public.u");
    source.stop();
}

#[test]
fn a_source_that_is_told_to_stop_stops_although_what_it_has_under_way_fails() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    world.faults.hold(true);
    world.sql("INSERT INTO t VALUES (1)");
    eventually(&source, |_| world.faults.held() > 0);
    let stopping = std::thread::spawn(move || source.stop());
    // Whatever comes now: of the log that this writer was shut out of, nothing but failures.
    tw_testing::eventually(
        || {
            world.runtime.block_on(world.faults.release(Fault::LostUnknown));
            stopping.is_finished().then_some(())
        },
        || "the source goes on".into(),
    );
    stopping.join().unwrap();
    world.faults.hold(false);
    // What was not stored comes with the next one.
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    source.stop();
}

#[test]
fn cap_2_a_copy_that_is_ready_before_the_stream_is_there_repeats_nothing() {
    let mut world = World::new();
    world.sql("CREATE TABLE bag (x text); INSERT INTO bag SELECT 'old' FROM generate_series(1, 100)");
    let source = world.capture(&["bag"]);
    world.catch_up(&source);
    let sender = world.value("SELECT pid FROM pg_stat_replication");
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &sender]).status().unwrap();
        assert!(sent.success());
    };
    signal("-STOP");
    world.sql("INSERT INTO bag VALUES ('late')");
    world.runtime.block_on(source.resnapshot("bag")).unwrap();
    eventually(&source, |status| status.counters.snapshot_rows == 201);
    world.sql("INSERT INTO bag VALUES ('later')");
    signal("-CONT");
    world.catch_up(&source);
    world.assert_same("shop.bag", "public.bag");
    source.stop();
}
