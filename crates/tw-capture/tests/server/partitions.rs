//! Partitioned tables: they are captured as their root, and no change tells of partitions that come and go.

use crate::support::{MINUTE, World, eventually};
use expect_test::expect;
use tw_capture::Handle;

/// How many rows are read in several heartbeats of an idle source.
fn rows_read_in_a_while(source: &Handle) -> u64 {
    let before = source.status().counters;
    let after = eventually(source, |status| status.counters.writes >= before.writes + 8);
    after.counters.snapshot_rows - before.snapshot_rows
}

#[test]
fn partitions_are_captured_as_their_table() {
    let mut world = World::new();
    world.sql(
        "CREATE TABLE t (id int, at date, x text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
         CREATE TABLE t1 PARTITION OF t FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
         CREATE TABLE t2 PARTITION OF t FOR VALUES FROM ('2024-02-01') TO ('2024-03-01') PARTITION BY LIST (id);
         CREATE TABLE t2a PARTITION OF t2 DEFAULT;
         INSERT INTO t SELECT g, '2024-01-15', 'x' FROM generate_series(1, 50) g;
         INSERT INTO t SELECT g, '2024-02-15', 'x' FROM generate_series(1, 50) g",
    );
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    // Into another partition, directly into one, and out of the whole.
    world.sql("UPDATE t SET at = '2024-02-16' WHERE id = 1 AND at = '2024-01-15'");
    world.sql("INSERT INTO t1 VALUES (100, '2024-01-02', 'direct'); DELETE FROM t2a WHERE id = 2");
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    // What no change tells: rows that come and go with their partition.
    world.sql("CREATE TABLE t3 (id int, at date, x text, PRIMARY KEY (id, at)); INSERT INTO t3 VALUES (1, '2024-03-01', 'y')");
    world.sql("ALTER TABLE t ATTACH PARTITION t3 FOR VALUES FROM ('2024-03-01') TO ('2024-04-01')");
    eventually(&source, |_| world.model("shop.t").rows().len() == 101);
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    assert_eq!(rows_read_in_a_while(&source), 0, "once is enough");
    world.sql("TRUNCATE t1");
    eventually(&source, |_| world.model("shop.t").rows().len() == 51);
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    world.sql("ALTER TABLE t DETACH PARTITION t2");
    eventually(&source, |_| world.model("shop.t").rows().len() == 1);
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    assert_eq!(rows_read_in_a_while(&source), 0, "once is enough");
    // Each of the three was noticed once, and told to each of four partitions.
    let resets = world.told("shop.t").iter().filter(|told| told.starts_with("table.truncate")).count();
    assert_eq!(resets, 3 * 4);
    world.sql("TRUNCATE t; INSERT INTO t VALUES (9, '2024-01-01', 'z')");
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    source.stop();
}

/// A source of a table of two partitions, stopped.
fn stopped() -> World {
    let mut world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, x text) PARTITION BY RANGE (id);
         CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100);
         CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (100) TO (200);
         CREATE TABLE t3 (id int PRIMARY KEY, x text); INSERT INTO t3 VALUES (201, 'z');
         INSERT INTO t SELECT g, 'x' FROM generate_series(50, 149) g",
    );
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    source.stop();
    world
}

#[test]
fn cap_2_partitions_that_come_and_go_while_the_source_is_down_are_found() {
    for (change, rows) in [
        ("ALTER TABLE t ATTACH PARTITION t3 FOR VALUES FROM (200) TO (300)", 101),
        ("TRUNCATE t1", 50),
        ("ALTER TABLE t DETACH PARTITION t1", 50),
        // Together with another layout.
        ("ALTER TABLE t ADD y int; ALTER TABLE t DETACH PARTITION t1", 50),
    ] {
        let mut world = stopped();
        world.sql(change);
        let source = world.capture(&["t"]);
        eventually(&source, |_| world.model("shop.t").rows().len() == rows);
        world.catch_up(&source);
        world.assert_same("shop.t", "public.t");
        assert_eq!(rows_read_in_a_while(&source), 0, "once is enough");
        source.stop();
    }
}

#[test]
fn cap_2_a_partition_that_comes_with_another_layout_is_found() {
    for change in [
        "ALTER TABLE t3 ADD y int; ALTER TABLE t ADD y int; ALTER TABLE t ATTACH PARTITION t3 FOR VALUES FROM (200) TO (300)",
        "ALTER TABLE t3 ADD y int; ALTER TABLE t ADD y int; ALTER TABLE t ATTACH PARTITION t3 FOR VALUES FROM (200) TO (300); INSERT INTO t VALUES (1, 'new', 2)",
    ] {
        let mut world = stopped();
        let source = world.capture(&["t"]);
        world.catch_up(&source);
        world.sql(change);
        eventually(&source, |_| {
            world.model("shop.t").rows().iter().any(|row| row[0].as_deref() == Some("201"))
        });
        world.catch_up(&source);
        world.assert_same("shop.t", "public.t");
        assert_eq!(rows_read_in_a_while(&source), 0, "once is enough");
        source.stop();
    }
}

#[test]
fn a_table_and_a_partition_of_it_are_not_captured_both() {
    let mut world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (id);
         CREATE TABLE t1a PARTITION OF t1 FOR VALUES FROM (0) TO (50)",
    );
    let check = |tables: &[&str]| {
        let options = world.options(tables);
        let found = world.runtime.block_on(tw_capture::check(&options, MINUTE)).unwrap();
        found
            .problems
            .into_iter()
            .map(|found| format!("{}: {}", found.problem, found.remedy))
            .collect::<Vec<_>>()
    };
    expect![[r#"
        [
            "table `public.t1a` is a partition of `public.t`, which is named too: its changes are told as those of `public.t` only: leave `public.t1a` out of the source",
        ]
    "#]]
    .assert_debug_eq(&check(&["t", "t1a"]));
    assert_eq!(check(&["t1", "t1a"]).len(), 1);
    assert_eq!(check(&["t1a"]), Vec::<String>::new());
    assert_eq!(check(&["t"]), Vec::<String>::new());
}

#[test]
fn cap_3_a_table_that_becomes_a_partition_of_another_is_told_and_read_again_when_it_is_none() {
    let mut world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (1), (2)",
    );
    let source = world.capture(&["t", "u"]);
    world.catch_up(&source);
    world.sql("ALTER TABLE t ATTACH PARTITION u FOR VALUES FROM (0) TO (100); INSERT INTO u VALUES (3)");
    let status = eventually(&source, |status| status.tables[1].problem.is_some());
    let problem = status.tables[1].problem.clone().unwrap();
    assert!(problem.contains("is a partition of another table of the source"), "{problem}");
    eventually(&source, |_| world.model("shop.t").rows().len() == 3);
    world.assert_same("shop.t", "public.t");
    rows_read_in_a_while(&source);
    assert_eq!(source.status().counters.gaps, 1);
    assert!(world.told("shop.u").iter().any(|told| told.starts_with("source.gap")));
    world.sql("ALTER TABLE t DETACH PARTITION u; INSERT INTO u VALUES (4)");
    eventually(&source, |status| status.tables[1].problem.is_none());
    world.catch_up(&source);
    world.assert_same("shop.u", "public.u");
    eventually(&source, |_| world.model("shop.t").rows().is_empty());
    source.stop();
}
