//! What a reader in another region sees of what came one after the other: the workloads *bank*, *causal* and *causal-reverse*, as they are known
//! from Jepsen, with lines that are cut meanwhile. Every answer of every region is checked, not only the last one.

use super::World;
use super::tokens::ask;
use crate::support::Node;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tw_testing::{Line, Way, eventually};

const EVENT: [(&str, &str); 1] = [("Content-Type", "application/cloudevents+json")];
const BATCH: [(&str, &str); 1] = [("Content-Type", "application/cloudevents-batch+json")];

fn event(id: &str, subject: &str, data: &Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/order", "type": "done", "subject": subject, "data": data})
}

/// Appends one event; the token, if it was accepted.
fn append(node: &Node, stream: &str, id: &str) -> Option<String> {
    let path = format!("/v1/streams/{stream}/events");
    let reply = ask(node, "POST", &path, &EVENT, &event(id, id, &json!({})).to_string());
    (reply.status == 200).then(|| reply.json()["token"].as_str().unwrap().to_owned())
}

/// The subjects of a stream that a region shows, in one answer.
fn shown(node: &Node, stream: &str) -> BTreeSet<String> {
    let rows = node.rows(&format!("SELECT _subject AS id FROM events.{stream}"), None);
    rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

/// Has each region looked at again and again while something else is done.
fn watched(world: &World, look: impl Fn(&Node, usize) + Sync, work: impl FnOnce()) {
    let is_over = AtomicBool::new(false);
    let looks: usize = std::thread::scope(|scope| {
        let watchers: Vec<_> = (0..3)
            .map(|region| {
                let (look, is_over) = (&look, &is_over);
                scope.spawn(move || {
                    let mut looks = 0;
                    while !is_over.load(Ordering::SeqCst) {
                        look(world.node(region), region);
                        looks += 1;
                    }
                    looks
                })
            })
            .collect();
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        is_over.store(true, Ordering::SeqCst);
        let looks = watchers.into_iter().map(|watcher| watcher.join().unwrap()).sum();
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
        looks
    });
    assert!(looks > 10, "{looks} looks");
}

/// Cuts all lines of a region, or mends them, as the number of what is done next says: so that each region is away for a while.
fn weather(world: &World, number: usize) {
    let region = number / 10 % 3;
    match number % 10 {
        3 => world.lines_of(region).for_each(|line| Way::BOTH.into_iter().for_each(|way| line.cut(way))),
        6 => world.lines_of(region).for_each(Line::mend),
        _ => {}
    }
}

const SUM: i64 = 100;

/// All that there is on accounts, by a region's answer.
fn sum(node: &Node) -> Option<i64> {
    node.rows("SELECT sum(balance) AS sum FROM accounts", None)[0]["sum"].as_str()?.parse().ok()
}

/// Moves money between accounts in all regions, both sides in one append or in two; how many answers had another sum.
fn move_money(is_one_append: bool) -> usize {
    let world = World::new();
    world.define(&[
        "CREATE STREAM accounts (balance bigint NOT NULL MERGE counter) WITH (partitions = 1, mode = 'active-active')",
    ]);
    let put = |region: usize, events: &[Value]| {
        let body = json!(events).to_string();
        let put = ask(world.node(region), "POST", "/v1/streams/accounts/events", &BATCH, &body);
        assert_eq!(put.status, 200, "REG-4: {put:?}");
    };
    put(0, &[event("first", "a0", &json!({ "balance": SUM }))]);
    for region in 0..3 {
        let has_all = || (sum(world.node(region)) == Some(SUM)).then_some(());
        eventually(has_all, || format!("region {region} has {:?}", sum(world.node(region))));
    }
    let others = AtomicUsize::new(0);
    let look = |node: &Node, _| {
        others.fetch_add(usize::from(sum(node) != Some(SUM)), Ordering::SeqCst);
    };
    watched(&world, look, || {
        for number in 0..60 {
            weather(&world, number);
            let sides = [(number % 4, -1, "from"), ((number * 7 + 1) % 4, 1, "to")];
            let sides = sides.map(|(account, sign, side)| {
                let amount = json!({ "balance": sign * (number as i64 % 9) });
                event(&format!("{number}-{side}"), &format!("a{account}"), &amount)
            });
            sides.chunks(if is_one_append { 2 } else { 1 }).for_each(|part| put(number % 3, part));
        }
    });
    let all = |region: usize| {
        world.node(region).rows("SELECT _subject AS account, balance FROM accounts ORDER BY account", None)
    };
    let same = || (all(0) == all(1) && all(1) == all(2) && sum(world.node(0)) == Some(SUM)).then_some(());
    eventually(same, || format!("REG-1: {:?}", [0, 1, 2].map(all)));
    others.into_inner()
}

#[test]
fn reg_1_money_that_is_moved_in_one_append_is_there_in_every_answer_of_every_region() {
    assert_eq!(move_money(true), 0);
}

#[test]
fn money_that_is_moved_in_two_appends_is_noticed() {
    assert!(move_money(false) > 0, "the test above would not notice");
}

#[test]
fn reg_2_no_answer_has_an_effect_without_its_cause() {
    let world = World::new();
    let effects = |node: &Node, region: usize| {
        let shown = shown(node, "orders");
        for effect in shown.iter().filter(|id| id.starts_with("effect")) {
            let cause = effect.replace("effect", "cause");
            assert!(shown.contains(&cause), "REG-2: region {region} has {effect} without {cause}");
        }
    };
    let mut done = 0;
    watched(&world, effects, || {
        for number in 0..60 {
            weather(&world, number);
            let (here, there) = (number % 3, (number + 1) % 3);
            let token = append(world.node(here), "orders", &format!("cause-{number}")).expect("REG-4");
            // Whoever has read the cause elsewhere writes its effect. A region that is away does not show it in time.
            let sql = format!("SELECT count(*) AS n FROM events.orders WHERE _subject = 'cause-{number}'");
            let headers = [("Content-Type", "text/plain"), ("Tradewind-Token", token.as_str())];
            let read = ask(world.node(there), "POST", "/v1/sql?timeout_ms=600", &headers, &sql);
            if read.status == 200 {
                assert!(append(world.node(there), "orders", &format!("effect-{number}")).is_some(), "REG-4");
                done += 1;
            }
        }
    });
    assert!(done > 10, "{done} effects");
}

#[test]
fn what_one_region_writes_in_order_is_seen_in_order_everywhere() {
    let world = World::new();
    world.define(&["CREATE STREAM steps WITH (partitions = 4, mode = 'home-region', home = 1)"]);
    for region in 0..3 {
        let first = || append(world.node(region), "steps", &format!("0-{region}"));
        eventually(first, || world.node(region).get("/v1/status"));
    }
    // Each is written when the one before was accepted, in whatever region that was asked for.
    let in_order = |node: &Node, region: usize| {
        let numbers: BTreeSet<u64> = shown(node, "steps").iter().filter_map(|id| id.parse().ok()).collect();
        let last = numbers.last().copied().unwrap_or_default();
        assert_eq!(numbers.len() as u64, last, "region {region} has {last} and not all before: {numbers:?}");
    };
    let mut next = 1;
    watched(&world, in_order, || {
        for number in 0..90 {
            // The home stays: without it nothing is written.
            if number / 10 % 3 != 0 {
                weather(&world, number);
            }
            let is_accepted = append(world.node(number % 3), "steps", &next.to_string()).is_some();
            if is_accepted {
                next += 1;
            } else {
                // Whether it was stored is not known: the same again, at the home.
                assert!(append(world.node(0), "steps", &next.to_string()).is_some());
                next += 1;
            }
        }
    });
    let all = |region: usize| shown(world.node(region), "steps").len() as u64;
    for region in 0..3 {
        eventually(
            || (all(region) == next + 2).then_some(()),
            || format!("region {region}: {}", all(region)),
        );
    }
}
