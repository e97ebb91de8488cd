//! The live stream of topics and of several streams: what is sent first, what then, and where a reader goes on.

use crate::support::client::{Listener, PATIENCE, Sent};
use crate::support::{World, event, options};
use http::Method;
use serde_json::{Value, json};
use tw_api::Options;

/// The data of the next event of this kind.
async fn next(reader: &mut Listener, kind: &str) -> Value {
    loop {
        let Sent { event, data, .. } = reader.next().await.unwrap();
        if event == kind {
            return serde_json::from_str(&data).unwrap();
        }
    }
}

/// The ids of the next events of streams, with their streams.
async fn tailed(reader: &mut Listener, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let sent = next(reader, "tail").await;
        let of = |pointer: &str| sent.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
        ids.push(format!("{} {}", of("/stream"), of("/event/id")));
    }
    ids
}

async fn append(world: &World, stream: &str, id: &str) {
    let reply = world.post(&format!("/v1/streams/{stream}/events")).event(&event(id, "")).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn a_topic_comes_whole_and_then_when_it_has_changed() {
    let world = World::start().await;
    world.control.add_source("shop");
    let mut reader = world.get("/v1/live?topics=sources,status").listen().await;
    let hello = next(&mut reader, "topics").await;
    assert_eq!(hello, json!({"topics": ["sources", "status"], "left_out": []}));
    let sources = next(&mut reader, "sources").await;
    assert_eq!(sources, world.get("/v1/sources").send().await.json());
    assert_eq!(world.post("/v1/sources/shop/pause").send().await.status, 204);
    assert_eq!(next(&mut reader, "sources").await["sources"][0]["state"], "paused");
    world.stream("orders", 1).await;
    let mut status = next(&mut reader, "status").await;
    while status["streams"] != 2 {
        status = next(&mut reader, "status").await;
    }
}

#[tokio::test]
async fn of_streams_all_are_sent_first_and_then_what_has_changed_or_is_gone() {
    let world = World::start().await;
    world.stream("a", 1).await;
    world.stream("b", 1).await;
    let mut reader = world.get("/v1/live?topics=streams").listen().await;
    assert_eq!(next(&mut reader, "streams").await, world.get("/v1/streams").send().await.json());
    world.stream("c", 1).await;
    assert_eq!(world.call(Method::DELETE, "/v1/streams/a").send().await.status, 204);
    let (mut came, mut gone) = (false, false);
    while !(came && gone) {
        let news = next(&mut reader, "streams").await;
        let changed = news["changed"].as_array().unwrap();
        assert!(changed.iter().all(|row| row["name"] == "c"), "{news}");
        came |= !changed.is_empty();
        gone |= news["gone"] == json!(["a"]);
    }
    // Who comes later begins with all.
    let mut other = world.get("/v1/live?topics=streams").listen().await;
    assert_eq!(next(&mut other, "streams").await["streams"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn topics_that_are_not_on_this_node_are_named_and_unknown_ones_refused() {
    let world = World::start().await;
    let mut reader = world.get("/v1/live?topics=cluster,parked,regions").listen().await;
    let hello = next(&mut reader, "topics").await;
    assert_eq!(hello, json!({"topics": ["parked"], "left_out": ["cluster", "regions"]}));
    assert_eq!(next(&mut reader, "parked").await, json!({"parked": [], "next": null}));
    for (path, detail) in [
        ("/v1/live?topics=streams,weather", "there is no topic `weather`"),
        ("/v1/live", "nothing is to be followed"),
        ("/v1/live?tail=$config&from=7", "an offset is a place in one partition"),
    ] {
        let reply = world.get(path).send().await;
        assert_eq!(reply.code(), "invalid_parameter");
        assert!(reply.detail().starts_with(detail), "{}", reply.detail());
    }
    assert_eq!(world.get("/v1/live?tail=nothing").send().await.code(), "no_stream");
    let many: String = (0..17).map(|n| format!("tail=s{n}&")).collect();
    for n in 0..17 {
        world.stream(&format!("s{n}"), 1).await;
    }
    assert_eq!(world.get(&format!("/v1/live?{many}")).send().await.code(), "invalid_parameter");
}

#[tokio::test]
async fn log_4_events_of_several_streams_are_resumed_where_their_reader_left_off() {
    let world = World::start().await;
    world.stream("a", 2).await;
    world.stream("b", 3).await;
    append(&world, "a", "before").await;
    let path = "/v1/live?tail=a&tail=b&topics=parked";
    let mut reader = world.get(path).listen().await;
    next(&mut reader, "parked").await;
    let mut expected = Vec::new();
    for n in 0..10 {
        let stream = if n % 3 == 0 { "a" } else { "b" };
        append(&world, stream, &n.to_string()).await;
        expected.push(format!("{stream} {n}"));
    }
    assert_eq!(tailed(&mut reader, 4).await, expected[..4]);
    let left_off = reader.last_id.clone();
    drop(reader);
    let world = world.restart(options()).await;
    let mut reader = world.get(path).header("last-event-id", &left_off).listen().await;
    assert_eq!(tailed(&mut reader, 6).await, expected[4..]);
    // A stream that was not followed before begins at its end.
    world.stream("c", 1).await;
    append(&world, "c", "old").await;
    let left_off = reader.last_id.clone();
    let mut reader = world.get(&format!("{path}&tail=c")).header("last-event-id", &left_off).listen().await;
    next(&mut reader, "parked").await;
    append(&world, "c", "new").await;
    assert_eq!(tailed(&mut reader, 1).await, ["c new"]);
}

#[tokio::test]
async fn events_are_filtered_and_begin_where_it_is_asked_for() {
    let world = World::start().await;
    world.stream("a", 1).await;
    world.stream("b", 1).await;
    for (stream, id, ty) in [("a", "1", "order.placed"), ("b", "2", "bell"), ("b", "3", "order.paid")] {
        let body = format!(r#"{{"specversion":"1.0","id":"{id}","source":"/t","type":"{ty}"}}"#);
        let reply = world.post(&format!("/v1/streams/{stream}/events")).event(&body).send().await;
        assert_eq!(reply.status, 200);
    }
    let mut reader = world.get("/v1/live?tail=a&tail=b&from=earliest&type=order.").listen().await;
    assert_eq!(tailed(&mut reader, 2).await, ["a 1", "b 3"]);
}

#[tokio::test]
async fn a_stream_that_is_dropped_is_told_and_the_others_go_on() {
    let world = World::start().await;
    world.stream("a", 1).await;
    world.stream("b", 1).await;
    let mut reader = world.get("/v1/live?tail=a&tail=b").listen().await;
    next(&mut reader, "topics").await;
    assert_eq!(world.call(Method::DELETE, "/v1/streams/a").send().await.status, 204);
    append(&world, "b", "1").await;
    let problem = next(&mut reader, "tradewind.problem").await;
    assert_eq!(problem["code"], "no_stream");
    assert!(problem["detail"].as_str().unwrap().contains("`a`"), "{problem}");
    append(&world, "b", "2").await;
    let mut seen = tailed(&mut reader, 1).await;
    if seen == ["b 1"] {
        seen = tailed(&mut reader, 1).await;
    }
    assert_eq!(seen, ["b 2"]);
    assert_eq!(world.call(Method::DELETE, "/v1/streams/b").send().await.status, 204);
    assert_eq!(next(&mut reader, "tradewind.problem").await["code"], "no_stream");
    assert_eq!(reader.next().await, None, "there is nothing left to follow");
}

#[tokio::test]
async fn who_follows_topics_is_a_reader_and_is_alive() {
    let world = World::with(Options { readers_max: 1, heartbeat_ms: 100, ..options() }).await;
    let mut reader = world.get("/v1/live?topics=regions").listen().await;
    let refused = world.get("/v1/live?topics=status").send().await;
    assert_eq!(refused.code(), "too_many_readers");
    let alive = async { while reader.block().await.unwrap().comment != "alive" {} };
    tokio::time::timeout(PATIENCE, alive).await.expect("there is no sign of life");
}
