//! Columns that are asked for before a change is accepted: a quantity of which no region takes more than there is.

use super::tokens::{Reply, ask};
use super::{World, said};
use crate::support::Node;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use tw_testing::{Line, Way, eventually};

const GOODS: &str = "CREATE STREAM goods (name text, stock integer NOT NULL MERGE reserve) WITH (partitions = 2, mode = 'active-active')";
const JSON: [(&str, &str); 1] = [("Content-Type", "application/cloudevents+json")];

/// A change of a row of goods.
fn change(node: &Node, id: &str, subject: &str, data: Option<Value>) -> Reply {
    let mut event = json!({
        "specversion": "1.0", "id": id, "source": "/goods", "type": "goods", "subject": subject,
    });
    if let Some(data) = data {
        event["data"] = data;
    }
    ask(node, "POST", "/v1/streams/goods/events", &JSON, &event.to_string())
}

fn take(node: &Node, id: &str, subject: &str, amount: i64) -> Reply {
    change(node, id, subject, Some(json!({ "stock": -amount })))
}

fn stock(node: &Node, subject: &str) -> Option<i64> {
    let rows = node.rows(&format!("SELECT stock FROM goods WHERE _subject = '{subject}'"), None);
    rows.first().and_then(|row| row["stock"].as_i64())
}

fn in_all(world: &World, subject: &str, expected: Option<i64>) {
    for region in 0..3 {
        let node = world.node(region);
        eventually(
            || (stock(node, subject) == expected).then_some(()),
            || {
                format!(
                    "REG-1: region {region} has {:?} of {subject}, not {expected:?}",
                    stock(node, subject)
                )
            },
        );
    }
}

fn world() -> World {
    let world = World::new();
    world.define(&[GOODS]);
    world
}

/// What each region may use, as a region knows it.
fn rights(node: &Node, subject: &str) -> Value {
    let shown = ask(node, "GET", &format!("/v1/streams/goods/subjects/{subject}/rights"), &[], "").json();
    shown["columns"][0]["regions"].clone()
}

#[test]
fn a_region_takes_what_another_one_has_and_nobody_takes_what_is_not_there() {
    let world = world();
    assert_eq!(change(world.node(0), "in", "apple", Some(json!({"name": "Apple", "stock": 10}))).status, 200);
    in_all(&world, "apple", Some(10));
    // Region 2 has no rights: it gets those that it lacks, and half of what is left.
    let taken = take(world.node(1), "one", "apple", 4);
    assert_eq!(taken.status, 200, "{taken:?}");
    in_all(&world, "apple", Some(6));
    let left = json!([{"region": 1, "amount": 3}, {"region": 2, "amount": 3}]);
    eventually(
        || (rights(world.node(2), "apple") == left).then_some(()),
        || rights(world.node(2), "apple").to_string(),
    );
    // Region 3 asks both.
    assert_eq!(take(world.node(2), "two", "apple", 6).status, 200);
    in_all(&world, "apple", Some(0));
    let (code, detail) = take(world.node(0), "three", "apple", 1).problem();
    assert_eq!(code, "no_rights");
    assert_eq!(
        detail,
        "`apple`: column `stock` has 0, of which region 1 may use 0, not 1: take less, or put more in first"
    );
    // What was stored is answered as it was, although it would be refused now.
    let again = take(world.node(2), "two", "apple", 6);
    assert_eq!((again.status, &again.json()["events"][0]["duplicate"]), (200, &json!(true)));
    in_all(&world, "apple", Some(0));
}

#[test]
fn a_region_that_is_cut_off_uses_what_it_has_and_says_who_is_missing() {
    let world = world();
    assert_eq!(change(world.node(0), "in", "apple", Some(json!({"stock": 10}))).status, 200);
    in_all(&world, "apple", Some(10));
    let given = ask(
        world.node(0),
        "POST",
        "/v1/streams/goods/subjects/apple/rights",
        &[("Content-Type", "application/json")],
        r#"{"column": "stock", "to": 2, "amount": 4}"#,
    );
    assert_eq!((given.status, &given.json()["given"]), (200, &json!(4)));
    let told = json!([{"region": 1, "amount": 6}, {"region": 2, "amount": 4}]);
    eventually(
        || (rights(world.node(1), "apple") == told).then_some(()),
        || rights(world.node(1), "apple").to_string(),
    );
    world.lines_of(1).for_each(|line| Way::BOTH.into_iter().for_each(|way| line.cut(way)));
    assert_eq!(take(world.node(1), "cut-1", "apple", 3).status, 200, "REG-4: its own rights need nobody");
    let (code, detail) = take(world.node(1), "cut-2", "apple", 2).problem();
    assert_eq!(code, "no_rights");
    assert!(
        detail.contains("has 7, of which region 2 may use 1, not 2") && detail.contains("(region 1: "),
        "{detail}"
    );
    // Nobody deletes a row under whoever may use some of it.
    let (code, detail) = change(world.node(0), "gone", "apple", None).problem();
    assert!(code == "no_rights" && detail.contains("region 2 may use some of column `stock`"), "{detail}");
    assert_eq!(take(world.node(0), "cut-3", "apple", 6).status, 200);
    world.lines_of(1).for_each(Line::mend);
    in_all(&world, "apple", Some(1));
    let deleted = change(world.node(0), "gone", "apple", None);
    assert_eq!(deleted.status, 200, "the rights of others were given for that: {deleted:?}");
    in_all(&world, "apple", None);
}

#[test]
fn reg_1_a_reserve_that_all_regions_sell_from_ends_at_zero_through_a_kill() {
    const STOCK: u64 = 60;
    let mut world = world();
    let filled = change(world.node(0), "in", "pear", Some(json!({ "stock": STOCK })));
    assert_eq!(filled.status, 200);
    in_all(&world, "pear", Some(STOCK as i64));
    let sold = AtomicU64::new(0);
    let sell = |region: usize, seller: usize, count: usize| {
        for number in 0..count {
            let taken = take(world.node(region), &format!("{region}-{seller}-{number}"), "pear", 1);
            match taken.status {
                200 => sold.fetch_add(1, Ordering::SeqCst),
                409 | 503 => 0,
                status => panic!("{status}: {taken:?}"),
            };
            let left = stock(world.node(region), "pear").unwrap();
            assert!(left >= 0, "region {region} shows {left}");
        }
    };
    std::thread::scope(|scope| {
        for (region, seller) in (0..3).flat_map(|region| (0..2).map(move |seller| (region, seller))) {
            let sell = &sell;
            scope.spawn(move || sell(region, seller, 6));
        }
    });
    let before = sold.load(Ordering::SeqCst);
    assert!((1..=36).contains(&before), "{before} of 36 attempts");
    world.nodes[1].take().unwrap().kill();
    world.start(1);
    let mut more = 0;
    eventually(
        || {
            more += 1;
            let taken = take(world.node(1), &format!("late-{more}"), "pear", 1);
            let is_empty = taken.status == 409 && taken.problem().1.contains("has 0,");
            sold.fetch_add(u64::from(taken.status == 200), Ordering::SeqCst);
            is_empty.then_some(())
        },
        || said(&world.node(1).cli(&["status"])),
    );
    assert_eq!(sold.load(Ordering::SeqCst), STOCK, "each was sold once");
    in_all(&world, "pear", Some(0));
}
