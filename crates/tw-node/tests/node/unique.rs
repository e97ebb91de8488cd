//! Unique columns of an installation that is the only one.

use crate::support::World;
use serde_json::{Value, json};

async fn put(world: &World, id: &str, subject: &str, data: Option<Value>) -> (u16, String) {
    let mut event =
        json!({"specversion": "1.0", "id": id, "source": "/u", "type": "user", "subject": subject});
    if let Some(data) = data {
        event["data"] = data;
    }
    let headers = [("content-type", "application/cloudevents+json")];
    let reply = world.call("POST", "/v1/streams/users/events", &headers, &event.to_string()).await;
    (reply.status, if reply.status == 200 { String::new() } else { reply.problem().2 })
}

async fn email(world: &World, id: &str, subject: &str, email: &str) -> (u16, String) {
    put(world, id, subject, Some(json!({ "email": email }))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_region_alone_decides_by_itself_and_a_dropped_stream_takes_its_claims_along() {
    let world = World::start().await;
    let create = "CREATE STREAM users (email text MERGE unique, number numeric(9,2) MERGE unique) WITH (mode = 'active-active', home = 1)";
    world.run(create).await;
    assert_eq!(email(&world, "1", "ann", "a@x").await.0, 200);
    let taken = "column `email`: `a@x` is `ann`'s: choose another one, or take it away there first";
    assert_eq!(email(&world, "2", "bob", "a@x").await, (409, taken.to_owned()));
    let claims = |value: &str| format!("/v1/streams/users/claims?column=email&value={value}");
    let shown = world.call("GET", &claims("a@x"), &[], "").await;
    assert_eq!((shown.member("subject"), shown.member("in_use")), (json!("ann"), json!(true)));
    // A value is the same however it is written.
    let number = |number: Value| Some(json!({ "number": number }));
    assert_eq!(put(&world, "3", "ann", number(json!(1.5))).await.0, 200);
    let taken = "column `number`: `1.50` is `ann`'s: choose another one, or take it away there first";
    assert_eq!(put(&world, "4", "bob", number(json!("1.50"))).await, (409, taken.to_owned()));
    // Free as soon as the row has another one, is told to have none, or is gone.
    assert_eq!(email(&world, "5", "ann", "b@x").await.0, 200);
    assert_eq!(email(&world, "6", "bob", "a@x").await.0, 200);
    assert_eq!(put(&world, "7", "bob", Some(json!({"email": null}))).await.0, 200);
    let shown = world.call("GET", &claims("a@x"), &[], "").await;
    assert_eq!((shown.member("subject"), shown.member("in_use")), (json!("bob"), json!(false)));
    assert_eq!(email(&world, "8", "eve", "a@x").await.0, 200);
    assert_eq!(put(&world, "9", "eve", None).await.0, 200);
    assert_eq!(email(&world, "10", "bob", "a@x").await.0, 200);
    let never = world.call("GET", &claims("never"), &[], "").await;
    assert_eq!((never.member("subject"), never.member("in_use")), (Value::Null, json!(false)));
    for (path, said) in [
        (
            "/v1/streams/users/claims?column=email",
            "parameter `value` is missing: name a value by `column` and `value`",
        ),
        (
            "/v1/streams/users/claims?column=_subject&value=x",
            "column `_subject` is not of the class `unique`",
        ),
    ] {
        assert_eq!(world.call("GET", path, &[], "").await.problem().2, said);
    }
    let long = "x".repeat(513);
    let (status, detail) = email(&world, "11", "ann", &long).await;
    assert!(
        status == 422 && detail.contains("a unique value of 513 bytes: at most 512"),
        "{status} {detail}"
    );
    world.run("DROP STREAM users").await;
    world.run(create).await;
    assert_eq!(email(&world, "1", "other", "a@x").await.0, 200, "nothing is left of the stream before");
}
