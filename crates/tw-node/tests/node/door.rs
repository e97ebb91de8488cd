//! What a stream with declared columns takes.

use crate::support::World;
use serde_json::json;

const EVENTS: &str = "/v1/streams/clicks/events";
const ATTRIBUTES: [(&str, &str); 4] =
    [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/web"), ("ce-type", "page.seen")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_that_is_not_json_is_refused_where_columns_are_declared() {
    let world = World::start().await;
    world.run("CREATE STREAM clicks (page text)").await;
    world.run("CREATE STREAM notes").await;
    let remedy = "its columns are read from JSON: send the data as `application/json`";
    for (content_type, said) in [
        (Some("text/plain"), "`text/plain`"),
        (Some("application/octet-stream"), "`application/octet-stream`"),
        (None, "bytes without a content type"),
    ] {
        let mut headers = ATTRIBUTES.to_vec();
        headers.extend(content_type.map(|content_type| ("content-type", content_type)));
        let refused = world.call("POST", EVENTS, &headers, r#"{"page":"home"}"#).await;
        let detail =
            format!("the data of event `1` is {said}, but `clicks` has declared columns, and {remedy}");
        assert_eq!(refused.problem(), (422, "event_refused".to_owned(), detail));
        // A stream of anything takes anything.
        let taken = world.call("POST", "/v1/streams/notes/events", &headers, r#"{"page":"home"}"#).await;
        assert_eq!(taken.status, 200, "{}", taken.body);
    }
    let structured = r#"{"specversion":"1.0","id":"1","source":"/web","type":"page.seen","data_base64":"eyJwYWdlIjoiaG9tZSJ9"}"#;
    let headers = [("content-type", "application/cloudevents+json")];
    let refused = world.call("POST", EVENTS, &headers, structured).await;
    assert_eq!(refused.problem().1, "event_refused");
    let without = world
        .call("POST", EVENTS, &headers, &structured.replace(r#","data_base64":"eyJwYWdlIjoiaG9tZSJ9""#, ""))
        .await;
    assert_eq!(
        without.problem().2,
        "event `1` has no data, but `clicks` has declared columns: send a JSON object"
    );

    let mut headers = ATTRIBUTES.to_vec();
    headers.push(("content-type", "application/json"));
    assert_eq!(world.call("POST", EVENTS, &headers, r#"{"page":"home"}"#).await.status, 200);
    assert_eq!(world.rows("SELECT page FROM clicks").await, json!([["home"]]));
}
