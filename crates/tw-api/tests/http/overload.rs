//! Overload: what is let in is answered in time, the rest is refused early and told when to come back, and afterwards everything
//! is as before.

mod nodes;
mod rush;

use crate::support::client::{Call, PATIENCE, raw};
use crate::support::floor::{Floor, Hand, floor};
use crate::support::{World, event, options};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tw_api::{Options, OverloadOptions};
use tw_env::Env;
use tw_log::MemoryLog;

const EVENTS: &str = "/v1/streams/orders/events";

/// Limits that do not move.
fn fixed(appends: u32, reads: u32, queries: u32) -> OverloadOptions {
    OverloadOptions {
        appends_min: appends,
        appends_start: appends,
        appends_max: appends,
        reads_min: reads,
        reads_start: reads,
        reads_max: reads,
        queries_min: queries,
        queries_start: queries,
        queries_max: queries,
        ..OverloadOptions::default()
    }
}

/// A server whose statements and whose time are in the hands of the test.
async fn world(overload: OverloadOptions) -> (World, Arc<Hand>, Arc<Floor>) {
    let (hand, floor) = floor();
    let (clock, sql) = (hand.clone(), floor.clone());
    let log = Arc::new(MemoryLog::new(Env::real()));
    let world = World::over(Options { overload, ..options() }, log, |parts| {
        parts.env.clock = clock;
        parts.sql = sql;
    })
    .await;
    world.stream("orders", 1).await;
    (world, hand, floor)
}

fn statement(world: &World) -> Call {
    world.post("/v1/sql").header("content-type", "text/plain").body("SELECT 1")
}

fn send(call: Call) -> JoinHandle<crate::support::client::Reply> {
    tokio::spawn(call.send())
}

/// Sends `call` again and again until it is not refused.
async fn until_served(call: impl Fn() -> Call) {
    let served = async {
        loop {
            let reply = call().send().await;
            if reply.status == 200 {
                return;
            }
            assert_eq!(reply.code(), "over_capacity");
        }
    };
    tokio::time::timeout(PATIENCE, served).await.expect("its room is never given back");
}

#[tokio::test]
async fn more_than_the_limit_is_refused_and_other_classes_are_served() {
    let (world, _hand, floor) = world(fixed(4, 4, 2)).await;
    let inside = [send(statement(&world)), send(statement(&world))];
    let statements = [floor.next().await, floor.next().await];
    let refused = statement(&world).send().await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "over_capacity"));
    let problem = refused.json();
    assert_eq!(problem["limit"], 2);
    let (seconds, ms) = (refused.header("retry-after"), problem["retry_after_ms"].as_u64().unwrap());
    assert!((1_000..=30_000).contains(&ms) && seconds == ms.div_ceil(1_000).to_string(), "{seconds} {ms}");
    // What is quick is not refused because something else is slow; and whoever operates the node is always served.
    assert_eq!(world.post(EVENTS).event(&event("1", "")).send().await.status, 200);
    assert_eq!(world.get(EVENTS).send().await.status, 200);
    for path in ["/healthz", "/readyz", "/metrics", "/v1/status", "/v1/streams", "/v1/locks", "/v1/config"] {
        assert_eq!(world.get(path).send().await.status, 200, "{path}");
    }
    let [first, second] = statements;
    first.send(()).unwrap();
    let [first_reply, second_reply] = inside;
    assert_eq!(first_reply.await.unwrap().status, 200);
    let third = send(statement(&world));
    floor.next().await.send(()).unwrap();
    assert_eq!(third.await.unwrap().status, 200);
    second.send(()).unwrap();
    assert_eq!(second_reply.await.unwrap().status, 200);
    let metrics = world.get("/metrics").send().await;
    for line in [
        r#"tradewind_http_refused_total{class="queries",priority="normal"} "#,
        r#"tradewind_http_limit{class="queries"} "#,
        r#"tradewind_http_in_flight{class="appends"} "#,
        r#"tradewind_http_work_seconds_count{class="reads"} "#,
    ] {
        assert!(metrics.text().contains(line), "{line} is not in\n{}", metrics.text());
    }
}

#[tokio::test]
async fn who_is_refused_is_not_asked_for_the_body() {
    let (world, _hand, floor) = world(fixed(4, 4, 1)).await;
    let inside = send(statement(&world));
    let working = floor.next().await;
    let head = "POST /v1/sql HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n";
    let asks = format!("{head}expect: 100-continue\r\ncontent-length: 8\r\nconnection: close\r\n\r\n");
    let answer = raw(world.address(), asks.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("over_capacity"), "{answer}");
    // Who sends a large one nevertheless sees the answer, and the connection can be used again.
    let mut stream = TcpStream::connect(world.address()).await.unwrap();
    let body = "x".repeat(1_000_000);
    let sends = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(sends.as_bytes()).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    assert!(answers.starts_with("HTTP/1.1 503 ") && answers.ends_with("ok\n"), "{answers}");
    working.send(()).unwrap();
    assert_eq!(inside.await.unwrap().status, 200);
}

#[tokio::test]
async fn room_is_kept_for_what_matters_more() {
    let (world, hand, floor) = world(fixed(4, 4, 2)).await;
    // One after another, all the time, each of 10 ms: so there is always one to be expected, and sometimes two.
    let mut now_us = 0;
    let mut carry_out = async |call: Call| {
        let reply = send(call);
        let working = floor.next().await;
        now_us += 10_000;
        hand.set_us(now_us);
        working.send(()).unwrap();
        assert_eq!(reply.await.unwrap().status, 200);
    };
    for _ in 0..120 {
        carry_out(statement(&world).header("tradewind-hop", "1")).await;
    }
    for (priority, status) in [("u=7", 503), ("u=3", 503), ("u=0", 503)] {
        let reply = statement(&world).header("priority", priority).send().await;
        assert_eq!(reply.status, status, "{priority}: {}", reply.text());
    }
    carry_out(statement(&world).header("tradewind-hop", "1")).await;
    // When nothing comes that matters more, its room is for everybody.
    now_us += 60_000_000;
    hand.set_us(now_us);
    let reply = send(statement(&world).header("priority", "u=7"));
    floor.next().await.send(()).unwrap();
    assert_eq!(reply.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_tail_takes_no_room_once_it_has_begun() {
    let (world, _hand, _floor) = world(fixed(4, 1, 4)).await;
    let mut tails = Vec::new();
    for _ in 0..3 {
        tails.push(world.get(EVENTS).listen().await);
    }
    assert_eq!(world.get(EVENTS).send().await.status, 200);
    world.fill("orders", "e", 2).await;
    for tail in &mut tails {
        assert_eq!(tail.ids(2).await, ["e0", "e1"]);
    }
}

#[tokio::test]
async fn who_waits_for_a_token_gives_its_room_to_others() {
    let (world, _hand, _floor) = world(fixed(4, 1, 4)).await;
    let id = world.log.streams().get("orders").unwrap().id;
    let waiting = send(world.get(EVENTS).header("tradewind-token", &format!("tw1;{id}=0:1")));
    // Whoever of the two comes first, the one without a token is served while the other waits.
    until_served(|| world.get(EVENTS)).await;
    assert!(!waiting.is_finished());
    world.fill("orders", "e", 1).await;
    let reply = waiting.await.unwrap();
    assert_eq!((reply.status, reply.json()["events"].as_array().map(Vec::len)), (200, Some(1)));
}

#[tokio::test]
async fn a_slow_sender_gives_its_room_to_others() {
    let (world, _hand, _floor) = world(fixed(1, 4, 4)).await;
    let mut slow = TcpStream::connect(world.address()).await.unwrap();
    let head = format!(
        "POST {EVENTS} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/x-ndjson\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut invited = [0; 25];
    slow.read_exact(&mut invited).await.unwrap();
    assert_eq!(&invited, b"HTTP/1.1 100 Continue\r\n\r\n");
    until_served(|| world.post(EVENTS).event(&event("1", ""))).await;
    slow.write_all(b"\n\n\n\n\n").await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_client_that_goes_leaves_its_room_behind() {
    let (world, _hand, floor) = world(fixed(4, 4, 1)).await;
    let inside = send(statement(&world));
    let _never_finished = floor.next().await;
    inside.abort();
    let next = async {
        loop {
            let reply = send(statement(&world));
            tokio::select! {
                working = floor.next() => {
                    working.send(()).unwrap();
                    if reply.await.unwrap().status == 200 {
                        return;
                    }
                }
                () = async { while !reply.is_finished() { tokio::task::yield_now().await } } => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, next).await.expect("its room is never given back");
}

#[tokio::test]
async fn limits_change_while_the_server_runs() {
    let (world, _hand, floor) = world(fixed(4, 4, 1)).await;
    let inside = send(statement(&world));
    let first = floor.next().await;
    assert_eq!(statement(&world).send().await.code(), "over_capacity");
    let set = |overload| world.server.handle().reconfigure(Options { overload, ..options() });
    set(fixed(4, 4, 2)).unwrap();
    let second = send(statement(&world));
    let second_working = floor.next().await;
    assert_eq!(statement(&world).send().await.code(), "over_capacity");
    set(OverloadOptions { enabled: false, ..fixed(4, 4, 2) }).unwrap();
    let third = send(statement(&world));
    for working in [first, second_working, floor.next().await] {
        working.send(()).unwrap();
    }
    for reply in [inside, second, third] {
        assert_eq!(reply.await.unwrap().status, 200);
    }
    let refused = set(OverloadOptions { queries_min: 0, ..OverloadOptions::default() }).unwrap_err();
    assert_eq!(refused.to_string(), "option `overload.queries_min` is 0, outside 1 to 100000");
}
