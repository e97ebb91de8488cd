//! Expected versions: one winner, and losers who learn what to do.

use crate::support::{World, event};
use serde_json::json;
use tw_log::NewStream;
use tw_types::{RegionId, StreamMode, StreamName, StreamOptions};

const SUBJECT: &str = "/v1/streams/orders/subjects/order-7/events";

async fn world() -> World {
    let world = World::start().await;
    world.stream("orders", 4).await;
    world
}

#[tokio::test]
async fn a_version_says_what_may_be_appended_to() {
    let world = world().await;
    let reply = world.post(SUBJECT).header("if-none-match", "*").event(&event("1", "")).send().await;
    assert_eq!((reply.status, reply.header("etag")), (200, "\"1\""));
    let reply = world.post(SUBJECT).header("if-match", "\"1\"").event(&event("2", "")).send().await;
    assert_eq!((reply.status, reply.header("etag")), (200, "\"2\""));
    let reply = world.post(SUBJECT).header("if-match", "\"1\"").event(&event("3", "")).send().await;
    assert_eq!((reply.code().as_str(), reply.header("etag")), ("version_conflict", "\"2\""));
    assert_eq!(reply.json()["current_version"], 2);
    assert_eq!(
        reply.detail(),
        "`order-7` has version 2, but version 1 was expected: read what is new, then decide again"
    );
    let reply = world.post(SUBJECT).header("if-none-match", "*").event(&event("3", "")).send().await;
    assert_eq!(reply.code(), "version_conflict");
}

#[tokio::test]
async fn log_3_of_concurrent_appends_with_one_version_exactly_one_wins() {
    let world = world().await;
    for version in 0..5u64 {
        let attempts = (0..8).map(|n| {
            let etag = format!("\"{version}\"");
            world.post(SUBJECT).header("if-match", &etag).event(&event(&format!("{version}-{n}"), "")).send()
        });
        let replies = futures_util::future::join_all(attempts).await;
        let won = replies.iter().filter(|reply| reply.status == 200).count();
        let lost = replies.iter().filter(|reply| reply.status == 412).count();
        assert_eq!((won, lost), (1, 7));
        let told = replies
            .iter()
            .filter(|reply| reply.status == 412)
            .map(|reply| reply.json()["current_version"].clone());
        assert!(told.into_iter().all(|current| current == version + 1));
    }
}

#[tokio::test]
async fn several_events_of_a_subject_are_one_step() {
    let world = world().await;
    let batch = format!("[{},{}]", event("1", ""), event("2", r#","subject":"order-7""#));
    let call = world.post(SUBJECT).header("content-type", "application/cloudevents-batch+json");
    let reply = call.header("if-none-match", "*").body(batch).send().await;
    assert_eq!((reply.status, reply.header("etag")), (200, "\"2\""));
    let versions: Vec<_> =
        reply.json()["events"].as_array().unwrap().iter().map(|event| event["version"].clone()).collect();
    assert_eq!(versions, [json!(1), json!(2)]);
}

#[tokio::test]
async fn an_event_about_another_subject_is_refused() {
    let world = world().await;
    let reply = world.post(SUBJECT).event(&event("1", r#","subject":"order-8""#)).send().await;
    assert_eq!(reply.code(), "subject_mismatch");
}

#[tokio::test]
async fn conditions_that_cannot_be_understood_are_refused() {
    let world = world().await;
    for (name, value) in
        [("if-match", "5"), ("if-match", "W/\"5\""), ("if-match", "*"), ("if-none-match", "\"5\"")]
    {
        let reply = world.post(SUBJECT).header(name, value).event(&event("1", "")).send().await;
        assert_eq!(reply.code(), "invalid_parameter", "{name}: {value}");
    }
    let reply = world
        .post("/v1/streams/orders/events")
        .header("if-match", "\"1\"")
        .event(&event("1", ""))
        .send()
        .await;
    assert!(reply.detail().contains("/subjects/"), "{}", reply.detail());
}

#[tokio::test]
async fn a_repeated_append_is_no_conflict_with_itself() {
    let world = world().await;
    let send = || world.post(SUBJECT).header("if-none-match", "*").event(&event("1", ""));
    assert_eq!(send().send().await.status, 200);
    let again = send().send().await;
    assert_eq!((again.status, &again.json()["events"][0]["duplicate"]), (200, &json!(true)));
}

/// Each region has versions of its own there, so the answer says with whose an expected one was compared.
#[tokio::test]
async fn an_append_that_is_checked_in_one_region_of_several_says_so() {
    let world = World::start().await;
    let options = StreamOptions { mode: StreamMode::ActiveActive, ..StreamOptions::default() };
    let plain = NewStream::plain(StreamName::new("orders").unwrap(), 1);
    world.log.create_stream(NewStream { options, ..plain }).await.unwrap();
    let reply = world.post(SUBJECT).header("if-none-match", "*").event(&event("1", "")).send().await;
    assert_eq!(reply.header("tradewind-checked-in"), world.log.region().to_string());
    let reply = world.post(SUBJECT).event(&event("2", "")).send().await;
    assert_eq!((reply.status, reply.header("tradewind-checked-in")), (200, ""));
}

/// A stream with a home needs regions.
#[tokio::test]
async fn a_stream_with_a_home_is_not_written_where_there_are_no_regions() {
    let world = World::start().await;
    let options =
        StreamOptions { mode: StreamMode::HomeRegion, home: Some(RegionId(1)), ..StreamOptions::default() };
    let plain = NewStream::plain(StreamName::new("orders").unwrap(), 1);
    world.log.create_stream(NewStream { options, ..plain }).await.unwrap();
    let reply = world.post(SUBJECT).event(&event("1", "")).send().await;
    assert_eq!((reply.status, &reply.json()["code"]), (409, &"wrong_state".into()), "{}", reply.text());
}
