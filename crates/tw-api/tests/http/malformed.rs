//! Hostile bytes: whatever comes, the server answers or closes, and serves on.

use crate::support::client::raw;
use crate::support::{World, event};
use futures_util::future::join_all;
use http::Method;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;
use tw_testing::cases;

/// How many hostile connections there are at a time.
const CONNECTIONS: usize = 50;

/// How many cases each property has.
fn runner() -> TestRunner {
    TestRunner::new(Config { cases: cases(200), failure_persistence: None, ..Config::default() })
}

#[test]
fn bodies_of_any_bytes_are_taken_or_refused() {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(World::start());
    runtime.block_on(world.stream("orders", 2));
    let media_types = [
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "application/x-ndjson",
        "application/json",
        "text/plain",
    ];
    let paths = ["/v1/streams/orders/events", "/v1/streams/orders/subjects/a/events", "/v1/sql"];
    let strategy = (
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..100),
            "[\\[{\":,}\\]a-z0-9\\\\ ]{0,60}".prop_map(String::into_bytes),
            (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| {
                let mut bytes = event("1", r#","subject":"s","data":{"a":[1,2]}"#).into_bytes();
                let at = at.index(bytes.len());
                bytes[at] = byte;
                bytes
            }),
        ],
        prop::sample::select(media_types.to_vec()),
        prop::sample::select(paths.to_vec()),
    );
    runner()
        .run(&strategy, |(body, media_type, path)| {
            let reply =
                runtime.block_on(world.post(path).header("content-type", media_type).body(body).send());
            prop_assert!(reply.status == 200 || (400..500).contains(&reply.status), "{}", reply.text());
            if reply.status != 200 {
                reply.code();
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(runtime.block_on(world.get("/healthz").send()).status, 200);
}

#[test]
fn headers_and_parameters_of_any_text_are_taken_or_refused() {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(World::start());
    runtime.block_on(world.stream("orders", 2));
    let names = [
        "ce-id",
        "ce-time",
        "ce-x",
        "ce-",
        "content-type",
        "if-match",
        "if-none-match",
        "idempotency-key",
        "tradewind-token",
        "accept",
        "last-event-id",
        "prefer",
        "traceparent",
        "content-encoding",
        "x-request-id",
        "origin",
    ];
    let value = prop_oneof!["[ -~]{0,30}", "\"[0-9]{0,3}\"", "tw1;[0-9=:,;]{0,12}", "%[0-9a-f]{1,3}"];
    let headers = prop::collection::vec((prop::sample::select(names.to_vec()), value), 0..4);
    let query = "(from|limit|partition|type|subject|timeout_ms|x)=([a-z0-9%+:;.-]{0,12})(&limit=[0-9]{0,3})?";
    let strategy = (headers, query, prop::sample::select(vec![Method::GET, Method::POST, Method::DELETE]));
    runner()
        .run(&strategy, |(headers, query, method)| {
            // A request that asks to wait would be a slow case, not a hostile one.
            let query = query.replace("timeout_ms=", "timeout_ms=0");
            let mut call = world.call(method, &format!("/v1/streams/orders/events?{query}"));
            for (name, value) in headers {
                call = call.header(name, &value);
            }
            let response = runtime.block_on(call.header("accept", "application/json").open());
            let status = response.status().as_u16();
            prop_assert!(matches!(status, 200 | 400..=431 | 504), "{status}");
            Ok(())
        })
        .unwrap();
    assert_eq!(runtime.block_on(world.get("/healthz").send()).status, 200);
}

#[test]
fn connections_of_any_bytes_end_and_harm_nobody() {
    let runtime = Runtime::new().unwrap();
    let options =
        tw_api::Options { header_timeout_ms: 100, body_timeout_ms: 100, ..crate::support::options() };
    let world = runtime.block_on(World::with(options));
    let request = b"POST /v1/sql HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: 8\r\n\r\nSELECT 1";
    let strategy = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..100),
        (prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)).prop_map(move |changes| {
            let mut bytes = request.to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        }),
        prop::collection::vec(any::<u8>(), 0..60).prop_map(|mut bytes| {
            bytes.splice(0..0, *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
            bytes
        }),
    ];
    // Many at a time: most of them say too little, and are waited for until their time is over.
    let strategy = prop::collection::vec(strategy, CONNECTIONS);
    let cases = runner().config().cases.div_ceil(CONNECTIONS as u32);
    TestRunner::new(Config { cases, ..runner().config().clone() })
        .run(&strategy, |connections| {
            let address = world.address();
            runtime.block_on(join_all(connections.iter().map(|bytes| raw(address, bytes))));
            Ok(())
        })
        .unwrap();
    assert_eq!(runtime.block_on(world.get("/healthz").send()).status, 200);
}
