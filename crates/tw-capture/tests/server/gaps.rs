//! CAP-3: what cannot be closed is told, and begun anew.

use crate::support::{MINUTE, World, eventually};
use std::os::unix::fs::FileExt;
use std::process::Command;
use tw_capture::{GAP_TYPE, Gap, Handle, Lsn, Options, SOURCES_STREAM, Status};
use tw_testing::{Install, Postgres};

/// A source that has captured a table with three rows, and is stopped.
fn captured(builder: tw_testing::PostgresBuilder) -> World {
    let mut world = World::with(builder);
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, x text); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')",
    );
    world.sql("CREATE TABLE bag (x int); INSERT INTO bag VALUES (1), (2)");
    let source = world.capture(&["t", "bag"]);
    world.catch_up(&source);
    world.sql("UPDATE t SET x = 'z' WHERE id = 3");
    world.catch_up(&source);
    source.stop();
    world
}

fn gaps(world: &World, stream: &str) -> Vec<Gap> {
    let gaps = world.events(stream).into_iter().filter(|stored| stored.event.ty == GAP_TYPE);
    gaps.map(|stored| serde_json::from_slice(stored.event.data.bytes()).unwrap()).collect()
}

/// The source says what is missing, wherever somebody looks, and the tables are right again.
fn check_begun_anew(world: &mut World, source: &Handle, reason: &str) -> Status {
    let status = world.catch_up(source);
    let told = gaps(world, SOURCES_STREAM);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].reason.contains(reason), "{}", told[0].reason);
    assert!(told[0].known_until > Lsn(0));
    assert_eq!(told[0].tables, ["public.t", "public.bag"]);
    for (stream, table) in [("shop.t", "public.t"), ("shop.bag", "public.bag")] {
        // In each partition, so that whoever follows one of them learns of it.
        assert_eq!(gaps(world, stream), vec![told[0].clone(); 4]);
        world.assert_same(stream, table);
    }
    assert_eq!(status.counters.gaps, 1);
    status
}

#[test]
fn cap_3_a_dropped_slot_is_a_gap() {
    let mut world = captured(Postgres::builder());
    world.sql("SELECT pg_drop_replication_slot('tradewind_shop')");
    world.sql("DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (4, 'unseen')");
    let source = world.capture(&["t", "bag"]);
    check_begun_anew(&mut world, &source, "is gone");
    world.sql("INSERT INTO t VALUES (5, 'seen')");
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    source.stop();
    // Once is enough.
    let source = world.capture(&["t", "bag"]);
    world.catch_up(&source);
    assert_eq!(gaps(&world, SOURCES_STREAM).len(), 1);
    source.stop();
}

#[test]
fn cap_3_a_slot_that_was_made_again_is_a_gap() {
    let mut world = captured(Postgres::builder());
    world.sql("SELECT pg_drop_replication_slot('tradewind_shop')");
    world.sql("DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (4, 'unseen')");
    world.sql("SELECT pg_create_logical_replication_slot('tradewind_shop', 'pgoutput')");
    let source = world.capture(&["t", "bag"]);
    check_begun_anew(&mut world, &source, "made anew or moved");
    source.stop();
}

#[test]
fn cap_3_a_slot_that_lost_its_log_is_a_gap() {
    let install = Install::first();
    let builder = Postgres::builder()
        .install(&install)
        .setting("max_slot_wal_keep_size", "1MB")
        .setting("min_wal_size", "32MB")
        .setting("max_wal_size", "32MB");
    let mut world = captured(builder);
    world.sql("DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (4, 'unseen'); CREATE TABLE noise (x text)");
    while world.value("SELECT wal_status FROM pg_replication_slots") != "lost" {
        world.sql("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 20000)");
        world.sql("SELECT pg_switch_wal()");
        world.sql("CHECKPOINT");
    }
    let source = world.capture(&["t", "bag"]);
    check_begun_anew(&mut world, &source, "is lost");
    source.stop();
}

#[test]
fn cap_3_a_slot_dropped_under_a_running_source_is_a_gap() {
    let mut world = captured(Postgres::builder());
    let source = world.capture(&["t", "bag"]);
    world.catch_up(&source);
    while world.value("SELECT count(*) FROM pg_replication_slots") != "0" {
        world.sql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active");
        let _active_again = world.try_sql("SELECT pg_drop_replication_slot('tradewind_shop')");
    }
    eventually(&source, |status| status.counters.gaps == 1);
    check_begun_anew(&mut world, &source, "is gone");
    source.stop();
}

/// What makes a copied cluster another one: its number, in the control file, behind a checksum.
fn give_another_identity(server: &Postgres) {
    let path = server.data_folder().join("global/pg_control");
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut bytes = vec![0; 8192];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let checksum_at = (8..512)
        .step_by(4)
        .find(|at| crc32c::crc32c(&bytes[..*at]).to_le_bytes() == bytes[*at..*at + 4])
        .expect("the checksum of the control file");
    bytes[0] ^= 0x55;
    let checksum = crc32c::crc32c(&bytes[..checksum_at]).to_le_bytes();
    bytes[checksum_at..checksum_at + 4].copy_from_slice(&checksum);
    file.write_all_at(&bytes, 0).unwrap();
    let mut reset: Command = server.command("pg_resetwal");
    let done = reset.arg("-f").arg("-D").arg(server.data_folder()).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn cap_3_a_promoted_copy_with_another_identity_is_a_gap() {
    let mut world = captured(Postgres::builder());
    world.server.stop();
    let mut copy = world.server.copy();
    give_another_identity(&copy);
    copy.take_place_of(&world.server);
    copy.start_again();
    world.server = copy;
    world.sql("DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (4, 'only in the copy')");
    let source = world.capture(&["t", "bag"]);
    check_begun_anew(&mut world, &source, "another database cluster");
    world.sql("INSERT INTO t VALUES (5, 'seen')");
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    source.stop();
}

/// Makes a server leave its timeline, as a standby does that is promoted.
fn promote(world: &mut World) {
    std::fs::write(world.server.data_folder().join("standby.signal"), "").unwrap();
    world.server.start_again();
    world.sql("SELECT pg_promote()");
    world.until("SELECT pg_is_in_recovery()", "f");
}

#[test]
fn a_promotion_after_the_last_change_goes_on() {
    let mut world = captured(Postgres::builder());
    world.server.stop();
    promote(&mut world);
    let source = world.capture(&["t", "bag"]);
    world.sql("INSERT INTO t VALUES (4, 'seen')");
    let status = world.catch_up(&source);
    assert_eq!(status.counters.gaps, 0);
    let cursor = world.data(SOURCES_STREAM).into_iter().rfind(|data| data.get("timeline").is_some());
    assert_eq!(cursor.unwrap()["timeline"], 2);
    world.assert_same("shop.t", "public.t");
    source.stop();
}

#[test]
fn cap_3_a_server_that_was_set_back_is_a_gap() {
    let mut world = captured(Postgres::builder());
    world.server.stop();
    let mut old = world.server.copy();
    world.server.start_again();
    // What the log has from here on, the old copy has never seen.
    let source = world.capture(&["t", "bag"]);
    world.sql("INSERT INTO t VALUES (4, 'forgotten')");
    world.catch_up(&source);
    source.stop();
    world.server.stop();
    old.take_place_of(&world.server);
    world.server = old;
    promote(&mut world);
    world.sql("INSERT INTO t VALUES (5, 'of another history')");
    let source = world.capture(&["t", "bag"]);
    check_begun_anew(&mut world, &source, "");
    source.stop();
}

#[test]
fn cap_3_a_table_taken_out_of_the_publication_is_a_gap_of_that_table() {
    let mut world = captured(Postgres::builder());
    world.sql("ALTER PUBLICATION tradewind_shop DROP TABLE ONLY t");
    world.sql("INSERT INTO t VALUES (4, 'unseen')");
    let source = world.capture(&["t", "bag"]);
    world.catch_up(&source);
    assert_eq!(gaps(&world, SOURCES_STREAM)[0].tables, ["public.t"]);
    assert!(gaps(&world, "shop.bag").is_empty());
    world.assert_same("shop.t", "public.t");
    // The same while it runs.
    world.sql("ALTER PUBLICATION tradewind_shop DROP TABLE ONLY t");
    world.sql("INSERT INTO t VALUES (5, 'unseen too')");
    eventually(&source, |status| status.counters.gaps == 2);
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    source.stop();
}

#[test]
fn a_source_made_again_on_a_log_that_has_its_streams_starts_them_anew() {
    let mut world = captured(Postgres::builder());
    world.runtime.block_on(tw_capture::remove(&world.options(&["t", "bag"]), MINUTE)).unwrap();
    assert_eq!(world.value("SELECT count(*) FROM pg_publication"), "0");
    assert_eq!(world.value("SELECT count(*) FROM pg_replication_slots"), "0");
    world.sql("DELETE FROM t WHERE id = 1");
    // The log remembers that it had a slot: what came in between is missing.
    let source = world.capture(&["t", "bag"]);
    check_begun_anew(&mut world, &source, "is gone");
    source.stop();
    let options = Options { slot: Some("other".into()), ..world.options(&["t"]) };
    let other = Options { name: "other".into(), ..options };
    let source = world.start(other);
    world.catch_up(&source);
    world.assert_same("other.t", "public.t");
    source.stop();
}
