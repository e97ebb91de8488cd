//! The main road: rows that are there, rows that come, change and go.

use crate::support::World;

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
