//! Locks that clients hold.

use crate::support::{World, options};
use http::Method;
use serde_json::json;
use tw_api::Options;

#[tokio::test]
async fn locks_are_taken_shown_renewed_and_released() {
    let world = World::start().await;
    let opened = world.post("/v1/lock-sessions").json(r#"{"names":["a/b","c"],"owner":"me"}"#).send().await;
    assert_eq!(opened.status, 200, "{}", opened.text());
    let session = opened.json();
    assert_eq!(session["locks"], json!([{"name": "a/b", "token": 1}, {"name": "c", "token": 2}]));
    assert_eq!((&session["owner"], &session["wounded"]), (&json!("me"), &json!(null)));
    let path = format!("/v1/lock-sessions/{}", session["session"].as_str().unwrap());

    let refused = world.post("/v1/lock-sessions").json(r#"{"names":["c"]}"#).send().await;
    assert_eq!((refused.status, refused.code().as_str()), (423, "locked"));
    let problem = refused.json();
    assert_eq!(
        (&problem["lock"], &problem["holder"], &problem["ahead"]),
        (&json!("c"), &json!("me"), &json!(1))
    );

    let more = world.post(&format!("{path}/locks")).json(r#"{"names":["d"]}"#).send().await.json();
    assert_eq!(more["locks"].as_array().unwrap().len(), 3);
    assert_eq!(world.post(&format!("{path}/renew")).send().await.json(), more);
    let page = world.get("/v1/locks?limit=1").send().await.json();
    assert_eq!((&page["locks"][0]["holder"]["owner"], &page["next"]), (&json!("me"), &json!("a/b")));
    let rest = world.get("/v1/locks?after=a/b").send().await.json();
    assert_eq!((&rest["locks"][0]["name"], &rest["next"]), (&json!("c"), &json!(null)));
    assert_eq!(world.get("/v1/locks/a%2Fb").send().await.json()["holder"]["token"], 1);
    assert_eq!(world.get("/v1/locks/free").send().await.json(), json!({"name": "free", "waiting": []}));

    let one = format!("{path}/locks/a%2Fb");
    assert_eq!(world.call(Method::DELETE, &one).send().await.status, 204);
    assert_eq!(world.call(Method::DELETE, &one).send().await.code(), "lock_not_held");
    assert_eq!(world.call(Method::DELETE, &path).send().await.status, 204);
    assert_eq!(world.get("/v1/locks").send().await.json(), json!({"locks": [], "next": null}));
    for (method, path) in
        [(Method::DELETE, path.clone()), (Method::DELETE, one), (Method::POST, format!("{path}/renew"))]
    {
        let missing = world.call(method, &path).send().await;
        assert_eq!((missing.status, missing.code().as_str()), (404, "no_lock_session"), "{path}");
    }
}

#[tokio::test]
async fn a_request_for_locks_that_is_not_understood_is_refused() {
    let world = World::start().await;
    for body in [r#"{"name":"a"}"#, "{}", r#"{"names":"a"}"#, r#"{"names":["a"],"ttl_ms":-1}"#, "["] {
        assert_eq!(world.post("/v1/lock-sessions").json(body).send().await.code(), "invalid_body", "{body}");
    }
    assert_eq!(world.get("/v1/locks?limit=0").send().await.code(), "invalid_parameter");
}

#[tokio::test]
async fn a_wait_for_a_lock_ends_when_the_server_does() {
    let world = World::with(Options { shutdown_ms_max: 60_000, ..options() }).await;
    world.post("/v1/lock-sessions").json(r#"{"names":["a"]}"#).send().await;
    let call = world.post("/v1/lock-sessions").json(r#"{"names":["a"],"wait_ms":600000}"#);
    let waiting = tokio::spawn(call.send());
    while world.get("/v1/locks/a").send().await.json()["waiting"] == json!([]) {}
    world.server.shutdown().await;
    assert_eq!(waiting.await.unwrap().code(), "shutting_down");
}
