//! Limits: what is too large, too much or too slow is refused, and the server serves on.

use crate::support::client::{PATIENCE, raw};
use crate::support::{STALLS, World, event, options, stalls};
use serde_json::json;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tw_api::Options;

const EVENTS: &str = "/v1/streams/orders/events";

async fn world(options: Options) -> World {
    let world = World::with(options).await;
    world.stream("orders", 1).await;
    world
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_announced_or_not() {
    let world = world(Options { body_bytes_max: 2_000, ..options() }).await;
    let large = event("1", &format!(r#","data":"{}""#, "x".repeat(4_000)));
    let reply = world.post(EVENTS).event(&large).send().await;
    assert_eq!((reply.code().as_str(), &reply.json()["limit"]), ("body_too_large", &json!(2_000)));
    let head = format!(
        "POST {EVENTS} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/cloudevents+json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let chunks = format!("{:x}\r\n{}\r\n0\r\n\r\n", 4_000, "x".repeat(4_000));
    let answer = raw(world.address(), (head + &chunks).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body_too_large"), "{answer}");
    let fits = event("1", &format!(r#","data":"{}""#, "x".repeat(1_500)));
    assert_eq!(world.post(EVENTS).event(&fits).send().await.status, 200);
}

/// The head of a request whose body of `bytes` bytes waits for an invitation.
fn head(bytes: usize) -> String {
    format!(
        "POST {EVENTS} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/x-ndjson\r\nexpect: 100-continue\r\ncontent-length: {bytes}\r\n\r\n"
    )
}

#[tokio::test]
async fn bodies_share_a_budget_and_wait_for_their_turn() {
    let limits = Options { body_bytes_max: 200_000, body_bytes_total_max: 200_000, ..options() };
    let world = Arc::new(world(limits).await);
    let mut open = TcpStream::connect(world.address()).await.unwrap();
    open.write_all(head(150_000).as_bytes()).await.unwrap();
    // The server asks for a body when it has room for it.
    let mut invited = [0; 25];
    open.read_exact(&mut invited).await.unwrap();
    assert_eq!(&invited, b"HTTP/1.1 100 Continue\r\n\r\n");

    let waiting = tokio::spawn({
        let world = world.clone();
        let lines = "\n".repeat(100_000);
        async move {
            world.post(EVENTS).header("content-type", "application/x-ndjson").body(lines).send().await.status
        }
    });
    assert_eq!(world.post(EVENTS).event(&event("1", "")).send().await.status, 200, "a small one has room");
    // One that does not say how long it is cannot wait, because what it has might be what others wait for.
    let chunks = format!("{:x}\r\n{}\r\n0\r\n\r\n", 100_000, "\n".repeat(100_000));
    let endless = head(0).replace("expect: 100-continue\r\ncontent-length: 0", "transfer-encoding: chunked");
    let answer = raw(world.address(), (endless + &chunks).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1"), "{answer}");
    assert!(answer.contains(r#""code":"overloaded""#) && answer.contains(r#""limit":200000"#), "{answer}");
    assert!(!waiting.is_finished());

    open.write_all("\n".repeat(150_000).as_bytes()).await.unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap(), 200);
}

#[tokio::test]
async fn a_body_that_is_announced_and_does_not_come_gives_its_room_to_others() {
    let limits = Options { body_bytes_max: 200_000, body_bytes_total_max: 200_000, ..options() };
    let world = world(limits).await;
    let mut open = TcpStream::connect(world.address()).await.unwrap();
    open.write_all(head(200_000).as_bytes()).await.unwrap();
    let mut invited = [0; 25];
    open.read_exact(&mut invited).await.unwrap();
    // It waits for less than the time that a body may take.
    let lines = "\n".repeat(100_000);
    let sent = world.post(EVENTS).header("content-type", "application/x-ndjson").body(lines).send();
    assert_eq!(tokio::time::timeout(PATIENCE, sent).await.unwrap().status, 200);
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("body_timeout"), "{answer}");
}

#[tokio::test]
async fn a_body_for_which_there_is_no_room_in_time_is_refused() {
    let limits =
        Options { body_bytes_max: 200_000, body_bytes_total_max: 200_000, body_timeout_ms: 500, ..options() };
    let world = world(limits).await;
    let id = world.log.streams().get("orders").unwrap().id;
    // A long statement that waits for an event which nobody appends.
    let mut open = TcpStream::connect(world.address()).await.unwrap();
    let statement = format!("SELECT 1{}", " ".repeat(150_000));
    let request = format!(
        "POST /v1/sql HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ntradewind-token: tw1;{id}=0:5\r\ncontent-length: {}\r\n\r\n{statement}",
        statement.len()
    );
    open.write_all(request.as_bytes()).await.unwrap();
    let lines = "\n".repeat(100_000);
    let send =
        || world.post(EVENTS).header("content-type", "application/x-ndjson").body(lines.clone()).send();
    tokio::time::timeout(PATIENCE, async { while send().await.status == 200 {} }).await.unwrap();
    let refused = send().await;
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("overloaded", "1"));
    drop(open);
    tokio::time::timeout(PATIENCE, async { while send().await.status != 200 {} }).await.unwrap();
}

#[tokio::test]
async fn more_events_than_allowed_are_refused() {
    let world = world(Options { events_max: 2, ..options() }).await;
    let three = [event("1", ""), event("2", ""), event("3", "")];
    let reply =
        world.post(EVENTS).header("content-type", "application/x-ndjson").body(three.join("\n")).send().await;
    assert_eq!((reply.code().as_str(), &reply.json()["line"]), ("too_many_events", &json!(3)));
    let batch = format!("[{}]", three.join(","));
    let reply = world
        .post(EVENTS)
        .header("content-type", "application/cloudevents-batch+json")
        .body(batch)
        .send()
        .await;
    assert_eq!((reply.code().as_str(), &reply.json()["index"]), ("too_many_events", &json!(2)));
}

#[tokio::test]
async fn headers_over_the_limit_are_refused() {
    let world = world(Options { header_bytes_max: 8 << 10, headers_max: 20, ..options() }).await;
    let reply = world.get("/healthz").header("x-large", &"x".repeat(9 << 10)).send().await;
    assert_eq!((reply.code().as_str(), &reply.json()["limit"]), ("headers_too_large", &json!(8 << 10)));
    let reply = world.get("/healthz").header("x-larger", &"x".repeat(40 << 10)).send().await;
    assert_eq!(reply.status, 431);
    let mut call = world.get("/healthz");
    for _ in 0..30 {
        call = call.header("x-many", "1");
    }
    assert_eq!(call.send().await.status, 431);
    assert_eq!(world.get("/healthz").header("x-large", &"x".repeat(60_000)).send_http2().await.status, 431);
    assert_eq!(world.get("/healthz").send().await.status, 200);
}

#[tokio::test]
async fn a_path_without_end_is_refused() {
    let world = world(options()).await;
    let path = format!("/{}", "x".repeat(70_000));
    let answer =
        raw(world.address(), format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 414 ") || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(world.get(&format!("/{}", "x".repeat(10_000))).send().await.code(), "no_route");
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_given_up() {
    let world = world(Options { body_timeout_ms: 100, ..options() }).await;
    let head = format!(
        "POST {EVENTS} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/cloudevents+json\r\ncontent-length: 500\r\n\r\n{{"
    );
    let answer = raw(world.address(), head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("body_timeout"), "{answer}");
}

#[tokio::test]
async fn a_client_that_says_nothing_or_never_ends_its_headers_is_disconnected() {
    let world = world(Options { header_timeout_ms: 100, ..options() }).await;
    assert_eq!(raw(world.address(), b"").await, "");
    let answer = raw(world.address(), b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: ").await;
    assert!(!answer.contains("200"), "{answer}");
    let answer = raw(world.address(), b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(answer.ends_with("ok\n"), "an idle connection is closed after its last answer: {answer}");
    // HTTP/2: a preface without end, and one after which nothing comes, not even answers to pings.
    for start in [&b"PRI * HTTP/2.0\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let closed_in_time = raw(world.address(), start).await;
        assert!(!closed_in_time.contains("200"), "{closed_in_time}");
    }
}

#[tokio::test]
async fn requests_beyond_the_limit_are_refused_until_one_ends() {
    let world = world(Options { requests_max: 1, ..options() }).await;
    // A request whose body does not end is under way.
    let mut open = TcpStream::connect(world.address()).await.unwrap();
    let head = format!(
        "POST {EVENTS} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/x-ndjson\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n"
    );
    open.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body when it has begun with the request.
    let mut invited = [0; 25];
    open.read_exact(&mut invited).await.unwrap();
    assert_eq!(&invited, b"HTTP/1.1 100 Continue\r\n\r\n");
    let refused = world.get("/v1/streams").send().await;
    assert_eq!(world.get("/healthz").send().await.status, 200, "who watches over the node is served");
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("overloaded", "1"));
    open.write_all(b"\n\n\n\n\n").await.unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(world.get("/v1/streams").send().await.status, 200);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_until_one_ends() {
    let world = Arc::new(world(Options { connections_max: 1, ..options() }).await);
    let mut first = TcpStream::connect(world.address()).await.unwrap();
    first.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut start = [0; 12];
    first.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    let second = tokio::spawn({
        let world = world.clone();
        async move { world.get("/healthz").send().await.status }
    });
    // The first connection is still served, and the second is not refused.
    first.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut rest = String::new();
    first.read_to_string(&mut rest).await.unwrap();
    assert!(rest.contains("200 OK") && !second.is_finished());
    assert_eq!(tokio::time::timeout(PATIENCE, second).await.unwrap().unwrap(), 200);
}

#[tokio::test]
async fn a_slow_reader_of_lines_is_disconnected_too() {
    let _alone = STALLS.lock().await;
    let world = world(Options { write_stall_ms_max: 200, ..options() }).await;
    let before = stalls(&world).await;
    let data = "x".repeat(1_000);
    for round in 0..4 {
        let lines: String = (0..10_000)
            .map(|n| event(&format!("{round}-{n}"), &format!(r#","data":"{data}""#)) + "\n")
            .collect();
        let reply =
            world.post(EVENTS).header("content-type", "application/x-ndjson").body(lines).send().await;
        assert_eq!(reply.status, 200);
    }
    let mut lazy = TcpStream::connect(world.address()).await.unwrap();
    let request = format!("GET {EVENTS} HTTP/1.1\r\nhost: localhost\r\naccept: application/x-ndjson\r\n\r\n");
    lazy.write_all(request.as_bytes()).await.unwrap();
    // Waits until it is cut off, then takes what the buffers hold: less than there is.
    tokio::time::timeout(PATIENCE, async { while stalls(&world).await == before {} }).await.unwrap();
    let mut taken = Vec::new();
    let _cut_off = lazy.read_to_end(&mut taken).await;
    assert!(taken.len() < 40_000_000);
}
