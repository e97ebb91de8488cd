//! What one region defines is so in all, whatever lies between them.

use super::{World, said};
use crate::support::Node;
use serde_json::Value;
use tw_testing::{Line, Way, eventually};

fn cut(world: &World, region: usize) {
    world.lines_of(region).for_each(|line| Way::BOTH.into_iter().for_each(|way| line.cut(way)));
}

fn stream(node: &Node, name: &str) -> Option<Value> {
    let output = node.cli(&["stream", "show", name, "-o", "json"]);
    output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
}

/// The names of the columns of a stream in a region, sorted.
fn columns(node: &Node, name: &str) -> Vec<String> {
    let shown = stream(node, name).unwrap_or_default();
    let columns = shown["columns"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<String> =
        columns.iter().map(|column| column["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn has_projection(node: &Node, name: &str) -> bool {
    node.cli(&["projection", "show", name]).status.success()
}

/// Waits until something is so in every region.
fn in_all(world: &World, what: &str, is_so: impl Fn(&Node) -> bool) {
    for region in 0..3 {
        let node = world.node(region);
        eventually(
            || is_so(node).then_some(()),
            || format!("region {region}: {what}: {}", node.get("/v1/status")),
        );
    }
}

fn is_ready(node: &Node) -> bool {
    node.cli(&["status"]).status.success()
}

#[test]
fn reg_1_what_one_region_defines_is_so_in_all_after_cuts_and_kills() {
    let mut world = World::new();
    world.write(0, 20);
    world.converge();
    // Two regions add columns while neither knows of the other; a third one is down.
    world.nodes[2].take().unwrap().kill();
    cut(&world, 1);
    world.node(0).ok(&["sql", "ALTER STREAM orders ADD COLUMN note text"]);
    world.node(1).ok(&["sql", "ALTER STREAM orders ADD COLUMN weight bigint"]);
    world
        .node(0)
        .ok(&["sql", "CREATE PROJECTION notes AS SELECT note, count(*) AS n FROM orders GROUP BY note"]);
    world.lines_of(1).for_each(Line::mend);
    world.start(2);
    in_all(&world, "columns", |node| columns(node, "orders") == ["customer", "note", "total", "weight"]);
    in_all(&world, "notes", |node| has_projection(node, "notes"));
    (0..3).for_each(|region| world.write(region, 20));
    world.converge();
    // A projection is replaced in one region, and of all others, too.
    let replaced = "CREATE OR REPLACE PROJECTION notes AS SELECT customer, max(weight) AS heaviest FROM orders GROUP BY customer";
    world.node(2).ok(&["sql", replaced]);
    let heaviest = |node: &Node| node.cli(&["sql", "SELECT heaviest FROM notes"]).status.success();
    in_all(&world, "replaced", heaviest);
    in_all(&world, "ready", is_ready);
}

#[test]
fn reg_1_a_stream_that_is_dropped_and_created_anew_is_another_one_everywhere() {
    let mut world = World::new();
    world.write(0, 20);
    world.converge();
    // Of all this region 2 hears when it is back, with the old stream in its log.
    world.nodes[2].take().unwrap().kill();
    let in_use = world.node(1).cli(&["sql", "DROP STREAM orders"]);
    assert!(said(&in_use).contains("used by the projection `revenue`"), "{}", said(&in_use));
    world.node(1).ok(&["sql", "DROP PROJECTION revenue"]);
    world.node(1).ok(&["sql", "DROP STREAM orders"]);
    let is_gone = || stream(world.node(0), "orders").is_none().then_some(());
    eventually(is_gone, || world.node(0).get("/v1/status"));
    world.node(0).ok(&[
        "sql",
        "CREATE STREAM orders (customer text, total bigint) WITH (partitions = 2, mode = 'active-active')",
    ]);
    world.node(0).ok(&["sql", super::REVENUE]);
    world.written = 0;
    world.write(0, 10);
    world.start(2);
    in_all(&world, "anew", |node| {
        stream(node, "orders").is_some_and(|shown| shown["partitions"] == 2)
            && has_projection(node, "revenue")
    });
    (0..3).for_each(|region| world.write(region, 10));
    world.converge();
    in_all(&world, "ready", is_ready);
}

#[test]
fn what_cannot_be_so_in_a_region_is_said_there_until_it_can() {
    let world = World::new();
    let node = world.node(1);
    node.ok(&["sql", "CREATE STREAM visits (page text)"]);
    world
        .node(0)
        .ok(&["sql", "CREATE STREAM visits (page text) WITH (partitions = 2, mode = 'active-active')"]);
    let told = || {
        let status = node.get("/v1/status");
        status.contains("region 1 has defined the stream `visits`, which is active-active").then_some(())
    };
    eventually(told, || node.get("/v1/status"));
    assert_eq!(stream(node, "visits").unwrap()["options"]["mode"], Value::Null, "its own, which is local");
    // Everywhere else it is as it was defined; and here once its own is gone.
    let is_there = |node: &Node| stream(node, "visits").is_some_and(|shown| shown["partitions"] == 2);
    eventually(|| is_there(world.node(2)).then_some(()), || world.node(2).get("/v1/status"));
    node.ok(&["sql", "DROP STREAM visits"]);
    in_all(&world, "visits", is_there);
    in_all(&world, "ready", is_ready);
    // What is in all regions does not become a stream of one.
    let refused = node.cli(&["sql", "ALTER STREAM visits SET (mode = 'local')"]);
    assert!(said(&refused).contains("is in all regions"), "{}", said(&refused));
    // One that was there before becomes one of all.
    node.ok(&["sql", "CREATE STREAM pages (page text)"]);
    node.ok(&["sql", "CREATE PROJECTION counted AS SELECT page, count(*) AS n FROM pages GROUP BY page"]);
    node.ok(&["sql", "ALTER STREAM pages SET (mode = 'active-active')"]);
    in_all(&world, "pages", |node| stream(node, "pages").is_some() && has_projection(node, "counted"));
}
