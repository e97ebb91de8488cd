//! A source that is interrupted between two writes: what is in the log and what its cursor says agree (CAP-1, CAP-2).

use crate::support::{World, eventually};

#[test]
fn cap_2_a_change_behind_a_new_column_survives_an_interruption_between_the_two() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    world.faults.refuse_alter();
    world.sql("ALTER TABLE t ADD x text; INSERT INTO t VALUES (2, 'x')");
    eventually(&source, |_| world.faults.has_refused());
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
    eventually(&source, |_| world.faults.has_refused());
    world.catch_up(&source);
    for table in ["a", "b"] {
        world.assert_same(&format!("shop.{table}"), &format!("public.{table}"));
    }
    source.stop();
}
