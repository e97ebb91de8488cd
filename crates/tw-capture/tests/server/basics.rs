//! The main road: rows that are there, rows that come, change and go.

use crate::support::{MINUTE, World, eventually};
use expect_test::expect;
use tw_capture::{SourcePhase, TableIdentity};
use tw_types::Version;

#[test]
fn rows_before_and_changes_after_give_the_table() {
    let mut world = World::new();
    world.sql("CREATE TABLE orders (id int PRIMARY KEY, note text); INSERT INTO orders SELECT g, 'n' || g FROM generate_series(1, 1000) g");
    let source = world.capture(&["public.orders"]);
    world.catch_up(&source);
    world.assert_same("shop.orders", "public.orders");
    world.sql("INSERT INTO orders VALUES (2000, 'new')");
    world.sql("UPDATE orders SET note = 'changed' WHERE id <= 10");
    world.sql("DELETE FROM orders WHERE id > 990");
    world.catch_up(&source);
    world.assert_same("shop.orders", "public.orders");
    source.stop();
}

#[test]
fn what_a_check_finds_defines_the_streams_before_the_source_connects() {
    let mut world = World::new();
    world.sql(
        "CREATE TABLE orders (id int PRIMARY KEY, total numeric(8,2) NOT NULL, at timestamptz, tags text[]);
         CREATE SCHEMA sales; CREATE TABLE sales.orders (line text, PRIMARY KEY (line)); CREATE TABLE clicks (x inet)",
    );
    let options = world.options(&["orders", "sales.orders", "clicks"]);
    let found = world.runtime.block_on(tw_capture::check(&options, MINUTE)).unwrap();
    assert!(found.is_ready(), "{:?}", found.problems);
    assert_eq!(found.tables[2].identity, TableIdentity::AppendOnly);
    let define = tw_capture::define(&options, &found, world.log.as_ref());
    let defined = world.runtime.block_on(define).unwrap();
    let told: Vec<_> = defined
        .iter()
        .map(|def| {
            let schema = def.schema.as_ref().unwrap();
            let columns = schema.columns.iter();
            let columns: Vec<_> = columns
                .map(|c| format!("{} {}{}", c.name, c.ty, if c.nullable { "" } else { " NOT NULL" }))
                .collect();
            format!("{} ({}) KEY {:?}", def.name, columns.join(", "), schema.key)
        })
        .collect();
    expect![[r#"
        shop.orders (id integer NOT NULL, total numeric(8,2) NOT NULL, at timestamptz, tags other(text[])) KEY ["id"]
        shop.sales.orders (line text NOT NULL) KEY ["line"]
        shop.clicks (x other(inet)) KEY []"#]]
    .assert_eq(&told.join("\n"));
    // Again is fine, and the source takes them as they are.
    let again = world.runtime.block_on(tw_capture::define(&options, &found, world.log.as_ref())).unwrap();
    assert_eq!(again, defined);
    let source = world.start(options);
    world.sql("INSERT INTO orders VALUES (1, 2, now(), '{a}')");
    world.catch_up(&source);
    assert_eq!(world.log.streams().get("shop.orders").unwrap(), &defined[0]);
    world.assert_same("shop.orders", "public.orders");
    let status = eventually(&source, |status| status.slot.is_some());
    assert_eq!(status.phase, SourcePhase::Streaming);
    source.stop();
}

#[test]
fn log_2_a_row_has_a_history_with_dense_versions() {
    let mut world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, x text); INSERT INTO t VALUES (7, 'there')");
    let source = world.capture(&["t"]);
    world.catch_up(&source);
    world.sql("UPDATE t SET x = 'a'");
    world.sql("UPDATE t SET x = 'b'");
    world.catch_up(&source);
    source.stop();
    let source = world.capture(&["t"]);
    world.sql("DELETE FROM t; INSERT INTO t VALUES (7, 'again')");
    world.catch_up(&source);
    let stream = world.log.streams().get("shop.t").unwrap().id;
    let history = world.runtime.block_on(world.store.history(stream, "7", Version(1), 10)).unwrap();
    let told: Vec<_> = history.iter().map(|stored| (stored.event.ty.as_str(), stored.version.0)).collect();
    let types = ["row.read", "row.update", "row.update", "row.delete", "row.insert"];
    assert_eq!(told, types.into_iter().zip(1..).collect::<Vec<_>>());
    source.stop();
}
