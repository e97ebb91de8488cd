//! PUT and PATCH of streams follow the rules of CREATE STREAM and ALTER STREAM.

use crate::support::World;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_a_statement_may_not_give_are_refused_over_http_too() {
    let world = World::start().await;
    world.run("CREATE STREAM clicks (page text)").await;
    world.run("CREATE PROJECTION pages AS SELECT page, count(*) AS n FROM clicks GROUP BY page").await;
    for (name, code, said) in [
        ("events", "invalid_definition", "`events` cannot name a stream: it names a schema"),
        (
            "public.x",
            "invalid_definition",
            "`public.x` cannot name a stream: the schema `public` is the platform's own",
        ),
        (
            "events.x",
            "invalid_definition",
            "`events.x` cannot name a stream: the schema `events` is the platform's own",
        ),
        ("pages", "already_exists", "there is a projection `pages` already"),
        ("$mine", "invalid_definition", "`$mine` starts with $: such names are the platform's"),
    ] {
        let refused = world.json("PUT", &format!("/v1/streams/{name}"), "{}").await;
        let (_, got, detail) = refused.problem();
        assert_eq!((got.as_str(), detail.as_str()), (code, said), "{name}");
    }
    let columns = r#"{"columns":[{"name":"_offset","type":"bigint"}]}"#;
    let refused = world.json("PUT", "/v1/streams/late", columns).await;
    assert_eq!(
        refused.problem().2,
        "the column `_offset` cannot be declared: names that start with `_` are the platform's own"
    );
    let fine = r#"{"columns":[{"name":"page","type":"text"}],"partitions":1}"#;
    assert_eq!(world.json("PUT", "/v1/streams/late", fine).await.status, 201);
    assert_eq!(world.json("PUT", "/v1/streams/late", fine).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_of_a_stream_can_be_added_and_nothing_else() {
    let world = World::start().await;
    world.run("CREATE STREAM clicks (page text, ms integer NOT NULL)").await;
    world.run("CREATE STREAM raw").await;
    let event =
        r#"{"specversion":"1.0","id":"1","source":"/web","type":"seen","data":{"page":"home","ms":3}}"#;
    let headers = [("content-type", "application/cloudevents+json")];
    assert_eq!(world.call("POST", "/v1/streams/clicks/events", &headers, event).await.status, 200);
    let page = r#"{"name":"page","type":"text"}"#;
    let ms = r#"{"name":"ms","type":"integer","nullable":false}"#;
    let stays = "has to stay as it is, at its place: columns can be added at the end, not changed or removed";
    for (columns, said) in [
        (
            "null".to_owned(),
            "the columns of `clicks` cannot be removed: create another stream without columns".to_owned(),
        ),
        (format!("[{page}]"), format!("the column `ms` of `clicks` {stays}")),
        (format!("[{ms},{page}]"), format!("the column `page` of `clicks` {stays}")),
        (
            format!(r#"[{{"name":"page","type":"bigint"}},{ms}]"#),
            format!("the column `page` of `clicks` {stays}"),
        ),
        (
            format!(r#"[{page},{{"name":"ms","type":"integer"}}]"#),
            format!("the column `ms` of `clicks` {stays}"),
        ),
        (
            format!(r#"[{page},{ms},{{"name":"n","type":"text","nullable":false}}]"#),
            "the new column `n` cannot be NOT NULL: earlier events do not have it".to_owned(),
        ),
        (
            format!(r#"[{page},{ms},{{"name":"_n","type":"text"}}]"#),
            "the column `_n` cannot be declared: names that start with `_` are the platform's own".to_owned(),
        ),
    ] {
        let refused = world.json("PATCH", "/v1/streams/clicks", &format!(r#"{{"columns":{columns}}}"#)).await;
        assert_eq!(refused.problem(), (400, "invalid_definition".to_owned(), said), "{columns}");
    }
    let refused = world.json("PATCH", "/v1/streams/clicks", r#"{"key":["page"]}"#).await;
    assert_eq!(refused.problem().2, "the key of `clicks` cannot be changed: create another stream");
    let refused = world.json("PATCH", "/v1/streams/raw", &format!(r#"{{"columns":[{page}]}}"#)).await;
    assert_eq!(
        refused.problem().2,
        "`raw` is a stream of plain JSON, which has no declared columns: create another stream with columns"
    );
    let refused = world.json("PATCH", "/v1/streams/$config", r#"{"options":{"retention_ms":1000}}"#).await;
    assert_eq!(
        refused.problem().2,
        "`$config` is one of the platform's own streams, which cannot be changed"
    );

    let more = format!(
        r#"{{"columns":[{{"name":"page","type":"text","class":"personal"}},{ms},{{"name":"agent","type":"text"}}],"options":{{"retention_ms":60000}}}}"#
    );
    let altered = world.json("PATCH", "/v1/streams/clicks", &more).await;
    assert_eq!(altered.status, 200, "{}", altered.body);
    assert_eq!(world.rows("SELECT page, ms, agent FROM clicks").await, json!([["home", 3, null]]));
}
