//! Consumer groups of Kafka.

use crate::support::groups::Readers;
use crate::support::{World, options};
use serde_json::json;
use std::sync::Arc;
use tw_env::Env;
use tw_log::MemoryLog;

/// A server whose log has these groups, which are at these offsets.
async fn with<const N: usize>(readers: [(&str, u64); N]) -> World {
    let readers = Arc::new(Readers::new(readers));
    let log = Arc::new(MemoryLog::new(Env::real()));
    World::over(options(), log, |parts| parts.groups = Some(readers)).await
}

#[tokio::test]
async fn a_log_that_is_not_on_kafka_has_no_groups_and_says_so() {
    let world = World::start().await;
    assert_eq!(world.get("/v1/groups").send().await.json(), json!({"kafka": false, "groups": []}));
    let page = world.get("/v1/groups?limit=5&stream=orders").send().await.json();
    assert_eq!(page, json!({"kafka": false, "groups": [], "next": null}));
    let shown = world.get("/v1/groups/billing").send().await;
    assert_eq!((shown.status, shown.code().as_str()), (409, "wrong_state"));
    let reset = world.post("/v1/groups/billing/reset").json(r#"{"stream":"orders","to":"end"}"#).send().await;
    assert_eq!((reset.status, reset.code().as_str()), (409, "wrong_state"));
    assert!(reset.text().contains("only a log on Kafka has consumer groups"), "{}", reset.text());
}

#[tokio::test]
async fn groups_are_listed_in_pages_by_prefix_and_stream() {
    let world = with([("a", 10), ("b/1", 15), ("b/2", 20), ("c", 20)]).await;
    let list = async |query: &str| world.get(&format!("/v1/groups?{query}")).send().await.json();
    let names = |list: &serde_json::Value| -> Vec<String> {
        let groups = list["groups"].as_array().unwrap().iter();
        groups.map(|group| group["group"].as_str().unwrap().to_owned()).collect()
    };
    let all = list("").await;
    assert_eq!(
        (names(&all), &all["kafka"]),
        (["a", "b/1", "b/2", "c"].map(str::to_owned).into(), &json!(true))
    );
    assert_eq!(all.get("next"), None, "a list of all has no next page");
    assert_eq!(
        all["groups"][1],
        json!({"group": "b/1", "state": "empty", "protocol": null, "members": 0, "streams": ["orders"], "lag_events": 5})
    );
    let page = list("prefix=b%2F&limit=1").await;
    assert_eq!((names(&page), &page["next"]), (vec!["b/1".to_owned()], &json!("b/1")));
    let rest = list("prefix=b%2F&limit=1&after=b%2F1").await;
    assert_eq!((names(&rest), &rest["next"]), (vec!["b/2".to_owned()], &json!(null)));
    assert_eq!(names(&list("stream=other").await), Vec::<String>::new());
    for query in ["limit=0", "limit=10001", "state=empty"] {
        let refused = world.get(&format!("/v1/groups?{query}")).send().await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_parameter"), "{query}");
    }
}

#[tokio::test]
async fn a_group_is_shown_and_reset() {
    let world = with([("b/1", 15)]).await;
    let shown = world.get("/v1/groups/b%2F1").send().await.json();
    assert_eq!(
        shown,
        json!({"group": "b/1", "state": "empty", "protocol": null, "members": [], "partitions": [
            {"stream": "orders", "partition": 0, "committed": 15, "kafka_offset": 30, "start": 10, "end": 20, "lag_events": 5, "member": null}
        ]})
    );
    let missing = world.get("/v1/groups/nobody").send().await;
    assert_eq!((missing.status, missing.code().as_str()), (404, "no_group"));
    let reset = async |to: serde_json::Value, dry_run: bool| {
        let body = json!({"stream": "orders", "to": to, "dry_run": dry_run}).to_string();
        let reply = world.post("/v1/groups/b%2F1/reset").json(&body).send().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let answer = reply.json();
        assert_eq!(answer["dry_run"], dry_run);
        answer["partitions"][0].clone()
    };
    let step = |from: u64, to: u64, clamped: bool| json!({"partition": 0, "from": from, "to": to, "kafka_offset": 2 * to, "clamped": clamped});
    assert_eq!(reset(json!("start"), true).await, step(15, 10, false));
    assert_eq!(reset(json!({"offset": 12}), false).await, step(15, 12, false));
    assert_eq!(reset(json!({"back": 5}), false).await, step(12, 10, true));
    assert_eq!(reset(json!({"time": "1970-01-01T00:00:00.003Z"}), false).await, step(10, 13, false));
    assert_eq!(reset(json!("end"), false).await, step(13, 20, false));
}

#[tokio::test]
async fn a_reset_that_is_not_understood_is_refused() {
    let world = with([("g", 15)]).await;
    for body in [
        "{}",
        r#"{"stream":"orders"}"#,
        r#"{"stream":"orders","to":"middle"}"#,
        r#"{"stream":"orders","to":{"offset":-1}}"#,
        r#"{"stream":"orders","to":{"offset":1,"back":1}}"#,
        r#"{"stream":"orders","to":{"time":"yesterday"}}"#,
        r#"{"stream":"orders","to":"end","partitions":[]}"#,
        r#"{"stream":"orders","to":"end","force":true}"#,
    ] {
        let refused = world.post("/v1/groups/g/reset").json(body).send().await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_body"), "{body}");
    }
    let foreign = world.post("/v1/groups/g/reset").header("origin", "https://evil.example");
    let foreign = foreign.json(r#"{"stream":"orders","to":"end"}"#).send().await;
    assert_eq!((foreign.status, foreign.code().as_str()), (403, "foreign_origin"));
    assert_eq!(world.get("/v1/groups/g").send().await.json()["partitions"][0]["committed"], 15);
}
