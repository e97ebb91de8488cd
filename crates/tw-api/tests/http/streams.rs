//! Definitions of streams.

use crate::support::World;
use http::Method;
use serde_json::json;

#[tokio::test]
async fn a_stream_is_defined_shown_changed_and_dropped() {
    let world = World::start().await;
    let put = |body: &str| world.call(Method::PUT, "/v1/streams/orders").json(body);
    let definition = r#"{"partitions":2,"columns":[{"name":"id","type":"bigint","nullable":false},{"name":"total","type":"NUMERIC(12, 2)","class":"confidential"}],"key":["id"],"options":{"retention_ms":60000}}"#;
    let reply = put(definition).send().await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let shown = world.get("/v1/streams/orders").send().await.json();
    assert_eq!(shown["kind"], "events");
    assert_eq!(
        shown["columns"],
        json!([
            {"name": "id", "type": "bigint", "nullable": false, "class": "internal"},
            {"name": "total", "type": "numeric(12,2)", "nullable": true, "class": "confidential"}
        ])
    );
    assert_eq!((&shown["key"], &shown["options"]["retention_ms"]), (&json!(["id"]), &json!(60000)));
    assert_eq!(
        shown["offsets"],
        json!([{"partition": 0, "start": 0, "end": 0}, {"partition": 1, "start": 0, "end": 0}])
    );

    assert_eq!(put(definition).send().await.status, 200, "the same definition is fine");
    assert_eq!(put("{}").send().await.code(), "already_exists");

    let patch = |body: &str| {
        world
            .call(Method::PATCH, "/v1/streams/orders")
            .header("content-type", "application/merge-patch+json")
            .body(body.to_owned())
    };
    let reply = patch(r#"{"options":{"retention_ms":null,"cleanup":"compact"}}"#).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(
        reply.json()["options"],
        json!({"cleanup": "compact", "compression": "lz4", "event_bytes_max": 1048576})
    );
    assert_eq!(reply.json()["key"], json!(["id"]), "what a patch does not name stays");
    let version = || world.log.streams().get("orders").unwrap().schema.as_ref().map(|schema| schema.version);
    assert_eq!(version(), Some(1));
    let mut columns = shown["columns"].as_array().unwrap().clone();
    columns.push(json!({"name": "note", "type": "text"}));
    let reply = patch(&json!({ "columns": columns }).to_string()).send().await;
    assert_eq!((reply.status, version()), (200, Some(2)));
    assert_eq!(reply.json()["columns"][2]["name"], "note");

    assert_eq!(world.call(Method::DELETE, "/v1/streams/orders").send().await.status, 204);
    assert_eq!(world.get("/v1/streams/orders").send().await.code(), "no_stream");
    assert_eq!(world.call(Method::DELETE, "/v1/streams/orders").send().await.code(), "no_stream");
}

#[tokio::test]
async fn definitions_that_break_a_rule_are_refused() {
    let world = World::start().await;
    for (name, body, code) in [
        ("orders", r#"{"partitions":0}"#, "invalid_definition"),
        ("orders", r#"{"partitions":2000}"#, "invalid_definition"),
        ("orders", r#"{"options":{"retention_ms":1}}"#, "invalid_definition"),
        ("orders", r#"{"columns":[{"name":"a","type":"money4"}]}"#, "invalid_definition"),
        (
            "orders",
            r#"{"columns":[{"name":"a","type":"text"},{"name":"a","type":"text"}]}"#,
            "invalid_definition",
        ),
        ("orders", r#"{"key":["a"]}"#, "invalid_definition"),
        ("orders", r#"{"options":{"retention":1}}"#, "invalid_body"),
        ("orders", r#"{"partition":1}"#, "invalid_body"),
        ("orders", "[", "invalid_body"),
        ("$mine", "{}", "invalid_definition"),
        ("a%0Ab", "{}", "invalid_parameter"),
    ] {
        let reply = world.call(Method::PUT, &format!("/v1/streams/{name}")).json(body).send().await;
        assert_eq!(reply.code(), code, "{name} {body}");
    }
    let reply = world
        .call(Method::PUT, "/v1/streams/orders")
        .header("content-type", "text/csv")
        .body("{}")
        .send()
        .await;
    assert_eq!(reply.code(), "unsupported_media_type");
}

#[tokio::test]
async fn all_streams_are_listed_by_name() {
    let world = World::start().await;
    world.stream("b", 1).await;
    world.stream("a", 1).await;
    let list = world.get("/v1/streams").send().await.json();
    let names: Vec<_> =
        list["streams"].as_array().unwrap().iter().map(|stream| stream["name"].clone()).collect();
    assert_eq!(names, ["$config", "a", "b"]);
}

#[tokio::test]
async fn streams_are_listed_in_pages_and_by_the_beginning_of_their_names() {
    let world = World::start().await;
    for name in ["shop.a", "shop.b", "shop.c", "till"] {
        world.stream(name, 1).await;
    }
    let page = |query: &str| {
        let call = world.get(&format!("/v1/streams?{query}"));
        async move {
            let list = call.send().await.json();
            let names: Vec<_> =
                list["streams"].as_array().unwrap().iter().map(|row| row["name"].clone()).collect();
            (json!(names), list["next"].clone())
        }
    };
    assert_eq!(page("limit=2&prefix=shop.").await, (json!(["shop.a", "shop.b"]), json!("shop.b")));
    assert_eq!(page("limit=2&prefix=shop.&after=shop.b").await, (json!(["shop.c"]), json!(null)));
    assert_eq!(page("after=shop.c").await, (json!(["till"]), json!(null)));
    assert_eq!(world.get("/v1/streams?limit=0").send().await.code(), "invalid_parameter");
}

#[tokio::test]
async fn what_is_measured_of_a_stream_is_told_as_far_as_it_is_known() {
    let world = World::start().await;
    world.stream("orders", 2).await;
    let numbers = |row: &serde_json::Value| {
        ["rate_events_per_second", "bytes", "last_event_at"].map(|member| row.get(member).cloned())
    };
    let unknown = [Some(json!(0.0)), Some(json!(null)), Some(json!(null))];
    let shown = world.get("/v1/streams/orders").send().await.json();
    assert_eq!(numbers(&shown), unknown, "a log in memory takes no room on a disk");
    world.fill("orders", "e", 3).await;
    let shown = world.get("/v1/streams/orders").send().await.json();
    let last: tw_types::Timestamp = shown["last_event_at"].as_str().unwrap().parse().unwrap();
    let events = world.get("/v1/streams/orders/events").send().await.json();
    let accepted = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["twhlc"].as_str().unwrap().split_once('.').unwrap().0.parse::<i64>().unwrap());
    assert_eq!(Some(last.millis()), accepted.max());
}

#[tokio::test]
async fn a_stream_that_is_needed_is_not_dropped() {
    let world = World::start().await;
    world.stream("orders", 1).await;
    world.control.add_projection("revenue", "orders");
    let reply = world.call(Method::DELETE, "/v1/streams/orders").send().await;
    assert_eq!(
        (reply.code().as_str(), reply.detail().as_str()),
        ("in_use", "projection `revenue` reads `orders`: drop it first")
    );
    assert_eq!(world.call(Method::DELETE, "/v1/streams/$config").send().await.code(), "invalid_definition");
}
