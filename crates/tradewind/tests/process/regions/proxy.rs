//! Requests that any region carries on to the one that serves their user; and what clients tell of regions, which regions tell each other.

use super::route::{ask, order};
use super::routing::{is_all_up, plan};
use super::{World, said};
use crate::support::Node;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use tw_testing::eventually;

/// A user in Tokyo, which is near to region 3.
const TOKYO: &str = "Tradewind-Route: user=ada&lat=35.7&lon=139.7";

#[test]
fn what_clients_of_a_network_have_measured_counts_in_all_regions() {
    let world = World::new();
    let body = r#"{"network": "198.51.100.7", "rtts": [{"region": 2, "rtt_ms": 12}]}"#;
    let first = |region: usize, address: &str| {
        let view = ask(world.node(region), &format!("&network={address}"));
        order(&view)[0]
    };
    let told = || {
        let reported = asked_plainly(world.node(0), "POST /v1/route/measured", body);
        assert!(reported.starts_with("HTTP/1.1 204"), "{reported}");
        (0..3).all(|region| first(region, "198.51.100.9") == 2).then_some(())
    };
    eventually(told, || ask(world.node(2), "&network=198.51.100.9").to_string());
    // Elsewhere in Tokyo nobody has measured anything.
    let near = || (first(0, "203.0.113.1") == 3).then_some(());
    eventually(near, || ask(world.node(0), "&network=203.0.113.1").to_string());
    let refused = asked_plainly(world.node(0), "POST /v1/route/measured", &body.replace(": 2,", ": 9,"));
    assert!(refused.contains("no_region"), "{refused}");
}

/// What a region answers to a request with a body of JSON.
fn asked_plainly(node: &Node, line: &str, body: &str) -> String {
    exchange(node, line, "Content-Type: application/json\r\n", body)
}

/// What a region answers to a request of that user.
fn asked(node: &Node, line: &str, more: &str, body: &str) -> String {
    exchange(node, line, &format!("{TOKYO}\r\n{more}"), body)
}

fn exchange(node: &Node, line: &str, headers: &str, body: &str) -> String {
    let address = node.url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        connection,
        "{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

fn served_by(answer: &str) -> Option<&str> {
    let (_, rest) = answer.split_once("\r\ntradewind-served-by: ")?;
    rest.split("\r\n").next()
}

fn append(node: &Node, id: &str) -> String {
    let event = format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/proxy","type":"order.placed","subject":"{id}","data":{{"customer":"ada","total":1}}}}"#
    );
    asked(node, "POST /v1/streams/orders/events", "Content-Type: application/cloudevents+json\r\n", &event)
}

fn sql(node: &Node, statement: &str) -> String {
    asked(node, "POST /v1/sql", "Content-Type: text/plain\r\n", statement)
}

#[test]
fn a_request_is_served_where_its_user_is_wherever_it_comes() {
    let mut world = World::new();
    world.write(0, 5);
    world.converge();
    for region in 0..3 {
        let all_up = || plan(world.node(region)).filter(is_all_up).map(drop);
        eventually(all_up, || world.node(region).answer_to("/v1/routing"));
    }
    for region in 0..3 {
        let node = world.node(region);
        let written = append(node, &format!("from-{region}"));
        assert_eq!((served_by(&written), &written[..12]), (Some("3"), "HTTP/1.1 200"), "{written}");
        let read = asked(node, "GET /v1/streams/orders/events?limit=3", "", "");
        assert_eq!((served_by(&read), &read[..12]), (Some("3"), "HTTP/1.1 200"), "{read}");
        let rows = sql(node, "SELECT count(*) AS n FROM revenue");
        assert_eq!(served_by(&rows), Some("3"), "{rows}");
    }
    let events = world.node(2).ok(&["replay", "orders", "-o", "ndjson"]);
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_proxy = events.filter(|event| event["source"] == "/proxy");
    let origins: Vec<Value> = of_proxy.map(|event| event["tworigin"].clone()).collect();
    assert!(
        origins.len() == 3 && origins.iter().all(|origin| origin.as_str().unwrap().starts_with("3.")),
        "{origins:?}"
    );
    // Without that region reads are served all the time, and writes once it is known that it is down.
    world.nodes[2].take().unwrap().kill();
    let node = world.node(0);
    let served_here = || {
        let read = asked(node, "GET /v1/streams/orders/events?limit=3", "", "");
        assert_eq!((served_by(&read), &read[..12]), (Some("1"), "HTTP/1.1 200"), "{read}");
        (served_by(&append(node, "later")) == Some("1")).then_some(())
    };
    eventually(served_here, || append(node, "later") + &said(&node.cli(&["region", "status"])));
    assert!(sql(node, "SELECT count(*) AS n FROM revenue").starts_with("HTTP/1.1 200"));
}
