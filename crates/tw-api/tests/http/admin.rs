//! Sources, projections, parked events, and the state of the node.

use crate::support::{World, options};
use http::Method;
use serde_json::json;
use std::sync::Arc;
use tw_api::parts::ParkedEvent;
use tw_env::Env;
use tw_log::MemoryLog;

#[tokio::test]
async fn sources_are_listed_paused_resumed_and_dropped() {
    let world = World::start().await;
    assert_eq!(world.get("/v1/sources").send().await.json(), json!({"sources": []}));
    world.control.add_source("shop");
    let state = || async { world.get("/v1/sources/shop").send().await.json()["state"].clone() };
    assert_eq!(state().await, "streaming");
    assert_eq!(world.post("/v1/sources/shop/pause").send().await.status, 204);
    assert_eq!(state().await, "paused");
    assert_eq!(world.post("/v1/sources/shop/pause").send().await.code(), "wrong_state");
    assert_eq!(world.post("/v1/sources/shop/resume").send().await.status, 204);
    let again =
        world.post("/v1/sources/shop/resnapshot").json(r#"{"tables":["public.orders"]}"#).send().await;
    assert_eq!((again.status, state().await), (202, json!("snapshotting public.orders")));
    assert_eq!(world.post("/v1/sources/shop/resnapshot").send().await.status, 202);
    assert_eq!(
        world.post("/v1/sources/shop/resnapshot").json(r#"{"table":1}"#).send().await.code(),
        "invalid_body"
    );
    let dropped = world.call(Method::DELETE, "/v1/sources/shop").send().await;
    assert_eq!(dropped.status, 200);
    assert_eq!(dropped.json()["message"], "source `shop` dropped, but its slot is still there");
    assert_eq!(world.get("/v1/sources/shop").send().await.code(), "no_source");
    assert_eq!(world.post("/v1/sources/shop/pause").send().await.code(), "no_source");
}

#[tokio::test]
async fn projections_are_listed_paused_resumed_rebuilt_and_dropped() {
    let world = World::start().await;
    world.control.add_projection("revenue", "orders");
    let list = world.get("/v1/projections").send().await.json();
    assert_eq!(list["projections"][0]["name"], "revenue");
    let state = || async { world.get("/v1/projections/revenue").send().await.json()["state"].clone() };
    assert_eq!(world.post("/v1/projections/revenue/pause").send().await.status, 204);
    assert_eq!(state().await, "paused");
    assert_eq!(world.post("/v1/projections/revenue/resume").send().await.status, 204);
    assert_eq!(world.post("/v1/projections/revenue/rebuild").send().await.status, 202);
    assert_eq!(state().await, "building");
    assert_eq!(world.call(Method::DELETE, "/v1/projections/revenue").send().await.status, 204);
    assert_eq!(world.get("/v1/projections/revenue").send().await.code(), "no_projection");
}

fn parked(view: &str, offset: u64) -> ParkedEvent {
    ParkedEvent {
        view: view.into(),
        stream: "shop.orders".into(),
        partition: 0,
        offset,
        attempts: 8,
        why: "`total` is not a number".into(),
        state: "parked".into(),
        time: Some("2026-01-31T09:30:00Z".into()),
        event_type: None,
        event_subject: Some("order-7".into()),
        event_id: None,
        waiting: None,
    }
}

#[tokio::test]
async fn parked_events_are_listed_in_pages_shown_retried_and_dropped() {
    let log = Arc::new(MemoryLog::new(Env::real()));
    let events = vec![parked("a/b", 3), parked("revenue", 1), parked("revenue", 2)];
    let world = World::over(options(), log, |parts| World::park(parts, events)).await;
    let first = world.get("/v1/parked?limit=2").send().await.json();
    assert_eq!(first["parked"].as_array().unwrap().len(), 2);
    assert_eq!(first["next"], "revenue/shop.orders/0/1");
    let rest = world.get("/v1/parked?after=revenue/shop.orders/0/1").send().await.json();
    assert_eq!((&rest["parked"][0]["offset"], &rest["next"]), (&json!(2), &json!(null)));
    let of_view = world.get("/v1/parked?view=a/b").send().await.json();
    assert_eq!(of_view["parked"].as_array().unwrap().len(), 1);

    let shown = world.get("/v1/parked/a%2Fb/shop.orders/0/3").send().await.json();
    assert_eq!((&shown["view"], &shown["event_subject"]), (&json!("a/b"), &json!("order-7")));
    assert_eq!(world.post("/v1/parked/revenue/shop.orders/0/1/retry").send().await.status, 202);
    assert_eq!(world.call(Method::DELETE, "/v1/parked/revenue/shop.orders/0/2").send().await.status, 204);
    assert_eq!(world.get("/v1/parked/revenue/shop.orders/0/2").send().await.code(), "no_parked_event");
    assert_eq!(world.get("/v1/parked/revenue/shop.orders/x/2").send().await.code(), "invalid_parameter");
    assert_eq!(world.get("/v1/parked?after=revenue").send().await.code(), "invalid_parameter");
}

#[tokio::test]
async fn parked_events_of_a_view_are_decided_about_together_and_each_once() {
    let log = Arc::new(MemoryLog::new(Env::real()));
    let other = ParkedEvent { why: "no room".into(), ..parked("revenue", 9) };
    let tried = ParkedEvent { state: "retrying".into(), ..parked("revenue", 2) };
    let events =
        vec![parked("a", 3), parked("revenue", 1), tried, parked("revenue", 4), parked("revenue", 5), other];
    let world = World::over(options(), log, |parts| World::park(parts, events)).await;
    let first =
        world.post("/v1/parked/retry").json(r#"{"view":"revenue","reason_prefix":"`total`","limit":2}"#);
    let first = first.send().await.json();
    let id = |offset: u64| format!("revenue/shop.orders/0/{offset}");
    assert_eq!(first, json!({"done": [id(1), id(4)], "failed": [], "next": id(4)}));
    let rest = json!({"view": "revenue", "reason_prefix": "`total`", "after": id(4)}).to_string();
    let rest = world.post("/v1/parked/retry").json(&rest).send().await.json();
    assert_eq!(rest, json!({"done": [id(5)], "failed": [], "next": null}));
    let dropped = world.post("/v1/parked/drop").json(r#"{"view":"revenue"}"#).send().await.json();
    assert_eq!(dropped["done"], json!([id(2), id(9)]), "also one that is tried");
    for (body, code) in [
        (r#"{"view":"revenue","limit":0}"#, "invalid_parameter"),
        (r#"{"limit":1}"#, "invalid_body"),
        (r#"{"view":"revenue","after":"x"}"#, "invalid_parameter"),
    ] {
        assert_eq!(world.post("/v1/parked/drop").json(body).send().await.code(), code, "{body}");
    }
    let left = world.get("/v1/parked").send().await.json();
    assert_eq!(left["parked"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_node_tells_how_it_is() {
    let world = World::start().await;
    world.control.add_source("shop");
    let status = world.get("/v1/status").send().await.json();
    assert_eq!(
        (&status["state"], &status["streams"], &status["sources"]),
        (&json!("ready"), &json!(1), &json!(1))
    );
    assert_eq!(world.get("/healthz").send().await.text(), "ok\n");
    assert_eq!(world.get("/readyz").send().await.text(), "ready\n");
    *world.control.waits_for.lock() = Some("the log to be read".into());
    let reply = world.get("/readyz").send().await;
    assert_eq!(
        (reply.code().as_str(), reply.detail().as_str()),
        ("not_ready", "the node waits for the log to be read")
    );
    assert_eq!(world.get("/healthz").send().await.status, 200, "a node that is not ready lives");
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let world = World::start().await;
    world.stream("metered", 1).await;
    world.fill("metered", "e", 3).await;
    world.get("/v1/streams/nothing").send().await;
    let reply = world.get("/metrics").send().await;
    assert_eq!(reply.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = reply.text();
    let count = |line: &str| {
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse::<f64>().ok());
        value.unwrap_or_else(|| panic!("{line} is not in\n{text}"))
    };
    let route = r#"route="POST /v1/streams/{stream}/events",status="200"}"#;
    assert!(count(&format!("tradewind_http_requests_total{{{route}")) >= 1.0);
    assert!(count(r#"tradewind_http_requests_total{route="GET /v1/streams/{stream}",status="404"}"#) >= 1.0);
    assert!(count("tradewind_http_events_appended_total") >= 3.0);
    assert!(text.contains("# HELP tradewind_http_request_seconds "));
}
