//! Requests that say of which user they are: carried on to the region that serves that user, once.

use crate::routing::world;
use crate::support::World;
use tw_log::NewStream;
use tw_types::{RegionId, StreamMode, StreamName, StreamOptions};

const OF_ADA: (&str, &str) = ("tradewind-route", "user=ada&lat=35.7&lon=139.7");

/// A stream of each mode.
async fn define(world: &World) {
    for (name, mode) in [
        ("here", StreamMode::Local),
        ("orders", StreamMode::ActiveActive),
        ("ledger", StreamMode::HomeRegion),
    ] {
        let home = (mode == StreamMode::HomeRegion).then_some(RegionId(1));
        let options = StreamOptions { mode, home, ..StreamOptions::default() };
        let new = NewStream { options, ..NewStream::plain(StreamName::new(name).unwrap(), 1) };
        world.log.create_stream(new).await.unwrap();
    }
}

const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"a","data":1}"#;

#[tokio::test]
async fn a_request_of_a_user_is_carried_on_once_to_the_region_that_serves_the_user() {
    let (world, one) = world(2, true).await;
    define(&world).await;
    let read = world.get("/v1/streams/orders/events?limit=5").header(OF_ADA.0, OF_ADA.1).send().await;
    assert_eq!((read.status, read.header("tradewind-served-by")), (200, "2"));
    assert_eq!(read.json()["generation"], 9, "it is the other region's answer");
    let written = world
        .post("/v1/streams/orders/events")
        .header(OF_ADA.0, OF_ADA.1)
        .header("origin", &format!("http://{}", world.server.address()))
        .header("idempotency-key", "k-1")
        .event(EVENT)
        .send()
        .await;
    assert_eq!(written.header("tradewind-served-by"), "2");
    let sent = one.sent.lock().clone();
    let what: Vec<&str> = sent.iter().map(|sent| sent.what.as_str()).collect();
    assert_eq!(what, ["GET /v1/streams/orders/events?limit=5", "POST /v1/streams/orders/events"]);
    assert_eq!((sent[1].region, sent[1].headers["idempotency-key"].as_bytes()), (2, &b"k-1"[..]));
    assert!(sent[1].headers.contains_key("tradewind-deadline-ms") && !sent[1].headers.contains_key("origin"));
    assert_eq!(sent[1].body, EVENT);
    assert_eq!(*one.users.lock(), ["ada", "ada"]);
    // What came by a hop stays, and so does what says nothing of a user.
    let hop = world.get("/v1/streams").header(OF_ADA.0, OF_ADA.1).header("tradewind-hop", "1").send().await;
    let plain = world.get("/v1/streams").send().await;
    assert_eq!((hop.text(), hop.header("tradewind-served-by")), (plain.text(), ""));
    assert_eq!(one.sent.lock().len(), 2);
}

#[tokio::test]
async fn what_another_region_has_not_or_sends_on_is_served_where_it_came() {
    let (world, one) = world(2, true).await;
    define(&world).await;
    for (stream, read, written) in [("here", "1", "1"), ("ledger", "2", "1"), ("orders", "2", "2")] {
        let path = format!("/v1/streams/{stream}/events");
        let reply = world.get(&path).header(OF_ADA.0, OF_ADA.1).send().await;
        assert_eq!(reply.header("tradewind-served-by"), read, "{stream}");
        let reply = world.post(&path).header(OF_ADA.0, OF_ADA.1).event(EVENT).send().await;
        assert_eq!(reply.header("tradewind-served-by"), written, "{stream}: {}", reply.text());
    }
    assert_eq!(one.sent.lock().len(), 3);
    let refused = world.get("/v1/regions").header(OF_ADA.0, OF_ADA.1).send().await;
    assert_eq!(refused.code(), "invalid_parameter");
    assert!(refused.text().contains("is about the region that is asked"), "{}", refused.text());
    let refused = world.get("/v1/streams").header(OF_ADA.0, "users=ada").send().await;
    assert_eq!(refused.code(), "invalid_parameter");
    let alone = World::start().await;
    let refused = alone.get("/v1/streams").header(OF_ADA.0, OF_ADA.1).send().await;
    assert_eq!(refused.code(), "wrong_state");
}

#[tokio::test]
async fn a_region_that_is_not_reached_leaves_reads_here_and_writes_undone() {
    let (world, one) = world(2, false).await;
    define(&world).await;
    let read = world.get("/v1/streams/orders/events").header(OF_ADA.0, OF_ADA.1).send().await;
    assert_eq!((read.status, read.header("tradewind-served-by")), (200, "1"), "{}", read.text());
    let written =
        world.post("/v1/streams/orders/events").header(OF_ADA.0, OF_ADA.1).event(EVENT).send().await;
    assert_eq!(written.code(), "not_ready");
    assert!(written.text().contains("nothing was done"), "{}", written.text());
    assert_eq!(one.sent.lock().len(), 2);
}
