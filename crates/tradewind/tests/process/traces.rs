//! Traces: what is done for a request on several nodes, and in several regions.

use crate::regions::World;
use crate::support::{Cluster, Node, said};
use serde_json::{Value, json};
use std::process::Output;
use tw_testing::eventually;

/// The trace that a command with `--trace` names.
fn named(output: &Output) -> String {
    let said = said(output);
    assert!(output.status.success(), "{said}");
    let (_, trace) =
        said.split_once("tradewind trace ").unwrap_or_else(|| panic!("no trace is named: {said}"));
    trace.split_whitespace().next().unwrap().to_owned()
}

/// The spans of a trace, as a node knows them.
fn spans(node: &Node, trace: &str) -> Vec<Value> {
    serde_json::from_str(&node.ok(&["trace", trace, "-o", "json"])).unwrap()
}

fn find<'s>(spans: &'s [Value], name: &str, place: &str) -> Option<&'s Value> {
    spans.iter().find(|span| span["name"].as_str().unwrap().starts_with(name) && span["place"] == place)
}

const APPEND: &str = "POST /v1/streams/{stream}/events";

#[test]
fn a_request_that_is_sent_on_is_one_trace_over_both_nodes() {
    let cluster = Cluster::start(2);
    cluster.node(0).ok(&["sql", "CREATE STREAM orders (id bigint) WITH (partitions = 8)"]);
    // One of these subjects is the other node's.
    let hop = |n: u32| {
        let (subject, data) = (format!("s{n}"), json!({ "id": n }).to_string());
        let args = ["append", "orders", &data, "--type", "order", "--subject", &subject, "--trace"];
        let trace = named(&cluster.node(0).cli(&args));
        let found = spans(cluster.node(1), &trace);
        let hop = find(&found, "hop to node n1", "node n0")?.clone();
        Some((found, hop))
    };
    let mut numbers = 0..;
    let (found, hop) = eventually(|| hop(numbers.next().unwrap()), || "no request is sent on".to_owned());
    let first = find(&found, APPEND, "node n0").unwrap();
    let second = find(&found, APPEND, "node n1").unwrap();
    assert_eq!((&hop["parent"], &second["parent"]), (&first["span"], &hop["span"]), "{found:?}");
    assert!(first["took_us"].as_u64() >= second["took_us"].as_u64(), "{found:?}");
    assert_eq!(second["facts"]["status"], "200");
    // A command that does not ask for it is not recorded, and an unknown trace is empty.
    let quiet = cluster.node(0).cli(&["append", "orders", "{\"id\": 1}"]);
    assert!(!said(&quiet).contains("tradewind trace"), "{}", said(&quiet));
    assert!(spans(cluster.node(0), &"1".repeat(32)).is_empty());
}

#[test]
fn a_write_is_one_trace_until_it_can_be_read_in_the_other_regions() {
    let world = World::new();
    let order = r#"{"customer": "ann", "total": 3}"#;
    let args = ["append", "orders", order, "--type", "order.placed", "--subject", "o1", "--trace"];
    let trace = named(&world.node(0).cli(&args));
    let arrived = |region: usize| {
        let found = spans(world.node(1), &trace);
        find(&found, "replicated from region 1", &format!("region {region}"))
            .map(|span| (found.clone(), span.clone()))
    };
    for region in [2, 3] {
        let none = || format!("region {region}: {:?}", spans(world.node(1), &trace));
        let (found, span) = eventually(|| arrived(region), none);
        let written = find(&found, APPEND, "region 1").unwrap();
        assert_eq!(span["parent"], written["span"], "{found:?}");
        // The way between two regions is 40 ms.
        assert!(span["took_us"].as_u64().unwrap() >= 30_000, "{span}");
        assert_eq!(span["facts"]["stream"], "orders", "{span}");
    }
    // A region that cannot be asked is named.
    let mut world = world;
    world.nodes[2].take().unwrap().kill();
    let output = world.node(0).cli(&["trace", &trace]);
    assert!(output.status.success() && said(&output).contains("region 3 does not say"), "{}", said(&output));
}
