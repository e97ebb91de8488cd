//! Live readers: resume, filters, limits, slow ones.

use crate::support::client::PATIENCE;
use crate::support::{STALLS, World, event, options, stalls};
use serde_json::Value;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tw_api::Options;
use tw_types::{Offset, PartitionId, StreamPartition};

const EVENTS: &str = "/v1/streams/orders/events";

async fn world(options: Options, partitions: u32) -> World {
    let world = World::with(options).await;
    world.stream("orders", partitions).await;
    world
}

#[tokio::test]
async fn a_reader_gets_what_is_there_and_then_what_comes() {
    let world = world(options(), 3).await;
    world.fill("orders", "old", 5).await;
    let mut reader = world.get(EVENTS).listen().await;
    assert_eq!(reader.block().await.unwrap().retry, "1000");
    let mut old = reader.ids(5).await;
    old.sort();
    assert_eq!(old, ["old0", "old1", "old2", "old3", "old4"]);
    for n in 0..5 {
        let id = format!("new{n}");
        world.post(EVENTS).event(&event(&id, "")).send().await;
        assert_eq!(reader.ids(1).await, [id]);
    }
}

#[tokio::test]
async fn log_4_a_reader_that_comes_back_misses_nothing_and_sees_nothing_twice() {
    let mut world = world(options(), 4).await;
    world.fill("orders", "e", 200).await;
    let mut seen = Vec::new();
    let mut last_id = String::new();
    for step in [1, 2, 30, 1, 99, 67] {
        let mut reader =
            world.get(&format!("{EVENTS}?from=earliest")).header("last-event-id", &last_id).listen().await;
        seen.extend(reader.ids(step).await);
        last_id.clone_from(&reader.last_id);
        drop(reader);
        world = world.restart(options()).await;
    }
    seen.sort_by_key(|id| id[1..].parse::<u32>().unwrap());
    assert_eq!(seen, (0..200).map(|n| format!("e{n}")).collect::<Vec<_>>());
    let mut reader = world.get(EVENTS).header("last-event-id", &last_id).listen().await;
    world.fill("orders", "late", 1).await;
    assert_eq!(reader.ids(1).await, ["late0"]);
}

#[tokio::test]
async fn the_data_of_an_event_is_one_line() {
    let world = world(options(), 1).await;
    world.post(EVENTS).event(&event("1", ",\"data\":{\n\"a\":\r\n[1]}")).send().await;
    let mut reader = world.get(EVENTS).listen().await;
    let sent = reader.next().await.unwrap();
    let event: Value = serde_json::from_str(&sent.data).unwrap();
    assert_eq!((event["data"]["a"][0].as_u64(), sent.event.as_str()), (Some(1), ""));
}

#[tokio::test]
async fn an_idle_reader_is_told_where_it_is() {
    let world = world(Options { heartbeat_ms: 100, ..options() }, 1).await;
    let mut reader = world.get(&format!("{EVENTS}?type=never")).listen().await;
    world.fill("orders", "e", 3).await;
    let end = format!("tw1;{}=0:3", world.log.streams().get("orders").unwrap().id);
    // Events that the filter does not take move the place on all the same.
    while reader.last_id != end {
        let block = reader.block().await.unwrap();
        assert_eq!((block.comment.as_str(), block.data.as_str()), ("alive", ""));
    }
}

#[tokio::test]
async fn a_reader_can_say_how_many_it_wants_and_where_from() {
    let world = world(options(), 1).await;
    world.fill("orders", "e", 5).await;
    let mut reader = world.get(&format!("{EVENTS}?partition=0&from=2&limit=2")).listen().await;
    assert_eq!(reader.ids(2).await, ["e2", "e3"]);
    assert_eq!(reader.next().await, None);
    let mut reader = world.get(&format!("{EVENTS}?from=latest")).listen().await;
    reader.block().await.unwrap();
    world.fill("orders", "new", 1).await;
    assert_eq!(reader.ids(1).await, ["new0"]);
}

#[tokio::test]
async fn removed_events_and_dropped_streams_end_a_reader_with_the_reason() {
    let world = world(Options { heartbeat_ms: 100, ..options() }, 1).await;
    world.fill("orders", "e", 5).await;
    let def = world.log.streams().get("orders").unwrap().clone();
    world.log.trim(StreamPartition::new(def.id, PartitionId(0)), Offset(3)).await.unwrap();
    let reply = world
        .get(EVENTS)
        .header("accept", "text/event-stream")
        .header("last-event-id", &format!("tw1;{}=0:1", def.id))
        .send()
        .await;
    assert_eq!(reply.code(), "events_removed");
    let mut reader = world.get(EVENTS).listen().await;
    assert_eq!(reader.ids(2).await, ["e3", "e4"]);
    world.log.drop_stream(&def.name).await.unwrap();
    let end = reader.next().await.unwrap();
    let problem: Value = serde_json::from_str(&end.data).unwrap();
    assert_eq!((end.event.as_str(), &problem["code"]), ("tradewind.problem", &Value::from("no_stream")));
    assert_eq!(reader.next().await, None);
}

#[tokio::test]
async fn readers_beyond_the_limit_are_refused_until_one_goes() {
    let world = world(Options { readers_max: 2, ..options() }, 1).await;
    let first = world.get(EVENTS).listen().await;
    let _second = world.get(EVENTS).listen().await;
    let refused = world.get(EVENTS).header("accept", "text/event-stream").send().await;
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("too_many_readers", "5"));
    drop(first);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let response = world.get(EVENTS).header("accept", "text/event-stream").open().await;
        if response.status() == 200 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the place was not given back");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_disconnected_and_slows_nobody() {
    let _alone = STALLS.lock().await;
    let world = Arc::new(world(Options { write_stall_ms_max: 300, ..options() }, 1).await);
    let before = stalls(&world).await;
    // It asks, and then never reads.
    let mut lazy = TcpStream::connect(world.address()).await.unwrap();
    let request = format!("GET {EVENTS} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n");
    lazy.write_all(request.as_bytes()).await.unwrap();
    let mut eager = world.get(EVENTS).listen().await;
    let eager = tokio::spawn(async move { eager.ids(200).await });
    let data = format!(r#","data":"{}""#, "x".repeat(100_000));
    let mut expected = Vec::new();
    // More than the buffers of both sides take.
    for n in 0..200 {
        let id = n.to_string();
        let reply = world.post(EVENTS).event(&event(&id, &data)).send().await;
        assert_eq!(reply.status, 200);
        expected.push(id);
    }
    assert_eq!(eager.await.unwrap(), expected);
    let gone = async { while stalls(&world).await == before {} };
    tokio::time::timeout(PATIENCE, gone).await.expect("the lazy reader is still connected");
}
