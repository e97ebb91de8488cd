//! Events out: pages and lines.

use crate::support::{World, event};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tw_types::{Offset, PartitionId, StreamPartition};

const EVENTS: &str = "/v1/streams/orders/events";

async fn world(partitions: u32, events: usize) -> World {
    let world = World::start().await;
    world.stream("orders", partitions).await;
    if events > 0 {
        world.fill("orders", "e", events).await;
    }
    world
}

fn ids(page: &Value) -> Vec<String> {
    page["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

/// Reads page after page.
async fn pages(world: &World, query: &str) -> Vec<String> {
    let mut from = "earliest".to_owned();
    let mut all = Vec::new();
    loop {
        let reply = world.get(&format!("{EVENTS}?from={from}&{query}")).send().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let page = reply.json();
        all.extend(ids(&page));
        from = page["next"].as_str().unwrap().to_owned();
        assert_eq!(reply.header("tradewind-token"), from);
        if page["end"] == true {
            return all;
        }
    }
}

#[tokio::test]
async fn log_4_pages_give_every_event_once_whatever_their_size() {
    let world = world(3, 100).await;
    let expected: BTreeSet<String> = (0..100).map(|n| format!("e{n}")).collect();
    for limit in [1, 7, 100, 1_000] {
        let read = pages(&world, &format!("limit={limit}")).await;
        assert_eq!(read.len(), 100, "limit {limit}");
        assert_eq!(read.into_iter().collect::<BTreeSet<_>>(), expected, "limit {limit}");
    }
}

#[tokio::test]
async fn log_4_a_partition_is_read_in_order() {
    let world = world(3, 60).await;
    let page = world.get(&format!("{EVENTS}?partition=1&limit=1000")).send().await.json();
    let positions: Vec<String> = page["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["twposition"].as_str().unwrap().to_owned())
        .collect();
    let expected: Vec<String> = (0..positions.len()).map(|offset| format!("1:{offset}")).collect();
    assert!(!positions.is_empty());
    assert_eq!(positions, expected);
    let page = world.get(&format!("{EVENTS}?partition=1&from=3&limit=1")).send().await.json();
    assert_eq!(page["events"][0]["twposition"], "1:3");
}

#[tokio::test]
async fn partitions_are_merged_by_time_of_acceptance() {
    let world = world(3, 0).await;
    for n in 0..20 {
        world.post(EVENTS).event(&event(&n.to_string(), "")).send().await;
    }
    let page = world.get(EVENTS).send().await.json();
    assert_eq!(ids(&page), (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn filters_take_a_subject_and_a_prefix_of_types() {
    let world = world(2, 0).await;
    for (id, ty, subject) in [("1", "order.placed", "a"), ("2", "order.paid", "b"), ("3", "click", "a")] {
        let body = format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/t","type":"{ty}","subject":"{subject}"}}"#
        );
        world.post(EVENTS).event(&body).send().await;
    }
    assert_eq!(pages(&world, "type=order.").await, ["1", "2"]);
    assert_eq!(pages(&world, "subject=a").await, ["1", "3"]);
    assert_eq!(pages(&world, "subject=a&type=click").await, ["3"]);
    assert_eq!(pages(&world, "subject=c").await, Vec::<String>::new());
}

#[tokio::test]
async fn reading_starts_where_it_is_told() {
    let world = world(1, 10).await;
    let first = |from: &str| {
        let call = world.get(&format!("{EVENTS}?limit=1&from={from}"));
        async { ids(&call.send().await.json()) }
    };
    assert_eq!(first("earliest").await, ["e0"]);
    assert_eq!(first("latest").await, Vec::<String>::new());
    assert_eq!(first("4").await, ["e4"]);
    assert_eq!(first("10").await, Vec::<String>::new());
    assert_eq!(first("1970-01-01T00:00:00Z").await, ["e0"]);
    assert_eq!(first("2200-01-01T00:00:00+01:00").await, Vec::<String>::new());
    let id = world.log.streams().get("orders").unwrap().id;
    assert_eq!(first(&format!("tw1;{id}=0:7")).await, ["e7"]);
    assert_eq!(first("tw1").await, ["e0"]);
}

#[tokio::test]
async fn places_that_do_not_exist_are_refused() {
    let world = world(2, 10).await;
    let code = |query: &str| {
        let call = world.get(&format!("{EVENTS}?{query}"));
        async { call.send().await.code() }
    };
    assert_eq!(code("from=1").await, "invalid_parameter");
    assert_eq!(code("from=yesterday").await, "invalid_parameter");
    assert_eq!(code("from=tw1;x").await, "invalid_parameter");
    assert_eq!(code("partition=2").await, "no_partition");
    assert_eq!(code("partition=0&from=1000").await, "beyond_end");
    assert_eq!(code("limit=10001").await, "invalid_parameter");
    assert_eq!(code("colour=red").await, "invalid_parameter");
    let at = StreamPartition::new(world.log.streams().get("orders").unwrap().id, PartitionId(0));
    let end = world.log.bounds(at).unwrap().end;
    let reply = world.get(&format!("{EVENTS}?partition=0&from={end}")).send().await;
    assert_eq!((reply.status, &reply.json()["end"]), (200, &json!(true)), "the end itself can be read from");
}

#[tokio::test]
async fn events_that_were_removed_are_told() {
    let world = world(1, 10).await;
    let at = StreamPartition::new(world.log.streams().get("orders").unwrap().id, PartitionId(0));
    world.log.trim(at, Offset(5)).await.unwrap();
    let reply = world.get(&format!("{EVENTS}?from=2")).send().await;
    assert_eq!((reply.code().as_str(), &reply.json()["first_offset"]), ("events_removed", &json!(5)));
    assert_eq!(ids(&world.get(EVENTS).send().await.json()), ["e5", "e6", "e7", "e8", "e9"]);
}

#[tokio::test]
async fn lines_go_to_the_present_end() {
    let world = world(3, 5_000).await;
    let reply = world.get(EVENTS).header("accept", "application/x-ndjson").send().await;
    assert_eq!(reply.header("content-type"), "application/x-ndjson");
    let read: BTreeSet<String> = reply
        .text()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((reply.text().lines().count(), read.len()), (5_000, 5_000));
    let token = reply.header("tradewind-token").to_owned();
    let rest =
        world.get(&format!("{EVENTS}?from={token}")).header("accept", "application/x-ndjson").send().await;
    assert_eq!(rest.text(), "");
    let three = world.get(&format!("{EVENTS}?limit=3")).header("accept", "application/x-ndjson").send().await;
    assert_eq!(three.text().lines().count(), 3);
}

#[tokio::test]
async fn a_page_can_be_a_batch_that_reads_back() {
    let world = world(1, 3).await;
    let reply = world.get(EVENTS).header("accept", "application/cloudevents-batch+json").send().await;
    assert_eq!(reply.json().as_array().unwrap().len(), 3);
    assert!(!reply.header("tradewind-token").is_empty());
    assert_eq!(world.get(EVENTS).header("accept", "text/html").send().await.code(), "not_acceptable");
}

#[tokio::test]
async fn prj_2_a_read_with_the_token_of_a_write_sees_it() {
    let world = world(4, 0).await;
    for n in 0..20 {
        let token = world
            .post(EVENTS)
            .event(&event(&n.to_string(), ""))
            .send()
            .await
            .header("tradewind-token")
            .to_owned();
        let page =
            world.get(&format!("{EVENTS}?limit=1000")).header("tradewind-token", &token).send().await.json();
        assert_eq!(ids(&page).len(), n + 1);
    }
    let id = world.log.streams().get("orders").unwrap().id;
    let waiting =
        world.get(EVENTS).header("tradewind-token", &format!("tw1;{id}=0:1,1:1,2:1,3:1")).send().await;
    assert_eq!(waiting.status, 200);
    let call =
        world.get(&format!("{EVENTS}?timeout_ms=20")).header("tradewind-token", &format!("tw1;{id}=0:999"));
    assert_eq!(call.send().await.code(), "timeout");
    assert_eq!(world.get(EVENTS).header("tradewind-token", "x").send().await.code(), "invalid_parameter");
}

#[tokio::test]
async fn head_says_what_get_would_without_content() {
    let world = world(1, 3).await;
    let reply = world.call(http::Method::HEAD, EVENTS).send().await;
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    assert!(!reply.header("tradewind-token").is_empty());
}

/// The ids of a page, its `next` and its `end`.
async fn backwards(world: &World, query: &str) -> (Vec<String>, String, bool) {
    let reply = world.get(&format!("{EVENTS}?order=desc{query}")).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let page = reply.json();
    let ids = page["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned());
    (ids.collect(), page["next"].as_str().unwrap().to_owned(), page["end"].as_bool().unwrap())
}

#[tokio::test]
async fn pages_backwards_have_all_events_once_and_the_newest_first() {
    let world = world(3, 0).await;
    for round in 0..60 {
        world.fill("orders", &format!("{round}-"), 5).await;
    }
    let page = world.get(&format!("{EVENTS}?limit=1000")).send().await.json();
    let events = page["events"].as_array().unwrap().iter();
    let mut expected: Vec<_> = events.map(|event| event["id"].as_str().unwrap().to_owned()).collect();
    expected.reverse();
    for limit in [1_000, 37, 7] {
        let (mut seen, mut from) = (Vec::new(), String::new());
        loop {
            let (ids, next, end) = backwards(&world, &format!("&limit={limit}{from}")).await;
            assert!(ids.len() <= limit);
            seen.extend(ids);
            if end {
                break;
            }
            from = format!("&from={next}");
        }
        assert_eq!(seen, expected, "in pages of {limit}");
    }
}

#[tokio::test]
async fn pages_backwards_are_filtered_and_end_where_events_were_removed() {
    let world = world(1, 0).await;
    for n in 0..300 {
        let ty = if n % 100 == 0 { "bell" } else { "order.placed" };
        let body = format!(r#"{{"specversion":"1.0","id":"{n}","source":"/t","type":"{ty}"}}"#);
        assert_eq!(world.post(EVENTS).event(&body).send().await.status, 200);
    }
    assert_eq!(backwards(&world, "&type=bell").await.0, ["200", "100", "0"]);
    assert_eq!(backwards(&world, "&from=250&partition=0&limit=2").await.0, ["249", "248"]);
    let (_, next, _) = backwards(&world, "&limit=150").await;
    let stream = world.log.streams().get("orders").unwrap().id;
    world.log.trim(StreamPartition::new(stream, PartitionId(0)), Offset(170)).await.unwrap();
    let (ids, _, end) = backwards(&world, &format!("&from={next}")).await;
    assert_eq!((ids.len(), end), (0, true), "all before that is gone");
    let (ids, _, end) = backwards(&world, "&limit=1000").await;
    assert_eq!((ids.len(), ids.last().map(String::as_str), end), (130, Some("170"), true));
    for (accept, order) in [("application/x-ndjson", "desc"), ("text/event-stream", "desc"), ("*/*", "down")]
    {
        let call = world.get(&format!("{EVENTS}?order={order}")).header("accept", accept);
        assert_eq!(call.send().await.code(), "invalid_parameter", "{accept}");
    }
}
