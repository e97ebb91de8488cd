//! What answers to statements look like: the table of types in docs/sql.md.

use crate::support::World;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_is_answered_as_the_documentation_says() {
    let world = World::start().await;
    world
        .run("CREATE STREAM t (n numeric(12,2), doc json, id uuid, span interval, moment timestamptz, local timestamp, day date, clock time, bytes bytea, ok boolean, big bigint, x double precision)")
        .await;
    let data = r#"{"n":1.50,"doc":{"a": 1.0},"id":"0190d2f0-8b8e-7cc0-9d6f-8f1f6a3a1b2c","span":"1 day 02:00:00","moment":"2026-01-31T10:30:00+01:00","local":"2026-01-31T09:30:00","day":"2026-01-31","clock":"09:30:00.5","bytes":"AP8=","ok":true,"big":9007199254740993,"x":0.5}"#;
    let event = format!(r#"{{"specversion":"1.0","id":"1","source":"/t","type":"t","data":{data}}}"#);
    let headers = [("content-type", "application/cloudevents+json")];
    let appended = world.call("POST", "/v1/streams/t/events", &headers, &event).await;
    assert_eq!(appended.status, 200, "{}", appended.body);

    let answer =
        world.sql("SELECT n, doc, id, span, moment, local, day, clock, bytes, ok, big, x FROM t").await;
    let columns = answer.member("columns");
    let types: Vec<&Value> = columns.as_array().unwrap().iter().map(|column| &column["type"]).collect();
    assert_eq!(
        types,
        [
            "numeric(12,2)",
            "json",
            "uuid",
            "interval",
            "timestamptz",
            "timestamp",
            "date",
            "time",
            "bytea",
            "boolean",
            "bigint",
            "double precision"
        ]
    );
    assert_eq!(
        answer.member("rows"),
        json!([[
            "1.50",
            {"a": 1.0},
            "0190d2f0-8b8e-7cc0-9d6f-8f1f6a3a1b2c",
            "1 day 02:00:00",
            "2026-01-31T09:30:00+00:00",
            "2026-01-31T09:30:00",
            "2026-01-31",
            "09:30:00.5",
            "AP8=",
            true,
            9_007_199_254_740_993_u64,
            0.5
        ]])
    );
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!(world.rows("SELECT data, data->'doc' FROM events.t").await, json!([[data, {"a": 1.0}]]));
    assert_eq!(world.rows("SELECT array_agg(n) FROM t").await, json!([[["1.50"]]]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_cannot_ask_for_more_time_than_it_would_get() {
    let world = World::start().await;
    let text = [("content-type", "text/plain")];
    let refused = world.call("POST", "/v1/sql?timeout_ms=60001", &text, "SELECT 1").await;
    let (status, code, detail) = refused.problem();
    assert_eq!((status, code.as_str()), (400, "invalid_parameter"));
    assert!(detail.contains("60000"), "{detail}");
    assert_eq!(world.call("POST", "/v1/sql?timeout_ms=60000", &text, "SELECT 1").await.status, 200);
}
