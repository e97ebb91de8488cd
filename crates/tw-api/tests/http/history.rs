//! The history of a subject.

use crate::support::{World, event};
use serde_json::json;

const SUBJECT: &str = "/v1/streams/orders/subjects/order-7/events";

async fn world() -> World {
    let world = World::start().await;
    world.stream("orders", 4).await;
    for n in 1..=5 {
        world.post(SUBJECT).event(&event(&n.to_string(), "")).send().await;
        world.post("/v1/streams/orders/subjects/other/events").event(&event(&n.to_string(), "")).send().await;
    }
    world
}

fn versions(page: &serde_json::Value) -> Vec<String> {
    page["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["twversion"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_history_is_read_from_a_version_on() {
    let world = world().await;
    let reply = world.get(SUBJECT).send().await;
    assert_eq!((reply.status, reply.header("etag")), (200, "\"5\""));
    assert_eq!(versions(&reply.json()), ["1", "2", "3", "4", "5"]);
    assert_eq!((&reply.json()["version"], &reply.json()["next_version"]), (&json!(5), &json!(null)));
    let page = world.get(&format!("{SUBJECT}?from_version=2&limit=2")).send().await.json();
    assert_eq!(versions(&page), ["2", "3"]);
    assert_eq!((&page["version"], &page["next_version"]), (&json!(5), &json!(4)));
}

#[tokio::test]
async fn a_subject_without_events_has_version_0() {
    let world = world().await;
    let reply = world.get("/v1/streams/orders/subjects/nobody/events").send().await;
    assert_eq!((reply.status, reply.header("etag")), (200, "\"0\""));
    assert_eq!(reply.json(), json!({"events": [], "version": 0}));
}

#[tokio::test]
async fn who_has_the_version_gets_no_content() {
    let world = world().await;
    let reply = world.get(SUBJECT).header("if-none-match", "\"5\"").send().await;
    assert_eq!((reply.status, reply.header("etag"), reply.body.len()), (304, "\"5\"", 0));
    let reply = world.get(SUBJECT).header("if-none-match", "\"4\"").send().await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn every_format_but_the_live_one_is_offered() {
    let world = world().await;
    let lines = world.get(SUBJECT).header("accept", "application/x-ndjson").send().await;
    assert_eq!(lines.text().lines().count(), 5);
    let batch = world.get(SUBJECT).header("accept", "application/cloudevents-batch+json").send().await;
    assert_eq!(batch.json().as_array().unwrap().len(), 5);
    let live = world.get(SUBJECT).header("accept", "text/event-stream").send().await;
    assert_eq!(live.code(), "not_acceptable");
}

#[tokio::test]
async fn parameters_outside_their_bounds_are_refused() {
    let world = world().await;
    for query in ["from_version=0", "limit=0", "limit=10001", "from_version=x", "from=1"] {
        assert_eq!(
            world.get(&format!("{SUBJECT}?{query}")).send().await.code(),
            "invalid_parameter",
            "{query}"
        );
    }
}

#[tokio::test]
async fn prj_2_a_token_that_is_not_reached_is_a_timeout() {
    let world = world().await;
    let id = world.log.streams().get("orders").unwrap().id;
    let call =
        world.get(&format!("{SUBJECT}?timeout_ms=50")).header("tradewind-token", &format!("tw1;{id}=0:99"));
    assert_eq!(call.send().await.code(), "timeout");
    let call = world.get(SUBJECT).header("tradewind-token", "tw1;999=0:99");
    assert_eq!(call.send().await.status, 200, "a token of another stream demands nothing here");
}
