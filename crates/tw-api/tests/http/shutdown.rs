//! The end of a server: what is under way ends in order, live readers are told to come back.

use crate::support::client::PATIENCE;
use crate::support::{World, event, options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tw_api::Options;

const EVENTS: &str = "/v1/streams/orders/events";

#[tokio::test]
async fn a_request_under_way_is_answered() {
    let world = World::start().await;
    world.stream("orders", 1).await;
    let address = world.address();
    let body = event("1", "");
    let head = format!(
        "POST {EVENTS} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/cloudevents+json\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut open = TcpStream::connect(address).await.unwrap();
    open.write_all(head.as_bytes()).await.unwrap();
    let mut invited = [0; 25];
    open.read_exact(&mut invited).await.unwrap();
    let log = world.log.clone();
    let shutdown = tokio::spawn(world.server.shutdown());
    // Nobody is let in any more, although the server waits for the request.
    tokio::time::timeout(PATIENCE, async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    open.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(r#""position":"0:0""#), "{answer}");
    tokio::time::timeout(PATIENCE, shutdown).await.unwrap().unwrap();
    let def = log.streams().get("orders").unwrap().clone();
    let at = tw_types::StreamPartition::new(def.id, tw_types::PartitionId(0));
    assert_eq!(log.bounds(at).unwrap().end.0, 1);
}

#[tokio::test]
async fn live_readers_are_told_to_come_back() {
    let world = World::start().await;
    world.stream("orders", 1).await;
    world.fill("orders", "e", 2).await;
    let mut reader = world.get(EVENTS).listen().await;
    reader.ids(2).await;
    let shutdown = tokio::spawn(world.server.shutdown());
    let last = loop {
        let block = reader.block().await.unwrap();
        if block.comment.contains("shuts down") {
            break block;
        }
    };
    assert_eq!((last.retry.as_str(), last.id.is_empty()), ("1000", false));
    assert_eq!(reader.block().await, None);
    tokio::time::timeout(PATIENCE, shutdown).await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_that_do_not_end_are_closed() {
    let world = World::with(Options { shutdown_ms_max: 50, ..options() }).await;
    world.stream("orders", 1).await;
    let mut open = TcpStream::connect(world.address()).await.unwrap();
    let head = format!(
        "POST {EVENTS} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\ncontent-length: 500\r\n\r\n"
    );
    open.write_all(head.as_bytes()).await.unwrap();
    tokio::time::timeout(PATIENCE, world.server.shutdown()).await.unwrap();
    let mut answer = Vec::new();
    let _closed = open.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_end() {
    let world = World::with(Options { shutdown_ms_max: 600_000, ..options() }).await;
    let mut idle = TcpStream::connect(world.address()).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut start = [0; 12];
    idle.read_exact(&mut start).await.unwrap();
    let _silent = TcpStream::connect(world.address()).await.unwrap();
    tokio::time::timeout(PATIENCE, world.server.shutdown()).await.unwrap();
}
