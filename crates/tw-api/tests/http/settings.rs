//! Options that change while the server runs: how they are set, and that those of the interface take effect.

use crate::support::{World, event, options};
use http::Method;
use serde_json::json;
use tw_api::Options;

const PATH: &str = "/v1/config/http.requests_max";

#[tokio::test]
async fn an_option_is_set_unset_brought_back_and_remembered() {
    let world = World::start().await;
    let put = |body: &'static str| world.call(Method::PUT, PATH).json(body);
    let first = put(r#"{"value":7,"author":"ann"}"#).header("if-none-match", "*").send().await;
    assert_eq!((first.status, first.header("etag")), (200, "\"1\""), "{}", first.text());
    assert_eq!((&first.json()["value"], &first.json()["source"]), (&json!(7), &json!("set")));
    let late = put(r#"{"value":8}"#).header("if-none-match", "*").send().await;
    assert_eq!((late.status, late.code().as_str()), (412, "version_conflict"));
    let second = put(r#"{"value":9}"#).header("if-match", "\"1\"").send().await;
    assert_eq!(second.json()["version"], 2);
    let unset = world.call(Method::DELETE, &format!("{PATH}?author=bob")).send().await;
    assert_eq!((&unset.json()["value"], &unset.json()["source"]), (&json!(1), &json!("default")));
    let back = world.post(&format!("{PATH}/rollback")).json(r#"{"version":1}"#).send().await;
    assert_eq!((&back.json()["value"], back.header("etag")), (&json!(7), "\"4\""));
    let history = world.get(&format!("{PATH}/history?limit=2")).send().await.json();
    let shown: Vec<_> =
        history["history"].as_array().unwrap().iter().map(|change| &change["author"]).collect();
    assert_eq!(shown, [&json!("anonymous"), &json!("bob")]);
    assert_eq!(
        world.get("/v1/config").send().await.json()["options"][0],
        world.get(PATH).send().await.json()
    );

    assert_eq!(put(r#"{"value":"x"}"#).send().await.code(), "invalid_option");
    assert_eq!(put(r#"{"valeu":1}"#).send().await.code(), "invalid_body");
    assert_eq!(put("{}").send().await.code(), "invalid_body", "a value that is not said is not null");
    assert_eq!(world.get("/v1/config/no.such").send().await.code(), "no_option");
    let missing = world.post(&format!("{PATH}/rollback")).json(r#"{"version":99}"#).send().await;
    assert_eq!((missing.status, missing.code().as_str()), (404, "no_option_version"));
}

#[tokio::test]
async fn other_limits_hold_for_the_next_request() {
    let world = World::start().await;
    world.stream("orders", 1).await;
    let append = async |id: &str, bytes: usize| {
        let data = format!(r#","data":"{}""#, "x".repeat(bytes));
        let reply = world.post("/v1/streams/orders/events").event(&event(id, &data)).send().await;
        (reply.status, reply.json()["limit"].as_u64())
    };
    let change = |change: fn(&mut Options)| {
        let mut changed = options();
        change(&mut changed);
        world.server.handle().reconfigure(changed)
    };
    assert_eq!(append("e-1", 2_000).await, (200, None));
    change(|options| options.body_bytes_max = 1_024).unwrap();
    assert_eq!(append("e-2", 2_000).await, (413, Some(1_024)));
    change(|_| {}).unwrap();
    assert_eq!(append("e-3", 2_000).await, (200, None));
    change(|options| options.hosts = vec!["tradewind.example".into()]).unwrap();
    let named = world.get("/v1/streams").set("host", "tradewind.example").send().await;
    assert_eq!(named.status, 200, "{}", named.text());
    change(|options| options.page_events_max = 1).unwrap();
    assert_eq!(world.get("/v1/streams/orders/events?limit=2").send().await.code(), "invalid_parameter");
    // What is not accepted changes nothing.
    change(|options| options.page_events_max = 0).unwrap_err();
    assert_eq!(world.get("/v1/streams/orders/events?limit=1").send().await.status, 200);
}
