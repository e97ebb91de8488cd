//! Schema changes while a source runs.

use crate::support::{World, eventually};
use serde_json::json;
use tw_capture::{Handle, Options};
use tw_types::{ColumnType, Schema};

fn schema(world: &World, stream: &str) -> Schema {
    world.log.streams().get(stream).unwrap().schema.clone().unwrap()
}

fn names(schema: &Schema) -> Vec<&str> {
    schema.columns.iter().map(|column| column.name.as_str()).collect()
}

#[test]
fn a_column_that_is_added_shows_before_the_first_event_that_has_it() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    let source = world.start(world.ordered(&["t"]));
    world.catch_up(&source);
    world.sql("ALTER TABLE t ADD x text; INSERT INTO t VALUES (2, 'x')");
    world.catch_up(&source);
    let now = schema(&world, "shop.t");
    assert_eq!((now.version, names(&now)), (2, vec!["id", "x"]));
    let schemas: Vec<_> =
        world.events("shop.t").into_iter().map(|stored| stored.event.dataschema.unwrap()).collect();
    assert_eq!(schemas, ["/streams/shop.t/schemas/1", "/streams/shop.t/schemas/2"]);
    // A nullable column without default fills nothing, so nothing is read again.
    assert_eq!(source.status().counters.snapshot_rows, 1);
    world.assert_same("shop.t", "public.t");
    source.stop();
}

#[test]
fn a_default_that_fills_old_rows_has_them_read_again() {
    let mut world = World::new();
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, x int); INSERT INTO t SELECT g, g FROM generate_series(1, 50) g",
    );
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    for (change, column) in [
        // Kept in the catalogue.
        ("ALTER TABLE t ADD a int NOT NULL DEFAULT 7", "a"),
        // Written into every row.
        ("ALTER TABLE t ADD b uuid DEFAULT gen_random_uuid()", "b"),
    ] {
        world.sql(change);
        world.sql("UPDATE t SET x = x + 1 WHERE id = 3");
        eventually(&source, |_| {
            world.log.streams().get("shop.t").unwrap().schema.as_ref().unwrap().column(column).is_some()
        });
        world.catch_up(&source);
        world.assert_same("shop.t", "public.t");
    }
    assert_eq!(source.status().counters.snapshot_rows, 150);
    source.stop();
}

#[test]
fn a_changed_type_has_its_rows_read_again() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, x int); INSERT INTO t VALUES (1, 5), (2, 6)");
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    world.sql("ALTER TABLE t ALTER x TYPE text USING 'was ' || x; INSERT INTO t VALUES (3, 'seven')");
    world.catch_up(&source);
    eventually(&source, |status| status.counters.snapshot_rows == 4 || status.counters.snapshot_rows == 5);
    world.catch_up(&source);
    assert_eq!(schema(&world, "shop.t").column("x").unwrap().ty, ColumnType::Text);
    world.assert_same("shop.t", "public.t");
    source.stop();
}

#[test]
fn columns_that_are_renamed_dropped_and_tightened_are_followed() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, a text, b int); INSERT INTO t VALUES (1, 'x', 1)");
    let source = world.start(world.ordered(&["t"]));
    world.catch_up(&source);
    world.sql("ALTER TABLE t DROP b; INSERT INTO t VALUES (2, 'y')");
    world.sql("ALTER TABLE t RENAME a TO c; INSERT INTO t VALUES (3, 'z')");
    world.catch_up(&source);
    assert_eq!(names(&schema(&world, "shop.t")), ["id", "c"]);
    let data = world.data("shop.t");
    assert_eq!(data[1]["after"], json!({"id": 2, "a": "y"}));
    assert_eq!(data[2]["after"], json!({"id": 3, "c": "z"}));
    // Nothing changes in any row, so only the catalogue tells.
    world.sql("ALTER TABLE t ALTER c SET NOT NULL");
    eventually(&source, |_| !schema(&world, "shop.t").column("c").unwrap().nullable);
    world.sql("INSERT INTO t VALUES (4, 'w')");
    world.catch_up(&source);
    assert_eq!(schema(&world, "shop.t").version, 4);
    source.stop();
}

#[test]
fn a_schema_change_within_a_transaction_splits_its_rows() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let source = world.start(world.ordered(&["t"]));
    world.catch_up(&source);
    world.sql("BEGIN; INSERT INTO t VALUES (1); ALTER TABLE t ADD x int; INSERT INTO t VALUES (2, 2); SAVEPOINT s; ALTER TABLE t ADD y int; INSERT INTO t VALUES (3, 3, 3); ROLLBACK TO s; INSERT INTO t VALUES (4, 4); COMMIT");
    world.catch_up(&source);
    let after: Vec<_> = world.data("shop.t").into_iter().map(|data| data["after"].clone()).collect();
    assert_eq!(after, [json!({"id": 1}), json!({"id": 2, "x": 2}), json!({"id": 4, "x": 4})]);
    source.stop();
}

#[test]
fn a_restart_in_the_middle_of_schema_changes_repeats_none_of_them() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    source.stop();
    world.sql("INSERT INTO t VALUES (2); ALTER TABLE t ADD a int; INSERT INTO t VALUES (3, 3)");
    world.sql("ALTER TABLE t ADD b int; INSERT INTO t VALUES (4, 4, 4)");
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    assert_eq!(schema(&world, "shop.t").version, 3);
    source.stop();
    let source = world.capture(&["t"]);
    world.sql("INSERT INTO t VALUES (5, 5, 5)");
    world.catch_up(&source);
    assert_eq!(schema(&world, "shop.t").version, 3);
    world.assert_same("shop.t", "public.t");
    source.stop();
}

#[test]
fn a_dropped_table_is_told_and_the_others_go_on() {
    let mut world = World::new();
    world.sql("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)");
    let source = world.capture(&["a", "b"]);
    world.catch_up(&source);
    world.sql("DROP TABLE a");
    let status = eventually(&source, |status| status.tables[0].problem.is_some());
    assert!(status.tables[0].problem.as_ref().unwrap().contains("does not exist any more"));
    world.sql("INSERT INTO b VALUES (1)");
    world.catch_up(&source);
    world.assert_same("shop.b", "public.b");
    source.stop();
    // Also when the source starts again.
    let source = world.capture(&["a", "b"]);
    world.sql("INSERT INTO b VALUES (2)");
    let status = world.catch_up(&source);
    assert!(status.tables[0].problem.as_ref().unwrap().contains("does not exist any more"));
    // And another table of that name takes its place, whatever was there before.
    world.sql("CREATE TABLE a (id int PRIMARY KEY, x text); INSERT INTO a VALUES (7, 'x')");
    eventually(&source, |status| status.tables[0].problem.is_none());
    world.catch_up(&source);
    world.assert_same("shop.a", "public.a");
    source.stop();
}

#[test]
fn a_table_that_is_made_again_while_the_source_runs_begins_anew() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)");
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    world.sql("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, x text); INSERT INTO t VALUES (3, 'x')");
    eventually(&source, |status| status.counters.snapshot_rows == 3);
    world.sql("INSERT INTO t VALUES (4, 'y')");
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    source.stop();
}

#[test]
fn a_renamed_table_goes_on_and_is_told() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    world.sql("ALTER TABLE t RENAME TO u; INSERT INTO u VALUES (1)");
    let status = eventually(&source, |status| status.tables[0].problem.is_some());
    assert!(status.tables[0].problem.as_ref().unwrap().contains("is called `public.u` now"));
    world.catch_up(&source);
    world.assert_same("shop.t", "public.u");
    source.stop();
    let source = world.capture(&["t"]);
    world.sql("INSERT INTO u VALUES (2)");
    world.catch_up(&source);
    world.assert_same("shop.t", "public.u");
    source.stop();
}

#[test]
fn a_changed_key_begins_the_table_anew() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (a int PRIMARY KEY, b int NOT NULL); INSERT INTO t VALUES (1, 1), (2, 2)");
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    world.sql("ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (b, a); INSERT INTO t VALUES (3, 3)");
    eventually(&source, |_| schema(&world, "shop.t").key == ["b", "a"]);
    world.sql("UPDATE t SET b = 30 WHERE a = 3");
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    source.stop();
}

#[test]
fn a_key_that_is_added_later_makes_an_append_only_table_a_keyed_one() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (a int NOT NULL, b int); INSERT INTO t VALUES (1, 1), (2, 2)");
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    world.sql("ALTER TABLE t ADD PRIMARY KEY (a)");
    eventually(&source, |_| schema(&world, "shop.t").key == ["a"]);
    world.sql("UPDATE t SET b = 5; DELETE FROM t WHERE a = 2; INSERT INTO t VALUES (3, 3)");
    world.catch_up(&source);
    world.assert_same("shop.t", "public.t");
    source.stop();
}

#[test]
fn what_only_the_catalogue_tells_of_many_tables_is_found_at_one_look() {
    let mut world = World::new();
    let tables = ["a", "b", "c", "d", "e"];
    for table in tables {
        world.sql(&format!("CREATE TABLE {table} (id int PRIMARY KEY, x int)"));
    }
    let source = world.capture(&tables);
    world.catch_up(&source);
    source.stop();
    for table in tables {
        world.sql(&format!("ALTER TABLE {table} ALTER x SET NOT NULL"));
    }
    // There is one heartbeat at the start, and no other in this test.
    let source = world.start(Options { heartbeat_ms: 600_000, ..world.options(&tables) });
    eventually(&source, |_| {
        let is_tight = |table| !schema(&world, &format!("shop.{table}")).column("x").unwrap().nullable;
        tables.iter().all(is_tight)
    });
    source.stop();
}

#[test]
fn a_view_in_the_place_of_a_table_is_told_and_the_others_go_on() {
    let mut world = World::new();
    world.sql(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY);
         CREATE TABLE c (id int PRIMARY KEY); CREATE TABLE d (id int PRIMARY KEY)",
    );
    let source = world.capture(&["a", "b", "c", "d"]);
    world.catch_up(&source);
    source.stop();
    world.sql(
        "DROP TABLE a; CREATE VIEW a AS SELECT 1 AS id;
         ALTER TABLE b RENAME TO b_rows; CREATE VIEW b AS SELECT * FROM b_rows; ALTER TABLE c REPLICA IDENTITY NOTHING",
    );
    let source = world.capture(&["a", "b", "c", "d"]);
    world.sql("INSERT INTO b_rows VALUES (1); INSERT INTO d VALUES (1)");
    world.catch_up(&source);
    let status = eventually(&source, |status| {
        status.tables.iter().filter(|table| table.problem.is_some()).count() == 3
    });
    let problem = |index: usize| status.tables[index].problem.clone().unwrap();
    assert!(problem(0).contains("`public.a` is a view"), "{}", problem(0));
    assert!(problem(1).contains("is called `public.b_rows` now"), "{}", problem(1));
    assert!(problem(2).contains("REPLICA IDENTITY NOTHING"), "{}", problem(2));
    world.assert_same("shop.b", "public.b_rows");
    world.assert_same("shop.d", "public.d");
    let writes = source.status().counters.writes;
    let status = eventually(&source, |status| status.counters.writes >= writes + 8);
    assert_eq!(status.counters.connections, 1, "nothing begins anew for a view");
    // A table that comes back is captured again.
    world.sql("DROP VIEW a; CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (7)");
    eventually(&source, |status| status.tables[0].problem.is_none());
    world.catch_up(&source);
    world.assert_same("shop.a", "public.a");
    source.stop();
}

#[test]
fn rows_that_are_written_anew_under_the_same_types_are_read_again() {
    for (change, value) in [
        ("ALTER TABLE t ALTER c TYPE text USING lower(c)", "a"),
        ("ALTER TABLE t ALTER c TYPE int USING 7; ALTER TABLE t ALTER c TYPE text", "7"),
        ("ALTER TABLE t DROP c, ADD c text DEFAULT 'z'", "z"),
    ] {
        let mut world = World::new();
        world.sql("CREATE TABLE t (id int PRIMARY KEY, c text); INSERT INTO t VALUES (1, 'A'), (2, 'A')");
        let source = world.capture(&["t"]);
        world.catch_up(&source);
        world.sql(change);
        eventually(&source, |_| {
            let is_new = |row: &Vec<Option<String>>| row[1].as_deref() == Some(value);
            world.model("shop.t").rows().iter().all(is_new)
        });
        world.catch_up(&source);
        world.assert_same("shop.t", "public.t");
        source.stop();
    }
}

/// Waits until column `c` is there and no row holds anything in it.
fn comes_back_empty(world: &mut World, source: &Handle) {
    eventually(source, |_| {
        let model = world.model("shop.t");
        let place = model.columns.iter().position(|column| column == "\"c\"");
        place.is_some_and(|place| model.rows().iter().all(|row| row[place].is_none()))
    });
    world.catch_up(source);
    world.assert_same("shop.t", "public.t");
}

#[test]
fn cap_2_a_column_that_comes_back_after_a_while_has_its_rows_read_again() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, c text); INSERT INTO t VALUES (1, '1'), (2, '2')");
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    world.sql("ALTER TABLE t DROP c");
    eventually(&source, |_| schema(&world, "shop.t").column("c").is_none());
    source.stop();
    let source = world.capture(&["t"]);
    world.sql("ALTER TABLE t ADD c text");
    comes_back_empty(&mut world, &source);
    assert_eq!(source.status().counters.snapshot_rows, 2);
    source.stop();
}

#[test]
fn cap_2_a_column_that_is_dropped_and_added_again_has_its_rows_read_again() {
    for (change, ty) in [
        // Nothing tells of these but the number of the column.
        ("ALTER TABLE t DROP c, ADD c text", ColumnType::Text),
        ("ALTER TABLE t DROP c, ADD c int", ColumnType::Int4),
        ("ALTER TABLE t RENAME c TO d; ALTER TABLE t DROP d, ADD c text", ColumnType::Text),
        // A change finds it before a heartbeat does.
        ("ALTER TABLE t DROP c, ADD c int; INSERT INTO t VALUES (3, NULL)", ColumnType::Int4),
    ] {
        let mut world = World::new();
        world.sql("CREATE TABLE t (id int PRIMARY KEY, c text); INSERT INTO t VALUES (1, '1'), (2, '2')");
        let source = world.capture(&["t"]);
        world.catch_up(&source);
        world.sql(change);
        comes_back_empty(&mut world, &source);
        assert_eq!(schema(&world, "shop.t").column("c").unwrap().ty, ty);
        let read = source.status().counters.snapshot_rows;
        let writes = source.status().counters.writes;
        eventually(&source, |status| status.counters.writes >= writes + 8);
        assert_eq!(source.status().counters.snapshot_rows, read, "once is enough");
        source.stop();
    }
}

#[test]
fn rows_that_are_only_moved_are_not_read_again() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, c text); INSERT INTO t VALUES (1, 'A'), (2, 'A')");
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    for change in ["ALTER TABLE t ALTER c SET STATISTICS 7", "VACUUM FULL t", "CLUSTER t USING t_pkey"] {
        world.sql(change);
        let writes = source.status().counters.writes;
        eventually(&source, |status| status.counters.writes >= writes + 8);
    }
    assert_eq!(source.status().counters.snapshot_rows, 2);
    source.stop();
}
